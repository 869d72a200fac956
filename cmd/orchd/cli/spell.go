package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) spell() *cobra.Command {
	return a.group("spell", "Scripts that run at times, or when something happens", `
orchd spell install beat --file beat.star --every 60s
orchd spell list
orchd spell log beat --follow`,
		a.spellInstall(), a.spellList(), a.spellShow(), a.spellRemove(), a.spellTrigger(), a.spellRun(),
		a.spellKV(), a.spellMailbox(), a.spellLog(), a.spellErrors())
}

func (a *App) spells() listing[api.SpellView] {
	type S = api.SpellView
	return listing[S]{
		name:  func(s S) string { return s.Alias },
		order: func(x, y S) int { return cmp.Or(strings.Compare(x.Alias, y.Alias), strings.Compare(x.Scope, y.Scope)) },
		columns: []column[S]{
			{head: "ALIAS", text: func(s S) string { return s.Alias }},
			{head: "SCOPE", text: func(s S) string { return s.Scope }},
			{head: "ACCOUNT", text: func(s S) string { return s.Account }},
			{head: "TRIGGER", text: func(s S) string { return triggerText(s.Trigger) }},
			{head: "RUNS", text: func(s S) string { return number(s.Status.Counter) }},
			{head: "FAILED", text: func(s S) string { return unlessZero(s.Status.Failed) }},
			{head: "LAST", text: func(s S) string { return lastRun(a, s.Status.Last) }, key: "last_began_at", raw: func(s S) string { return moment(s.Status.Last.BeganAt) }},
			{head: "NEXT", text: func(s S) string { return moment(s.Status.Next) }},
			{head: "DISARMED", text: func(s S) string { return s.Status.Disarmed }},
			{head: "PACKAGE", wide: true, text: func(s S) string { return s.Package }},
			{head: "AGE", wide: true, text: func(s S) string { return a.age(s.CreatedAt) }, key: "created_at", raw: func(s S) string { return moment(s.CreatedAt) }},
			{head: "CALL-TTL", wide: true, text: func(s S) string { return seconds(s.CallTTL) }, key: "call_ttl", raw: func(s S) string { return number(s.CallTTL) }},
			{head: "GRANTS", wide: true, text: func(s S) string { return grantsText(s.Grants) }},
			{head: "ERROR", wide: true, text: func(s S) string { return oneLine(s.Status.Last.Error) }, raw: func(s S) string { return s.Status.Last.Error }},
			{head: "ID", wide: true, text: func(s S) string { return s.ID }},
		},
	}
}

// lastRun is how the newest run went, and when it began.
func lastRun(a *App, r api.SpellRun) string {
	if r.Number == 0 {
		return ""
	}
	return string(r.State) + " " + a.age(r.BeganAt)
}

// triggerText says when a spell runs.
func triggerText(t api.Trigger) string {
	var all []string
	if !t.Clock.IsOff() {
		all = append(all, clockText(t.Clock))
	}
	if t.Connections.Connect {
		all = append(all, "on-connect")
	}
	if t.Connections.Disconnect {
		all = append(all, "on-disconnect")
	}
	for _, e := range t.Events {
		all = append(all, "on "+e.Table)
	}
	return strings.Join(all, ", ")
}

func clockText(c api.Clock) string {
	text := "once"
	if c.PeriodSec != 0 {
		text = "every " + seconds(c.PeriodSec)
	}
	if c.StartSec > 1 {
		text += " from " + moment(time.Unix(c.StartSec, 0))
	}
	if c.EndSec != 0 {
		text += " until " + moment(time.Unix(c.EndSec, 0))
	}
	return text
}

func spellAliases(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/spells", func(s api.SpellView) string { return s.Alias })
}

// spellCall is a request about a spell, or about what is below it.
func spellCall(method, ref, scope string, below ...string) call {
	path := "/v1/spells/" + url.PathEscape(ref)
	for _, word := range below {
		path += "/" + url.PathEscape(word)
	}
	return call{method: method, path: path, query: inScope(scope)}
}

