package server

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
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

func (s *Server) listVMs(ctx context.Context, in *listVMsInput) (*Reply[api.Page[api.VM]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, v.VMs(in.after), func(vm api.VM) string { return vm.ID },
		func(vm api.VM) bool { return in.filter.Matches(vm) && maySee(ctx, "vm", vm.Account) })
	return &Reply[api.Page[api.VM]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

type showVMInput struct {
	VMRef
	Freshness
}

func (s *Server) showVM(ctx context.Context, in *showVMInput) (*Reply[api.VM], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	vm, err := findVM(ctx, v, in.VMRef)
	if err != nil {
		return nil, err
	}
	out := &Reply[api.VM]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: vm}
	out.ETag = etag(vm.Version)
	return out, nil
}

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
	if wait == 0 {
		return done
	}
	_, v, err := s.settle(ctx, done.Object.Status.Operation, wait)
	if err != nil {
		return done
	}
	if vm, err := v.VM("", done.Object.ID); err == nil {
		done.Object, done.Index = vm, v.Index()
	}
	return done
}

// createErrors is what the schema cannot say of a create.
func createErrors(c api.VMCreate) []api.FieldError {
	bad := append(nameErrors("/name", c.Name), nameErrors("/account", c.Account)...)
	if c.Spec.Image != "" && !api.ValidName(c.Spec.Image) && !api.IsUUID(c.Spec.Image) {
		bad = append(bad, api.FieldError{Pointer: "/spec/image", Detail: "expected the name or id of an image"})
	}
	return append(bad, labelErrors("/labels", c.Labels)...)
}

type replaceVMInput struct {
	VMRef
	Keyed
	Matching
	Body api.VMUpdate
}

func (s *Server) replaceVM(ctx context.Context, in *replaceVMInput) (*Reply[Stored[api.VM]], error) {
	if err := invalid("vm.replace", labelErrors("/labels", in.Body.Labels)); err != nil {
		return nil, err
	}
	vm, err := s.targetVM(ctx, in.VMRef)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.UpdateVM(ctx, vm.ID, in.version, in.Body)
	if err != nil {
		return nil, err
	}
	return vmReply(http.StatusOK, done), nil
}

type patchVMInput struct {
	VMRef
	Keyed
	Matching
	Body VMPatch
}

// VMPatch is the body of PATCH /v1/vms/{id}.
type VMPatch struct {
	Labels labelPatch `json:"labels,omitzero" doc:"null removes a label, or all of them"`
}

// labelPatch is a merge patch of labels.
type labelPatch struct {
	clear   bool
	changes map[string]*string
}

// UnmarshalJSON tells null from nothing.
func (p *labelPatch) UnmarshalJSON(b []byte) error {
	p.clear = string(b) == "null"
	return json.Unmarshal(b, &p.changes)
}

// Schema is an object of strings and nulls.
func (p labelPatch) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Nullable: true, MaxProperties: new(64),
		AdditionalProperties: &huma.Schema{Type: huma.TypeString, Nullable: true}}
}

// apply gives the labels that come of old ones.
func (p labelPatch) apply(old map[string]string) map[string]string {
	labels := map[string]string{}
	if !p.clear {
		maps.Copy(labels, old)
	}
	for key, value := range p.changes {
		if value == nil {
			delete(labels, key)
		} else {
			labels[key] = *value
		}
	}
	return labels
}

// patchTries is how often a patch is merged anew because someone was faster.
const patchTries = 10

// patchVM writes the merged labels against the version that it read; when
// someone was faster and the caller named no version, it reads again.
func (s *Server) patchVM(ctx context.Context, in *patchVMInput) (*Reply[Stored[api.VM]], error) {
	if err := invalid("vm.patch", labelErrors("/labels", in.Body.Labels.apply(nil))); err != nil {
		return nil, err
	}
	for n := range patchTries {
		done, err := s.patchOnce(withTry(ctx, n), in)
		switch {
		case err == nil:
			return vmReply(http.StatusOK, done), nil
		case in.version != 0 || !api.IsKind(err, api.Precondition):
			return nil, err
		}
	}
	return nil, &api.Error{Kind: api.Conflict, Op: "vm.patch", Msg: "others keep changing it; try again"}
}

func (s *Server) patchOnce(ctx context.Context, in *patchVMInput) (Done[api.VM], error) {
	vm, err := s.targetVM(ctx, in.VMRef)
	if err != nil {
		return Done[api.VM]{}, err
	}
	labels := in.Body.Labels.apply(vm.Labels)
	return s.backend.UpdateVM(ctx, vm.ID, cmp.Or(in.version, vm.Version), api.VMUpdate{Labels: labels})
}

// withTry gives each try of one request an Idempotency-Key of its own, for the
// cluster remembers that the one before was too late. A retry of the request
// makes the same tries with the same keys, up to the one that succeeded.
func withTry(ctx context.Context, n int) context.Context {
	caller := api.CallerOf(ctx)
	if n == 0 || caller.Once == nil {
		return ctx
	}
	caller.Once = &api.OnceKey{Key: caller.Once.Key + trySeparator + strconv.Itoa(n), Body: caller.Once.Body}
	return api.WithCaller(ctx, caller)
}

// trySeparator stands in no key that a client can send: the key "k 1" must not be the
// second try of the key "k".
const trySeparator = "\n"

type changeVMInput struct {
	VMRef
	Keyed
	Matching
	Waiting
}

// vmAction is the handler of one verb.
func vmAction(verb string) func(*Server, context.Context, *changeVMInput) (*Reply[Stored[api.Operation]], error) {
	return func(s *Server, ctx context.Context, in *changeVMInput) (*Reply[Stored[api.Operation]], error) {
		vm, err := s.targetVM(ctx, in.VMRef)
		if err != nil {
			return nil, err
		}
		done, err := s.backend.ActOnVM(ctx, vm.ID, in.version, api.VMAct{Verb: verb})
		if err != nil {
			return nil, err
		}
		return s.underway(ctx, done, in.or(0)), nil
	}
}

func (s *Server) deleteVM(ctx context.Context, in *changeVMInput) (*Reply[Stored[api.Operation]], error) {
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
	out := written(status, done, done.Object.ID)
	if !done.Gone {
		out.ETag = etag(done.Object.Version)
	}
	return out
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
	return vm, err
}

// maySee tells whether the caller may read an object of that kind and account.
func maySee(ctx context.Context, kind, account string) bool {
	return api.Allowed(actorOf(ctx), api.Read, api.Object{Kind: kind, Account: account})
}

func notFound(kind string) error {
	return &api.Error{Kind: api.NotFound, Op: kind + ".show", Msg: "there is no such " + kind}
}
