package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	fakes["confined"] = func(c *child, _ toChild) { c.say(fromChild{Done: escape(c)}) }
	fakes["stack"] = func(*child, toChild) { os.Exit(deeper(1)) }
	fakes["log flood"] = func(c *child, _ toChild) {
		for {
			c.host("log", json.RawMessage(`{"text": "`+strings.Repeat("x", 1<<20)+`"}`))
		}
	}
	fakes["stderr flood"] = func(*child, toChild) {
		for {
			fmt.Fprintln(os.Stderr, strings.Repeat("x", 1<<20))
		}
	}
}

func deeper(n int) int {
	if n == 0 { // after 2^64 calls
		return 0
	}
	return deeper(n+1) + n
}

// escape tries what a worker that was taken over would try, and tells what it could do.
func escape(*child) *done {
	could := []string{}
	try := func(what string, err error) {
		if err == nil {
			could = append(could, what)
		}
	}
	_, err := os.ReadFile("/etc/passwd")
	try("read a file", err)
	try("write a file", os.WriteFile("/tmp/orchd-worker-was-here", []byte("x"), 0o644))
	try("run a program", exec.Command("/bin/true").Run())
	for _, family := range []int{unix.AF_UNIX, unix.AF_INET, unix.AF_NETLINK} {
		_, err = unix.Socket(family, unix.SOCK_DGRAM, 0)
		try(fmt.Sprint("open a socket of family ", family), err)
	}
	try("signal the parent", unix.Kill(os.Getppid(), 0))
	try("signal a thread of the parent", unix.Tgkill(os.Getppid(), os.Getppid(), 0))
	try("trace the parent", unix.PtraceAttach(os.Getppid()))
	try("be root", unix.Setuid(0))
	try("make a namespace", unix.Unshare(unix.CLONE_NEWUSER))
	_, err = unix.MemfdCreate("x", 0)
	try("make a file in memory", err)
	try("raise its limits", unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}))
	text, _ := json.Marshal(could)
	return &done{Result: text}
}

// A worker that runs the code of an attacker can do nothing but talk to its parent.
func TestEscape(t *testing.T) {
	b := fakePool(t, "confined")
	got, err := b.callWithin(t, 20*time.Second, fakeProgram, "f", "", &host{})
	if err != nil || got != "[]" {
		t.Errorf("a worker could %s, %v, want nothing", got, err)
	}
}

func TestWorkersThatOverdoIt(t *testing.T) {
	for kind, want := range map[string]string{"stack": "it recursed too deeply", "log flood": "", "stderr flood": ""} {
		t.Run(kind, func(t *testing.T) {
			b := fakePool(t, kind)
			before := heap()
			_, err := b.callWithin(t, 3*time.Second, fakeProgram, "f", "", &host{})
			contains(t, err, want)
			if want == "" && !errors.Is(err, ErrDeadline) {
				t.Errorf("got %v, want ErrDeadline", err)
			}
			if grown := heap() - before; grown > 4<<20 {
				t.Errorf("this process grew by %d bytes", grown)
			}
		})
	}
}

// confinedFake is a fake that gives up its rights as a worker does.
func confinedFake(kind string) bool {
	switch kind {
	case "confined", "stack":
		return true
	}
	return false
}
