package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) spellKV() *cobra.Command {
	return a.group("kv", "Values that a spell keeps", `
orchd spell kv list beat
orchd spell kv get beat seen
orchd spell kv set beat w_limit 5 --u32`,
		a.spellKVList(), a.spellKVGet(), a.spellKVSet(), a.spellKVRemove())
}

func (a *App) values() listing[api.KVEntry] {
	type E = api.KVEntry
	return listing[E]{
		name: func(e E) string { return e.Key },
		columns: []column[E]{
			{head: "KEY", text: func(e E) string { return e.Key }},
			{head: "KIND", text: func(e E) string { return string(e.Kind) }},
			{head: "VALUE", text: func(e E) string { return shortened(oneLine(valueText(e, " "))) }, raw: func(e E) string { return valueText(e, "\n") }},
			{head: "AGE", text: func(e E) string { return a.age(e.UpdatedAt) }, key: "updated_at", raw: func(e E) string { return moment(e.UpdatedAt) }},
			{head: "VERSION", wide: true, text: func(e E) string { return number(e.Version) }},
		},
	}
}

// valueText is a value in words; between stands between the elements of a list.
func valueText(e api.KVEntry, between string) string {
	switch e.Kind {
	case api.KVU32:
		return number(uint64(e.U32))
	case api.KVList:
		return strings.Join(e.List, between)
	}
	return e.Text
}

// shortened is what of a text fits a cell.
func shortened(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// completeKeys completes a spell, and then up to max of its keys.
func (a *App) completeKeys(scope *string, max int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.completeArgs(spellAliases, 1)(cmd, args, typed)
		}
		names := func(ctx context.Context, a *App) ([]string, error) {
			ctx, cancel := context.WithTimeout(ctx, nameTime)
			defer cancel()
			k := spellCall("GET", args[0], *scope, "kv")
			items, err := list[api.KVEntry](ctx, a, k.path, k.query)
			var keys []string
			for _, e := range items {
				keys = append(keys, e.Key)
			}
			return keys, err
		}
		return a.completeArgs(names, max)(cmd, args[1:], typed)
	}
}

