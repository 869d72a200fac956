package fsm

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
)

var accounts = &table[api.Account]{
	name: "accounts",
	key:  func(a *api.Account) string { return a.Name },
}

// accountOpen refuses a change for an account that may make nothing new.
func accountOpen(r Reader, op, account string) error {
	a, known := accounts.one(r, account)
	switch {
	case !known:
		return &api.Error{Kind: api.Invalid, Op: op, Msg: "no such account",
			Fields: []api.FieldError{{Pointer: "/account", Detail: "no such account"}}}
	case a.Suspended && a.Reason != "":
		return api.Errorf(api.Forbidden, op, "account %q is suspended: %s", account, a.Reason)
	case a.Suspended:
		return api.Errorf(api.Forbidden, op, "account %q is suspended; an admin can let it go on with: orchd account resume %s", account, account)
	}
	return nil
}

// reach refuses what the actor may not do to o. Whose account does not reach what
// is there is told that it is not.
func (tx *Txn) reach(v api.Verb, op string, o api.Object, id string, there bool) error {
	if !there || !api.Allowed(tx.Actor, api.Read, o) {
		return api.Errorf(api.NotFound, op, "no %s %s", o.Kind, id)
	}
	return tx.may(v, op, o)
}

// otherVersion refuses to change what someone has changed meanwhile; want 0 takes any.
func otherVersion(op, what string, has, want uint64) error {
	if want == 0 || want == has {
		return nil
	}
	return api.Errorf(api.Precondition, op, "%s has version %d, not %d: someone changed it meanwhile; read it again", what, has, want)
}

func applyCreateAccount(tx *Txn, c api.AccountCreate) (object, error) {
	const op = "account.create"
	if err := tx.may(api.Create, op, api.Object{Kind: "account"}); err != nil {
		return nothing, err
	}
	faults := quotaFaults(c.Quota)
	if !api.ValidName(c.Name) {
		faults = append(faults, api.FieldError{Pointer: "/name", Detail: "must be 1 to 63 of a-z, 0-9 and -, and no UUID"})
	}
	if len(faults) > 0 {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the account is not valid", Fields: faults}
	}
	if _, taken := accounts.one(tx.Reader, c.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "account %q exists already", c.Name)
	}
	accounts.put(tx, api.Account{Name: c.Name, Quota: c.Quota, Version: 1, CreatedAt: tx.Now, UpdatedAt: tx.Now})
	return object{table: accounts, key: c.Name}, nil
}

func quotaFaults(q api.Quota) (faults []api.FieldError) {
	for pointer, limit := range ordered(map[string]int64{"/quota/vms": q.VMs, "/quota/vcpus": q.VCPUs, "/quota/memory_mib": q.MemoryMiB,
		"/quota/disk_gib": q.DiskGiB, "/quota/addresses": q.Addresses}) {
		if limit < 0 {
			faults = append(faults, api.FieldError{Pointer: pointer, Detail: "must be 0, for no limit, or more"})
		}
	}
	return faults
}

type accountUpdate struct {
	Name      string            `cbor:"1,keyasint"`
	IfVersion uint64            `cbor:"2,keyasint,omitempty"`
	Update    api.AccountUpdate `cbor:"3,keyasint"`
}

// maxReason bounds the reason for a suspension, which each refusal repeats.
const maxReason = 500

// applyUpdateAccount sets what an admin may of an account. A quota may be less than
// what it holds: it keeps that, and gets nothing more.
func applyUpdateAccount(tx *Txn, c accountUpdate) (object, error) {
	const op = "account.update"
	a, there := accounts.one(tx.Reader, c.Name)
	if err := tx.reach(api.Update, op, api.Object{Kind: "account", Account: c.Name}, c.Name, there); err != nil {
		return nothing, err
	}
	if err := otherVersion(op, "account "+a.Name, a.Version, c.IfVersion); err != nil {
		return nothing, err
	}
	u, faults := c.Update, quotaFaults(c.Update.Quota)
	if len(u.Reason) > maxReason {
		faults = append(faults, api.FieldError{Pointer: "/reason", Detail: "must be at most 500 bytes"})
	}
	if len(faults) > 0 {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the account is not valid", Fields: faults}
	}
	if !u.Suspended {
		u.Reason = ""
	}
	if a.Quota == u.Quota && a.Suspended == u.Suspended && a.Reason == u.Reason {
		return object{table: accounts, key: a.Name}, nil
	}
	if a.Suspended != u.Suspended {
		suspendVMs(tx, a.Name, u.Suspended)
		wakeServices(tx) // its spells run no more, or run again
	}
	a.Quota, a.Suspended, a.Reason = u.Quota, u.Suspended, u.Reason
	a.Version++
	a.UpdatedAt = tx.Now
	accounts.put(tx, a)
	return object{table: accounts, key: a.Name}, nil
}

