package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/orchd/orchd/sysvc/worker/starlark"
	"github.com/orchd/orchd/sysvc/worker/wasm"
)

// Main is a worker: it gives up its rights, then runs what it is told to until its input
// ends. The last argument of the process is its memory limit in bytes. The number is the
// exit status.
func Main() int {
	memory, err := strconv.ParseInt(os.Args[len(os.Args)-1], 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, "a worker is started by orchd serve; there is nothing to do here by hand")
		return 2
	}
	// Whatever prints must not print into the frames. A file that nobody refers to is closed.
	frames := os.Stdout
	defer runtime.KeepAlive(frames)
	os.Stdout = os.Stderr
	note, err := confine(memory)
	c := &child{wasm: wasm.New(memory), starlark: starlark.New()}
	if err != nil {
		c.say(fromChild{Ready: &ready{Error: err.Error()}})
		return 1
	}
	if err := c.say(fromChild{Ready: &ready{Note: note}}); err != nil {
		return 1
	}
	if err := c.serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child is the child's side of the pipes.
type child struct {
	starlark *starlark.Engine
	wasm     *wasm.Engine
}

// serve runs one call after the other.
func (c *child) serve() error {
	for {
		said, err := c.hear()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if said.Run == nil {
			return errors.New("the parent answers what was not asked")
		}
		if err := c.say(fromChild{Done: c.run(*said.Run)}); err != nil {
			return err
		}
	}
}

// run runs one call, and tells how it ended.
func (c *child) run(r run) *done {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Millis)*time.Millisecond)
	defer cancel()
	s := &session{child: c, ctx: ctx, steps: r.Steps}
	if r.Functions {
		functions, err := s.functions(r.Program)
		return &done{Functions: functions, Failure: failureOf(err)}
	}
	result, err := s.call(r.Program, r.Context, r.Function, r.Args)
	if err != nil {
		return &done{Failure: failureOf(err)}
	}
	return &done{Result: result}
}

func (c *child) say(message fromChild) error {
	text, err := frame(message, maxFromChild)
	if err != nil {
		return err
	}
	for len(text) > 0 {
		n, err := unix.Write(1, text)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		text = text[max(n, 0):]
	}
	return nil
}

func (c *child) hear() (message toChild, err error) {
	return message, readFrame(pipe(0), maxToChild, &message)
}

// pipe reads a file descriptor without the runtime's poller: a child that waits for its
// parent has nothing else to do.
type pipe int

func (p pipe) Read(into []byte) (int, error) {
	for {
		n, err := unix.Read(int(p), into)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(into) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
