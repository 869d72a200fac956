package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/worker"
)

// Pool runs calls. It is a *worker.Pool.
type Pool interface {
	Call(ctx context.Context, c worker.Call) (json.RawMessage, error)
}

// Failure is what a function says of itself when it fails.
type Failure struct{ Text string }

func (f *Failure) Error() string { return f.Text }

// ErrInvalidResult: a function gave what is not JSON, or too much of it.
var ErrInvalidResult = errors.New("return invalid result")

// Result is the call contract: what a function returned, or its Failure, or ErrInvalidResult.
func Result(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) > api.MaxCallResult || !json.Valid(raw) {
		return nil, ErrInvalidResult
	}
	if text := bytes.TrimLeft(raw, " \t\r\n"); len(text) == 0 || text[0] != '{' {
		return raw, nil
	}
	var answer struct {
		Success json.RawMessage `json:"success"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(raw, &answer) != nil || answer.Error == nil || string(answer.Success) != "false" {
		return raw, nil
	}
	var text string
	if json.Unmarshal(answer.Error, &text) != nil {
		text = string(answer.Error)
	}
	return nil, &Failure{text}
}

// Call calls a function of a service for somebody outside: a person, a program with a
// token, the deployer. ServiceFailed tells in its own words why the function failed,
// ServiceDeadline that it took longer than call_ttl, Forbidden that the caller may not.
func (h *Hosts) Call(ctx context.Context, pool Pool, svc api.Service, function string, args json.RawMessage, caller api.Actor) (json.RawMessage, error) {
	const op = "service.call"
	if err := mayCall(svc, function, caller); err != nil {
		return nil, err
	}
	if args = bytes.TrimSpace(args); len(args) == 0 {
		args = json.RawMessage("{}")
	}
	if len(args) > api.MaxCallResult {
		return nil, api.Errorf(api.TooLarge, op, "the arguments have %d bytes: at most %d", len(args), api.MaxCallResult)
	}
	if !json.Valid(args) || args[0] != '{' && args[0] != '[' {
		return nil, api.Errorf(api.Invalid, op, "the arguments are to be a JSON object, by name, or an array, in order")
	}
	ttl := seconds(svc.CallTTL)
	ctx, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	program, about, world := h.ForService(svc, caller)
	raw, err := pool.Call(ctx, worker.Call{Program: program, Function: function, Args: args, Context: about, Host: world})
	if err == nil {
		raw, err = Result(raw)
	}
	if err != nil {
		return nil, outward(op, name(svc)+"."+function, ttl, err)
	}
	return raw, nil
}

// seconds of a call_ttl; 0 is the default.
func seconds(ttl int64) time.Duration {
	if ttl <= 0 {
		ttl = api.DefaultCallTTL
	}
	return time.Duration(ttl) * time.Second
}

// outward is why a call failed, as its caller is to know it.
func outward(op, function string, ttl time.Duration, err error) error {
	if failure := (*Failure)(nil); errors.As(err, &failure) {
		return &api.Error{Kind: api.ServiceFailed, Op: op, Msg: failure.Text}
	}
	if fault := (*worker.ScriptError)(nil); errors.As(err, &fault) {
		return &api.Error{Kind: api.ServiceFailed, Op: op, Msg: fault.Msg}
	}
	switch {
	case errors.Is(err, ErrInvalidResult):
		return &api.Error{Kind: api.ServiceFailed, Op: op, Msg: ErrInvalidResult.Error()}
	case errors.Is(err, worker.ErrNoFunction):
		return api.Errorf(api.NotFound, op, "there is no function %s", function)
	case errors.Is(err, worker.ErrBusy):
		return api.Errorf(api.Unavailable, op, "all workers of this peer were busy for as long as %s may take: try again, or ask another peer", function)
	case errors.Is(err, worker.ErrClosed):
		return api.Errorf(api.Unavailable, op, "this peer is stopping: ask another one")
	case errors.Is(err, worker.ErrDeadline), errors.Is(err, context.DeadlineExceeded):
		return api.Errorf(api.ServiceDeadline, op, "%s took longer than %v and was stopped: give it less to do, or its service a larger call_ttl", function, ttl)
	case errors.Is(err, worker.ErrMemory), errors.Is(err, worker.ErrSteps), errors.Is(err, worker.ErrCrashed):
		return api.Errorf(api.ServiceFailed, op, "%s was stopped: %w", function, err)
	}
	return err
}

// mayCall is who may call which function: see api.Access.
func mayCall(svc api.Service, function string, caller api.Actor) error {
	const op = "service.call"
	refuse := func(who string) error {
		return api.Errorf(api.Forbidden, op, "%s.%s is for %s: ask with such a token", name(svc), function, who)
	}
	people := []api.Role{api.RoleViewer, api.RoleController, api.RoleOperator, api.RoleAdmin, api.RolePeer}
	switch {
	case function == "":
		return api.Errorf(api.Invalid, op, "name the function of %s that is to be called", name(svc))
	case strings.HasPrefix(function, "_"):
		return api.Errorf(api.NotFound, op, "%s has no function %s: names that begin with _ are the service's own", name(svc), function)
	case slices.Contains(svc.Access.Admin, function):
		own := caller.Account == "" || caller.Account == svc.Account
		if caller.Role != api.RolePeer && (caller.Role != api.RoleAdmin || !own) {
			return refuse("admins")
		}
	case slices.Contains(svc.Access.Viewer, function):
		if !slices.Contains(people, caller.Role) {
			return refuse("those who may read")
		}
	case caller.Role != api.RoleOperator && caller.Role != api.RoleAdmin && caller.Role != api.RolePeer:
		return refuse("operators")
	}
	return nil
}