func (a *App) spellKVList() *cobra.Command {
	var scope, prefix string
	cmd := a.verb(verb{
		use:     "list ALIAS",
		short:   "List the values that a spell keeps",
		example: "orchd spell kv list beat\norchd spell kv list beat --prefix w_ -o json",
		min:     1, max: 1, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			q := filters("scope", scope, "prefix", prefix)
			items, err := list[api.KVEntry](ctx, a, spellCall("GET", args[0], "", "kv").path, q)
			if err != nil {
				return err
			}
			return a.values().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that begin so")
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

func (a *App) spellKVGet() *cobra.Command {
	var scope string
	cmd := a.verb(verb{
		use:     "get ALIAS KEY",
		short:   "Print a value that a spell keeps; an element of a list on each line",
		example: "orchd spell kv get beat seen\norchd spell kv get beat hw_counter -o json",
		min:     2, max: 2, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			var e api.KVEntry
			k := spellCall("GET", args[0], scope, "kv", args[1])
			k.out = &e
			if err := a.send(ctx, k); err != nil {
				return err
			}
			return a.object(e, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, valueText(e, "\n"))
				return err
			})
		},
	})
	cmd.ValidArgsFunction = a.completeKeys(&scope, 1)
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

func (a *App) spellKVSet() *cobra.Command {
	var scope string
	var asU32, asList bool
	cmd := a.verb(verb{
		use:   "set ALIAS KEY VALUE...",
		short: "Set a value of a spell, of those for people to write: w_ and hw_",
		example: `
orchd spell kv set beat w_greeting "good morning"
orchd spell kv set beat w_limit 5 --u32
orchd spell kv set beat w_names anna bob --list`,
		min: 3, max: many, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			put, err := kvPut(args[2:], asU32, asList)
			if err != nil {
				return err
			}
			var e api.KVEntry
			k := spellCall("PUT", args[0], scope, "kv", args[1])
			k.in, k.out = put, &e
			if err := a.send(ctx, k); err != nil {
				return err
			}
			return a.values().result(a, e)
		},
	})
	cmd.ValidArgsFunction = a.completeKeys(&scope, 1)
	cmd.Flags().BoolVar(&asU32, "u32", false, "VALUE is a whole number from 0 to 4294967295")
	cmd.Flags().BoolVar(&asList, "list", false, "the VALUEs are the elements of a list")
	cmd.MarkFlagsMutuallyExclusive("u32", "list")
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

// kvPut is the body that words of the command line ask for.
func kvPut(words []string, asU32, asList bool) (api.KVPut, error) {
	switch {
	case asList:
		return api.KVPut{List: words}, nil
	case len(words) > 1:
		return api.KVPut{}, usagef("one VALUE, got %d; with --list they are the elements of a list", len(words))
	case !asU32:
		return api.KVPut{Text: &words[0]}, nil
	}
	n, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil || n < 0 || n > math.MaxUint32 {
		return api.KVPut{}, usagef("--u32 wants a whole number from 0 to %d, got %q", uint32(math.MaxUint32), words[0])
	}
	return api.KVPut{U32: &n}, nil
}

func (a *App) spellKVRemove() *cobra.Command {
	var scope string
	cmd := a.verb(verb{
		use:     "remove ALIAS KEY...",
		short:   "Remove values of a spell, of those for people to write: w_ and hw_",
		example: "orchd spell kv remove beat w_limit",
		min:     2, max: many, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return each(ctx, args[1:], func(key string) error {
				if err := c.do(ctx, spellCall("DELETE", args[0], scope, "kv", key)); err != nil {
					return err
				}
				a.say("%s of %s is gone", key, args[0])
				return nil
			})
		},
	})
	cmd.Aliases = []string{"rm", "delete"}
	cmd.ValidArgsFunction = a.completeKeys(&scope, many)
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

func (a *App) spellMailbox() *cobra.Command {
	return a.group("mailbox", "Messages for a spell, which takes them out first in, first out", `
orchd spell mailbox push beat "look again"
orchd spell mailbox list beat`,
		a.mailboxList(), a.mailboxPush())
}

func (a *App) mails() listing[api.Mail] {
	type M = api.Mail
	return listing[M]{
		name:  func(m M) string { return number(m.Seq) },
		order: func(x, y M) int { return cmp.Compare(x.Seq, y.Seq) },
		columns: []column[M]{
			{head: "SEQ", text: func(m M) string { return number(m.Seq) }},
			{head: "FROM", text: func(m M) string { return m.From }},
			{head: "AGE", text: func(m M) string { return a.age(m.At) }, key: "at", raw: func(m M) string { return moment(m.At) }},
			{head: "TEXT", text: func(m M) string { return shortened(oneLine(m.Text)) }, raw: func(m M) string { return m.Text }},
		},
	}
}

func (a *App) mailboxList() *cobra.Command {
	var scope string
	cmd := a.verb(verb{
		use:     "list ALIAS",
		short:   "List the messages that a spell has not taken yet, oldest first",
		example: "orchd spell mailbox list beat\norchd spell mailbox list beat -o json",
		min:     1, max: 1, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			k := spellCall("GET", args[0], scope, "mailbox")
			items, err := list[api.Mail](ctx, a, k.path, k.query)
			if err != nil {
				return err
			}
			return a.mails().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

func (a *App) mailboxPush() *cobra.Command {
	var scope string
	cmd := a.verb(verb{
		use:     "push ALIAS TEXT",
		short:   "Put a message into a spell's mailbox, which holds 50",
		example: "orchd spell mailbox push beat \"look again\"\norchd spell mailbox push beat @order.json",
		min:     2, max: 2, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			text := args[1]
			if strings.HasPrefix(text, "@") || text == "-" {
				path, read, err := a.fileOf(text)
				if err == nil {
					err = tooLong(path, read, api.MaxKVValue)
				}
				if err != nil {
					return err
				}
				text = string(read)
			}
			k := spellCall("POST", args[0], scope, "mailbox")
			k.in = api.MailCreate{Text: text}
			if err := a.send(ctx, k); err != nil {
				return err
			}
			a.say("the message waits for the next run of %s", args[0])
			return nil
		},
	})
	cmd.ValidArgsFunction = a.completeArgs(spellAliases, 1)
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}
