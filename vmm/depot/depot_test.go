package depot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
)

func TestOpen(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	d := newDepot(t)
	if info, err := os.Stat(d.cfg.Dir); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("mode of the folder: got %v, %v; want 0711", info.Mode(), err)
	}
	b := content(1000)
	w := rawOf(b)
	got, err := receive(t, d, w, b)
	wantStored(t, d, w, got, err, b)
	for name, cfg := range map[string]Config{
		"no folder":       {},
		"relative":        {Dir: "images"},
		"too large disks": {Dir: "/x", MaxVirtualBytes: maxVirtual + 1},
		"reserve":         {Dir: "/x", ReserveBytes: -1},
	} {
		if _, err := Open(cfg, slog.Default()); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestReceive(t *testing.T) {
	b := content(3*piece + 17)
	for name, spoil := range map[string]func(*Wanted){
		"all is known":     func(*Wanted) {},
		"sum is not known": func(w *Wanted) { w.SHA256 = "" },
		"size is unknown":  func(w *Wanted) { w.Bytes = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			d, w := newDepot(t), rawOf(b)
			spoil(&w)
			var done, total int64
			got, err := d.Receive(t.Context(), w, iotest.HalfReader(bytes.NewReader(b)), 1<<30, func(n, of int64) { done, total = n, of })
			wantStored(t, d, w, got, err, b)
			if done != int64(len(b)) || total != int64(len(b)) {
				t.Errorf("progress ended at %d of %d, want all %d", done, total, len(b))
			}
			if _, err := receive(t, d, w, b); !api.IsKind(err, api.Conflict) {
				t.Errorf("a second upload: got %v, want a conflict", err)
			}
		})
	}
}

func TestReceiveRefused(t *testing.T) {
	b := content(2 * piece)
	for _, c := range []struct {
		name  string
		spoil func(*Wanted)
		body  io.Reader
		max   int64
		kind  api.Kind
	}{
		{name: "other sum", spoil: func(w *Wanted) { w.SHA256 = sumOf(nil) }, kind: api.Invalid},
		{name: "shorter than announced", body: bytes.NewReader(b[:100]), kind: api.Invalid},
		{name: "longer than announced", body: bytes.NewReader(append(b, 1)), kind: api.TooLarge},
		{name: "too large, announced", max: 100, kind: api.TooLarge},
		{name: "too large, not announced", max: 100, spoil: func(w *Wanted) { w.Bytes = 0 }, kind: api.TooLarge},
		{name: "broken off", body: io.MultiReader(bytes.NewReader(b[:100]), iotest.ErrReader(io.ErrUnexpectedEOF)), kind: api.Unavailable},
		{name: "empty", spoil: func(w *Wanted) { w.SHA256, w.Bytes = "", 0 }, body: strings.NewReader(""), kind: api.Invalid},
		{name: "other format", spoil: func(w *Wanted) { w.Format = Qcow2 }, kind: api.Invalid},
		{name: "no format", spoil: func(w *Wanted) { w.Format = "" }, kind: api.Invalid},
		{name: "format of the user's", spoil: func(w *Wanted) { w.Format = "vmdk" }, kind: api.Invalid},
		{name: "sum in capitals", spoil: func(w *Wanted) { w.SHA256 = strings.ToUpper(w.SHA256) }, kind: api.Invalid},
		{name: "negative", spoil: func(w *Wanted) { w.Bytes = -1 }, kind: api.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, w := newDepot(t), rawOf(b)
			if c.spoil != nil {
				c.spoil(&w)
			}
			if c.body == nil {
				c.body = bytes.NewReader(b)
			}
			if c.max == 0 {
				c.max = 1 << 30
			}
			_, err := d.Receive(t.Context(), w, c.body, c.max, nil)
			wantKind(t, d, w, err, c.kind)
			wantFiles(t, d)
		})
	}
}

// TestIDs has ids that would be paths (CWE-22).
func TestIDs(t *testing.T) {
	d := newDepot(t)
	b := content(100)
	for _, id := range []string{"", ".", "..", "../x", "/etc/passwd", "a", strings.ToUpper(uuid.NewString()), uuid.NewString() + "/x", uuid.NewString() + "\x00", "." + uuid.NewString() + ".part"} {
		w := Wanted{ID: id, Format: Raw, SHA256: sumOf(b)}
		_, e1 := receive(t, d, w, b)
		_, e2 := d.FetchFrom(t.Context(), w, from(b), nil)
		_, e3 := d.Import(t.Context(), w, "/etc/passwd", nil)
		_, e4 := d.Adopt(t.Context(), w, nil)
		_, e5 := d.Temp(id)
		e6 := d.Remove(t.Context(), id)
		for i, err := range []error{e1, e2, e3, e4, e5, e6} {
			if !api.IsKind(err, api.Invalid) {
				t.Errorf("%q, way %d: got %v, want it refused", id, i+1, err)
			}
		}
		if _, err := d.Path(id); !api.IsKind(err, api.NotFound) || d.Has(id) {
			t.Errorf("path of %q: got %v, want not found", id, err)
		}
		if _, _, err := d.Open(id); !api.IsKind(err, api.NotFound) {
			t.Errorf("open %q: got %v, want not found", id, err)
		}
	}
	wantFiles(t, d)
}

