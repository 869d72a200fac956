package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// triggerFlags are the flags that say when a spell runs.
type triggerFlags struct {
	every               durationFlag
	at, until           string
	once                bool
	connect, disconnect bool
	events              []string
	overlap, missed     string
	retry               bool
}

func (t *triggerFlags) register(a *App, cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&t.every, "every", "run again and again, as 60s or 12h; whole seconds")
	f.StringVar(&t.at, "at", "", "run at this time, or, with --every, from then on: 2026-11-01T03:12:00Z")
	f.BoolVar(&t.once, "once", false, "run once, now")
	f.StringVar(&t.until, "until", "", "with --every: no more from this time on")
	f.BoolVar(&t.connect, "on-connect", false, "run for each peer that comes")
	f.BoolVar(&t.disconnect, "on-disconnect", false, "run for each peer that goes")
	f.StringArrayVar(&t.events, "on-event", nil, "run for each change such as table=vms,where=status.state=failed; may be repeated")
	a.choice(cmd, &t.overlap, "overlap", []string{string(api.OverlapQueue), string(api.OverlapAllow)}, "what a firing does while a run goes on: queue or allow (default queue)")
	a.choice(cmd, &t.missed, "missed", []string{string(api.MissedSkip), string(api.MissedRunOnce)}, "what becomes of ticks that nobody could run: skip or run-once (default skip)")
	f.BoolVar(&t.retry, "retry", false, "run again what was cut off by the end of its peer")
	cmd.MarkFlagsMutuallyExclusive("once", "every")
	cmd.MarkFlagsMutuallyExclusive("once", "at")
}

// alreadyBegun is a start that lies in the past, which is: now.
const alreadyBegun = 1

// trigger is what the flags say.
func (t *triggerFlags) trigger(cmd *cobra.Command, now time.Time) (api.Trigger, error) {
	out := api.Trigger{Connections: api.Connections{Connect: t.connect, Disconnect: t.disconnect},
		Overlap: api.Overlap(t.overlap), Missed: api.Missed(t.missed), Retry: t.retry}
	for _, text := range t.events {
		e, err := eventMatch(text)
		if err != nil {
			return out, err
		}
		out.Events = append(out.Events, e)
	}
	every := time.Duration(t.every)
	if every%time.Second != 0 {
		return out, usagef("--every wants whole seconds, got %s", every)
	}
	if every == 0 && t.at == "" && !t.once {
		if t.until != "" {
			return out, usagef("--until goes with --every")
		}
		return out, nil
	}
	out.Clock = api.Clock{StartSec: alreadyBegun, PeriodSec: int64(every / time.Second)}
	var err error
	if t.at != "" {
		if out.Clock.StartSec, err = momentFlag("at", t.at); err != nil {
			return out, err
		}
		if every == 0 && out.Clock.StartSec <= now.Unix() {
			cmd.PrintErrf("%s has passed: it runs at once\n", t.at)
		}
	}
	if t.until != "" {
		out.Clock.EndSec, err = momentFlag("until", t.until)
	}
	return out, err
}

// momentFlag is a time in seconds since 1970.
func momentFlag(name, text string) (int64, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Unix() <= 0 {
		return 0, usagef("--%s wants a time, as 2026-11-01T03:12:00Z; got %q", name, text)
	}
	return at.Unix(), nil
}

// eventMatch reads table=T,verb=V,where=FIELD=VALUE.
func eventMatch(text string) (e api.EventMatch, err error) {
	for _, part := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		field, want, both := strings.Cut(value, "=")
		switch {
		case name == "table" && value != "":
			e.Table = value
		case name == "verb" && slices.Contains(changeVerbs, value):
			e.Verb = api.ChangeVerb(value)
		case name == "where" && both && field != "":
			if e.Where == nil {
				e.Where = map[string]string{}
			}
			e.Where[field] = want
		default:
			return e, usagef("--on-event wants table=TABLE, verb=create, update or delete, where=FIELD=VALUE, with commas between; got %q", part)
		}
	}
	if e.Table == "" {
		return e, usagef("--on-event wants a table, as in table=vms,where=status.state=failed")
	}
	return e, nil
}

var changeVerbs = []string{"create", "update", "delete"}

// grantFlag collects what a script may do: kv, vms, now, call=ALIAS, http=HOST, read=TABLE.
type grantFlag struct{ g *api.Grants }

func (f grantFlag) Type() string { return "grant" }

func (f grantFlag) String() string {
	if f.g == nil {
		return ""
	}
	return grantsText(*f.g)
}

