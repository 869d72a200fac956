package worker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"github.com/orchd/orchd/api"
)

// Module is one module of a program. Its bytes come from the Source, by digest.
type Module struct {
	Name     string // other modules of the program load it by this name
	Kind     api.ModuleKind
	Digest   string          // SHA-256, in hex
	Settings json.RawMessage // a JSON object, or nothing
}

// Program is what can be called: functions of the last module, which may use the others.
type Program struct {
	Modules []Module
	// Spell: the one module is a script, and its function run is called.
	Spell bool
}

// Call is one call of a function.
type Call struct {
	Program  Program
	Function string          // of a service; a spell's is run
	Args     json.RawMessage // a JSON object, by name; an array, in order; or nothing
	Context  Context
	Host     Host
}

// Context is what the code is told about its call.
type Context struct {
	Caller api.Actor
	Spell  json.RawMessage // the fields of the struct spell, as an object; nil for services
	Random bool            // WASM modules have random bytes; otherwise always the same ones
}

// Host is what a call may ask of the world. Its methods are called one at a time, and
// return when ctx ends. What they are handed comes from code that is not trusted.
type Host interface {
	// Do is a host function such as kv.get: args is a JSON object by parameter name. The
	// text of an error is what the script is told.
	Do(ctx context.Context, name string, args json.RawMessage) (json.RawMessage, error)
	// Enter is asked when the code calls another service: who answers, and with what rights.
	// FunctionOf(ctx) is the function that it wants to call.
	Enter(ctx context.Context, service string) (Program, Context, Host, error)
}

// Source has the bytes of modules by digest.
type Source interface {
	Module(ctx context.Context, digest string) ([]byte, error)
}

// Config is how a pool runs things. What is zero takes a default.
type Config struct {
	// Command starts a child, which calls Main; default: this binary with sysvc-worker. The
	// memory limit follows as one more argument.
	Command []string
	Workers int           // children at most; default: 2 for each core, at most 8
	Memory  int64         // bytes that one call may take, beside what a worker needs for itself; default 128 MiB
	Steps   uint64        // of Starlark, in one call and all calls inside it; default 100 million
	Rest    time.Duration // how long a worker stays without a call; default 1 minute
	Source  Source
	Log     *slog.Logger
}

// Defaults of Config.
const (
	defaultMemory = 128 << 20
	defaultSteps  = 100_000_000
	defaultRest   = time.Minute
	maxWorkers    = 8
)

func (c Config) withDefaults() Config {
	if len(c.Command) == 0 {
		c.Command = []string{"/proc/self/exe", "sysvc-worker"}
	}
	if c.Workers <= 0 {
		c.Workers = min(2*runtime.NumCPU(), maxWorkers)
	}
	if c.Memory <= 0 {
		c.Memory = defaultMemory
	}
	if c.Steps == 0 {
		c.Steps = defaultSteps
	}
	if c.Rest <= 0 {
		c.Rest = defaultRest
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// How calls end that no script can be blamed for in its own words. Ask with errors.Is.
var (
	ErrDeadline   = errors.New("the call took longer than it may, and was stopped")
	ErrMemory     = errors.New("the call took more memory than it may, and was stopped")
	ErrSteps      = errors.New("the call took more steps than it may, and was stopped")
	ErrCrashed    = errors.New("the worker of the call ended before it did")
	ErrBusy       = errors.New("all workers were busy for as long as the call may take")
	ErrClosed     = errors.New("system services are shutting down")
	ErrNoFunction = errors.New("no such function")
)

// ScriptError is what went wrong within the code of a module, in its own words.
type ScriptError struct {
	Msg       string // such as: division by zero
	At        string // FILE:LINE:COLUMN, if known
	Backtrace string // of the Starlark functions that were running, a line each; empty for WASM
}

// Error is the message and where it came from.
func (e *ScriptError) Error() string {
	if e.At == "" {
		return e.Msg
	}
	return e.Msg + " (" + e.At + ")"
}

type functionKey struct{}

// FunctionOf is, within Host.Enter, the function that is about to be called.
func FunctionOf(ctx context.Context) string {
	function, _ := ctx.Value(functionKey{}).(string)
	return function
}
