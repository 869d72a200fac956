package fsm

import (
	"iter"

	"github.com/orchd/orchd/api"
)

var accounts = &table[api.Account]{
	name: "accounts",
	key:  func(a *api.Account) string { return a.Name },
}

// Accounts lists the accounts by name.
func (r Reader) Accounts(after string) iter.Seq[api.Account] { return accounts.each(r, after) }
