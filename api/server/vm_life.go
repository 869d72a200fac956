package server

import (
	"context"
	"time"

	"github.com/orchd/orchd/api"
)

// VMChange is a write on a virtual machine that may wait for the end of what it began.
type VMChange struct {
	VMRef
	Keyed
	Matching
	Waiting
}

// vmAction is the handler of a verb that takes nothing.
func vmAction(verb string) func(*Server, context.Context, *VMChange) (*Reply[Stored[api.Operation]], error) {
	return func(s *Server, ctx context.Context, in *VMChange) (*Reply[Stored[api.Operation]], error) {
		return s.act(ctx, *in, api.VMAct{Verb: verb})
	}
}

// act does a verb to a virtual machine.
func (s *Server) act(ctx context.Context, in VMChange, act api.VMAct) (*Reply[Stored[api.Operation]], error) {
	vm, err := s.targetVM(ctx, in.VMRef)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.ActOnVM(ctx, vm.ID, in.version, act)
	if err != nil {
		return nil, err
	}
	return s.underway(ctx, done, in.or(0)), nil
}

// How long a guest may be given to shut down.
const (
	minPatience = time.Second
	maxPatience = time.Hour
	patience    = "expected a duration in whole seconds from 1s to 1h, as 90s"
)

// secondsOf reads such a time; 0 for the usual one.
func secondsOf(text string) (seconds int64, ok bool) {
	if text == "" {
		return 0, true
	}
	d, err := time.ParseDuration(text)
	return int64(d / time.Second), err == nil && d >= minPatience && d <= maxPatience && d%time.Second == 0
}

type stopVMInput struct {
	VMChange
	Timeout string `query:"timeout" maxLength:"32" doc:"How long the guest may take before force is used, as 90s; default 30s, at most 1h" example:"90s"`
	Body    *api.VMStop
}

// patience is how long the guest may take, from the body or the query.
func (in *stopVMInput) patience() (int64, error) {
	seconds, ok := secondsOf(in.Timeout)
	if !ok {
		return 0, badParameter("/query/timeout", patience)
	}
	if in.Body == nil || in.Body.Timeout == "" {
		return seconds, nil
	}
	if in.Timeout != "" {
		return 0, invalid("vm.stop", []api.FieldError{{Pointer: "/timeout", Detail: "it stands in the query too: say it once"}})
	}
	if seconds, ok = secondsOf(in.Body.Timeout); !ok {
		return 0, invalid("vm.stop", []api.FieldError{{Pointer: "/timeout", Detail: patience}})
	}
	return seconds, nil
}

// stopping is the handler of what waits for the guest.
func stopping(verb string) func(*Server, context.Context, *stopVMInput) (*Reply[Stored[api.Operation]], error) {
	return func(s *Server, ctx context.Context, in *stopVMInput) (*Reply[Stored[api.Operation]], error) {
		seconds, err := in.patience()
		if err != nil {
			return nil, err
		}
		return s.act(ctx, in.VMChange, api.VMAct{Verb: verb, StopSeconds: seconds})
	}
}

type resizeVMInput struct {
	VMChange
	Body api.VMResize
}

func (s *Server) resizeVM(ctx context.Context, in *resizeVMInput) (*Reply[Stored[api.Operation]], error) {
	if err := invalid("vm.resize", resizeErrors(in.Body)); err != nil {
		return nil, err
	}
	return s.act(ctx, in.VMChange, api.VMAct{Verb: api.ActResize, Resize: in.Body})
}

// resizeErrors: a size, or amounts. Only the disk may be larger than the size says.
func resizeErrors(r api.VMResize) []api.FieldError {
	bad := refErrors("/size", "size", r.Size)
	switch {
	case r == api.VMResize{}:
		bad = append(bad, api.FieldError{Pointer: "", Detail: "nothing is to change: give a size, or vcpus, memory_mib or disk_gib"})
	case r.Size == "":
	case r.VCPUs != 0:
		bad = append(bad, api.FieldError{Pointer: "/vcpus", Detail: "the size says this: leave out one of them"})
	case r.MemoryMiB != 0:
		bad = append(bad, api.FieldError{Pointer: "/memory_mib", Detail: "the size says this: leave out one of them"})
	}
	return bad
}

type exportVMInput struct {
	VMRef
	Keyed
	Waiting
	Body api.VMExport
}

// exportVM makes an image of the disk of a virtual machine. The image is there at once,
// and pending until its content is.
func (s *Server) exportVM(ctx context.Context, in *exportVMInput) (*Reply[Stored[api.Image]], error) {
	if err := invalid("vm.export", nameErrors("/image", in.Body.Image)); err != nil {
		return nil, err
	}
	vm, err := s.targetVM(ctx, in.VMRef)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.ExportVM(ctx, vm.ID, in.Body)
	if err != nil {
		return nil, err
	}
	return s.imageMade(ctx, done, in.or(0)), nil
}
