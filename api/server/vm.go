package server

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// teardownWait is how long a DELETE waits by itself: a guest of an owner that
// answers is gone by then.
const teardownWait = 5 * time.Second

// VMRef names a virtual machine.
type VMRef struct {
	ID      string `path:"id" doc:"Id or name"`
	Account string `query:"account" maxLength:"63" doc:"Account of the name, where several have it"`
}

type listVMsInput struct {
	ListInput
	Peer    string      `query:"peer" maxLength:"128" doc:"Only those that this peer owns, by name or id"`
	State   api.VMState `query:"state" enum:"assigned,creating,running,stopped,paused,crashed,failed,deleting,unknown,lost" doc:"Only those in this state"`
	Account string      `query:"account" maxLength:"63" doc:"Only those of this account"`
	Label   []string    `query:"label,explode" maxItems:"64" doc:"KEY=VALUE: only those with this label; may be repeated"`
	filter  api.VMFilter
}

// Resolve makes the filter.
func (in *listVMsInput) Resolve(ctx huma.Context) []error {
	in.filter = api.VMFilter{Peer: in.Peer, State: in.State, Account: in.Account, Labels: map[string]string{}}
	for _, l := range in.Label {
		key, value, ok := strings.Cut(l, "=")
		if !ok || len(labelErrors("", map[string]string{key: value})) > 0 {
			return []error{&huma.ErrorDetail{Location: "query.label", Message: "expected KEY=VALUE"}}
		}
		in.filter.Labels[key] = value
	}
	return in.Paging.Resolve(ctx)
}

func (s *Server) listVMs(ctx context.Context, in *listVMsInput) (*Reply[vmPage], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	keep := func(vm api.VM) bool { return in.filter.Matches(vm) && maySee(ctx, "vm", vm.Account) }
	page := vmPage{in.Paging, mapped(v.VMs(in.after), shownVM), keep}
	return &Reply[vmPage]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

type showVMInput struct {
	VMRef
	Freshness
}

func (s *Server) showVM(ctx context.Context, in *showVMInput) (*Reply[api.VM], error) {
	find := func(v View) (api.VM, error) { return findVM(ctx, v, in.VMRef) }
	return showing(ctx, s, in.Consistency, find, func(vm api.VM) uint64 { return vm.Version })
}

// maxCreate bounds the body of a create: 256 KiB of user-data, with every character
// written as an escape.
const maxCreate = 2 << 20

type createVMInput struct {
	Keyed
	Waiting
	Body api.VMCreate
}

func (s *Server) createVM(ctx context.Context, in *createVMInput) (*Reply[Stored[api.VM]], error) {
	c := in.Body
	c.Account = cmp.Or(c.Account, actorOf(ctx).Account, api.DefaultAccount)
	if err := invalid("vm.create", createErrors(c)); err != nil {
		return nil, err
	}
	if err := permit(actorOf(ctx), api.Create, api.Object{Kind: "vm", Account: c.Account}); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateVM(ctx, c)
	if err != nil {
		return nil, err
	}
	if !done.Gone {
		done = s.created(ctx, done, in.or(0))
	}
	vm := done.Object
	out := vmReply(http.StatusCreated, done)
	out.Location = "/v1/vms/" + vm.ID
	if vm.Status.Operation != "" {
		out.OperationLocation = operationLocation(vm.Status.Operation)
	}
	return out, nil
}

// created waits until a new virtual machine runs or has failed, and shows it
// then. It stays the answer to a create that was acknowledged: when it cannot
// look again, it shows what was made.
func (s *Server) created(ctx context.Context, done Done[api.VM], wait time.Duration) Done[api.VM] {
	v := s.afterwards(ctx, done.Object.Status.Operation, wait)
	if v == nil {
		return done
	}
	if vm, err := v.VM("", done.Object.ID); err == nil {
		done.Object, done.Index = vm, v.Index()
	}
	return done
}

// deleteVM begins the teardown and waits a little for its end.
func (s *Server) deleteVM(ctx context.Context, in *VMChange) (*Reply[Stored[api.Operation]], error) {
	vm, err := s.targetVM(ctx, in.VMRef)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.DeleteVM(ctx, vm.ID, in.version)
	if err != nil {
		return nil, err
	}
	return s.underway(ctx, done, in.or(teardownWait)), nil
}

// vmReply answers a write on a virtual machine.
func vmReply(status int, done Done[api.VM]) *Reply[Stored[api.VM]] {
	done.Object = shownVM(done.Object)
	return changed(status, done, done.Object.ID, done.Object.Version)
}

// shownVM is a virtual machine as answers have it: what was given to be sealed is in
// none, whatever the state holds.
func shownVM(vm api.VM) api.VM {
	vm.Spec.UserData = ""
	return vm
}

// targetVM finds what a write is about. With an Idempotency-Key a thing that is
// gone is still asked for: this may be the retry of the very request that removed it.
func (s *Server) targetVM(ctx context.Context, ref VMRef) (api.VM, error) {
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return api.VM{}, err
	}
	vm, err := findVM(ctx, v, ref)
	if mayBeRetry(ctx, err) && findable(ref.ID) {
		return api.VM{ID: ref.ID}, nil
	}
	return vm, err
}

// mayBeRetry tells whether err, of looking for what a write is about, may be
// the doing of an earlier try of that write.
func mayBeRetry(ctx context.Context, err error) bool {
	return api.IsKind(err, api.NotFound) && api.CallerOf(ctx).Once != nil
}

// findVM finds a virtual machine that the caller may see; others are not there.
func findVM(ctx context.Context, v View, ref VMRef) (api.VM, error) {
	if !findable(ref.ID) {
		return api.VM{}, notFound("vm")
	}
	vm, err := v.VM(cmp.Or(ref.Account, actorOf(ctx).Account), ref.ID)
	if err == nil && !maySee(ctx, "vm", vm.Account) {
		err = notFound("vm")
	}
	return shownVM(vm), err
}

// maySee tells whether the caller may read an object of that kind and account.
func maySee(ctx context.Context, kind, account string) bool {
	return api.Allowed(actorOf(ctx), api.Read, api.Object{Kind: kind, Account: account})
}

func notFound(kind string) error {
	return &api.Error{Kind: api.NotFound, Op: kind + ".show", Msg: "there is no such " + kind}
}
