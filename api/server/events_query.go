package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// maxWanted bounds how many tables or keys one stream may name.
const maxWanted = 100

// eventsQuery is which events somebody wants.
type eventsQuery struct {
	since  api.Position
	from   time.Time // earlier ones are left out
	until  uint64    // index with which the stream ends; 0: never
	filter api.EventFilter
}

// describeEvents documents what eventsQueryOf reads and events writes.
func describeEvents(h huma.API, op *huma.Operation) {
	text := &huma.Schema{Type: huma.TypeString}
	op.Parameters = []*huma.Param{
		queryParameter("since", "Begin behind this position, INDEX or INDEX.N, or with the first change kept that is not before this time, as 2026-11-01T03:12:00Z; default: now", text),
		queryParameter("table", "Only changes of these tables; repeat it or put commas between", text),
		queryParameter("key", "Only changes of rows with these keys; repeat it or put commas between", text),
		queryParameter("account", "Only changes of rows of this account", text),
		queryParameter("follow", "false: end, with an event named end, once all is told that had happened when the request came", &huma.Schema{Type: huma.TypeBoolean, Default: true}),
		queryParameter("consistency", "What now is, for the default of since and for follow=false: linearizable, or local: as far as this peer has come",
			&huma.Schema{Type: huma.TypeString, Enum: []any{"linearizable", "local"}, Default: "linearizable"}),
		{Name: "Last-Event-ID", In: "header", Description: "Go on behind this event: what a browser sends when it connects again", Schema: text},
	}
	event := h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Event](), true, "")
	op.Responses["200"] = &huma.Response{
		Description: "A stream without end. Each change is an event named change whose id is its position, INDEX.N, and whose data is an Event as JSON. A block with an id alone tells how far the stream has come.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: event}}}
}

// eventsQueryOf reads a request.
func (s *Server) eventsQueryOf(r *http.Request) (q eventsQuery, err error) {
	asked := r.URL.Query()
	if q.filter, err = eventFilterOf(asked, actorOf(r.Context())); err != nil {
		return q, err
	}
	follow, err := followOf(asked.Get("follow"))
	if err != nil {
		return q, err
	}
	return q, s.bound(r, &q, follow)
}

// bound sets where the events begin and end.
func (s *Server) bound(r *http.Request, q *eventsQuery, follow bool) (err error) {
	since, last := r.URL.Query().Get("since"), r.Header.Get("Last-Event-ID")
	if since == "" && last == "" || !follow {
		now, err := s.indexNow(r)
		if err != nil {
			return err
		}
		q.since = api.After(now)
		if !follow {
			q.until = now
		}
	}
	if since != "" {
		if err := s.begin(r.Context(), q, since); err != nil {
			return err
		}
	}
	if last != "" { // who comes back says since what it asked for at first, too
		if q.since, err = api.ParsePosition(last); err != nil {
			return badParameter("/header/Last-Event-ID", "expected the id of an event, as 4711.3")
		}
		if planted.Is(planted.EventTwice) && q.since.Index > 0 { // the client has had that event
			q.since = api.After(q.since.Index - 1)
		}
	}
	return nil
}

// indexNow is the log index of the state that a read would see now.
func (s *Server) indexNow(r *http.Request) (uint64, error) {
	consistency, err := consistencyOf(r)
	if err != nil {
		return 0, err
	}
	v, err := s.backend.View(r.Context(), consistency)
	if err != nil {
		return 0, err
	}
	return v.Index(), nil
}

// begin sets where the events begin: behind a position, or at a time.
func (s *Server) begin(ctx context.Context, q *eventsQuery, since string) (err error) {
	if q.since, err = api.ParsePosition(since); err == nil {
		return nil
	}
	if q.from, err = time.Parse(time.RFC3339, since); err != nil {
		return badParameter("/query/since", "expected INDEX or INDEX.N, as 4711 or 4711.3, or a time, as 2026-11-01T03:12:00Z")
	}
	if err := s.backend.CompleteSince(ctx, q.from); err != nil {
		return err
	}
	ranges, err := s.backend.ChangeRanges(ctx)
	q.since = behindAllBefore(q.from, ranges)
	return err
}

// behindAllBefore is a position behind which all kept changes at or after t are, and few others.
func behindAllBefore(t time.Time, ranges []api.ChangeRange) api.Position {
	behind := api.After(0)
	for i, r := range ranges {
		if i == 0 {
			behind = api.After(r.From - 1)
		}
		if !r.Until.Before(t) {
			break
		}
		behind = api.After(r.To)
	}
	return behind
}

// eventFilterOf reads what narrows the events down. Who is bound to an account
// sees that one.
func eventFilterOf(asked url.Values, actor api.Actor) (api.EventFilter, error) {
	f := api.EventFilter{Tables: wordsOf(asked["table"]), Keys: wordsOf(asked["key"]), Account: asked.Get("account")}
	for name, words := range map[string][]string{"table": f.Tables, "key": f.Keys, "account": {f.Account}} {
		if len(words) > maxWanted || slices.ContainsFunc(words, func(w string) bool { return !showable(w, maxRef) }) {
			return f, badParameter("/query/"+name, fmt.Sprintf("at most %d, each of at most %d printable characters", maxWanted, maxRef))
		}
	}
	if actor.Account == "" {
		return f, nil
	}
	if f.Account == "" {
		f.Account = actor.Account
	}
	return f, permit(actor, api.Read, api.Object{Kind: "event", Account: f.Account})
}

// wordsOf splits values at their commas.
func wordsOf(values []string) (words []string) {
	for _, v := range values {
		for word := range strings.SplitSeq(v, ",") {
			if word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

// followOf reads the parameter follow.
func followOf(value string) (bool, error) {
	switch value {
	case "", "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, badParameter("/query/follow", "expected true or false")
}
