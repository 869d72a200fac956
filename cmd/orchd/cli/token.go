package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) token() *cobra.Command {
	return a.group("token", "Credentials: for people and programs, and for hosts that join", `
orchd token create --role peer            # prints the line to paste on a new host
orchd token create --role operator --ttl 720h > ~/.orchd-token
orchd token list`,
		a.tokenCreate(), a.tokenList(), a.tokenRevoke())
}

func (a *App) tokens() listing[api.Token] {
	type T = api.Token
	return listing[T]{
		name:  func(t T) string { return t.ID },
		order: func(x, y T) int { return x.CreatedAt.Compare(y.CreatedAt) },
		columns: []column[T]{
			{head: "ID", text: func(t T) string { return t.ID }},
			{head: "ROLE", text: func(t T) string { return string(t.Role) }},
			{head: "ACCOUNT", text: func(t T) string { return t.Account }},
			{head: "EXPIRES", text: func(t T) string { return moment(t.ExpiresAt) }},
			{head: "USED", text: tokenUse},
			{head: "AGE", wide: true, text: func(t T) string { return a.age(t.CreatedAt) }, key: "created_at", raw: func(t T) string { return moment(t.CreatedAt) }},
			{head: "CREATED-BY", wide: true, text: func(t T) string { return t.CreatedBy }},
			{head: "USED-BY", wide: true, text: func(t T) string { return strings.Join(t.UsedBy, " ") }},
		},
	}
}

// tokenUse says how many of the hosts that may join with a token have.
func tokenUse(t api.Token) string {
	if t.Role != api.RolePeer {
		return ""
	}
	return fmt.Sprintf("%d of %d", len(t.UsedBy), max(t.Uses, 1))
}

func (a *App) tokenCreate() *cobra.Command {
	var want api.TokenCreate
	var ttl time.Duration
	cmd := a.verb(verb{
		use:   "create",
		short: "Make a credential; it is shown once",
		long:  "Make a credential; it is shown once. Of role peer, the command for the new host is printed, else the token alone.",
		example: `
orchd token create --role peer --ttl 1h
orchd token create --role viewer --ttl 720h > token && orchd vm list --token-file token
orchd token create --role operator --account default -o json`,
		run: func(ctx context.Context, _ []string) error {
			want.TTL = ttl.String()
			return a.createToken(ctx, want)
		},
	})
	cmd.Flags().StringVar((*string)(&want.Role), "role", "", "viewer, controller, operator, admin, or peer for a host that joins")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it is good for, at most a year")
	cmd.Flags().Int64Var(&want.Uses, "uses", 0, "peer: how many hosts may join with it (default 1)")
	cmd.Flags().StringVar(&want.Account, "account", "", "it reaches this account only")
	cmd.MarkFlagRequired("role")
	a.completeFlag(cmd, "role", words([]string{"viewer", "controller", "operator", "admin", "peer"}))
	a.completeFlag(cmd, "account", accountNames)
	return cmd
}

func (a *App) createToken(ctx context.Context, want api.TokenCreate) error {
	c, err := a.client()
	if err == nil {
		err = a.suitsObject()
	}
	if err != nil {
		return err
	}
	var made api.NewToken
	if err := c.do(ctx, call{method: "POST", path: "/v1/tokens", in: want, out: &made}); err != nil {
		return err
	}
	return a.object(made, func(w io.Writer) error {
		a.say("good until %s; it is not shown again", moment(made.ExpiresAt))
		secret := made.Token
		if made.Join != "" {
			secret = made.Join
		}
		_, err := fmt.Fprintln(w, secret)
		return err
	})
}

func (a *App) tokenList() *cobra.Command {
	return a.verb(verb{
		use:     "list",
		short:   "List the tokens, without their secrets",
		example: "orchd token list\norchd token list -o wide",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Token](ctx, a, "/v1/tokens", nil)
			if err != nil {
				return err
			}
			return a.tokens().all(a, items)
		},
	})
}

func (a *App) tokenRevoke() *cobra.Command {
	cmd := a.verb(verb{
		use:     "revoke ID...",
		short:   "Make tokens worthless from now on",
		example: "orchd token revoke 3fQx",
		min:     1, max: many, noun: tokenIDs,
		run: func(ctx context.Context, args []string) error {
			return a.remove(ctx, "/v1/tokens/", "token", args)
		},
	})
	cmd.Aliases = []string{"delete", "rm"}
	return cmd
}

// remove deletes resources of one kind and says which.
func (a *App) remove(ctx context.Context, under, what string, refs []string) error {
	return a.removeOf(ctx, under, what, nil, refs)
}

// removeOf is remove for names that a query says whose they are.
func (a *App) removeOf(ctx context.Context, under, what string, q url.Values, refs []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return each(ctx, refs, func(ref string) error {
		if err := c.do(ctx, call{method: "DELETE", path: under + url.PathEscape(ref), query: q}); err != nil {
			return err
		}
		a.say("%s %s is gone", what, ref)
		return nil
	})
}
