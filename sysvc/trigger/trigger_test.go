package trigger

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

func at(sec int64) time.Time { return time.Unix(sec, 0).UTC() }

func TestNewestAndNext(t *testing.T) {
	for name, c := range map[string]struct {
		clock  api.Clock
		now    time.Time
		newest int64
		next   int64 // seconds; 0: none
	}{
		"off":                       {api.Clock{PeriodSec: 5}, at(100), None, 0},
		"before the start":          {api.Clock{StartSec: 100, PeriodSec: 5}, at(99), None, 100},
		"a moment before it":        {api.Clock{StartSec: 100, PeriodSec: 5}, at(100).Add(-1), None, 100},
		"at the start":              {api.Clock{StartSec: 100, PeriodSec: 5}, at(100), 0, 105},
		"between":                   {api.Clock{StartSec: 100, PeriodSec: 5}, at(104).Add(999 * time.Millisecond), 0, 105},
		"far on":                    {api.Clock{StartSec: 100, PeriodSec: 5}, at(1_000_000_000), 199_999_980, 1_000_000_005},
		"once, early":               {api.Clock{StartSec: 100}, at(50), None, 100},
		"once, done":                {api.Clock{StartSec: 100}, at(500), 0, 0},
		"the end is no tick":        {api.Clock{StartSec: 100, PeriodSec: 5, EndSec: 110}, at(200), 1, 0},
		"right before the end":      {api.Clock{StartSec: 100, PeriodSec: 5, EndSec: 111}, at(200), 2, 0},
		"last but one":              {api.Clock{StartSec: 100, PeriodSec: 5, EndSec: 111}, at(105), 1, 110},
		"ends where it begins":      {api.Clock{StartSec: 100, PeriodSec: 5, EndSec: 100}, at(200), None, 0},
		"once, ends after":          {api.Clock{StartSec: 100, EndSec: 101}, at(200), 0, 0},
		"after the year 9999":       {api.Clock{StartSec: math.MaxInt64}, at(100), None, 0},
		"the year 9999":             {api.Clock{StartSec: api.LastSecond, PeriodSec: 1}, at(100), None, api.LastSecond},
		"the last there is":         {api.Clock{StartSec: api.LastSecond - 1, PeriodSec: 5}, at(api.LastSecond), 0, 0},
		"hundred years, once a day": {api.Clock{StartSec: 1, PeriodSec: 86400}, at(1 + 36525*86400), 36525, 1 + 36526*86400},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Newest(c.clock, c.now); got != c.newest {
				t.Errorf("newest tick %d, want %d", got, c.newest)
			}
			next, has := Next(c.clock, c.newest)
			if has != (c.next != 0) || has && !next.Equal(at(c.next)) {
				t.Errorf("next %v %v, want %d", next, has, c.next)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	clock := api.Clock{StartSec: 100, PeriodSec: 60}
	late := Grace + time.Second
	for name, c := range map[string]struct {
		missed api.Missed
		marked int64
		free   time.Time
		now    time.Time
		tick   int64
		want   Decision
	}{
		"not yet":                            {api.MissedSkip, None, time.Time{}, at(99), None, Wait},
		"in time":                            {api.MissedSkip, None, time.Time{}, at(100), 0, Run},
		"marked":                             {api.MissedSkip, 0, time.Time{}, at(110), 0, Wait},
		"a little late":                      {api.MissedSkip, None, time.Time{}, at(100).Add(Grace), 0, Run},
		"too late":                           {api.MissedSkip, None, time.Time{}, at(100).Add(late), 0, Skip},
		"too late, run once":                 {api.MissedRunOnce, None, time.Time{}, at(100).Add(late), 0, Run},
		"several missed, the newest in time": {api.MissedSkip, 1, time.Time{}, at(400), 5, Run},
		"several missed, too late":           {api.MissedSkip, 1, time.Time{}, at(450), 5, Skip},
		"several missed, run once":           {api.MissedRunOnce, 1, time.Time{}, at(450), 5, Run},
		"it waited for its turn":             {"", 0, at(190), at(191), 1, Run},
		"it had its turn long ago":           {"", 0, at(170), at(190), 1, Skip},
	} {
		t.Run(name, func(t *testing.T) {
			tick, got := Decide(api.Trigger{Clock: clock, Missed: c.missed}, c.marked, c.free, c.now)
			if tick != c.tick || got != c.want {
				t.Errorf("tick %d, decision %d; want %d, %d", tick, got, c.tick, c.want)
			}
		})
	}
}

// An hour of ticks, looked at by a scheduler that pauses, and forgets all but what it
// marked: none runs twice, none is missing but by the rule for missed ones.
func TestTicksOfAnHour(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 6))
		tr := api.Trigger{Clock: api.Clock{StartSec: 1000 + r.Int64N(100), PeriodSec: 1 + r.Int64N(90)}, Missed: []api.Missed{api.MissedSkip, api.MissedRunOnce}[r.IntN(2)]}
		ran, marked := map[int64]time.Time{}, None
		var looks []time.Time
		for now := at(1000); now.Before(at(4600)); {
			looks = append(looks, now)
			tick, what := Decide(tr, marked, time.Time{}, now)
			if what == Run {
				if _, twice := ran[tick]; twice {
					t.Fatalf("seed %d: tick %d ran twice", seed, tick)
				}
				ran[tick] = now
			}
			if what != Wait {
				marked = tick
			}
			if r.IntN(20) == 0 {
				now = now.Add(time.Duration(r.Int64N(int64(3 * time.Minute))))
			} else {
				now = now.Truncate(time.Second).Add(time.Second)
			}
		}
		for tick := int64(0); ; tick++ {
			due := At(tr.Clock, tick)
			if !due.Before(looks[len(looks)-1]) {
				break
			}
			if _, is := ran[tick]; is {
				continue
			}
			first := looks[slices.IndexFunc(looks, func(look time.Time) bool { return !look.Before(due) })]
			overtaken := Newest(tr.Clock, first) > tick
			missed := tr.Missed != api.MissedRunOnce && first.Sub(due) > Grace
			if !overtaken && !missed {
				t.Errorf("seed %d: tick %d, due at %v and first seen at %v, never ran", seed, tick, due, first)
			}
		}
	}
}

