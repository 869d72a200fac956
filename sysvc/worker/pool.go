package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
)

// Pool runs calls, each in a worker of its own. Workers are started when they are needed,
// and end when they have rested for a while.
type Pool struct {
	cfg     Config
	slots   chan struct{} // one for each worker that is in use
	closing chan struct{}

	mu     sync.Mutex
	closed bool
	idle   []*process // the one that was used last is the last
	all    map[*process]bool
	noted  bool // what the kernel does not have has been logged
}

// New makes a pool. Nothing runs before the first call.
func New(cfg Config) *Pool {
	cfg = cfg.withDefaults()
	return &Pool{cfg: cfg, slots: make(chan struct{}, cfg.Workers), closing: make(chan struct{}), all: map[*process]bool{}}
}

// Close kills all workers, and what they run ends with ErrClosed. It waits until they are gone.
func (p *Pool) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.closing)
	}
	all := make([]*process, 0, len(p.all))
	for w := range p.all {
		all = append(all, w)
	}
	p.idle = nil
	p.mu.Unlock()
	for _, w := range all {
		w.kill()
	}
	for _, w := range all {
		<-w.gone
	}
}

// Call calls a function and gives back the JSON that it returns. It may take until ctx
// ends (a minute if ctx has no deadline), the wait for a free worker included.
//
// Errors: *ScriptError, ErrNoFunction, ErrDeadline, ErrMemory, ErrSteps, ErrCrashed,
// ErrBusy, ErrClosed, or that of ctx if it was cancelled.
func (p *Pool) Call(ctx context.Context, call Call) (json.RawMessage, error) {
	if len(call.Args) > maxCallArgs {
		return nil, &ScriptError{Msg: fmt.Sprintf("the arguments are %d bytes of JSON, more than %d", len(call.Args), maxCallArgs)}
	}
	d, err := p.run(ctx, call.Host, run{Program: call.Program, Function: call.Function, Args: call.Args, Context: call.Context})
	if err != nil {
		return nil, err
	}
	return d.Result, nil
}

// Functions compiles a program and names the functions that can be called, in the order
// in which the module has them. A *ScriptError says what cannot be compiled, and where.
func (p *Pool) Functions(ctx context.Context, program Program) ([]string, error) {
	d, err := p.run(ctx, noHost{}, run{Program: program, Functions: true})
	if err != nil {
		return nil, err
	}
	return d.Functions, nil
}

// noHost is for code that is not called, only looked at, and for calls without a Host.
type noHost struct{}

var errNoHost = errors.New("there is nothing here to ask, as while a module tells its functions")

func (noHost) Do(context.Context, string, json.RawMessage) (json.RawMessage, error) {
	return nil, errNoHost
}

func (noHost) Enter(context.Context, string) (Program, Context, Host, error) {
	return Program{}, Context{}, nil, errNoHost
}

// run has a worker do it.
func (p *Pool) run(ctx context.Context, host Host, r run) (*done, error) {
	if err := r.Program.check(); err != nil {
		return nil, err
	}
	if host == nil {
		host = noHost{}
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	if err := p.acquire(ctx); err != nil {
		return nil, err
	}
	defer func() { <-p.slots }()
	w, err := p.worker(ctx, r.Program)
	if err != nil {
		return nil, err
	}
	c := conversation{pool: p, worker: w, hosts: []Host{host}}
	d, err := c.hold(ctx, r)
	if err != nil {
		p.retire(w)
		return nil, p.why(ctx, w, err)
	}
	p.release(w)
	return d, d.Failure.err()
}

// check finds what no worker could make sense of.
func (p Program) check() error {
	switch {
	case len(p.Modules) == 0:
		return &ScriptError{Msg: "there is no module to call"}
	case p.Spell && (len(p.Modules) != 1 || p.Modules[0].Kind != api.ModuleStarlark):
		return &ScriptError{Msg: "a spell is one Starlark script"}
	}
	return nil
}

// withDeadline gives calls an end that have none.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, api.DefaultCallTTL*time.Second)
}

// acquire waits for its turn.
func (p *Pool) acquire(ctx context.Context) error {
	select {
	case <-p.closing:
		return ErrClosed
	default:
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-p.closing:
		return ErrClosed
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("%w (%d of them): %w", ErrBusy, p.cfg.Workers, ctx.Err())
		}
		return ctx.Err()
	}
}

// worker gives a free worker, the one that knows the program if there is one, or starts one.
func (p *Pool) worker(ctx context.Context, program Program) (*process, error) {
	if w := p.takeIdle(program); w != nil {
		return w, nil
	}
	w, err := start(ctx, p.cfg, p.adopt)
	if err != nil {
		if w != nil {
			p.retire(w)
		}
		return nil, p.why(ctx, w, fmt.Errorf("start a worker for system services: %w", err))
	}
	if w.note != "" && p.first() {
		p.cfg.Log.Warn("workers of system services are confined less than they could be", "why", w.note)
	}
	return w, nil
}

func (p *Pool) first() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.noted
	p.noted = true
	return !before
}

// adopt notes a process that has just been started; false: the pool is closed.
func (p *Pool) adopt(w *process) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.all[w] = true
	}
	return !p.closed
}

func (p *Pool) takeIdle(program Program) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(w *process) bool {
		if w.isGone() { // somebody killed it while it rested
			delete(p.all, w)
			return true
		}
		return false
	})
	if len(p.idle) == 0 {
		return nil
	}
	// The one that was used last has the warmest caches; the others may rest.
	at := len(p.idle) - 1
	for i := at; i >= 0; i-- {
		if p.idle[i].knows(program) {
			at = i
			break
		}
	}
	w := p.idle[at]
	w.rest.Stop()
	p.idle = slices.Delete(p.idle, at, at+1)
	return w
}

func (p *Pool) release(w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.idle = append(p.idle, w)
		w.rest = time.AfterFunc(p.cfg.Rest, func() { p.dismiss(w) })
	}
}

// dismiss ends a worker that still rests.
func (p *Pool) dismiss(w *process) {
	p.mu.Lock()
	at := slices.Index(p.idle, w)
	if at >= 0 {
		p.idle = slices.Delete(p.idle, at, at+1)
	}
	p.mu.Unlock()
	if at >= 0 {
		p.retire(w)
	}
}

// retire ends a worker, and waits until it is gone.
func (p *Pool) retire(w *process) {
	w.kill()
	<-w.gone
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, w)
}

// why is the error of a call whose worker is gone.
func (p *Pool) why(ctx context.Context, w *process, err error) error {
	select {
	case <-p.closing:
		return ErrClosed
	default:
	}
	if w == nil {
		return err
	}
	// What the worker said at its end goes before the deadline: who runs out of memory
	// may take long to die of it.
	if cause := w.lastWords(); cause != nil {
		return cause
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ErrDeadline
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errFrame):
		return fmt.Errorf("%w: it was killed for what it said: %w", ErrCrashed, err)
	}
	return fmt.Errorf("%w: %w (%s)", ErrCrashed, err, strings.Join(append([]string{w.end}, w.firstWords()...), ": "))
}
