package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// teller tells the demo, and is what a lab takes for a test (lab.T).
type teller struct {
	out   io.Writer
	began time.Time
	steps int

	mu       sync.Mutex
	failed   bool
	cleanups []func()
	end      sync.Once
}

func newTeller(out io.Writer) *teller { return &teller{out: out, began: time.Now()} }

// tell runs the demo and ends the program. A failure ends f early.
func (t *teller) tell(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
	t.mu.Lock()
	failed := t.failed
	t.mu.Unlock()
	if failed {
		t.exit(1)
	}
	t.say("\nDone in %.0f s. Everything is cleaned up.", time.Since(t.began).Seconds())
	t.exit(0)
}

// exit undoes everything, newest first, and ends the program.
func (t *teller) exit(code int) {
	t.end.Do(func() {
		t.mu.Lock()
		cleanups := t.cleanups
		t.mu.Unlock()
		for _, f := range slices.Backward(cleanups) {
			f()
		}
		os.Exit(code)
	})
}

func (t *teller) obeyCtrlC() {
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	<-interrupt
	t.exit(130)
}

// step begins a part of the story.
func (t *teller) step(title string) {
	t.steps++
	t.say("\n%d. %s", t.steps, title)
}

func (t *teller) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// show prints a command as one would type it.
func (t *teller) show(command ...string) {
	for i, word := range command {
		if strings.ContainsAny(word, " =") && !strings.HasPrefix(word, "/") {
			command[i] = "'" + word + "'"
		}
	}
	t.say("$ %s", strings.Join(command, " "))
}

// run shows a command, runs it, shows what it printed and gives that.
func (t *teller) run(name string, args ...string) string {
	t.show(append([]string{name}, args...)...)
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C ends the demo, which then ends all
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	for line := range strings.Lines(strings.TrimSpace(string(out))) {
		t.say("    %s", strings.TrimRight(line, "\r\n"))
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, strings.TrimSpace(complaint.String()))
	}
	return string(out)
}

func (t *teller) Helper() {}

func (t *teller) Logf(format string, args ...any) { t.say(format, args...) }

// Fatalf ends the goroutine, as that of a test does.
func (t *teller) Fatalf(format string, args ...any) {
	t.say("\nThe demo failed: "+format, args...)
	t.mu.Lock()
	t.failed = true
	t.mu.Unlock()
	runtime.Goexit()
}

func (t *teller) Skipf(format string, args ...any) { t.Fatalf(format, args...) }

func (t *teller) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *teller) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}
