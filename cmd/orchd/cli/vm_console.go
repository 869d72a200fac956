package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/orchd/orchd/api"
)

// leaveKey is ctrl-], which ends a console at a terminal, as with telnet and virsh.
const leaveKey = 0x1d

func (a *App) vmConsole() *cobra.Command {
	var idle time.Duration
	cmd := a.verb(verb{
		use:   "console NAME",
		short: "Talk to a virtual machine on its serial console; ctrl-] leaves",
		long: "Talk to a virtual machine on its serial console. At a terminal ctrl-] leaves, and all other keys go to the guest.\n" +
			"What is piped in is typed into it, and what it says goes to stdout until it is switched off or ctrl-C;\n" +
			"--idle ends it when the guest has been silent for so long. Who opens a console last has it.",
		example: `
orchd vm console web1
echo uptime | orchd vm console web1 --idle 2s
orchd vm console web1 < /dev/null | tee boot.log`,
		min: 1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error { return a.console(ctx, args[0], idle) },
	})
	cmd.Flags().Var((*durationFlag)(&idle), "idle", "leave when the guest has said nothing for so long (default: never)")
	return cmd
}

// console opens the console of a VM and talks until one side has had enough.
func (a *App) console(ctx context.Context, ref string, idle time.Duration) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	k := vmCall("GET", ref, "console")
	line, err := heard(ctx, c, func(o api.CallOption) (io.ReadWriteCloser, error) {
		return c.api.Console(ctx, k.path+"?"+k.query.Encode(), o)
	})
	if err != nil {
		return err
	}
	defer line.Close()
	keyboard, restore, err := a.rawTerminal()
	if err != nil {
		return err
	}
	defer restore()
	if keyboard {
		a.say("console of %s; ctrl-] leaves\r", ref)
	}
	t := &talk{line: line, in: a.Stdin, out: a.Stdout, keyboard: keyboard, idle: idle, restore: restore}
	left, err := t.run()
	restore()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return a.hungUp(ref, left, err, keyboard)
}

// rawTerminal gives the guest every key, where stdin is a terminal. What it gives
// puts the terminal back as it was and may be called twice.
func (a *App) rawTerminal() (keyboard bool, restore func(), err error) {
	f, ok := a.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, func() {}, nil
	}
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return true, func() {}, fmt.Errorf("take over the terminal: %w", err)
	}
	return true, func() { _ = term.Restore(int(f.Fd()), before) }, nil // fails only when the terminal is gone
}

// talk is an open console.
type talk struct {
	line     io.ReadWriteCloser
	in       io.Reader
	out      io.Writer
	keyboard bool
	idle     time.Duration
	restore  func()
}

// run talks until ctrl-] is pressed, the guest has been silent for too long or the
// other side hangs up. left tells that it was this side that ended it.
func (t *talk) run() (left bool, err error) {
	typed := make(chan error, 1)
	// A read of a terminal cannot be broken off: this ends with the process, or
	// with the key that comes next.
	go func() { typed <- t.send() }()
	said := make(chan error, 1)
	spoke := make(chan struct{}, 1)
	go func() { said <- t.listen(spoke) }()
	silence := time.NewTimer(t.idle)
	defer silence.Stop()
	if t.idle == 0 {
		silence.Stop()
	}
	for {
		select {
		case err := <-typed:
			if err != nil || t.keyboard {
				return t.hangUp(said, err)
			}
			typed = nil // all of a pipe is typed; what comes of it is still to be heard
		case err := <-said:
			return false, err
		case <-spoke:
			if t.idle > 0 {
				silence.Reset(t.idle)
			}
		case <-silence.C:
			return t.hangUp(said, nil)
		}
	}
}

// hangUp ends it from this side, and waits until nothing more is printed.
func (t *talk) hangUp(said <-chan error, err error) (bool, error) {
	t.restore() // saying goodbye may take some seconds
	_ = t.line.Close()
	<-said
	return err == nil, err
}

// send types what comes from this side. It ends with it, or with ctrl-].
func (t *talk) send() error {
	buf := make([]byte, 4096)
	for {
		n, err := t.in.Read(buf)
		keys, leaving := t.upToLeave(buf[:n])
		if len(keys) > 0 {
			if _, err := t.line.Write(keys); err != nil {
				return nil // whoever listens is told why
			}
		}
		switch {
		case leaving || errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read what is to be typed: %w", err)
		}
	}
}

// upToLeave is what stands before ctrl-].
func (t *talk) upToLeave(keys []byte) (before []byte, leaving bool) {
	if t.keyboard {
		if i := strings.IndexByte(string(keys), leaveKey); i >= 0 {
			return keys[:i], true
		}
	}
	return keys, false
}

// listen prints what the guest says, until the console ends.
func (t *talk) listen(spoke chan<- struct{}) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := t.line.Read(buf)
		if n > 0 {
			if _, err := t.out.Write(buf[:n]); err != nil {
				return err
			}
			select {
			case spoke <- struct{}{}:
			default:
			}
		}
		if err != nil {
			return err
		}
	}
}

// hungUp says how a console has ended, and how to open it again.
func (a *App) hungUp(ref string, left bool, err error, keyboard bool) error {
	again := "orchd vm console " + ref + " opens it again"
	if keyboard {
		a.say("") // the guest's line has no end yet
	}
	switch {
	case left:
		if keyboard {
			a.say("left the console; %s", again)
		}
		return nil
	case api.IsKind(err, api.Gone): // a broken line has io.EOF in it too
		a.say("%s was switched off", ref)
		return nil
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return &failure{exitOf[e.Kind], e.Msg, again}
	}
	return err
}

// vmConsoleLog shows what a guest has said while nobody looked.
func (a *App) vmConsoleLog() *cobra.Command {
	tail := sizeFlag{unit: 1}
	cmd := a.verb(verb{
		use:     "console-log NAME",
		short:   "Print what a virtual machine has said on its serial console",
		example: "orchd vm console-log web1\norchd vm console-log web1 --tail 4KiB",
		min:     1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			k := vmCall("GET", args[0], "console-log")
			if n := tail.units(); n > 0 {
				k = k.with("tail", number(n))
			}
			text, err := c.bytes(ctx, k)
			if err == nil {
				_, err = a.Stdout.Write(text)
			}
			return err
		},
	})
	cmd.Flags().Var(&tail, "tail", "only so much of its end, as 4KiB")
	return cmd
}

// vmScreenshot shows what a guest shows.
func (a *App) vmScreenshot() *cobra.Command {
	var file string
	cmd := a.verb(verb{
		use:     "screenshot NAME",
		short:   "Take a picture of a virtual machine's screen, as PNG",
		example: "orchd vm screenshot web1 -O web1.png\norchd vm screenshot web1 | display",
		min:     1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			if toStdout(file) && isTerminal(a.Stdout) {
				return &failure{exitUsage, "a picture does not go to a terminal", "name a file for it with -O FILE.png"}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			png, err := c.bytes(ctx, vmCall("GET", args[0], "screenshot"))
			if err != nil {
				return err
			}
			if toStdout(file) {
				_, err = a.Stdout.Write(png)
				return err
			}
			if err := os.WriteFile(file, png, 0o666); err != nil {
				return err
			}
			a.say("%s: %s", file, about(int64(len(png))))
			return nil
		},
	})
	cmd.Flags().StringVarP(&file, "file", "O", "", "file for the picture (default: stdout, if that is no terminal)")
	return cmd
}

func toStdout(file string) bool { return file == "" || file == "-" }
