package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

// root is the folder of the checkout.
func root() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..")
}

// binary is the orchd under test: ORCHD_BIN, else built from the checkout into
// .cache/bin, once for a run of tests.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("ORCHD_BIN"); path != "" {
		return filepath.Abs(path)
	}
	dir := filepath.Join(root(), ".cache", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(dir, ".new-") // beside it, so that another test's orchd is replaced at once
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	build := exec.Command("go", "build", "-o", fresh+"/orchd", "./cmd/orchd")
	build.Dir = root()
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build orchd: %w\n%s", err, out)
	}
	path := filepath.Join(dir, "orchd")
	return path, os.Rename(fresh+"/orchd", path)
})

// guest makes the kernel and initramfs of test/guest, once for a checkout.
var guest = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(root(), ".cache", "guest")
	out, err := exec.Command(filepath.Join(root(), "test", "guest", "make-guest.sh"), dir).CombinedOutput()
	if err != nil {
		err = errors.Join(fmt.Errorf("make the guest: %w", err), errors.New(string(out)))
	}
	return dir, err
})

// Guest gives the host its own copy of a kernel and an initramfs that say "orchd
// guest up" on their console (kernel command line: console=ttyS0). Its own, because
// libvirt changes the owner of the files that a guest uses.
func (h *Host) Guest() (kernel, initrd string) {
	h.t.Helper()
	dir, err := guest()
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	return h.Copy(filepath.Join(dir, "vmlinuz")), h.Copy(filepath.Join(dir, "initrd.gz"))
}

// Copy puts a file of the machine into the host's folder, readable by all.
func (h *Host) Copy(file string) string {
	h.t.Helper()
	to := filepath.Join(h.dir, "files", filepath.Base(file))
	err := os.MkdirAll(filepath.Dir(to), 0o755)
	if err == nil {
		err = copyFile(to, file)
	}
	if err != nil {
		h.t.Fatalf("%s: copy %s: %v", h.Name, file, err)
	}
	return to
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