// TestLinks plants links under the names that the depot uses: it neither follows nor takes them.
func TestLinks(t *testing.T) {
	d := newDepot(t)
	b := content(100)
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, []byte("secret"))
	for _, k := range []kind{whole, part, half} {
		w := rawOf(b)
		if err := os.Symlink(secret, d.path(k, w.ID)); err != nil {
			t.Fatal(err)
		}
		if d.Has(w.ID) {
			t.Errorf("a link counts as an image")
		}
		_, err := d.FetchFrom(t.Context(), w, from(b), nil)
		_, err2 := receive(t, d, rawOf(b), b)
		if err2 != nil || string(read(t, secret)) != "secret" {
			t.Errorf("kind %d: what a link leads to was written: %v, %v", k, err, err2)
		}
	}
}

func TestHoles(t *testing.T) {
	d := newDepot(t)
	b := make([]byte, 64<<20)
	b[0], b[32<<20] = 1, 1 // and zeros at the end
	w := rawOf(b)
	got, err := receive(t, d, w, b)
	wantStored(t, d, w, got, err, b)
	var stat syscall.Stat_t
	if err := syscall.Stat(d.path(whole, w.ID), &stat); err != nil || stat.Blocks*512 > 8<<20 {
		t.Errorf("a file of zeros takes %d bytes, %v", stat.Blocks*512, err)
	}
}

func TestNoRoom(t *testing.T) {
	b := content(100)
	d := openDepot(t, Config{Dir: t.TempDir(), ReserveBytes: 1 << 60})
	w := rawOf(b)
	_, err := receive(t, d, w, b)
	wantKind(t, d, w, err, api.NoCapacity)
	_, err = d.FetchFrom(t.Context(), w, from(b), nil)
	wantKind(t, d, w, err, api.NoCapacity)
	wantFiles(t, d)
	d = openDepot(t, Config{Dir: t.TempDir()})
	w.Bytes = 1 << 60 // announced, and more than any disk has
	_, err = d.Receive(t.Context(), w, bytes.NewReader(b), 1<<62, nil)
	wantKind(t, d, w, err, api.NoCapacity)
	wantFiles(t, d)
}

// TestFullDisk writes until a real file system is full.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("this test mounts a small file system: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	d := openDepot(t, Config{Dir: dir, ReserveBytes: 1})
	b := content(16 << 20)
	w := rawOf(b)
	w.Bytes = 0 // so that it is found out only while writing
	_, err := receive(t, d, w, b)
	wantKind(t, d, w, err, api.NoCapacity)
	_, err = d.FetchFrom(t.Context(), w, from(b), nil)
	wantKind(t, d, w, err, api.NoCapacity)
	wantFiles(t, d)
	small := b[:4<<20]
	w = rawOf(small)
	got, err := receive(t, d, w, small)
	wantStored(t, d, w, got, err, small)
}

func TestImport(t *testing.T) {
	b := content(2*piece + 5)
	path := filepath.Join(t.TempDir(), "disk.img")
	write(t, path, b)
	d, w := newDepot(t), rawOf(b)
	got, err := d.Import(t.Context(), w, path, nil)
	wantStored(t, d, w, got, err, b)
	write(t, path, []byte("other"))
	got, err = d.Import(t.Context(), w, path, nil) // it is there: a retry is no harm
	wantStored(t, d, w, got, err, b)
}