// suspendVMs keeps all VMs of an account off, or no more. What is desired of them
// stays, so that they go on as they were; work in hand that would make them run ends.
func suspendVMs(tx *Txn, account string, off bool) {
	for _, vm := range slices.Collect(vmsOf(tx.Reader, account)) {
		vm.Status.Suspended = off
		if o, ok := operations.one(tx.Reader, vm.Status.Operation); off && ok && slices.Contains(towardsRunning, o.Kind) {
			finishOperation(tx, o, api.OpCancelled, "account "+account+" was suspended")
		}
		putVM(tx, vm)
	}
}

// towardsRunning are the operations that end when a VM runs.
var towardsRunning = []string{"create", api.ActStart, api.ActRestart, api.ActResume}

// vmsOf lists the VMs of an account by name.
func vmsOf(r Reader, account string) iter.Seq[api.VM] {
	from := account + "/"
	return func(yield func(api.VM) bool) {
		vms.index(r.state, "name").ascend(from, func(at string, vm *api.VM) bool {
			return strings.HasPrefix(at, from) && yield(*vm)
		})
	}
}

type accountDelete struct {
	Name string `cbor:"1,keyasint"`
}

// applyDeleteAccount forgets an account that holds nothing. Its tokens go with it:
// they must not come back to life with another account of that name. What it has
// had (usage) stays.
func applyDeleteAccount(tx *Txn, c accountDelete) (object, error) {
	const op = "account.delete"
	_, there := accounts.one(tx.Reader, c.Name)
	if err := tx.reach(api.Delete, op, api.Object{Kind: "account", Account: c.Name}, c.Name, there); err != nil {
		return nothing, err
	}
	if c.Name == api.DefaultAccount {
		return nothing, api.Errorf(api.Conflict, op, "account %q is where VMs go when nobody says otherwise: it stays", c.Name)
	}
	if held := heldBy(tx.Reader, c.Name); held != "" {
		return nothing, api.Errorf(api.Conflict, op, "account %q still has %s; delete that first", c.Name, held)
	}
	for _, t := range slices.Collect(tokens.each(tx.Reader, "")) {
		if t.Account == c.Name {
			tokens.remove(tx, t.ID)
		}
	}
	accounts.remove(tx, c.Name)
	return nothing, nil
}

// heldBy names something that an account has; empty when it has nothing.
func heldBy(r Reader, account string) string {
	for vm := range vmsOf(r, account) {
		return "VM " + vm.Name
	}
	if k, has := sshKeys.with(r, "account", account); has {
		return "SSH key " + k.Name
	}
	if i, has := images.with(r, "account", account); has {
		return "image " + i.Name
	}
	if s, has := spells.with(r, "account", account); has {
		return "spell " + s.Alias
	}
	if s, has := services.with(r, "account", account); has {
		return "service " + s.Wanted
	}
	if d, has := deals.with(r, "account", account); has {
		return "deal " + d.Name
	}
	return ""
}

// Accounts lists the accounts by name.
func (r Reader) Accounts(after string) iter.Seq[api.Account] { return accounts.each(r, after) }

// Account is an account and what it holds now.
func (r Reader) Account(name string) (api.AccountView, bool) {
	a, known := accounts.one(r, name)
	return api.AccountView{Account: a, Used: r.used(name)}, known
}

// CreateAccount makes an account.
func (w *Writer) CreateAccount(ctx context.Context, c api.AccountCreate) (Done[api.Account], error) {
	done, err := propose[api.Account](ctx, w, createAccount, c)
	if done.Gone {
		done.Object.Name = done.ID
	}
	return done, err
}

// UpdateAccount changes the quota of an account, suspends it or lets it go on;
// ifVersion 0 means any version.
func (w *Writer) UpdateAccount(ctx context.Context, name string, ifVersion uint64, u api.AccountUpdate) (Done[api.Account], error) {
	return propose[api.Account](ctx, w, updateAccount, accountUpdate{name, ifVersion, u})
}

// DeleteAccount forgets an account that holds no VM, key, image, spell, service or deal.
func (w *Writer) DeleteAccount(ctx context.Context, name string) error {
	_, err := propose[struct{}](ctx, w, deleteAccount, accountDelete{name})
	return err
}
