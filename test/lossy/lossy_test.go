package lossy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// mount is a disk, mounted for as long as the test runs.
func mount(t *testing.T) (*Disk, string) {
	t.Helper()
	d, dir := NewDisk(), filepath.Join(t.TempDir(), "disk")
	unmount, err := d.Mount(dir)
	must(t, err)
	t.Cleanup(unmount)
	return d, dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes a file, and syncs it if it should.
func write(t *testing.T, path, content string, sync bool) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	_, err = f.WriteString(content)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

func syncFolder(t *testing.T, path string) {
	t.Helper()
	d, err := os.Open(path)
	must(t, err)
	must(t, d.Sync())
	must(t, d.Close())
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func TestFilesAndNames(t *testing.T) {
	_, dir := mount(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.MkdirAll(in("a/b"), 0o700))
	write(t, in("a/x"), "one", false)
	must(t, os.Link(in("a/x"), in("a/b/y")))
	write(t, in("a/x"), "two", false) // truncated and written: both names are one file
	if got := read(t, in("a/b/y")); got != "two" {
		t.Errorf("through its other name the file holds %q", got)
	}
	write(t, in("z"), "three", false)
	must(t, unix.Renameat2(unix.AT_FDCWD, in("z"), unix.AT_FDCWD, in("a/x"), unix.RENAME_EXCHANGE))
	if read(t, in("z")) != "two" || read(t, in("a/x")) != "three" {
		t.Error("two names did not change places")
	}
	if err := unix.Renameat2(unix.AT_FDCWD, in("z"), unix.AT_FDCWD, in("a/x"), unix.RENAME_NOREPLACE); err != unix.EEXIST {
		t.Errorf("a rename that may not replace gave %v", err)
	}
	must(t, os.Rename(in("z"), in("a/x")))
	must(t, os.Rename(in("a"), in("c")))
	if got := read(t, in("c/b/y")); got != "two" {
		t.Errorf("in the folder that was moved there is %q", got)
	}
	must(t, os.Symlink("c/x", in("link")))
	if got := read(t, in("link")); got != "two" {
		t.Errorf("through the link there is %q", got)
	}
	if err := os.Remove(in("c")); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("removing a folder with files gave %v", err)
	}
	must(t, os.RemoveAll(in("c")))
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != 1 {
		t.Errorf("in the end there are %v", left)
	}
}

// losses lays out what a power loss may leave, for many seeds.
func losses(t *testing.T, d *Disk, look func(dir string)) {
	t.Helper()
	for seed := range uint64(200) {
		dir := t.TempDir()
		must(t, d.Materialise(seed, dir))
		look(dir)
	}
}

func TestPowerLossKeepsWhatWasSynced(t *testing.T) {
	d, dir := mount(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	page := make([]byte, 8192)
	for i := range page {
		page[i] = 'n'
	}
	write(t, in("safe"), "safe", true)
	write(t, in("old"), "old", true)
	syncFolder(t, dir)
	write(t, in("nameless"), "the name was not synced", true)
	write(t, in("new"), string(page), false)
	must(t, os.Rename(in("new"), in("old")))
	seen := map[string]int{}
	losses(t, d, func(dir string) {
		if got := read(t, filepath.Join(dir, "safe")); got != "safe" {
			t.Errorf("what was synced is now %q", got)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "nameless")); err != nil {
			seen["name lost"]++
		} else if string(b) == "the name was not synced" {
			seen["name kept"]++
		} else {
			t.Errorf("a file that was synced holds %q", b)
		}
		switch got := read(t, filepath.Join(dir, "old")); {
		case got == "old":
			seen["rename lost"]++
		case got == "":
			seen["renamed, empty"]++
		case got == string(page):
			seen["renamed, whole"]++
		default:
			seen["renamed, torn"]++
		}
	})
	for _, what := range []string{"name lost", "name kept", "rename lost", "renamed, empty", "renamed, whole", "renamed, torn"} {
		if seen[what] == 0 {
			t.Errorf("of 200 seeds none gave: %s (%v)", what, seen)
		}
	}
}

func TestSeedDecides(t *testing.T) {
	d, dir := mount(t)
	for i := range 20 {
		write(t, filepath.Join(dir, fmt.Sprint(i)), fmt.Sprint("content ", i), i%3 == 0)
	}
	for seed := range uint64(30) {
		a, b := t.TempDir(), t.TempDir()
		must(t, d.Materialise(seed, a))
		must(t, d.Materialise(seed, b))
		if out, err := exec.Command("diff", "-r", a, b).CombinedOutput(); err != nil {
			t.Fatalf("seed %d gives two disks: %s", seed, out)
		}
	}
}

func TestFaults(t *testing.T) {
	d, dir := mount(t)
	f, err := os.Create(filepath.Join(dir, "f"))
	must(t, err)
	defer f.Close()
	d.Inject(Fault{On: Fsync, Path: "f", After: 1, Times: 1, Err: syscall.EIO})
	for i, want := range []error{nil, syscall.EIO, nil} {
		if err := f.Sync(); !errors.Is(err, want) {
			t.Errorf("sync %d gave %v, want %v", i, err, want)
		}
	}
	_, err = f.Write(make([]byte, 1<<20))
	must(t, err)
	d.SetCapacity(1<<20 + 100)
	if _, err := f.Write(make([]byte, 4096)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write without room gave %v", err)
	}
	if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Errorf("a write in place of another gave %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, "f")))
	if d.Used() != 0 {
		t.Errorf("with no file %d bytes are used", d.Used())
	}
}

// TestHungSync: it goes on when it is released, and does not keep a process from being killed.
func TestHungSync(t *testing.T) {
	d, dir := mount(t)
	write(t, filepath.Join(dir, "f"), "x", false)
	hang := d.Inject(Fault{On: Fsync, Hang: true})
	ended := make(chan error, 1)
	sync := exec.Command("sync", filepath.Join(dir, "f"))
	must(t, sync.Start())
	go func() { ended <- sync.Wait() }()
	waitUntil(t, func() bool { return d.Struck(hang) == 1 })
	sync.Process.Kill()
	if err := <-ended; err == nil {
		t.Error("it ended well, want killed")
	}
	again := exec.Command("sync", filepath.Join(dir, "f"))
	must(t, again.Start())
	waitUntil(t, func() bool { return d.Struck(hang) == 2 })
	d.Release(hang)
	must(t, again.Wait())
}

func waitUntil(t *testing.T, f func() bool) {
	t.Helper()
	for start := time.Now(); !f(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("10 s have passed")
		}
	}
}

// TestCrash: the disk goes on with what a power loss left.
func TestCrash(t *testing.T) {
	d, dir := NewDisk(), filepath.Join(t.TempDir(), "disk")
	unmount, err := d.Mount(dir)
	must(t, err)
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	write(t, filepath.Join(dir, "d", "safe"), "safe", true)
	syncFolder(t, filepath.Join(dir, "d"))
	syncFolder(t, dir)
	write(t, filepath.Join(dir, "d", "other"), "other", false)
	unmount()
	d.Crash(1)
	unmount, err = d.Mount(dir)
	must(t, err)
	defer unmount()
	if got := read(t, filepath.Join(dir, "d", "safe")); got != "safe" {
		t.Errorf("after the crash there is %q", got)
	}
	write(t, filepath.Join(dir, "d", "more"), "more", true)
}

// TestBolt: a database that reads through mmap works on the disk, and every power loss
// between its operations leaves one that opens with all that was committed.
func TestBolt(t *testing.T) {
	if path := os.Getenv("LOSSY_BOLT"); path != "" {
		fillBolt(t, path)
		return
	}
	d, dir := mount(t)
	child := exec.Command(os.Args[0], "-test.run=^TestBolt$")
	child.Env = append(os.Environ(), "LOSSY_BOLT="+filepath.Join(dir, "db"))
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	trace := d.Trace()
	first := 0 // the first operation by which the database was made
	for first < len(trace) && trace[first].Kind != Mkdir {
		first++
	}
	committed := 0
	for k := first; k <= len(trace); k++ {
		if k > 0 && trace[k-1].Kind == Mkdir {
			committed++
		}
		if committed == 0 {
			continue
		}
		into := t.TempDir()
		must(t, Materialise(trace, k, uint64(k), into))
		db, err := bbolt.Open(filepath.Join(into, "db"), 0o600, nil)
		if err != nil {
			t.Fatalf("operation %d: %v", k, err)
		}
		must(t, db.View(func(tx *bbolt.Tx) error {
			for i := range committed - 1 {
				if tx.Bucket([]byte("b")).Get([]byte(fmt.Sprint(i))) == nil {
					t.Errorf("operation %d: key %d of %d is lost", k, i, committed-1)
				}
			}
			return nil
		}))
		must(t, db.Close())
	}
	if committed != 21 {
		t.Errorf("%d commits were seen", committed)
	}
}

// fillBolt makes a database, and a folder after each commit to tell that it is done.
func fillBolt(t *testing.T, path string) {
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("b"))
		return err
	}))
	syncFolder(t, filepath.Dir(path))
	must(t, os.Mkdir(path+".made", 0o700))
	for i := range 20 {
		must(t, db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("b")).Put([]byte(fmt.Sprint(i)), make([]byte, 1000*i))
		}))
		must(t, os.Mkdir(fmt.Sprint(path, ".", i), 0o700))
	}
	must(t, db.Close())
}

