package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
)

// desk is where followers ask for events: the API's own code (api/server), over what the
// asked host has kept. One stands for those of all hosts, for to make it is work.
type desk struct {
	server.Backend // nothing but what stands below is asked of it
}

// theDesk is that of all worlds. It is made outside of them: what it is made of belongs to no bubble.
var theDesk = sync.OnceValue(func() http.Handler {
	return server.New(server.Config{Version: "sim"}, desk{}, quietLog()).Handler()
})

// askedKey is the key of the asked host in the context of a request.
type askedKey struct{}

func asked(ctx context.Context) *eventLog { return ctx.Value(askedKey{}).(*host).events }

// PeerName and the others are what events need of a peer.
func (desk) PeerName() string { return "sim" }

func (desk) Authenticate(context.Context, string) (api.Actor, error) { return admin, nil }

func (desk) View(ctx context.Context, _ api.Consistency) (server.View, error) {
	return deskView{index: asked(ctx).reaches()}, nil
}

func (desk) Events(ctx context.Context, since api.Position, until uint64, _ api.EventFilter) (server.EventStream, error) {
	list, whole := asked(ctx).between(since, until)
	if !whole {
		return nil, api.Errorf(api.Gone, "sim.events", "the events behind %s are not kept here", since)
	}
	return &eventStream{list: list, at: since, until: until}, nil
}

type deskView struct {
	server.View
	index uint64
}

func (v deskView) Index() uint64 { return v.index }

// eventStream gives the events of a list.
type eventStream struct {
	list  []event
	at    api.Position
	until uint64
}

func (s *eventStream) Next(context.Context) (api.Event, error) {
	if len(s.list) == 0 {
		if end := api.After(s.until); s.at.Before(end) {
			s.at = end
		}
		return api.Event{}, io.EOF
	}
	e := s.list[0]
	s.list, s.at = s.list[1:], e.position()
	return api.Event{Index: e.index, N: e.n, Table: e.table, Key: e.key}, nil
}

func (s *eventStream) At() api.Position { return s.at }

func (s *eventStream) Close() {}

// follower is what somebody who follows the events has got, and how far that is by the peers' word.
type follower struct {
	at  string // id of the newest event; empty for none
	got []event
}

// follow reads events from any host, behind those that the follower has, as a browser does
// that connects again.
func (c *client) follow(f *follower) {
	h := c.host()
	var list []event
	var at string
	err := c.call(h, time.Second, func(ctx context.Context, _ *life) (err error) {
		list, at, err = ask(context.WithValue(ctx, askedKey{}, h), f.at)
		return err
	})
	if err == nil {
		f.got, f.at = append(f.got, list...), at
	}
}

// ask asks the desk for the events behind the one with that id.
func ask(ctx context.Context, behind string) (list []event, at string, err error) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/events?follow=false&consistency=local&since=0", nil)
	r.Header.Set("Authorization", "Bearer admin")
	if at = behind; behind != "" {
		r.Header.Set("Last-Event-ID", behind)
	}
	answer := httptest.NewRecorder()
	theDesk().ServeHTTP(answer, r)
	if answer.Code != http.StatusOK {
		return nil, "", fmt.Errorf("events: %d %s", answer.Code, answer.Body)
	}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch value = strings.TrimPrefix(value, " "); name {
		case "id":
			at = value
		case "data":
			var e api.Event
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				return nil, "", fmt.Errorf("an event is %q: %w", value, err)
			}
			if e.Index > 0 { // the event named end has none
				list = append(list, event{e.Index, e.N, e.Table, e.Key})
			}
		}
	}
	return list, at, nil
}
