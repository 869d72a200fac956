package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/history"
	"github.com/orchd/orchd/test/lab"
)

// follower is W4: it follows the events of all tables on one peer after the other,
// and notes whatever it is sent, as it is sent. It is no api.Client, which would
// drop what comes twice.
type follower struct {
	*house
	rng *rand.Rand

	mu     sync.Mutex
	seen   []api.Event
	last   string // the id that it goes on behind
	visits int    // connections that brought something
	faults []error
}

// follow goes on until ctx ends.
func (f *follower) follow(ctx context.Context) {
	f.last = "0"
	for ctx.Err() == nil {
		all := f.members()
		visit, cancel := context.WithTimeout(ctx, time.Duration(500+f.rng.IntN(6000))*time.Millisecond)
		f.visit(visit, all[f.rng.IntN(len(all))])
		cancel()
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// visit reads the stream of one peer until it breaks.
func (f *follower) visit(ctx context.Context, at *lab.Host) {
	client, err := f.client(at)
	if err != nil {
		return
	}
	r, err := http.NewRequestWithContext(ctx, "GET", at.URL()+"/v1/events", nil)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Last-Event-ID", f.last)
	answer, err := client.Do(r)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		if answer.StatusCode != http.StatusServiceUnavailable {
			f.wonder("events behind %s on %s: %d", f.last, at.Name, answer.StatusCode)
		}
		return
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 16<<20)
	id, data, before := "", "", len(f.seen)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if id != "" {
				f.take(id, data, at)
			}
			id, data = "", ""
		}
	}
	if len(f.seen) > before {
		f.visits++
	}
}

// take notes a frame; one without data only says how far the stream has come.
func (f *follower) take(id, data string, at *lab.Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was, err := api.ParsePosition(f.last)
	now, bad := api.ParsePosition(id)
	if err != nil || bad != nil {
		f.faults = append(f.faults, fmt.Errorf("an event of %s has the id %q behind %q", at.Name, id, f.last))
		return
	}
	if data != "" {
		var e api.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			f.faults = append(f.faults, fmt.Errorf("event %s of %s: %w", id, at.Name, err))
			return
		}
		if !was.Before(now) {
			f.faults = append(f.faults, fmt.Errorf("event %s of %s comes behind %s: twice, or out of order", id, at.Name, f.last))
		}
		if strings.Contains(data, "canary-7b2f") {
			f.faults = append(f.faults, fmt.Errorf("event %s of %s holds a secret", id, at.Name))
		}
		f.seen = append(f.seen, e)
	}
	f.last = id
}

// at is how far the follower has come.
func (f *follower) at() api.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := api.ParsePosition(f.last)
	if err != nil {
		return api.Position{}
	}
	return at
}

// judge holds what was seen against what the log did: the same changes, in the same
// order, none missing, none twice.
func (f *follower) judge(log *history.Log) error {
	faults := f.faults
	if f.visits < 2 {
		faults = append(faults, fmt.Errorf("the events were read over %d connections only", f.visits))
	}
	i := 0
	for _, want := range log.Effects {
		if i == len(f.seen) {
			break
		}
		if got := f.seen[i]; got.Index != want.Index || got.N != want.N || got.Table != want.Table || got.Key != want.Key || string(got.Verb) != want.Verb {
			faults = append(faults, fmt.Errorf("event %d is %s of %s %s, the log did %d.%d of %s %s", i, got.Position(), got.Table, got.Key, want.Index, want.N, want.Table, want.Key))
			break
		}
		i++
	}
	if i < len(f.seen) && len(faults) == 0 {
		faults = append(faults, fmt.Errorf("%d events were seen, the log did %d changes", len(f.seen), len(log.Effects)))
	}
	return errors.Join(faults...)
}