func TestPeersThatComeAndGo(t *testing.T) {
	came, went := Changes([]string{"a", "b", "c"}, []string{"d", "b", "e"})
	if !slices.Equal(came, []string{"d", "e"}) || !slices.Equal(went, []string{"a", "c"}) {
		t.Fatalf("came %v, went %v", came, went)
	}
	all := OfPeers(api.Connections{Connect: true, Disconnect: true}, came, went, at(5))
	var got []string
	for _, f := range all {
		got = append(got, f.Kind+" "+f.Peer)
	}
	if want := "connect d,connect e,disconnect a,disconnect c"; strings.Join(got, ",") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if got := OfPeers(api.Connections{Disconnect: true}, came, nil, at(5)); len(got) != 0 {
		t.Errorf("nobody asked for those that come: %v", got)
	}
}

func change(key string, verb api.ChangeVerb, row string) api.Event {
	return api.Event{Index: 7, N: 2, Table: "vms", Key: key, Verb: verb, Value: json.RawMessage(row)}
}

func TestMatch(t *testing.T) {
	row := `{"name":"web1","labels":{"tier":"front","a.b":"c"},"status":{"state":"failed","epoch":3,"begun":true,"addresses":[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]}}`
	for name, c := range map[string]struct {
		match api.EventMatch
		want  bool
	}{
		"the table alone":           {api.EventMatch{Table: "vms"}, true},
		"another table":             {api.EventMatch{Table: "images"}, false},
		"a verb":                    {api.EventMatch{Table: "vms", Verb: api.Updated}, true},
		"another verb":              {api.EventMatch{Table: "vms", Verb: api.Created}, false},
		"a field":                   {api.EventMatch{Table: "vms", Where: map[string]string{"status.state": "failed"}}, true},
		"another value":             {api.EventMatch{Table: "vms", Where: map[string]string{"status.state": "running"}}, false},
		"all fields":                {api.EventMatch{Table: "vms", Where: map[string]string{"status.state": "failed", "name": "web1"}}, true},
		"not all fields":            {api.EventMatch{Table: "vms", Where: map[string]string{"status.state": "failed", "name": "web2"}}, false},
		"a number":                  {api.EventMatch{Table: "vms", Where: map[string]string{"status.epoch": "3"}}, true},
		"a truth":                   {api.EventMatch{Table: "vms", Where: map[string]string{"status.begun": "true"}}, true},
		"any of a list":             {api.EventMatch{Table: "vms", Where: map[string]string{"status.addresses.ip": "10.0.0.2"}}, true},
		"the first of a list":       {api.EventMatch{Table: "vms", Where: map[string]string{"status.addresses.0.ip": "10.0.0.2"}}, false},
		"a key with a dot":          {api.EventMatch{Table: "vms", Where: map[string]string{"labels.a.b": "c"}}, true},
		"empty is not there":        {api.EventMatch{Table: "vms", Where: map[string]string{"status.reason": ""}}, true},
		"a field that is not":       {api.EventMatch{Table: "vms", Where: map[string]string{"status.reason": "x"}}, false},
		"through what is no object": {api.EventMatch{Table: "vms", Where: map[string]string{"name.x": "y"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := NewMatcher([]api.EventMatch{c.match}).Match(change("1", api.Updated, row)); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A pattern with fields fires when a row comes to match, not while it goes on to.
func TestMatchFiresOnce(t *testing.T) {
	m := NewMatcher([]api.EventMatch{{Table: "vms", Where: map[string]string{"state": "failed"}}, {Table: "images"}})
	for i, c := range []struct {
		event api.Event
		want  bool
	}{
		{change("1", api.Created, `{"state":"running"}`), false},
		{change("1", api.Updated, `{"state":"failed"}`), true},
		{change("1", api.Updated, `{"state":"failed","reason":"disk"}`), false},
		{change("2", api.Updated, `{"state":"failed"}`), true},
		{change("1", api.Updated, `{"state":"running"}`), false},
		{change("1", api.Updated, `{"state":"failed"}`), true},
		{change("1", api.Deleted, ``), false},
		{change("1", api.Created, `{"state":"failed"}`), true},
		{change("1", api.Updated, `no JSON`), false},
	} {
		if got := m.Match(c.event); got != c.want {
			t.Errorf("change %d: fires %v, want %v", i, got, c.want)
		}
	}
	if got := m.Tables(); !slices.Equal(got, []string{"images", "vms"}) {
		t.Errorf("tables %v", got)
	}
}

func TestFiringOfAnEvent(t *testing.T) {
	f, err := OfEvent(change("1", api.Updated, `{"state":"failed"}`))
	if err != nil || f.At != "7.2" || !strings.Contains(string(f.Event), `"state":"failed"`) {
		t.Fatalf("%+v, %v", f, err)
	}
	f, err = OfEvent(change("1", api.Updated, `"`+strings.Repeat("x", maxEvent)+`"`))
	if err != nil || len(f.Event) > 1000 || !strings.Contains(string(f.Event), `"key":"1"`) {
		t.Fatalf("a large row is not left out: %d bytes, %v", len(f.Event), err)
	}
}
