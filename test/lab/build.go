package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
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
	return built("orchd")
})

// plantedBinary is one in which bugs can be planted (package api/planted).
var plantedBinary = sync.OnceValues(func() (string, error) { return built("orchd-planted", "-tags", "planted") })

// built builds orchd from the checkout into .cache/bin, under that name.
func built(name string, flags ...string) (string, error) {
	dir := filepath.Join(root(), ".cache", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(dir, ".new-") // beside it, so that another test's orchd is replaced at once
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	build := exec.Command("go", slices.Concat([]string{"build", "-o", fresh + "/orchd"}, flags, []string{"./cmd/orchd"})...)
	build.Dir = root()
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build orchd: %w\n%s", err, out)
	}
	path := filepath.Join(dir, name)
	return path, os.Rename(fresh+"/orchd", path)
}
