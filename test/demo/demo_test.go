package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orchd/orchd/test/lab"
)

// telling is a demo that runs.
type telling struct {
	cmd  *exec.Cmd
	file string // what it has said so far
}

// begin starts the demo as make does, from the top of the checkout.
func begin(t *testing.T) *telling {
	t.Helper()
	if missing := lab.Missing(); missing != "" {
		t.Skipf("the demo would run no guests; missing: %s", missing)
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the demo: %v\n%s", err, out)
	}
	d := &telling{cmd: exec.Command(filepath.Join(dir, "demo")), file: filepath.Join(dir, "said")}
	out, err := os.Create(d.file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = "../..", out, out
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.cmd.Process.Kill() })
	return d
}

func (d *telling) said() string {
	text, _ := os.ReadFile(d.file)
	return string(text)
}

// nothingLeft looks for the demo's folder, and for processes that know of it.
func (d *telling) nothingLeft(t *testing.T) {
	t.Helper()
	dir := regexp.MustCompile(`/\S*/orchd-lab-\d+`).FindString(d.said())
	if dir == "" {
		t.Fatalf("no folder of a lab is named in:\n%s", d.said())
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the demo's folder %s: got %v, want it gone", dir, err)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if text, _ := os.ReadFile(line); bytes.Contains(text, []byte(dir)) {
			t.Errorf("still there: %s %q", line, text)
		}
	}
}

func TestDemo(t *testing.T) {
	d := begin(t)
	if err := d.cmd.Wait(); err != nil {
		t.Fatalf("the demo: %v\n%s", err, d.said())
	}
	for _, want := range []string{
		"orchd init", "orchd join 10.77.0.1:7700", "orchd guest up", "kill -KILL", `"status.owner": "h`, "Everything is cleaned up",
	} {
		if !strings.Contains(d.said(), want) {
			t.Errorf("the demo did not say %q:\n%s", want, d.said())
		}
	}
	d.nothingLeft(t)
}

// TestCtrlC interrupts the demo while a guest runs.
func TestCtrlC(t *testing.T) {
	d := begin(t)
	lab.Eventually(t, 2*time.Minute, func() error {
		if !strings.Contains(d.said(), "orchd guest up") {
			return fmt.Errorf("no guest is up yet:\n%s", d.said())
		}
		return nil
	})
	d.cmd.Process.Signal(os.Interrupt)
	err := d.cmd.Wait()
	if status := d.cmd.ProcessState.Sys().(syscall.WaitStatus); status.ExitStatus() != 130 {
		t.Errorf("interrupted: got %v, want exit status 130", err)
	}
	d.nothingLeft(t)
}
