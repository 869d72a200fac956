package server

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
)

type listDomainsInput struct {
	Paging
	Peer string `query:"peer" maxLength:"128" doc:"Only those on this peer, by name or id; without it all peers are asked"`
}

// listDomains asks hosts for the domains that are none of this cluster's.
func (s *Server) listDomains(ctx context.Context, in *listDomainsInput) (*Reply[api.Page[api.ForeignDomain]], error) {
	if in.Peer != "" && !findable(in.Peer) {
		return nil, notFound("peer")
	}
	found, err := s.backend.ForeignDomains(ctx, in.Peer)
	if err != nil {
		return nil, err
	}
	found = slices.Clone(found)
	key := func(d api.ForeignDomain) string { return d.Peer + "/" + d.UUID }
	slices.SortFunc(found, func(a, b api.ForeignDomain) int { return strings.Compare(key(a), key(b)) })
	for i := range found {
		if r := found[i].Record; r != nil {
			shown := shownVM(*r)
			found[i].Record = &shown
		}
	}
	page := pageOf(in.Paging, slices.Values(found), key, func(d api.ForeignDomain) bool { return key(d) > in.after })
	return &Reply[api.Page[api.ForeignDomain]]{Status: http.StatusOK, Body: page}, nil
}

type adoptVMInput struct {
	Keyed
	Waiting
	Body api.VMAdopt
}

// adoptVM makes a virtual machine of a domain, which goes on running.
func (s *Server) adoptVM(ctx context.Context, in *adoptVMInput) (*Reply[Stored[api.VM]], error) {
	a := in.Body
	if !a.Recover {
		a.Account = cmp.Or(a.Account, api.DefaultAccount)
	}
	if err := invalid("vm.adopt", adoptErrors(a)); err != nil {
		return nil, err
	}
	done, err := s.backend.AdoptVM(ctx, a)
	if err != nil {
		return nil, err
	}
	if !done.Gone {
		done = s.created(ctx, done, in.or(0))
	}
	out := vmReply(http.StatusCreated, done)
	out.Location = "/v1/vms/" + done.Object.ID
	if op := done.Object.Status.Operation; op != "" {
		out.OperationLocation = operationLocation(op)
	}
	return out, nil
}

// adoptErrors is what the schema cannot say of an adoption.
func adoptErrors(a api.VMAdopt) []api.FieldError {
	bad := labelErrors("/labels", a.Labels)
	for _, f := range []struct {
		pointer string
		wrong   bool
		detail  string
	}{
		{"/peer", !api.ValidName(a.Peer) && !api.IsUUID(a.Peer), "expected the name or id of a peer"},
		{"/domain", a.Domain == "" || !showable(a.Domain, 255), "expected the name or UUID of a domain"},
		{"/name", a.Name != "" && !api.ValidName(a.Name), "a name is 1 to 63 of a-z 0-9 -, does not begin with -, and is no UUID"},
		{"/account", a.Account != "" && !api.ValidName(a.Account), "expected the name of an account"},
		{"/recover", a.Recover && (a.Name != "" || a.Account != "" || len(a.Labels) > 0), "name, account and labels are in the record that the domain carries: leave them out"},
	} {
		if f.wrong {
			bad = append(bad, api.FieldError{Pointer: f.pointer, Detail: f.detail})
		}
	}
	return bad
}
