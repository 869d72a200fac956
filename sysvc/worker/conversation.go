package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// What one call may do at most, whatever it says.
const (
	maxDepth    = 16 // calls inside of calls
	maxLogLines = 10_000
	maxLogBytes = 1 << 20
)

// grace is how much longer than its call a worker may live: it stops Starlark and WASM
// at the deadline itself, and is killed only if it does not.
const grace = 500 * time.Millisecond

// conversation is the parent's side of one call.
type conversation struct {
	pool   *Pool
	worker *process
	hosts  []Host // of the call, and of the calls inside of it; the last one is asked
	lines  int    // that were logged
	bytes  int    // in them
}

// hold says what is to be run and answers what the worker asks until it is done. With an
// error nothing more must be said to this worker.
func (c *conversation) hold(ctx context.Context, r run) (*done, error) {
	over := c.killAtEnd(ctx)
	defer over()
	deadline, _ := ctx.Deadline()
	r.Millis = max(1, time.Until(deadline).Milliseconds())
	r.Steps = c.pool.cfg.Steps
	if err := c.say(toChild{Run: &r}); err != nil {
		return nil, err
	}
	for {
		var said fromChild
		if err := readFrame(c.worker.read, maxFromChild, &said); err != nil {
			return nil, err
		}
		if said.Done != nil {
			return said.Done, said.Done.check(c.depth())
		}
		reply, err := c.answer(ctx, said)
		if err != nil {
			return nil, err
		}
		if reply == nil {
			continue
		}
		if err := c.say(*reply); err != nil {
			return nil, err
		}
	}
}

// killAtEnd kills the worker when ctx ends. The function that it returns calls that off, and
// the worker is not killed any more once it has returned.
func (c *conversation) killAtEnd(ctx context.Context) (over func()) {
	finished, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-finished:
			return
		case <-ctx.Done():
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			late := time.NewTimer(grace)
			defer late.Stop()
			select {
			case <-finished:
				return
			case <-late.C:
			}
		}
		c.worker.kill()
	}()
	return func() {
		close(finished)
		<-stopped
	}
}

func (c *conversation) say(message toChild) error {
	text, err := frame(message, maxToChild)
	if err != nil {
		return err
	}
	_, err = c.worker.in.Write(text)
	return err
}

func (c *conversation) depth() int { return len(c.hosts) }

// answer is what to say to the worker; nil: nothing. An error is for what no worker says.
func (c *conversation) answer(ctx context.Context, said fromChild) (*toChild, error) {
	switch {
	case said.Want != "":
		return c.module(ctx, said.Want), nil
	case said.Host != nil:
		return c.do(ctx, *said.Host)
	case said.Enter != nil:
		return c.enter(ctx, *said.Enter), nil
	case said.Left && c.depth() > 1:
		c.hosts = c.hosts[:c.depth()-1]
		return nil, nil
	}
	return nil, fmt.Errorf("%w: it says nothing that is due", errFrame)
}

func (c *conversation) module(ctx context.Context, digest string) *toChild {
	text, err := c.pool.cfg.Source.Module(ctx, digest)
	if err != nil {
		return &toChild{Answer: &answer{Error: err.Error()}}
	}
	if len(text) > api.MaxModule {
		return &toChild{Answer: &answer{Error: fmt.Sprintf("module %s is larger than %d bytes", digest, api.MaxModule)}}
	}
	c.worker.has[digest] = true
	return &toChild{Answer: &answer{Bytes: text}}
}

// do has the host do something.
func (c *conversation) do(ctx context.Context, call hostCall) (*toChild, error) {
	if !json.Valid(call.Args) {
		return nil, fmt.Errorf("%w: what %q is given is not JSON", errFrame, call.Name)
	}
	if err := c.mayLog(call); err != nil {
		return &toChild{Answer: &answer{Error: err.Error()}}, nil
	}
	result, err := c.hosts[c.depth()-1].Do(ctx, call.Name, call.Args)
	if err == nil && len(result) > maxCallArgs {
		err = fmt.Errorf("%s: the answer is larger than %d bytes", call.Name, maxCallArgs)
	}
	if err != nil {
		return &toChild{Answer: &answer{Error: messageOf(err)}}, nil
	}
	return &toChild{Answer: &answer{Bytes: result}}, nil
}

// messageOf is what a script is told of an error: what may be shown to users.
func messageOf(err error) string {
	if e, is := errors.AsType[*api.Error](err); is && e.Msg != "" {
		return e.Msg
	}
	if text := err.Error(); text != "" {
		return text
	}
	return "it failed" // an empty text would mean that it went well
}

// mayLog counts lines: a script that floods its log is stopped.
func (c *conversation) mayLog(call hostCall) error {
	if call.Name != "log" && call.Name != "error" {
		return nil
	}
	c.lines++
	c.bytes += len(call.Args)
	if c.lines > maxLogLines || c.bytes > maxLogBytes {
		return fmt.Errorf("%s: one call may write %d lines, and %d bytes in all", call.Name, maxLogLines, maxLogBytes)
	}
	return nil
}

// enter begins a call inside of the call.
func (c *conversation) enter(ctx context.Context, e enter) *toChild {
	refuse := func(why string) *toChild { return &toChild{Entered: &entered{Error: why}} }
	if c.depth() >= maxDepth {
		return refuse(fmt.Sprintf("calls may go %d deep", maxDepth))
	}
	program, inner, host, err := c.hosts[c.depth()-1].Enter(context.WithValue(ctx, functionKey{}, e.Function), e.Service)
	if err == nil {
		err = program.check()
	}
	if err != nil {
		return refuse(messageOf(err))
	}
	c.hosts = append(c.hosts, host)
	return &toChild{Entered: &entered{Program: program, Context: inner}}
}

// check refuses an end that no worker comes to.
func (d *done) check(depth int) error {
	switch {
	case depth != 1:
		return fmt.Errorf("%w: done before the calls inside were", errFrame)
	case d.Failure != nil:
		return nil
	case len(d.Result) > api.MaxCallResult:
		return fmt.Errorf("%w: a result of %d bytes", errFrame, len(d.Result))
	case d.Functions == nil && !json.Valid(d.Result):
		return fmt.Errorf("%w: the result is not JSON", errFrame)
	case slices.Contains(d.Functions, ""):
		return fmt.Errorf("%w: a function without a name", errFrame)
	}
	return nil
}
