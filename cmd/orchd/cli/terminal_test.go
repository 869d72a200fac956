package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
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