func (f grantFlag) Set(text string) error {
	name, of, _ := strings.Cut(text, "=")
	switches := map[string]*bool{"kv": &f.g.KV, "vms": &f.g.VMs, "now": &f.g.Now, "any_account": &f.g.AnyAccount}
	lists := map[string]*[]string{"call": &f.g.Call, "http": &f.g.HTTP, "read": &f.g.Read}
	if on, ok := switches[name]; ok && of == "" {
		*on = true
		return nil
	}
	if all, ok := lists[name]; ok && of != "" {
		*all = append(*all, of)
		return nil
	}
	return errors.New("want kv, vms, now, any_account, call=ALIAS, http=HOST:PORT or read=TABLE")
}

// newSpell is what the flags of install ask for.
type newSpell struct {
	want api.SpellCreate
	file string
	ttl  durationFlag
	kv   []string
	when triggerFlags
}

func (a *App) spellInstall() *cobra.Command {
	var n newSpell
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:   "install ALIAS --file SCRIPT",
		short: "Install a script that defines run(), and say when it runs",
		long: "Install a script that defines run(), and say when it runs; without such a flag it runs when it is told to. Spells of\n" +
			"the scope cluster, and the grants http, read and any_account, are for admins.",
		example: `
orchd spell install beat --file beat.star --every 60s --grant kv --kv limit=5
orchd spell install tell --file tell.star --on-event table=vms,where=status.state=failed --grant http=10.0.0.9:80
orchd spell install nightly --file n.star --scope cluster --at 2027-01-01T03:00:00Z --every 24h --grant vms`,
		min: 1, max: 1,
		run: func(ctx context.Context, args []string) error { return a.installSpell(ctx, cmd, args[0], n) },
	})
	f := cmd.Flags()
	f.StringVar(&n.file, "file", "", "the script, in Starlark; - for stdin")
	n.when.register(a, cmd)
	f.StringArrayVar(&n.kv, "kv", nil, "a value to begin with, KEY=VALUE (JSON, or text); may be repeated")
	f.Var(grantFlag{&n.want.Grants}, "grant", "what it may do: kv, vms, now, any_account, call=ALIAS, http=HOST:PORT, read=TABLE;\nmay be repeated")
	f.Var(&n.ttl, "call-ttl", "how long a run may take (default 1m)")
	f.StringVar(&n.want.Account, "account", "", "in whose name it acts (default: the token's)")
	a.scopeFlag(cmd, &n.want.Scope, "whose it is: cluster (admins), or a peer (default: the asked peer)")
	cmd.MarkFlagRequired("file")
	a.completeFlag(cmd, "account", accountNames)
	return cmd
}

func (a *App) installSpell(ctx context.Context, cmd *cobra.Command, alias string, n newSpell) error {
	want, err := n.request(a, cmd, alias)
	if err != nil {
		return err
	}
	var made api.Spell
	if err := a.send(ctx, call{method: "POST", path: "/v1/spells", in: want, out: &made}); err != nil {
		return err
	}
	if made.Trigger.Empty() {
		a.say("%s runs when it is told to: orchd spell run %s", alias, alias)
	} else {
		a.say("see what it says: orchd spell log %s --follow", alias)
	}
	return a.spells().result(a, api.SpellView{Spell: made})
}

// request is the create that the flags ask for.
func (n newSpell) request(a *App, cmd *cobra.Command, alias string) (api.SpellCreate, error) {
	want := n.want
	want.Alias = alias
	name := n.file
	if n.file != "-" {
		name = "@" + strings.TrimPrefix(n.file, "@")
	}
	path, text, err := a.fileOf(name)
	switch {
	case err != nil:
		return want, fmt.Errorf("--file: %w", err)
	case !utf8.Valid(text):
		return want, usagef("--file: %s is no text", path)
	}
	if err := tooLong("--file: "+path, text, api.MaxScript); err != nil {
		return want, err
	}
	want.Script = string(text)
	if ttl := time.Duration(n.ttl); ttl%time.Second != 0 {
		return want, usagef("--call-ttl wants whole seconds, got %s", ttl)
	}
	want.CallTTL = int64(time.Duration(n.ttl) / time.Second)
	for _, pair := range n.kv {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return want, usagef("--kv wants KEY=VALUE, got %q", pair)
		}
		if want.KV == nil {
			want.KV = map[string]json.RawMessage{}
		}
		want.KV[key] = jsonOf(value)
	}
	want.Trigger, err = n.when.trigger(cmd, a.Now())
	return want, err
}
