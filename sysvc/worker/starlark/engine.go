// Package starlark runs Starlark modules. It is used in the worker's child process, and
// leaves limits of memory and the last word on time to it.
//
// What is compiled is kept by digest; everything else is made anew for each call, so that
// calls leave nothing behind for the next one. The names that scripts know stand in names.go.
package starlark

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	sl "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/orchd/orchd/api"
)

// Module is one Starlark file.
type Module struct {
	Name     string // load("name", ...) finds it
	Digest   string
	Settings json.RawMessage
}

// Do does what a script asks the host for. args is a JSON object by parameter name; the
// answer is JSON, or empty for None.
type Do func(name string, args json.RawMessage) (json.RawMessage, error)

// Text gives the text of a module by its digest.
type Text func(digest string) ([]byte, error)

// Call is one call of a function.
type Call struct {
	Modules  []Module // that load can find
	Module   string   // whose function is called
	Function string
	Args     json.RawMessage // an object, by name; an array, in order; or nothing
	Caller   api.Actor
	Spell    json.RawMessage // an object, or nothing
	Steps    *uint64         // that are left; less after the call
	Do       Do
	Text     Text
}

// How calls end before the script does. The end of ctx is context.DeadlineExceeded.
var (
	ErrSteps      = errors.New("the call took more steps than it may, and was stopped")
	ErrNoFunction = errors.New("no such function")
)

// Error is what went wrong in a script.
type Error struct {
	Msg       string
	At        string // FILE:LINE:COLUMN
	Backtrace string
	cause     error
}

func (e *Error) Error() string { return e.Msg }

// Unwrap gives the cause, such as ErrSteps or what the host said.
func (e *Error) Unwrap() error { return e.cause }

// maxKept is how many bytes of source the compiled programs that are kept may come from.
const maxKept = 4 << 20

// Engine keeps compiled programs.
type Engine struct {
	programs map[string]*compiled // by name and digest
	bytes    int                  // of the source of all of them
}

type compiled struct {
	program   *sl.Program
	functions []string // that can be called, in order
	bytes     int
}

// New makes an engine that has nothing compiled yet.
func New() *Engine { return &Engine{programs: map[string]*compiled{}} }

// options is the dialect: with while loops and sets, without recursion.
var options = &syntax.FileOptions{Set: true, While: true, TopLevelControl: true, GlobalReassign: true}

// Functions compiles a module and names the functions that can be called.
func (e *Engine) Functions(m Module, text Text) ([]string, error) {
	c, err := e.compiled(m, text)
	if err != nil {
		return nil, err
	}
	return c.functions, nil
}

// compiled gives the program of a module, compiled now if it must be.
func (e *Engine) compiled(m Module, text Text) (*compiled, error) {
	key := m.Name + " " + m.Digest
	if c, is := e.programs[key]; is {
		return c, nil
	}
	source, err := text(m.Digest)
	if err != nil {
		return nil, fmt.Errorf("load module %s: %w", m.Name, err)
	}
	c, err := compile(fileName(m.Name), source)
	if err != nil {
		return nil, err
	}
	if e.bytes+c.bytes > maxKept {
		clear(e.programs) // all at once: this is for who has far more scripts than usual
		e.bytes = 0
	}
	e.programs[key] = c
	e.bytes += c.bytes
	return c, nil
}

// fileName is how errors name a module.
func fileName(module string) string {
	if strings.HasSuffix(module, ".star") {
		return module
	}
	return module + ".star"
}

func compile(file string, source []byte) (*compiled, error) {
	tree, err := options.Parse(file, source, 0)
	if err != nil {
		return nil, compileError(err)
	}
	program, err := sl.FileProgram(tree, isPredeclared)
	if err != nil {
		return nil, compileError(err)
	}
	return &compiled{program, functions(tree.Stmts, nil), len(source)}, nil
}

// functions are the names of the functions that a module defines, without private ones.
func functions(stmts []syntax.Stmt, found []string) []string {
	for _, stmt := range stmts {
		switch s := stmt.(type) {
		case *syntax.DefStmt:
			if name := s.Name.Name; !strings.HasPrefix(name, "_") && !slices.Contains(found, name) {
				found = append(found, name)
			}
		case *syntax.IfStmt:
			found = functions(s.False, functions(s.True, found))
		}
	}
	return found
}

// Call calls a function of a module. The result is JSON.
func (e *Engine) Call(ctx context.Context, c Call) (json.RawMessage, error) {
	r := &runner{engine: e, call: c, ctx: ctx, loaded: map[string]sl.StringDict{}}
	r.thread = &sl.Thread{Name: c.Module, Load: r.load, Print: r.print, OnMaxSteps: r.tooManySteps}
	r.thread.SetLocal(localRunner, r)
	r.thread.SetMaxExecutionSteps(max(1, *c.Steps))
	stop := context.AfterFunc(ctx, func() { r.thread.Cancel("deadline") })
	defer stop()
	result, err := r.run()
	r.settle()
	if err != nil {
		return nil, r.explain(err)
	}
	return result, nil
}

const localRunner = "runner"