// TestUnmountBesideAnotherNamespace: one that was made while the disk was mounted has a copy
// of the mount, and does not keep this process from going on.
func TestUnmountBesideAnotherNamespace(t *testing.T) {
	d, dir := NewDisk(), filepath.Join(t.TempDir(), "disk")
	unmount, err := d.Mount(dir)
	must(t, err)
	other := exec.Command("cat")
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	hold, err := other.StdinPipe()
	must(t, err)
	must(t, other.Start())
	unmount()
	must(t, hold.Close())
	must(t, other.Wait())
	if mounts()[dir] != 0 {
		t.Error("it is still mounted")
	}
}

// TestSweep: a mount whose process was killed is taken away by the next who mounts.
func TestSweep(t *testing.T) {
	if dir := os.Getenv("LOSSY_ORPHAN"); dir != "" {
		_, err := NewDisk().Mount(dir)
		must(t, err)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	dir := filepath.Join(t.TempDir(), "disk")
	child := exec.Command(os.Args[0], "-test.run=^TestSweep$")
	child.Env = append(os.Environ(), "LOSSY_ORPHAN="+dir)
	child.Run() // killed by itself
	if mounts()[dir] == 0 {
		t.Fatal("the child left no mount")
	}
	Sweep()
	if mounts()[dir] != 0 {
		t.Error("the mount is still there")
	}
	must(t, os.Remove(dir))
}
