package fsm

import (
	"iter"

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

// Accounts lists the accounts by name.
func (r Reader) Accounts(after string) iter.Seq[api.Account] { return accounts.each(r, after) }

// Account is an account and what it holds now.
func (r Reader) Account(name string) (api.AccountView, bool) {
	a, known := accounts.one(r, name)
	return api.AccountView{Account: a, Used: r.used(name)}, known
}