// send makes a call of a verb that makes one.
func (a *App) send(ctx context.Context, k call) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return c.do(ctx, k)
}

func (a *App) spellList() *cobra.Command {
	var scope, account string
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the spells and how their runs went",
		example: "orchd spell list\norchd spell list --scope cluster -o wide\norchd spell list --account co-op -o json",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.SpellView](ctx, a, "/v1/spells", filters("scope", scope, "account", account))
			if err != nil {
				return err
			}
			nameScopes(ctx, a, items, func(s *api.SpellView) *string { return &s.Scope })
			return a.spells().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	a.scopeFlag(cmd, &scope, "only those of this scope: cluster, or a peer")
	cmd.Flags().StringVar(&account, "account", "", "only those of this account")
	a.completeFlag(cmd, "account", accountNames)
	return cmd
}

// nameScopes puts names in the place of ids of peers where a person reads them.
func nameScopes[T any](ctx context.Context, a *App, items []T, scope func(*T) *string) {
	if len(items) == 0 || a.flags.output == "json" || a.flags.output == "yaml" {
		return
	}
	names := a.peersByID(ctx)
	for i := range items {
		at := scope(&items[i])
		*at = cmp.Or(names[*at], *at)
	}
}

func (a *App) spellShow() *cobra.Command {
	var scope string
	var script bool
	cmd := a.verb(verb{
		use:     "show ALIAS",
		short:   "Show a spell and how its runs went; with --script what it does",
		example: "orchd spell show beat\norchd spell show beat --script > beat.star\norchd spell show registry-renew --scope cluster -o yaml",
		min:     1, max: 1, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			var s api.SpellView
			k := spellCall("GET", args[0], scope)
			k.out = &s
			if err := a.send(ctx, k); err != nil {
				return err
			}
			if script {
				_, err := fmt.Fprint(a.Stdout, s.Script)
				return err
			}
			return a.spells().one(a, s)
		},
	})
	a.scopeFlag(cmd, &scope, whereAlias)
	cmd.Flags().BoolVar(&script, "script", false, "print its script alone")
	return cmd
}

func (a *App) spellRemove() *cobra.Command {
	var scope string
	cmd := a.verb(verb{
		use:     "remove ALIAS...",
		short:   "Remove spells, with their values, logs and mailboxes",
		example: "orchd spell remove beat\norchd spell remove beat --scope h2",
		min:     1, max: many, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			return a.removeOf(ctx, "/v1/spells/", "spell", inScope(scope), args)
		},
	})
	cmd.Aliases = []string{"rm", "delete"}
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

func (a *App) spellTrigger() *cobra.Command {
	var scope string
	var when triggerFlags
	var never bool
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:   "trigger ALIAS",
		short: "Say anew when a spell runs; what is not named is off",
		example: `
orchd spell trigger beat --every 5m
orchd spell trigger beat --on-connect --on-disconnect
orchd spell trigger beat --never          # it stays, and runs when it is told to`,
		min: 1, max: 1, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			t, err := when.trigger(cmd, a.Now())
			if err != nil {
				return err
			}
			var s api.Spell
			k := spellCall("PUT", args[0], scope, "trigger")
			k.in, k.out = t, &s
			if err := a.send(ctx, k); err != nil {
				return err
			}
			return a.spells().result(a, api.SpellView{Spell: s})
		},
	})
	when.register(a, cmd)
	cmd.Flags().BoolVar(&never, "never", false, "only when it is told to: orchd spell run")
	cmd.MarkFlagsOneRequired("never", "every", "at", "once", "on-connect", "on-disconnect", "on-event")
	for _, other := range []string{"every", "at", "once", "on-connect", "on-disconnect", "on-event"} {
		cmd.MarkFlagsMutuallyExclusive("never", other)
	}
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}
