package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal gives a terminal and the side of it where a person sits.
func openTerminal(t *testing.T) (terminal, person *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal, person
}

// screen runs a command line at a terminal where a person has typed something, and
// gives what stdout got, which goes elsewhere, and what the person saw.
func (f *fake) screen(typed string, args ...string) (r result) {
	f.t.Helper()
	var out bytes.Buffer
	r = f.sitting(typed, &out, args...)
	r.stdout = out.String()
	return r
}

// atTerminal is screen with stdout at the terminal too.
func (f *fake) atTerminal(typed string, args ...string) result {
	f.t.Helper()
	return f.sitting(typed, nil, args...)
}

func (f *fake) sitting(typed string, out io.Writer, args ...string) (r result) {
	f.t.Helper()
	terminal, person := openTerminal(f.t)
	if _, err := io.WriteString(person, typed); err != nil {
		f.t.Fatal(err)
	}
	seen := make(chan string)
	go func() {
		text, _ := io.ReadAll(person) // the end of a terminal is an error
		seen <- string(text)
	}()
	if out == nil {
		out = terminal
	}
	a := App{Stdin: terminal, Stdout: out, Stderr: terminal, Now: func() time.Time { return now }, Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}
	r.code = a.Run(f.t.Context(), args)
	terminal.Close()
	r.stderr = strings.ReplaceAll(<-seen, "\r\n", "\n")
	return r
}

// seat is a terminal where somebody sits while a command runs.
type seat struct {
	t                *testing.T
	fake             *fake
	terminal, person *os.File
	mu               sync.Mutex
	seen             bytes.Buffer
	fresh            chan struct{}
	code             chan int
}

// sit opens a terminal and looks on.
func (f *fake) sit(t *testing.T) *seat {
	t.Helper()
	s := &seat{t: t, fake: f, fresh: make(chan struct{}, 1), code: make(chan int, 1)}
	s.terminal, s.person = openTerminal(t)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := s.person.Read(buf)
			s.mu.Lock()
			s.seen.Write(buf[:n])
			s.mu.Unlock()
			select {
			case s.fresh <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// run begins a command line at the terminal.
func (s *seat) run(ctx context.Context, args ...string) {
	a := App{Stdin: s.terminal, Stdout: s.terminal, Stderr: s.terminal, Now: time.Now, Environ: []string{"ORCHD_ADDR=unix://" + s.fake.socket}}
	go func() { s.code <- a.Run(ctx, args) }()
}

func (s *seat) types(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.person, keys); err != nil {
		s.t.Fatal(err)
	}
}

// text is all that was seen so far.
func (s *seat) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ReplaceAll(s.seen.String(), "\r\n", "\n")
}

// see waits until something has been seen.
func (s *seat) see(want string) {
	s.t.Helper()
	late := time.After(10 * time.Second)
	for !strings.Contains(s.text(), want) {
		select {
		case <-s.fresh:
		case <-late:
			s.t.Fatalf("did not see %q but %q", want, s.text())
		}
	}
}

// ends waits for the end of the command.
func (s *seat) ends() int {
	s.t.Helper()
	select {
	case code := <-s.code:
		return code
	case <-time.After(10 * time.Second):
		s.t.Fatalf("it does not end; saw %q", s.text())
		return 0
	}
}