// runner is one call.
type runner struct {
	engine  *Engine
	call    Call
	ctx     context.Context
	thread  *sl.Thread
	caller  sl.Value
	spell   sl.Value
	loaded  map[string]sl.StringDict // by module; nil while it is being loaded
	counted uint64                   // steps of the thread that were taken off the budget
	ended   error                    // why the script was stopped, if it was
}

func (r *runner) run() (json.RawMessage, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	args, kwargs, err := arguments(r.call.Args)
	if err != nil {
		return nil, err
	}
	if r.caller, r.spell, err = contextOf(r.call); err != nil {
		return nil, err
	}
	globals, err := r.load(r.thread, r.call.Module)
	if err != nil {
		return nil, err
	}
	function, is := globals[r.call.Function].(sl.Callable)
	if !is || strings.HasPrefix(r.call.Function, "_") {
		return nil, fmt.Errorf("%w: %s does not define %s", ErrNoFunction, r.call.Module, r.call.Function)
	}
	result, err := sl.Call(r.thread, function, args, kwargs)
	if err != nil {
		return nil, err
	}
	text, err := ToJSON(result)
	if err != nil {
		return nil, fmt.Errorf("return invalid result: %w", err)
	}
	return text, nil
}

// load runs a module of the program, once in a call, and gives what it defines.
func (r *runner) load(thread *sl.Thread, name string) (sl.StringDict, error) {
	if globals, is := r.loaded[name]; is {
		if globals == nil {
			return nil, fmt.Errorf("module %s loads itself, over others or at once", name)
		}
		return globals, nil
	}
	at := slices.IndexFunc(r.call.Modules, func(m Module) bool { return m.Name == name })
	if at < 0 {
		return nil, fmt.Errorf("there is no Starlark module %q here", name)
	}
	m := r.call.Modules[at]
	c, err := r.engine.compiled(m, r.call.Text)
	if err != nil {
		return nil, err
	}
	names, err := r.predeclared(m)
	if err != nil {
		return nil, err
	}
	r.loaded[name] = nil
	globals, err := c.program.Init(thread, names)
	if err != nil {
		delete(r.loaded, name)
		return nil, err
	}
	r.loaded[name] = globals
	return globals, nil
}

func (r *runner) print(_ *sl.Thread, text string) {
	if _, err := r.do("log", []field{{"text", sl.String(text)}}); err != nil {
		r.thread.Cancel(err.Error())
		r.ended = err
	}
}

func (r *runner) tooManySteps(thread *sl.Thread) {
	r.ended = ErrSteps
	thread.Cancel("too many steps")
}

// settle takes the steps that the thread made since it was last asked off the budget, and
// gives the thread what is left.
func (r *runner) settle() {
	made := r.thread.ExecutionSteps()
	*r.call.Steps -= min(*r.call.Steps, made-r.counted)
	r.counted = made
}

// do asks the host. What the host runs meanwhile may take of the same steps.
func (r *runner) do(name string, args []field) (sl.Value, error) {
	text, err := objectToJSON(args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.settle()
	answer, err := r.call.Do(name, text)
	r.thread.SetMaxExecutionSteps(max(1, r.thread.ExecutionSteps()+*r.call.Steps))
	if err != nil {
		return nil, err
	}
	if len(answer) == 0 {
		return sl.None, nil
	}
	value, err := FromJSON(answer)
	if err != nil {
		return nil, fmt.Errorf("%s: the answer: %w", name, err)
	}
	return value, nil
}

// explain puts an error of the interpreter into the words of this package.
func (r *runner) explain(err error) error {
	if e, is := errors.AsType[*Error](err); is {
		return e // a module that cannot be compiled, wherever it was loaded
	}
	e := &Error{Msg: err.Error(), cause: err}
	if eval, is := errors.AsType[*sl.EvalError](err); is {
		e.At, e.Backtrace = whereabouts(eval)
	}
	switch {
	case r.ended != nil:
		e.Msg, e.cause = r.ended.Error(), r.ended
	case r.ctx.Err() != nil:
		e.Msg, e.cause = "the call took longer than it may, and was stopped", r.ctx.Err()
	}
	return e
}

// whereabouts is the innermost place in a script, and how it came there.
func whereabouts(eval *sl.EvalError) (at, backtrace string) {
	backtrace = eval.Backtrace()
	for inner := eval; inner != nil; inner, _ = errors.AsType[*sl.EvalError](inner.Unwrap()) {
		for _, frame := range slices.Backward(inner.CallStack) {
			if frame.Pos.Line > 0 {
				at = frame.Pos.String()
				break
			}
		}
	}
	return at, backtrace
}

// compileError is where and why a module cannot be compiled.
func compileError(err error) error {
	e := &Error{Msg: err.Error(), Backtrace: err.Error(), cause: err}
	if first, is := errors.AsType[syntax.Error](err); is {
		e.Msg, e.At = first.Msg, first.Pos.String()
	}
	if all, is := errors.AsType[resolve.ErrorList](err); is {
		e.Msg, e.At = all[0].Msg, all[0].Pos.String()
	}
	return e
}