// TestImportRefused has paths that lead elsewhere than they say (CWE-59) or that wait for ever.
func TestImportRefused(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	write(t, file, content(100))
	if err := errors.Join(os.Symlink(file, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "file", link, pipe, dir, "/dev/zero", dir + "/../" + filepath.Base(dir) + "/file", dir + "//file", filepath.Join(dir, "none")} {
		d, w := newDepot(t), Wanted{ID: uuid.NewString(), Format: Raw}
		_, err := d.Import(t.Context(), w, path, nil)
		wantKind(t, d, w, err, api.Invalid)
		wantFiles(t, d)
	}
}

func TestAdopt(t *testing.T) {
	d, b := newDepot(t), content(1000)
	w := rawOf(b)
	path, err := d.Temp(w.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Adopt(t.Context(), w, nil); !api.IsKind(err, api.Invalid) {
		t.Errorf("nothing was written: got %v, want it refused", err)
	}
	wantFiles(t, d)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	w.SHA256, w.Bytes = "", 0
	got, err := d.Adopt(t.Context(), w, nil)
	wantStored(t, d, w, got, err, b)
	again, err := d.Adopt(t.Context(), w, nil)
	if again != got || err != nil {
		t.Errorf("adopting again: got %+v, %v; want %+v", again, err, got)
	}
	write(t, path, []byte("left over"))
	if _, err := d.Temp(w.ID); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, d, w.ID)
}

func TestFilesOf(t *testing.T) {
	d := newDepot(t)
	var ids []string
	for range 3 {
		b := content(100)
		w := rawOf(b)
		if _, err := receive(t, d, w, b); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, w.ID)
	}
	write(t, filepath.Join(d.cfg.Dir, "notes.txt"), nil)
	write(t, d.path(part, uuid.NewString()), nil)
	got, err := d.List()
	if err != nil || len(got) != 3 {
		t.Fatalf("list: got %q, %v; want 3 images", got, err)
	}
	for _, id := range ids {
		f, bytes, err := d.Open(id)
		if err != nil || bytes != 100 || !d.Has(id) {
			t.Fatalf("open: got %d bytes, %v", bytes, err)
		}
		if _, err := f.Write([]byte("x")); err == nil {
			t.Error("the file can be written")
		}
		f.Close()
	}
	for range 2 { // the second time is no error
		if err := d.Remove(t.Context(), ids[0]); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if _, _, err := d.Open(ids[0]); !api.IsKind(err, api.NotFound) || d.Has(ids[0]) {
		t.Errorf("a removed image: got %v, want not found", err)
	}
}

func TestCheck(t *testing.T) {
	d, b := newDepot(t), content(1000)
	w := rawOf(b)
	want, err := receive(t, d, w, b)
	if err != nil {
		t.Fatal(err)
	}
	unknown := Wanted{ID: w.ID, Format: Raw}
	for _, w := range []Wanted{w, unknown} {
		if got, err := d.Check(t.Context(), w); got != want || err != nil {
			t.Errorf("check: got %+v, %v; want %+v", got, err, want)
		}
	}
	b[500]++
	write(t, d.path(whole, w.ID), b)
	if _, err := d.Check(t.Context(), w); !api.IsKind(err, api.Conflict) {
		t.Errorf("check of a changed file: got %v, want a conflict", err)
	}
	if _, err := d.Check(t.Context(), Wanted{ID: uuid.NewString(), Format: Raw}); !api.IsKind(err, api.NotFound) {
		t.Errorf("check of nothing: got %v, want not found", err)
	}
}

func TestSweep(t *testing.T) {
	d, b := newDepot(t), content(100)
	known, gone := rawOf(b), rawOf(b)
	for _, w := range []Wanted{known, gone} {
		if _, err := receive(t, d, w, b); err != nil {
			t.Fatal(err)
		}
	}
	young, old, stray := uuid.NewString(), uuid.NewString(), uuid.NewString()
	for _, id := range []string{young, old, stray} {
		write(t, d.path(part, id), b)
	}
	long := time.Now().Add(-25 * time.Hour)
	for _, path := range []string{d.path(part, old), d.path(whole, known.ID)} { // age alone does not harm a whole one
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(d.cfg.Dir, "notes.txt"), nil)
	removed, err := d.Sweep(t.Context(), func(id string) bool { return id != gone.ID && id != stray })
	if err != nil || len(removed) != 3 {
		t.Errorf("swept %q, %v; want 3 files", removed, err)
	}
	wantFiles(t, d, known.ID, part.name(young), "notes.txt")
}

// TestSweepBusy leaves what is being worked on, however old and unknown it is.
func TestSweepBusy(t *testing.T) {
	d, b := newDepot(t), content(100)
	w := rawOf(b)
	at := make(chan struct{})
	goOn := make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := d.FetchFrom(t.Context(), w, func(context.Context, int64) (io.ReadCloser, error) {
			close(at)
			<-goOn
			return io.NopCloser(bytes.NewReader(b)), nil
		}, nil)
		done <- err
	}()
	<-at
	if removed, err := d.Sweep(t.Context(), func(string) bool { return false }); len(removed) > 0 || err != nil {
		t.Errorf("swept %q, %v; want nothing", removed, err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Errorf("the fetch: %v", err)
	}
	wantFiles(t, d, w.ID)
}
