package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

// wantedEvents is what the flags of orchd events say.
type wantedEvents struct {
	since  string
	follow bool
	filter api.EventFilter
}

// recently is how far back events go when nobody says since when.
const recently = time.Hour

func (a *App) events() *cobra.Command {
	var want wantedEvents
	cmd := a.verb(verb{
		use:   "events",
		short: "Who changed what, when: each change of the replicated state in order",
		long: `Who changed what, when: each change of the replicated state in order.
Without --since, those of the last hour; with --follow, those from now on. -o wide
shows the request and the row, -o json is an object a line.`,
		example: `
orchd events --since 24h --table vms
orchd events --follow --table vms,operations -o json
orchd events --since 4711.3 --follow        # go on behind the third change of entry 4711`,
		run: func(ctx context.Context, _ []string) error {
			return a.tellEvents(ctx, want)
		},
	})
	f := cmd.Flags()
	f.StringVar(&want.since, "since", "", "begin behind INDEX or INDEX.N (0: the very first), or with the changes since a\ntime: 90m, 2026-11-01T03:12:00Z")
	f.BoolVarP(&want.follow, "follow", "f", false, "go on with what changes from now on, until interrupted")
	f.StringSliceVar(&want.filter.Tables, "table", nil, "only rows of these tables, as vms or compute_nodes; may be repeated")
	f.StringSliceVar(&want.filter.Keys, "key", nil, "only the rows with these keys, mostly ids; may be repeated")
	f.StringVar(&want.filter.Account, "account", "", "only rows of this account")
	a.completeFlag(cmd, "account", accountNames)
	a.completeFlag(cmd, "table", words(fsm.RecordedTables()))
	return cmd
}

func (a *App) eventColumns() listing[api.Event] {
	type E = api.Event
	return listing[E]{
		name: func(e E) string { return e.Position().String() },
		columns: []column[E]{
			{head: "TIME", text: func(e E) string { return moment(e.Time) }},
			{head: "INDEX", text: func(e E) string { return e.Position().String() }},
			{head: "VERB", text: func(e E) string { return string(e.Verb) }},
			{head: "TABLE", text: func(e E) string { return e.Table }},
			{head: "KEY", text: func(e E) string { return e.Key }},
			{head: "ACTOR", text: func(e E) string { return e.Actor }},
			{head: "ACCOUNT", wide: true, text: func(e E) string { return e.Account }},
			{head: "REQUEST-ID", wide: true, text: func(e E) string { return e.RequestID }, key: "request_id"},
			{head: "VALUE", wide: true, text: func(e E) string { return string(e.Value) }},
		},
	}
}

// eventWidths are those of the columns of a table: what comes later is not known
// when the first line is printed.
var eventWidths = []int{20, 10, 6, 19, 36, 10, 8, 26, 0}

func (a *App) tellEvents(ctx context.Context, want wantedEvents) error {
	since, from, err := a.sinceOf(want)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	options := c.options(call{method: "GET"})
	if !from.IsZero() {
		options = append(options, api.WithSince(from))
	}
	out := a.newFeed(typed[api.Event]{a.eventColumns()}, eventWidths)
	for e, err := range c.api.Events(ctx, since, want.filter, want.follow, options...) {
		if err != nil {
			return c.cut(ctx, err)
		}
		if err := out.add(e); err != nil {
			return err
		}
	}
	if !out.any {
		a.say("nothing has changed")
	}
	return nil
}

// cut is why a stream of events ended before its time.
func (c client) cut(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.explained(api.Answer{}, err)
}

// sinceOf is where to begin: behind a position, or at a time.
func (a *App) sinceOf(want wantedEvents) (api.Position, time.Time, error) {
	if want.since == "" {
		if want.follow {
			return api.Now, time.Time{}, nil
		}
		return api.Now, a.Now().Add(-recently), nil
	}
	if at, err := api.ParsePosition(want.since); err == nil {
		return at, time.Time{}, nil
	}
	if ago, err := time.ParseDuration(want.since); err == nil && ago > 0 {
		return api.Now, a.Now().Add(-ago), nil
	}
	if at, err := time.Parse(time.RFC3339, want.since); err == nil {
		return api.Now, at, nil
	}
	return api.Now, time.Time{}, usagef("--since wants INDEX or INDEX.N, as 4711 or 4711.3, or a time, as 90m or 2026-11-01T03:12:00Z; got %q", want.since)
}

// feed prints objects one after the other as they come: JSON one a line, YAML one
// a document, and rows of a table below each other.
type feed struct{ pages }

func (a *App) newFeed(p printer, widths []int) *feed {
	return &feed{pages{app: a, printer: p, widths: widths}}
}

// add prints objects.
func (l *feed) add(all ...any) error {
	var raws []json.RawMessage
	for _, v := range all {
		var raw bytes.Buffer
		e := json.NewEncoder(&raw)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return err
		}
		raws = append(raws, raw.Bytes())
	}
	return l.addRaw(raws...)
}

func (l *feed) addRaw(raws ...json.RawMessage) error {
	switch l.app.flags.output {
	case "json":
		return l.documents(raws, func(raw json.RawMessage) error { return printLine(l.app.Stdout, raw) })
	case "yaml":
		return l.documents(raws, func(raw json.RawMessage) error { return printDocument(l.app.Stdout, raw) })
	}
	return l.pages.add(raws)
}

func (l *feed) documents(raws []json.RawMessage, print func(json.RawMessage) error) error {
	for _, raw := range raws {
		l.any = true
		if err := print(raw); err != nil {
			return err
		}
	}
	return nil
}
