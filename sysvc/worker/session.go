package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/worker/starlark"
	"github.com/orchd/orchd/sysvc/worker/wasm"
)

// session is the child's side of one call and the calls inside of it. They share the
// deadline and the steps.
type session struct {
	child *child
	ctx   context.Context
	steps uint64 // that are left
	depth int
}

// call runs a function of a program.
func (s *session) call(p Program, c Context, function string, args json.RawMessage) (json.RawMessage, error) {
	if p.Spell {
		function = "run"
	}
	if strings.HasPrefix(function, "_") || function == "" {
		return nil, &stopped{ErrNoFunction, ScriptError{Msg: fmt.Sprintf("no function %q can be called", function)}}
	}
	return s.callModule(p, c, len(p.Modules)-1, function, args)
}

// callModule runs a function of one of the modules of a program.
func (s *session) callModule(p Program, c Context, at int, function string, args json.RawMessage) (json.RawMessage, error) {
	if s.depth >= maxDepth {
		return nil, &ScriptError{Msg: fmt.Sprintf("calls may go %d deep", maxDepth)}
	}
	s.depth++
	defer func() { s.depth-- }()
	m := p.Modules[at]
	do := func(name string, args json.RawMessage) (json.RawMessage, error) { return s.do(p, c, name, args) }
	var result json.RawMessage
	var err error
	switch m.Kind {
	case api.ModuleStarlark:
		result, err = s.child.starlark.Call(s.ctx, starlark.Call{
			Modules: starlarkModules(p), Module: m.Name, Function: function, Args: args,
			Caller: c.Caller, Spell: c.Spell, Steps: &s.steps, Do: do, Text: s.child.module,
		})
	case api.ModuleWASM:
		result, err = s.callWASM(m, c, function, args, do)
	default:
		err = unknownKind(m)
	}
	if err != nil {
		return nil, s.blame(err)
	}
	if len(result) > api.MaxCallResult {
		return nil, &ScriptError{Msg: fmt.Sprintf("return invalid result: %d bytes of JSON, more than %d", len(result), api.MaxCallResult)}
	}
	return result, nil
}

func (s *session) callWASM(m Module, c Context, function string, args json.RawMessage, do wasm.Do) (json.RawMessage, error) {
	caller, err := json.Marshal(c.Caller)
	if err != nil {
		return nil, err
	}
	return s.child.wasm.Call(s.ctx, wasm.Call{
		Name: m.Name, Digest: m.Digest, Function: function, Args: args, Settings: m.Settings, Caller: caller,
		Random: c.Random, MaxResult: api.MaxCallResult, Do: do, Text: s.child.module,
	})
}

func unknownKind(m Module) error {
	return &ScriptError{Msg: fmt.Sprintf("module %s is of the unknown kind %q", m.Name, m.Kind)}
}

func starlarkModules(p Program) (all []starlark.Module) {
	for _, m := range p.Modules {
		if m.Kind == api.ModuleStarlark {
			all = append(all, starlark.Module{Name: m.Name, Digest: m.Digest, Settings: m.Settings})
		}
	}
	return all
}

// blame says in this package's words how a module failed.
func (s *session) blame(err error) error {
	script := ScriptError{Msg: err.Error()}
	if e, is := errors.AsType[*starlark.Error](err); is {
		script = ScriptError{Msg: e.Msg, At: e.At, Backtrace: e.Backtrace}
	}
	for cause, sentinel := range map[error]error{
		context.DeadlineExceeded: ErrDeadline, ErrDeadline: ErrDeadline,
		starlark.ErrSteps: ErrSteps, ErrSteps: ErrSteps,
		starlark.ErrNoFunction: ErrNoFunction, wasm.ErrNoFunction: ErrNoFunction,
		wasm.ErrMemory: ErrMemory, ErrMemory: ErrMemory,
	} {
		if !errors.Is(err, cause) {
			continue
		}
		if sentinel != ErrNoFunction && !strings.Contains(script.Msg, sentinel.Error()) {
			script.Msg = sentinel.Error()
		}
		return &stopped{sentinel, script}
	}
	return &script
}

// functions compiles all modules, and names the functions of the last one.
func (s *session) functions(p Program) (names []string, err error) {
	for _, m := range p.Modules {
		names, err = s.functionsOf(p, m)
		if err != nil {
			return nil, s.blame(err)
		}
	}
	return names, nil
}

func (s *session) functionsOf(p Program, m Module) ([]string, error) {
	switch m.Kind {
	case api.ModuleStarlark:
		names, err := s.child.starlark.Functions(starlark.Module{Name: m.Name, Digest: m.Digest}, s.child.module)
		if err == nil && p.Spell && len(names) == 0 {
			err = fmt.Errorf("%s defines no function run", m.Name)
		}
		return names, err
	case api.ModuleWASM:
		refuse := func(string, json.RawMessage) (json.RawMessage, error) { return nil, errNoHost }
		text, err := s.callWASM(m, Context{}, "_functions", nil, refuse)
		if err != nil {
			return nil, err
		}
		var names []string
		if err := json.Unmarshal(text, &names); err != nil {
			return nil, fmt.Errorf("module %s: the answer to _functions is no array of names: %w", m.Name, err)
		}
		return names, nil
	}
	return nil, unknownKind(m)
}

