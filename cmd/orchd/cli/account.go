package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) account() *cobra.Command {
	return a.group("account", "Who owns virtual machines", "orchd account list", a.accountList())
}

func (a *App) accounts() listing[api.Account] {
	return listing[api.Account]{
		name: func(x api.Account) string { return x.Name },
		columns: []column[api.Account]{
			{head: "NAME", text: func(x api.Account) string { return x.Name }},
			{head: "AGE", text: func(x api.Account) string { return a.age(x.CreatedAt) }, key: "created_at", raw: func(x api.Account) string { return moment(x.CreatedAt) }},
		},
	}
}

func (a *App) accountList() *cobra.Command {
	return a.verb(verb{
		use:     "list",
		short:   "List the accounts",
		example: "orchd account list\norchd account list -o name",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Account](ctx, a, "/v1/accounts", nil)
			if err != nil {
				return err
			}
			return a.accounts().all(a, items)
		},
	})
}
