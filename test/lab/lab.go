package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Lab is some hosts and the network between them.
type Lab struct {
	t        T
	dir      string   // everything that the lab writes
	lock     *os.File // held as long as the lab lives: see sweep
	program  func() (string, error)
	binary   string // orchd, what program gave
	driver   string
	config   []string // lines for every host's orchd.toml
	under    []string // the command that orchd's daemon runs under
	bare     bool     // no namespaces
	loop     int      // then hosts are 127.0.loop.1 and so on
	bridged  bool     // hosts have a bridge for guests
	disksMiB int      // room for disks; 0: as much as the machine has
	wires    *space   // where the bridge is
	hosts    []*Host
}

// An Option of Start.
type Option func(*Lab)

// Sim gives the hosts no libvirt: orchd runs the driver "sim", which makes nothing.
func Sim(l *Lab) { l.driver = "sim" }

// Loopback makes do without root: no namespaces, no libvirt, and the hosts are
// 127.0.0.1, 127.0.0.2 and so on. Nothing can be cut.
func Loopback(l *Lab) { l.bare, l.driver = true, "sim" }

// Planted has the hosts run an orchd that was built with the tag planted: what the
// environment of a daemon names, with [Under], is planted in it (package api/planted).
func Planted(l *Lab) { l.program = plantedBinary }

// LoopbackAt is Loopback with hosts 127.0.N.1, 127.0.N.2 and so on, for tests that
// may run beside others.
func LoopbackAt(n int) Option {
	return func(l *Lab) { l.bare, l.driver, l.loop = true, "sim", n }
}

// With adds lines to the orchd.toml of every host. Keys are written dotted:
//
//	lab.With(`snapshot.interval = "0"`)
func With(lines ...string) Option {
	return func(l *Lab) { l.config = append(l.config, lines...) }
}

// Under runs every host's daemon under another program, in the host's folder:
//
//	lab.Under("strace", "-f", "-o", "trace")
//
// Kill and the signals then reach that program.
func Under(command ...string) Option {
	return func(l *Lab) { l.under = command }
}

// Programs are what a host needs on the machine, beside bash and coreutils.
var Programs = []string{"ip", "iptables", "mount", "hostname", "libvirtd", "virtlogd", "virsh", "qemu-system-x86_64"}

// Missing says what keeps this machine from a lab with libvirt; empty: nothing.
func Missing() string {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, p := range Programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	return strings.Join(missing, ", ")
}

// Start makes a lab of n hosts, named h1 to hn, with libvirt running and without
// orchd: see [Host.Init] and [Host.Join], or [Lab.Form] for both. The lab ends with
// the test. Where the machine cannot have a lab, the test is skipped with the
// reason; in CI a skipped test is a failed one.
func Start(t T, n int, options ...Option) *Lab {
	t.Helper()
	l := &Lab{t: t, driver: "libvirt", program: binary}
	for _, o := range options {
		o(l)
	}
	if missing := Missing(); missing != "" && !l.bare {
		t.Skipf("no lab on this machine; missing: %s (try: sudo make deps)", missing)
	}
	t.Cleanup(l.close)
	if err := l.open(n); err != nil {
		t.Fatalf("start a lab of %d hosts: %v", n, err)
	}
	return l
}

// Hosts gives all hosts, in order.
func (l *Lab) Hosts() []*Host { return l.hosts }

// Host gives the i-th host, from 0.
func (l *Lab) Host(i int) *Host { return l.hosts[i] }

// Folder makes a folder that every host sees under the same path and that ends with
// the lab.
func (l *Lab) Folder(name string) string {
	l.t.Helper()
	dir := filepath.Join(l.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatalf("%v", err)
	}
	return dir
}

// Form makes one cluster of all hosts: the first inits, the others join, one after
// the other, and all are ready.
func (l *Lab) Form() {
	l.t.Helper()
	first := l.hosts[0]
	first.Init()
	for _, h := range l.hosts[1:] {
		h.Join(first)
	}
}

func (l *Lab) open(n int) (err error) {
	sweep()
	if l.binary, err = l.program(); err != nil {
		return err
	}
	if l.dir, l.lock, err = newDir(); err != nil {
		return err
	}
	if !l.bare {
		if l.wires, err = openSpace(unix.CLONE_NEWNET, "switch", "10.77.0.254/24"); err != nil {
			return err
		}
	}
	if l.bridged && !l.bare {
		if err := l.openGuestSwitch(); err != nil {
			return err
		}
	}
	for i := range n {
		h := &Host{lab: l, t: l.t, Name: fmt.Sprintf("h%d", i+1)}
		l.hosts = append(l.hosts, h) // first, so that close finds a host half made
		if err := h.open(i); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	return l.startLibvirt()
}

// startLibvirt starts all libvirtds, then waits for them: they start together.
func (l *Lab) startLibvirt() error {
	if l.driver != "libvirt" {
		return nil
	}
	for _, h := range l.hosts {
		if err := h.startLibvirt(); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	for _, h := range l.hosts {
		if err := h.awaitLibvirt(); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	return nil
}

func (l *Lab) close() {
	if l.t.Failed() {
		l.showLogs()
	}
	for _, h := range l.hosts {
		h.close()
	}
	if l.wires != nil {
		l.wires.close()
	}
	if l.lock != nil {
		os.RemoveAll(l.dir)
		l.lock.Close()
	}
}

func (l *Lab) showLogs() {
	for _, h := range l.hosts {
		logs, _ := filepath.Glob(filepath.Join(h.dir, "*.log"))
		for _, log := range logs {
			l.t.Logf("=== %s: the end of %s\n%s", h.Name, filepath.Base(log), tail(log, 60))
		}
	}
}

// dirPattern is short, because unix sockets lie below it (108 bytes at most).
const dirPattern = "orchd-lab-"

// newDir makes a lab's folder and takes the lock that says it is in use.
func newDir() (dir string, lock *os.File, err error) {
	if dir, err = os.MkdirTemp("", dirPattern); err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // libvirt's own user reads images here
		return "", nil, err
	}
	if lock, err = os.Create(filepath.Join(dir, "lock")); err != nil {
		return "", nil, err
	}
	return dir, lock, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
}

// sweep removes the folders of labs that were killed. The lock of a living one is
// held; the kernel lets go of it when the process ends, so there is no number of a
// process to mistake for another's.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPattern+"*"))
	for _, dir := range dirs {
		lock, err := os.Open(filepath.Join(dir, "lock"))
		if errors.Is(err, os.ErrNotExist) {
			continue // being made just now, or being removed
		}
		if err != nil {
			continue // another user's
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(dir)
		}
		lock.Close()
	}
}
