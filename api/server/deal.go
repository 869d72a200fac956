package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/orchd/orchd/api"
)

// DealRef names a deal.
type DealRef struct {
	Name    string `path:"name" doc:"Id, or name in the account"`
	Account string `query:"account" maxLength:"63" doc:"Account of the name; default: the token's, else \"default\""`
}

// finder looks for the deal with the eyes of the caller.
func (r DealRef) finder(ctx context.Context) func(View) (api.Deal, error) {
	return func(v View) (api.Deal, error) {
		if !findable(r.Name) {
			return api.Deal{}, notFound("deal")
		}
		d, err := v.Deal(cmp.Or(r.Account, actorOf(ctx).Account, api.DefaultAccount), r.Name)
		if err == nil && !maySee(ctx, "deal", d.Account) {
			return api.Deal{}, notFound("deal")
		}
		return d, err
	}
}

func keyOfDeal(d api.Deal) string { return d.ID }

func dealReply(status int, done Done[api.Deal]) *Reply[Stored[api.Deal]] {
	return changed(status, done, done.Object.ID, done.Object.Version)
}

type listDealsInput struct {
	ListInput
	Account string        `query:"account" maxLength:"63" doc:"Only those of this account"`
	State   api.DealState `query:"state" enum:"active,inactive,ending" doc:"Only those in this state"`
}

func (s *Server) listDeals(ctx context.Context, in *listDealsInput) (*Reply[api.Page[api.Deal]], error) {
	return listing(ctx, s, in.ListInput, View.Deals, keyOfDeal, func(d api.Deal) bool {
		return passes(in.Account, d.Account) && passes(string(in.State), string(d.State)) && maySee(ctx, "deal", d.Account)
	})
}

type showDealInput struct {
	DealRef
	Freshness
}

func (s *Server) showDeal(ctx context.Context, in *showDealInput) (*Reply[api.Deal], error) {
	return showing(ctx, s, in.Consistency, in.finder(ctx), func(d api.Deal) uint64 { return d.Version })
}

type createDealInput struct {
	Keyed
	Body api.DealCreate
}

func (s *Server) createDeal(ctx context.Context, in *createDealInput) (*Reply[Stored[api.Deal]], error) {
	c := in.Body
	c.Account = cmp.Or(c.Account, actorOf(ctx).Account, api.DefaultAccount)
	bad := append(nameErrors("/name", c.Name), nameErrors("/account", c.Account)...)
	if !showable(c.Source, maxPath) {
		bad = append(bad, api.FieldError{Pointer: "/source", Detail: fmt.Sprintf("at most %d printable characters on one line", maxPath)})
	}
	if err := invalid("deal.create", append(bad, dealErrors(c.Spec)...)); err != nil {
		return nil, err
	}
	if err := permit(actorOf(ctx), api.Create, api.Object{Kind: "deal", Account: c.Account}); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateDeal(ctx, c)
	if err != nil {
		return nil, err
	}
	return made(done, "/v1/deals", done.Object.ID, done.Object.Version), nil
}

// dealErrors is what the schema cannot say of a worker: which fields go together, and
// what they name.
func dealErrors(d api.DealSpec) []api.FieldError {
	bad := refErrors("/spec/image", "image", d.Image)
	bad = append(bad, refErrors("/spec/network", "network", d.Network)...)
	bad = append(bad, refErrors("/spec/size", "size", d.Size)...)
	for i, key := range d.SSHKeys {
		bad = append(bad, refErrors(fmt.Sprintf("/spec/ssh_keys/%d", i), "SSH key", key)...)
	}
	for _, f := range []struct {
		pointer string
		wrong   bool
		detail  string
	}{
		{"/spec/vcpus", d.VCPUs < 0 || d.Size == "" && d.VCPUs == 0, "expected 1 or more, or a size"},
		{"/spec/memory_mib", d.MemoryMiB < 0 || d.Size == "" && d.MemoryMiB == 0, "expected 1 or more, or a size"},
		{"/spec/disk_gib", d.DiskGiB < 0, "expected 0 or more"},
		{"/spec/vcpus", d.Size != "" && d.VCPUs > 0, "the size says how many: leave out one of them"},
		{"/spec/memory_mib", d.Size != "" && d.MemoryMiB > 0, "the size says how much: leave out one of them"},
		{"/spec/spread", !spreads(d.Spread), "expected peer, chassis, cabinet, or the key of a label of peers"},
	} {
		if f.wrong {
			bad = append(bad, api.FieldError{Pointer: f.pointer, Detail: f.detail})
		}
	}
	return bad
}

// spreads tells whether workers can be kept apart by it: by where a peer is, or by the
// key of a label that peers have.
func spreads(by string) bool { return by == "" || labelKey.MatchString(by) }

type replaceDealInput struct {
	DealRef
	Keyed
	Matching
	Body api.DealUpdate
}

