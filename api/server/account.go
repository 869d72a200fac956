package server

import (
	"cmp"
	"context"
	"net/http"

	"github.com/orchd/orchd/api"
)

// AccountRef names an account.
type AccountRef struct {
	Name string `path:"name" doc:"Name of the account"`
}

// finder looks for the account with the eyes of the caller.
func (r AccountRef) finder(ctx context.Context) func(View) (api.AccountView, error) {
	return func(v View) (api.AccountView, error) {
		if !api.ValidName(r.Name) || !maySee(ctx, "account", r.Name) {
			return api.AccountView{}, notFound("account")
		}
		return v.Account(r.Name)
	}
}

func accountName(a api.AccountView) string { return a.Name }

func accountReply(d Done[api.Account]) *Reply[Stored[api.Account]] {
	return changed(http.StatusOK, d, d.Object.Name, d.Object.Version)
}

func (s *Server) listAccounts(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Account]], error) {
	return listing(ctx, s, *in, View.Accounts, func(a api.Account) string { return a.Name },
		func(a api.Account) bool { return maySee(ctx, "account", a.Name) })
}

type showAccountInput struct {
	AccountRef
	Freshness
}

// showAccount shows an account and what it holds, also to who is bound to it.
func (s *Server) showAccount(ctx context.Context, in *showAccountInput) (*Reply[api.AccountView], error) {
	return showing(ctx, s, in.Consistency, in.finder(ctx), func(a api.AccountView) uint64 { return a.Version })
}

type createAccountInput struct {
	Keyed
	Body api.AccountCreate
}

func (s *Server) createAccount(ctx context.Context, in *createAccountInput) (*Reply[Stored[api.Account]], error) {
	if err := invalid("account.create", nameErrors("/name", in.Body.Name)); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateAccount(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	return made(done, "/v1/accounts", in.Body.Name, done.Object.Version), nil
}

type replaceAccountInput struct {
	AccountRef
	Keyed
	Matching
	Body api.AccountUpdate
}

func (s *Server) replaceAccount(ctx context.Context, in *replaceAccountInput) (*Reply[Stored[api.Account]], error) {
	if err := invalid("account.replace", reasonErrors(in.Body)); err != nil {
		return nil, err
	}
	name, err := target(ctx, s, in.Name, in.finder(ctx), accountName)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.UpdateAccount(ctx, name, in.version, in.Body)
	if err != nil {
		return nil, err
	}
	return accountReply(done), nil
}

// reasonErrors is what the schema cannot say of a change of an account.
func reasonErrors(u api.AccountUpdate) []api.FieldError {
	if !showable(u.Reason, 500) {
		return []api.FieldError{{Pointer: "/reason", Detail: "at most 500 printable characters on one line"}}
	}
	if u.Reason != "" && !u.Suspended {
		return []api.FieldError{{Pointer: "/reason", Detail: "only a suspended account has a reason"}}
	}
	return nil
}

type patchAccountInput struct {
	AccountRef
	Keyed
	Matching
	Body AccountPatch
}

// AccountPatch is the body of PATCH /v1/accounts/{name}.
type AccountPatch struct {
	Quota     member[QuotaPatch] `json:"quota,omitzero" doc:"null takes all limits away"`
	Suspended member[bool]       `json:"suspended,omitzero"`
	Reason    member[string]     `json:"reason,omitzero" maxLength:"500"`
}

// QuotaPatch changes single limits; null takes one away.
type QuotaPatch struct {
	VMs       member[int64] `json:"vms,omitzero" minimum:"0"`
	VCPUs     member[int64] `json:"vcpus,omitzero" minimum:"0"`
	MemoryMiB member[int64] `json:"memory_mib,omitzero" minimum:"0"`
	DiskGiB   member[int64] `json:"disk_gib,omitzero" minimum:"0"`
	Addresses member[int64] `json:"addresses,omitzero" minimum:"0"`
}

// apply is a quota with the patch laid over it.
func (p QuotaPatch) apply(q api.Quota) api.Quota {
	return api.Quota{VMs: p.VMs.over(q.VMs), VCPUs: p.VCPUs.over(q.VCPUs), MemoryMiB: p.MemoryMiB.over(q.MemoryMiB),
		DiskGiB: p.DiskGiB.over(q.DiskGiB), Addresses: p.Addresses.over(q.Addresses)}
}

// apply is an account with the patch laid over it. Who lets an account go on takes the
// reason away with that.
func (p AccountPatch) apply(a api.AccountView) api.AccountUpdate {
	u := api.AccountUpdate{Quota: a.Quota, Suspended: p.Suspended.over(a.Suspended), Reason: a.Reason}
	if p.Quota.there {
		u.Quota = api.Quota{}
		if !p.Quota.null {
			u.Quota = p.Quota.value.apply(a.Quota)
		}
	}
	if !u.Suspended {
		u.Reason = ""
	}
	u.Reason = p.Reason.over(u.Reason)
	return u
}

func (s *Server) patchAccount(ctx context.Context, in *patchAccountInput) (*Reply[Stored[api.Account]], error) {
	return s.editAccount(ctx, in.AccountRef, in.version, in.Body.apply)
}

// editAccount writes an account as edit leaves it, against the version that it read;
// when someone was faster and the caller named no version, it reads again.
func (s *Server) editAccount(ctx context.Context, ref AccountRef, version uint64, edit func(api.AccountView) api.AccountUpdate) (*Reply[Stored[api.Account]], error) {
	done, err := retried(ctx, "account.patch", version, func(ctx context.Context) (Done[api.Account], error) {
		v, err := s.backend.View(ctx, api.Linearizable)
		if err != nil {
			return Done[api.Account]{}, err
		}
		old, err := ref.finder(ctx)(v)
		if mayBeRetry(ctx, err) && findable(ref.Name) {
			old.Name, err = ref.Name, nil
		}
		if err != nil {
			return Done[api.Account]{}, err
		}
		next := edit(old)
		if err := invalid("account.patch", reasonErrors(next)); err != nil {
			return Done[api.Account]{}, err
		}
		return s.backend.UpdateAccount(ctx, old.Name, cmp.Or(version, old.Version), next)
	})
	if err != nil {
		return nil, err
	}
	return accountReply(done), nil
}

type suspendAccountInput struct {
	AccountRef
	Keyed
	Matching
	Body *AccountSuspend
}

// AccountSuspend is the body, if any, of POST /v1/accounts/{name}/suspend.
type AccountSuspend struct {
	Reason string `json:"reason,omitempty" doc:"Why; its users see it" maxLength:"500"`
}

func (s *Server) suspendAccount(ctx context.Context, in *suspendAccountInput) (*Reply[Stored[api.Account]], error) {
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	return s.editAccount(ctx, in.AccountRef, in.version, func(a api.AccountView) api.AccountUpdate {
		return api.AccountUpdate{Quota: a.Quota, Suspended: true, Reason: reason}
	})
}

type changeAccountInput struct {
	AccountRef
	Keyed
	Matching
}

func (s *Server) resumeAccount(ctx context.Context, in *changeAccountInput) (*Reply[Stored[api.Account]], error) {
	return s.editAccount(ctx, in.AccountRef, in.version, func(a api.AccountView) api.AccountUpdate {
		return api.AccountUpdate{Quota: a.Quota}
	})
}

type deleteAccountInput struct {
	AccountRef
	Keyed
}

func (s *Server) deleteAccount(ctx context.Context, in *deleteAccountInput) (*Nothing, error) {
	name, err := target(ctx, s, in.Name, in.finder(ctx), accountName)
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.DeleteAccount(ctx, name)
}
