// Package guest makes the small guest that tests and the demo boot: Debian's
// cloud kernel with an initial ramdisk of busybox. It is up in about two seconds
// under software emulation, says so on its serial console, counts the seconds
// there, answers what a [Shell] asks, and obeys the power button. A disk with a
// NoCloud seed gives it a hostname, an address and host keys to show.
// make-guest.sh does the work and keeps what it made under .cache/guest.
package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Up is what the guest says on its console once it runs.
const Up = "orchd guest up"

// Guest is where the two files lie.
type Guest struct{ Kernel, Initrd string }

// Make makes the guest in a folder of the test, where libvirt's own user can read it.
func Make(t testing.TB) Guest {
	t.Helper()
	g, err := MakeIn(publicDir(t))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// MakeIn makes the guest in dir, which every user may then enter.
func MakeIn(dir string) (Guest, error) {
	_, here, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(here), "make-guest.sh")
	if out, err := exec.Command(script, dir).CombinedOutput(); err != nil {
		return Guest{}, fmt.Errorf("make the guest: %w\n%s", err, out)
	}
	return Guest{filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd.gz")}, os.Chmod(dir, 0o755)
}

// SmallDisk makes a disk that boots the small guest by itself, in a folder of the test.
func SmallDisk(t testing.TB) (path string) {
	t.Helper()
	return filepath.Join(run(t, "make-small-disk.sh"), "small.qcow2")
}

// Debian makes the disk with Debian in a folder of the test, where libvirt's own
// user can read it: the first time that takes a minute or two.
func Debian(t testing.TB) (path string) {
	t.Helper()
	return filepath.Join(run(t, "make-debian.sh"), "debian.qcow2")
}

// run runs a script beside this file on a folder of the test.
func run(t testing.TB, script string) (dir string) {
	t.Helper()
	dir = publicDir(t)
	_, here, _, _ := runtime.Caller(0)
	if out, err := exec.Command(filepath.Join(filepath.Dir(here), script), dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return dir
}