// do does what a module asks for: calls of other modules and services here, everything
// else by asking the parent.
func (s *session) do(p Program, c Context, name string, args json.RawMessage) (json.RawMessage, error) {
	switch name {
	case "call":
		return s.callService(args)
	case "attempt":
		return s.attempt(args)
	case "module_call":
		return s.callSibling(p, c, args)
	}
	return s.child.host(name, args)
}

// calling is what call, attempt and module_call are given.
type calling struct {
	Service  string          `json:"service"`
	Module   string          `json:"module"`
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args"`
}

// callService calls a function of another service, in this worker.
func (s *session) callService(args json.RawMessage) (json.RawMessage, error) {
	var to calling
	if err := json.Unmarshal(args, &to); err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	program, inner, err := s.child.enter(to.Service, to.Function)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", to.Service, err)
	}
	result, err := s.call(program, inner, to.Function, to.Args)
	if said := s.child.say(fromChild{Left: true}); said != nil {
		return nil, said
	}
	if err == nil {
		err = failureIn(result)
	}
	if err != nil {
		return nil, within(fmt.Sprintf("call %s.%s", to.Service, to.Function), err)
	}
	return result, nil
}

// within is the error of a call inside of a call. Only what ends all of them stays what it
// is: that the other has no such function does not mean that this one has not.
func within(what string, err error) error {
	if endsAll(err) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %s", what, err)
}

// endsAll tells whether an error is for the outermost call, whatever those inside make of it.
func endsAll(err error) bool {
	return errors.Is(err, ErrDeadline) || errors.Is(err, ErrSteps) || errors.Is(err, ErrMemory)
}

// failureIn is the error that a result tells: an object with "success": false.
func failureIn(result json.RawMessage) error {
	var told struct {
		Success json.RawMessage `json:"success"`
		Error   json.RawMessage `json:"error"`
	}
	if !bytes.HasPrefix(result, []byte("{")) || json.Unmarshal(result, &told) != nil || string(told.Success) != "false" || told.Error == nil {
		return nil
	}
	var text string
	if json.Unmarshal(told.Error, &text) != nil {
		text = string(told.Error)
	}
	return &ScriptError{Msg: text}
}

// attempt is callService for who wants to go on if it fails.
func (s *session) attempt(args json.RawMessage) (json.RawMessage, error) {
	result, err := s.callService(args)
	if err != nil && endsAll(err) {
		return nil, err
	}
	if err != nil {
		return json.Marshal(map[string]any{"success": false, "error": err.Error(), "result": nil})
	}
	return json.Marshal(map[string]any{"success": true, "error": "", "result": result})
}

// callSibling calls a function of another module of the same service.
func (s *session) callSibling(p Program, c Context, args json.RawMessage) (json.RawMessage, error) {
	var to calling
	if err := json.Unmarshal(args, &to); err != nil {
		return nil, fmt.Errorf("module_call: %w", err)
	}
	for i, m := range p.Modules {
		if m.Name == to.Module {
			result, err := s.callModule(p, c, i, to.Function, to.Args)
			if err != nil {
				return nil, within(to.Module+"."+to.Function, err)
			}
			return result, nil
		}
	}
	return nil, fmt.Errorf("module_call: the service has no module %q", to.Module)
}

// host asks the parent for something.
func (c *child) host(name string, args json.RawMessage) (json.RawMessage, error) {
	if len(args) > api.MaxCallResult {
		return nil, fmt.Errorf("%s: it is given %d bytes of JSON, more than %d", name, len(args), api.MaxCallResult)
	}
	return c.ask(fromChild{Host: &hostCall{Name: name, Args: args}})
}

// module asks the parent for the bytes of a module.
func (c *child) module(digest string) ([]byte, error) { return c.ask(fromChild{Want: digest}) }

func (c *child) ask(question fromChild) ([]byte, error) {
	reply, err := c.exchange(question)
	switch {
	case err != nil:
		return nil, err
	case reply.Answer == nil:
		return nil, errors.New("the parent answers something else")
	case reply.Answer.Error != "":
		return nil, errors.New(reply.Answer.Error)
	}
	return reply.Answer.Bytes, nil
}

// enter asks the parent who answers calls of a service.
func (c *child) enter(service, function string) (Program, Context, error) {
	reply, err := c.exchange(fromChild{Enter: &enter{service, function}})
	switch {
	case err != nil:
		return Program{}, Context{}, err
	case reply.Entered == nil:
		return Program{}, Context{}, errors.New("the parent answers something else")
	case reply.Entered.Error != "":
		return Program{}, Context{}, errors.New(reply.Entered.Error)
	}
	return reply.Entered.Program, reply.Entered.Context, nil
}

func (c *child) exchange(question fromChild) (toChild, error) {
	if err := c.say(question); err != nil {
		return toChild{}, err
	}
	return c.hear()
}