func (s *Server) replaceDeal(ctx context.Context, in *replaceDealInput) (*Reply[Stored[api.Deal]], error) {
	if err := invalid("deal.replace", dealErrors(in.Body.Spec)); err != nil {
		return nil, err
	}
	id, err := target(ctx, s, in.Name, in.finder(ctx), keyOfDeal)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.UpdateDeal(ctx, id, in.version, in.Body)
	if err != nil {
		return nil, err
	}
	return dealReply(http.StatusOK, done), nil
}

type patchDealInput struct {
	DealRef
	Keyed
	Matching
	Body DealPatch
}

// DealPatch is the body of PATCH /v1/deals/{name}.
type DealPatch struct {
	Spec  DealSpecPatch `json:"spec,omitzero"`
	State api.DealState `json:"state,omitempty" enum:"active,inactive"`
}

// DealSpecPatch changes what workers are; null takes a field away.
type DealSpecPatch struct {
	Count     member[int64]    `json:"count,omitzero" minimum:"0" maximum:"1000"`
	Size      member[string]   `json:"size,omitzero"`
	Image     member[string]   `json:"image,omitzero"`
	Network   member[string]   `json:"network,omitzero"`
	SSHKeys   member[[]string] `json:"ssh_keys,omitzero"`
	Spread    member[string]   `json:"spread,omitzero"`
	VCPUs     member[int64]    `json:"vcpus,omitzero" minimum:"0"`
	MemoryMiB member[int64]    `json:"memory_mib,omitzero" minimum:"0"`
	DiskGiB   member[int64]    `json:"disk_gib,omitzero" minimum:"0"`
}

// apply is a deal with the patch laid over it.
func (p DealPatch) apply(d api.Deal) api.DealUpdate {
	o, s := d.Spec, p.Spec
	return api.DealUpdate{State: p.State, Spec: api.DealSpec{Count: s.Count.over(o.Count), Size: s.Size.over(o.Size), Image: s.Image.over(o.Image),
		Network: s.Network.over(o.Network), SSHKeys: s.SSHKeys.over(o.SSHKeys), Spread: s.Spread.over(o.Spread),
		VCPUs: s.VCPUs.over(o.VCPUs), MemoryMiB: s.MemoryMiB.over(o.MemoryMiB), DiskGiB: s.DiskGiB.over(o.DiskGiB)}}
}

func (s *Server) patchDeal(ctx context.Context, in *patchDealInput) (*Reply[Stored[api.Deal]], error) {
	return s.editDeal(ctx, in.DealRef, in.version, in.Body.apply)
}

type changeDealInput struct {
	DealRef
	Keyed
	Matching
}

// dealAction makes a deal active, or inactive.
func dealAction(state api.DealState) func(*Server, context.Context, *changeDealInput) (*Reply[Stored[api.Deal]], error) {
	return func(s *Server, ctx context.Context, in *changeDealInput) (*Reply[Stored[api.Deal]], error) {
		return s.editDeal(ctx, in.DealRef, in.version, func(d api.Deal) api.DealUpdate {
			return api.DealUpdate{Spec: d.Spec, State: state}
		})
	}
}

// editDeal writes a deal as edit leaves it, against the version that it read; when
// someone was faster and the caller named no version, it reads again.
func (s *Server) editDeal(ctx context.Context, ref DealRef, version uint64, edit func(api.Deal) api.DealUpdate) (*Reply[Stored[api.Deal]], error) {
	done, err := retried(ctx, "deal.patch", version, func(ctx context.Context) (Done[api.Deal], error) {
		v, err := s.backend.View(ctx, api.Linearizable)
		if err != nil {
			return Done[api.Deal]{}, err
		}
		old, err := ref.finder(ctx)(v)
		gone := mayBeRetry(ctx, err) && findable(ref.Name)
		if gone {
			old.ID, err = ref.Name, nil
		}
		if err != nil {
			return Done[api.Deal]{}, err
		}
		next := edit(old)
		if bad := dealErrors(next.Spec); len(bad) > 0 && !gone {
			return Done[api.Deal]{}, invalid("deal.patch", bad)
		}
		return s.backend.UpdateDeal(ctx, old.ID, cmp.Or(version, old.Version), next)
	})
	if err != nil {
		return nil, err
	}
	return dealReply(http.StatusOK, done), nil
}

type deleteDealInput struct {
	DealRef
	Keyed
}

// deleteDeal ends a deal. It is gone when its workers are.
func (s *Server) deleteDeal(ctx context.Context, in *deleteDealInput) (*Reply[Stored[api.Deal]], error) {
	id, err := target(ctx, s, in.Name, in.finder(ctx), keyOfDeal)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.DeleteDeal(ctx, id)
	if err != nil {
		return nil, err
	}
	return dealReply(http.StatusAccepted, done), nil
}
