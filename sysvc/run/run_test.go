package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/host"
	"github.com/orchd/orchd/sysvc/run"
	"github.com/orchd/orchd/sysvc/run/runtest"
	"github.com/orchd/orchd/sysvc/worker"
)

// about is what a script knows of its run.
type about struct {
	Alias   string
	ID      string
	Counter int64
	Trigger api.Firing
}

// script stands for the code of all spells, and for the workers that run it.
type script func(ctx context.Context, c *runtest.Cluster, a about, h worker.Host) error

type pool struct {
	cluster *runtest.Cluster
	script  script
}

func (p pool) Call(ctx context.Context, c worker.Call) (json.RawMessage, error) {
	var a about
	if err := json.Unmarshal(c.Context.Spell, &a); err != nil {
		return nil, err
	}
	if p.cluster.Dead() {
		return nil, errors.New("killed")
	}
	if err := p.script(ctx, p.cluster, a, c.Host); err != nil {
		return nil, err
	}
	return json.RawMessage("null"), nil
}

// process is one life of a peer.
type process struct {
	*runtest.Cluster
	runner *run.Runner
	stop   context.CancelFunc
	ended  chan struct{}
}

func start(t *testing.T, w *runtest.World, peer string, s script) *process {
	t.Helper()
	c := w.Peer(peer)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	runner := run.New(run.Config{Cluster: c, Pool: pool{c, s}, Hosts: host.New(host.Config{Cluster: c, Log: log}), Parallel: 8, Log: log})
	ctx, stop := context.WithCancel(t.Context())
	p := &process{c, runner, stop, make(chan struct{})}
	go func() {
		defer close(p.ended)
		if err := runner.Run(ctx); err != nil {
			t.Errorf("peer %s: %v", peer, err)
		}
	}()
	return p
}

// end stops a process in good order.
func (p *process) end() {
	p.stop()
	<-p.ended
}

// kill ends a process at once.
func (p *process) kill() {
	p.Kill()
	p.end()
}

func clock(period int64) api.Trigger {
	return api.Trigger{Clock: api.Clock{StartSec: time.Now().Unix(), PeriodSec: period}}
}

func spell(alias, scope string, t api.Trigger) api.Spell {
	return api.Spell{ID: alias + "-id", Alias: alias, Scope: scope, Account: "default", Trigger: t, CallTTL: 5, Grants: api.Grants{KV: true, Read: []string{"*"}}}
}

// took is a script that takes its time.
func took(d time.Duration) script {
	return func(ctx context.Context, _ *runtest.Cluster, _ about, _ worker.Host) error { return wait(ctx, d) }
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ticks are the ticks that have a run, and how late each began.
func ticks(runs []api.SpellRun) (map[int64]time.Duration, error) {
	late := map[int64]time.Duration{}
	for _, r := range runs {
		if r.Firing.Kind != "clock" {
			continue
		}
		if _, twice := late[r.Firing.Tick]; twice {
			return nil, fmt.Errorf("tick %d ran twice", r.Firing.Tick)
		}
		late[r.Firing.Tick] = r.BeganAt.Sub(r.Firing.Due)
	}
	return late, nil
}

// begun counts which runs a script was really called for.
type begun struct {
	mu   sync.Mutex
	runs map[string]int // alias, number and term
	tick map[string]int // alias and tick
}

func (b *begun) note(a about) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[fmt.Sprint(a.Alias, "/", a.Counter)]++
	if a.Trigger.Kind == "clock" {
		b.tick[fmt.Sprint(a.Alias, "/", a.Trigger.Tick)]++
	}
}

// An hour with three peers, of which one after the other is killed, stands still, or is
// cut off: no tick begins twice, none has an effect twice, and every tick that was due
// while nothing was wrong ran, and in time.
func TestAnHourOfFaults(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { hourOfFaults(t, rand.New(rand.NewPCG(seed, 6))) })
		})
	}
}

type span struct{ from, to time.Time }

func hourOfFaults(t *testing.T, r *rand.Rand) {
	w := runtest.New("a", "b", "c")
	count := begun{runs: map[string]int{}, tick: map[string]int{}}
	var chance sync.Mutex
	random := func(n int) int {
		chance.Lock()
		defer chance.Unlock()
		return r.IntN(n)
	}
	work := func(ctx context.Context, _ *runtest.Cluster, a about, h worker.Host) error {
		count.note(a)
		if err := wait(ctx, time.Duration(random(400))*time.Millisecond); err != nil {
			return err
		}
		key := fmt.Sprintf("%s-%d", a.Trigger.Kind, a.Trigger.Tick)
		_, err := h.Do(ctx, "kv.add_u32", json.RawMessage(`{"key":"`+key+`","n":1}`))
		return err
	}
	triggers := map[string]api.Trigger{}
	for alias, period := range map[string]int64{"second": 1, "seven": 7, "minute": 60, "once": 0} {
		tr := clock(period)
		if alias == "seven" {
			tr.Missed = api.MissedRunOnce
		}
		triggers[alias] = tr
		w.Spell(spell(alias, api.ScopeCluster, tr))
		w.Spell(spell(alias+"-of-a", "a", tr))
	}
	peers := []*process{start(t, w, "a", work), start(t, w, "b", work), start(t, w, "c", work)}
	began := time.Now()
	lossy := func() bool { return random(50) == 0 }
	wrong := []span{{began, began.Add(5 * time.Second)}}
	for time.Since(began) < time.Hour {
		time.Sleep(time.Duration(30+random(150)) * time.Second)
		at, i := time.Now(), random(3)
		p := peers[i]
		switch random(5) {
		case 0:
			p.kill()
			time.Sleep(time.Duration(random(40)) * time.Second)
			peers[i] = start(t, w, []string{"a", "b", "c"}[i], work)
		case 1:
			p.end()
			time.Sleep(time.Duration(random(20)) * time.Second)
			peers[i] = start(t, w, []string{"a", "b", "c"}[i], work)
		case 2:
			p.Hold(true)
			time.Sleep(time.Duration(random(60)) * time.Second)
			p.Hold(false)
		case 3:
			p.Partition(true)
			time.Sleep(time.Duration(random(60)) * time.Second)
			p.Partition(false)
		case 4: // answers are lost for a while
			lose := time.Now().Add(time.Duration(random(60)) * time.Second)
			p.SetLost(func() bool { return time.Now().Before(lose) && lossy() })
			time.Sleep(time.Until(lose))
		}
		wrong = append(wrong, span{at, time.Now().Add(25 * time.Second)})
	}
	time.Sleep(30 * time.Second)
	for _, p := range peers {
		p.end()
	}
	for what, n := range count.runs {
		if n > 1 {
			t.Errorf("run %s began %d times", what, n)
		}
	}
	for what, n := range count.tick {
		if n > 1 {
			t.Errorf("tick %s began %d times", what, n)
		}
	}
	calm := func(due time.Time) bool {
		return !slices.ContainsFunc(wrong, func(s span) bool { return !due.Before(s.from.Add(-2*time.Second)) && due.Before(s.to) })
	}
	last := time.Now().Add(-35 * time.Second)
	for _, scope := range []string{"", "-of-a"} {
		for alias, tr := range triggers {
			account(t, w, alias+scope, tr, last, calm)
		}
	}
}

// account goes through all ticks of a spell.
func account(t *testing.T, w *runtest.World, alias string, tr api.Trigger, last time.Time, calm func(time.Time) bool) {
	id := alias + "-id"
	runs := w.Runs(id)
	late, err := ticks(runs)
	if err != nil {
		t.Errorf("%s: %v", alias, err)
	}
	for key := range w.View().KVs(id, "") {
		if key.U32 > 1 {
			t.Errorf("%s: %s took effect %d times", alias, key.Key, key.U32)
		}
	}
	missed, checked := 0, 0
	for tick := int64(0); tick == 0 || tr.Clock.PeriodSec > 0; tick++ {
		due := time.Unix(tr.Clock.StartSec+tick*tr.Clock.PeriodSec, 0)
		if due.After(last) {
			break
		}
		d, ran := late[tick]
		if !ran {
			missed++
		}
		if calm(due) {
			checked++
			if !ran || d > 1100*time.Millisecond {
				t.Errorf("%s: tick %d, due %v, when all was well: ran %v, %v late", alias, tick, due, ran, d)
			}
		}
	}
	states := map[api.RunState]int{}
	for _, r := range runs {
		states[r.State]++
	}
	if states[api.RunRunning] > 0 {
		t.Errorf("%s: %d runs never ended", alias, states[api.RunRunning])
	}
	t.Logf("%s: %d runs %v, %d ticks missed, %d were due while all was well", alias, len(runs), states, missed, checked)
}

// What a run of an old term does is refused, even when nobody could stop it.
func TestEffectOfAnOldTermIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a", "b")
		w.Spell(spell("slow", api.ScopeCluster, clock(0)))
		hosts := make(chan worker.Host, 1)
		cancelled := make(chan struct{})
		a := start(t, w, "a", func(ctx context.Context, _ *runtest.Cluster, _ about, h worker.Host) error {
			hosts <- h
			<-ctx.Done()
			close(cancelled)
			return ctx.Err()
		})
		h := <-hosts
		if _, err := h.Do(t.Context(), "kv.set", json.RawMessage(`{"key":"k","text":"mine"}`)); err != nil {
			t.Fatalf("in its own term: %v", err)
		}
		a.Partition(true)
		w.Spell(spell("other", api.ScopeCluster, clock(1)))
		b := start(t, w, "b", took(0))
		for len(w.Runs("other-id")) == 0 {
			time.Sleep(time.Second)
		}
		<-cancelled // call_ttl
		if held := time.Since(time.Unix(w.Runs("slow-id")[0].BeganAt.Unix(), 0)); held < api.HolderLease+5*time.Second {
			t.Errorf("the other peer began after %v, before the lease and the call's longest time were over", held)
		}
		a.Partition(false)
		_, err := h.Do(t.Context(), "kv.set", json.RawMessage(`{"key":"k","text":"not mine any more"}`))
		if !api.IsKind(err, api.Precondition) {
			t.Errorf("an old term wrote: %v", err)
		}
		if e, _ := w.View().KV("slow-id", "k"); e.Text != "mine" {
			t.Errorf("value %q", e.Text)
		}
		if run := w.Runs("slow-id")[0]; run.State != api.RunInterrupted {
			t.Errorf("the cut off run is %s", run.State)
		}
		a.end()
		b.end()
	})
}

func TestAThousandSpellsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a")
		for i := range 1000 {
			w.Spell(spell(fmt.Sprintf("s%03d", i), "a", clock(1)))
		}
		var mu sync.Mutex
		var worst time.Duration
		began, calls := time.Now(), 0
		p := start(t, w, "a", func(ctx context.Context, _ *runtest.Cluster, a about, _ worker.Host) error {
			mu.Lock()
			calls++
			if a.Trigger.Tick > 0 {
				worst = max(worst, time.Since(a.Trigger.Due))
			}
			mu.Unlock()
			return wait(ctx, time.Millisecond)
		})
		time.Sleep(time.Minute + 500*time.Millisecond)
		p.end()
		if worst > time.Second {
			t.Errorf("a tick began %v late", worst)
		}
		for i := range 1000 {
			late, err := ticks(w.Runs(fmt.Sprintf("s%03d-id", i)))
			if err != nil || len(late) != 61 {
				t.Fatalf("spell %d: %d ticks, %v", i, len(late), err)
			}
		}
		perSecond := map[int64]int{}
		for _, b := range w.Batches("a") {
			perSecond[b.At.Unix()]++
			if n := len(b.Begin) + len(b.End); n > 2000 {
				t.Errorf("a batch of %d items", n)
			}
		}
		for second, n := range perSecond {
			if n > 2 { // 2,000 items and the lines of their logs
				t.Errorf("%d batches in second %d", n, second-began.Unix())
			}
		}
		t.Logf("%d calls, worst %v late, %d batches", calls, worst, len(w.Batches("a")))
	})
}

func TestOverlap(t *testing.T) {
	for name, c := range map[string]struct {
		overlap api.Overlap
		most    int
		least   int // runs in 20 s
	}{
		"queue": {api.OverlapQueue, 1, 5},
		"allow": {api.OverlapAllow, 4, 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := runtest.New("a")
				tr := clock(1)
				tr.Overlap = c.overlap
				w.Spell(spell("s", "a", tr))
				var mu sync.Mutex
				now, most := 0, 0
				p := start(t, w, "a", func(ctx context.Context, _ *runtest.Cluster, _ about, _ worker.Host) error {
					mu.Lock()
					now++
					most = max(most, now)
					mu.Unlock()
					defer func() { mu.Lock(); now--; mu.Unlock() }()
					return wait(ctx, 3500*time.Millisecond)
				})
				time.Sleep(20 * time.Second)
				p.end()
				runs := w.Runs("s-id")
				if _, err := ticks(runs); most != c.most || len(runs) < c.least || err != nil {
					t.Errorf("%d runs, %d side by side; want %d, %d: %v", len(runs), most, c.least, c.most, err)
				}
			})
		})
	}
}

func TestRetry(t *testing.T) {
	for name, retry := range map[string]bool{"with": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := runtest.New("a")
				tr := clock(0)
				tr.Retry = retry
				w.Spell(spell("s", "a", tr))
				p := start(t, w, "a", took(4*time.Second))
				time.Sleep(2 * time.Second)
				p.kill()
				p = start(t, w, "a", took(4*time.Second))
				time.Sleep(20 * time.Second)
				p.end()
				runs := w.Runs("s-id")
				if runs[0].State != api.RunInterrupted {
					t.Errorf("the first run is %s", runs[0].State)
				}
				if !retry {
					if len(runs) != 1 {
						t.Errorf("%d runs: nobody asked for it again", len(runs))
					}
					return
				}
				if len(runs) != 2 || runs[1].Firing.Kind != "retry" || runs[1].State != api.RunSucceeded || !runs[1].Firing.Due.Equal(runs[0].Firing.Due) {
					t.Errorf("runs: %+v", runs)
				}
			})
		})
	}
}

// Where the answer to a batch is lost, what was marked runs all the same, also when nothing
// else is to be said of any spell; and what was not is asked for again, its clock too.
func TestAnswerThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a")
		again := clock(10)
		again.Retry = true
		for alias, tr := range map[string]api.Trigger{"asked": {}, "gone": {Connections: api.Connections{Disconnect: true}}, "again": again} {
			w.Spell(spell(alias, "a", tr))
		}
		p := start(t, w, "a", took(2*time.Second))
		time.Sleep(11 * time.Second) // the second run of "again" has begun
		p.kill()
		p = start(t, w, "a", took(2*time.Second))
		time.Sleep(500 * time.Millisecond)
		var lost atomic.Int32 // how many answers are to be lost
		p.SetLost(func() bool { return lost.Add(-1) >= 0 })
		lost.Store(3)
		if err := p.runner.Now(t.Context(), "asked-id"); !api.IsKind(err, api.Unavailable) {
			t.Errorf("a run of which nobody knows whether it was marked: %v", err)
		}
		time.Sleep(40 * time.Second)
		lost.Store(1)
		w.Alive("b", true)
		time.Sleep(10 * time.Second)
		lost.Store(1)
		w.Alive("b", false)
		time.Sleep(time.Minute)
		p.end()
		for alias, least := range map[string]int{"asked": 1, "gone": 1, "again": 10} {
			runs := w.Runs(alias + "-id")
			if len(runs) < least {
				t.Errorf("%s: %d runs, want %d", alias, len(runs), least)
			}
			retried := 0
			for _, r := range runs {
				if r.State == api.RunRunning {
					t.Errorf("%s: run %d was marked, and never begun", alias, r.Number)
				}
				if r.Firing.Kind == "retry" {
					retried++
				}
			}
			if alias == "again" && retried != 1 {
				t.Errorf("%d retries, want 1", retried)
			}
		}
	})
}

// The cluster's scope is not given back while nobody knows whether a run was marked: that would
// end it before it began.
func TestScopeIsKeptInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a")
		w.Spell(spell("s", api.ScopeCluster, api.Trigger{}))
		p := start(t, w, "a", took(2*time.Second))
		time.Sleep(time.Second)
		p.SetLost(func() bool { return len(w.Batches("a")) == 1 }) // of the batch that marks it
		if err := p.runner.Now(t.Context(), "s-id"); !api.IsKind(err, api.Unavailable) {
			t.Errorf("a run of which nobody knows whether it was marked: %v", err)
		}
		time.Sleep(20 * time.Second)
		if runs := w.Runs("s-id"); len(runs) != 1 || runs[0].State != api.RunSucceeded {
			t.Errorf("runs: %+v", runs)
		}
		if _, has := w.View().Holder(api.ScopeCluster); has {
			t.Error("the scope was kept, with nothing to do")
		}
		p.end()
	})
}

// A spell that is removed is stopped, and what of it waits for a worker does not begin.
func TestRemovedSpellStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a")
		s := spell("s", "a", clock(1))
		s.Trigger.Overlap, s.CallTTL = api.OverlapAllow, 3600
		w.Spell(s)
		var going atomic.Int32
		p := start(t, w, "a", func(ctx context.Context, _ *runtest.Cluster, _ about, _ worker.Host) error {
			going.Add(1)
			defer going.Add(-1)
			return wait(ctx, time.Hour)
		})
		time.Sleep(20 * time.Second)
		if n := going.Load(); n != 8 { // as many as there are workers
			t.Errorf("%d runs go on", n)
		}
		w.RemoveSpell("s-id")
		time.Sleep(2 * time.Second)
		if n := going.Load(); n != 0 {
			t.Errorf("%d runs of a spell that was removed go on", n)
		}
		p.end()
	})
}

// A run that ends while its peer stops is reported, one that does not is interrupted.
func TestStop(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		state api.RunState
	}{
		"in time":  {2 * time.Second, api.RunSucceeded},
		"too slow": {4 * time.Minute, api.RunInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := runtest.New("a", "b")
				s := spell("s", api.ScopeCluster, clock(3600))
				s.CallTTL = 300
				w.Spell(s)
				p := start(t, w, "a", took(c.takes))
				time.Sleep(1500 * time.Millisecond)
				stopping := time.Now()
				p.end()
				if took := time.Since(stopping); took > 12*time.Second {
					t.Errorf("to stop took %v", took)
				}
				if run := w.Runs("s-id")[0]; run.State != c.state {
					t.Errorf("the run is %s", run.State)
				}
				if h, has := w.View().Holder(api.ScopeCluster); has {
					t.Errorf("the scope was not given back: %+v", h)
				}
				w.Spell(spell("next", api.ScopeCluster, clock(0)))
				q := start(t, w, "b", took(0))
				time.Sleep(5 * time.Second) // no lease to wait for
				if len(w.Runs("next-id")) != 1 {
					t.Error("the next peer did not take the scope over at once")
				}
				q.end()
			})
		})
	}
}

func eventsOf(t *testing.T, runs []api.SpellRun) (keys []string) {
	t.Helper()
	for _, r := range runs {
		var e api.Event
		if err := json.Unmarshal(r.Firing.Event, &e); err != nil {
			t.Fatalf("run %d: %v in %s", r.Number, err, r.Firing.Event)
		}
		keys = append(keys, e.Key)
	}
	return keys
}

// Changes come in order, none twice, also over restarts; those of other accounts do not come.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a", "b")
		w.Emit("vms", "before", "default", api.Created, map[string]string{"state": "failed"})
		w.Spell(spell("s", api.ScopeCluster, api.Trigger{Events: []api.EventMatch{{Table: "vms", Where: map[string]string{"state": "failed"}}}}))
		var want []string
		emit := func(n int) {
			for range n {
				key := fmt.Sprint("vm", len(want))
				want = append(want, key)
				w.Emit("vms", key, "default", api.Created, map[string]string{"state": "running"})
				w.Emit("vms", "not mine", "other", api.Created, map[string]string{"state": "failed"})
				w.Emit("vms", key, "default", api.Updated, map[string]string{"state": "failed"})
				w.Emit("images", key, "default", api.Updated, map[string]string{"state": "failed"})
			}
		}
		p := start(t, w, "a", took(100*time.Millisecond))
		time.Sleep(5 * time.Second)
		emit(5)
		time.Sleep(3 * time.Second)
		p.kill()
		emit(5)
		q := start(t, w, "b", took(100*time.Millisecond))
		time.Sleep(time.Minute)
		emit(100) // more than wait in memory
		time.Sleep(50 * time.Second)
		q.end()
		p = start(t, w, "a", took(100*time.Millisecond))
		time.Sleep(2 * time.Minute)
		p.end()
		if got := eventsOf(t, w.Runs("s-id")); !slices.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	})
}

func TestEventsThatAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a")
		w.Spell(spell("s", "a", api.Trigger{Events: []api.EventMatch{{Table: "vms"}}}))
		w.Emit("vms", "lost", "default", api.Created, nil)
		w.Forget()
		p := start(t, w, "a", took(0))
		time.Sleep(3 * time.Second)
		w.Emit("vms", "found", "default", api.Created, nil)
		time.Sleep(3 * time.Second)
		p.end()
		if got := eventsOf(t, w.Runs("s-id")); !slices.Equal(got, []string{"found"}) {
			t.Errorf("runs for %v", got)
		}
		if log := w.Log("s-id"); len(log) != 1 || !strings.Contains(log[0].Text, "not kept any more") {
			t.Errorf("log %+v", log)
		}
	})
}

func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a", "b", "c")
		w.Alive("c", false)
		w.Spell(spell("s", "a", api.Trigger{Connections: api.Connections{Connect: true, Disconnect: true}}))
		w.Spell(spell("comes", "a", api.Trigger{Connections: api.Connections{Connect: true}}))
		told := func(alias string) (all []string) {
			for _, r := range w.Runs(alias + "-id") {
				all = append(all, r.Firing.Kind+" "+r.Firing.Peer)
			}
			return all
		}
		p := start(t, w, "a", took(1500*time.Millisecond))
		time.Sleep(10 * time.Second)
		if got := told("s"); len(got) != 0 {
			t.Fatalf("nobody came: %v", got)
		}
		w.Alive("c", true)
		w.Alive("b", false)
		time.Sleep(10 * time.Second)
		p.kill()
		w.Alive("b", true)
		p = start(t, w, "a", took(0))
		time.Sleep(10 * time.Second)
		w.Alive("c", false)
		time.Sleep(3 * time.Second)
		w.Alive("c", true)
		time.Sleep(3 * time.Second)
		written := len(w.Batches("a"))
		time.Sleep(time.Minute)
		if again := len(w.Batches("a")); again != written {
			t.Errorf("%d batches, and nothing happened", again-written)
		}
		p.end()
		if got, want := told("s"), []string{"connect c", "disconnect b", "connect b", "disconnect c", "connect c"}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		if got, want := told("comes"), []string{"connect c", "connect b", "connect c"}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	})
}

func TestNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a", "b")
		w.Spell(spell("s", api.ScopeCluster, api.Trigger{}))
		w.Spell(spell("of-b", "b", api.Trigger{}))
		p := start(t, w, "a", took(2*time.Second))
		time.Sleep(time.Minute)
		if _, has := w.View().Holder(api.ScopeCluster); has {
			t.Error("a scope in which nothing fires was claimed")
		}
		if err := p.runner.Now(t.Context(), "s-id"); err != nil {
			t.Fatal(err)
		}
		if runs := w.Runs("s-id"); len(runs) != 1 || runs[0].Firing.Kind != "manual" {
			t.Fatalf("runs %+v", runs)
		}
		q := start(t, w, "b", took(0))
		for spell, want := range map[string]api.Kind{"s-id": api.Conflict, "of-b-id": api.Conflict, "none": api.NotFound} {
			if err := p.runner.Now(t.Context(), spell); !api.IsKind(err, want) {
				t.Errorf("%s: %v, want kind %s", spell, err, want.Code())
			}
		}
		if err := q.runner.Now(t.Context(), "s-id"); !api.IsKind(err, api.Conflict) || !strings.Contains(err.Error(), "goes on") {
			t.Errorf("the other peer, while it runs: %v", err)
		}
		time.Sleep(time.Minute)
		if run := w.Runs("s-id")[0]; run.State != api.RunSucceeded {
			t.Errorf("the run is %s", run.State)
		}
		if _, has := w.View().Holder(api.ScopeCluster); has {
			t.Error("the scope was kept, with nothing to do")
		}
		written := len(w.Batches("a"))
		time.Sleep(time.Hour)
		if again := len(w.Batches("a")); again != written {
			t.Errorf("%d batches in an hour in which nothing happened", again-written)
		}
		p.end()
		q.end()
	})
}

// A spell does not run while its account is suspended, nor before its package is there.
func TestDisarmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a")
		s := spell("s", "a", clock(1))
		s.Package = "p"
		w.Spell(s)
		p := start(t, w, "a", took(0))
		for _, not := range []api.Deployment{
			{State: api.PackageFailed}, {State: api.PackageCreated, Deploying: true}, {State: api.PackageCreated, Scope: api.ScopeCluster},
		} {
			not.Peer, not.Package = "a", "p"
			if not.Scope == "" {
				not.Scope = "a"
			}
			w.Deployment(not)
			time.Sleep(10 * time.Second)
			if n := len(w.Runs("s-id")); n != 0 {
				t.Fatalf("%d runs before the package was deployed: %+v", n, not)
			}
		}
		w.Deployment(api.Deployment{Peer: "a", Package: "p", Scope: "a", State: api.PackageCreated})
		time.Sleep(5 * time.Second)
		w.Deployment(api.Deployment{Peer: "a", Package: "p", Scope: "a", State: api.PackageFailed}) // an update
		time.Sleep(5500 * time.Millisecond)
		n := len(w.Runs("s-id"))
		if n < 10 {
			t.Errorf("%d runs in 10 s", n)
		}
		w.Suspend("default", true)
		time.Sleep(30 * time.Second)
		if err := p.runner.Now(t.Context(), "s-id"); !api.IsKind(err, api.Conflict) {
			t.Errorf("run now: %v", err)
		}
		if again := len(w.Runs("s-id")); again != n {
			t.Errorf("%d runs while the account was suspended", again-n)
		}
		w.Suspend("default", false)
		time.Sleep(10 * time.Second)
		if again := len(w.Runs("s-id")); again < n+9 || again > n+12 {
			t.Errorf("%d runs in the 10 s after", again-n)
		}
		p.end()
	})
}

// A clock that is set anew begins anew; one that goes away fires no more.
func TestAnotherTrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a")
		w.Spell(spell("s", "a", clock(1)))
		p := start(t, w, "a", took(0))
		time.Sleep(100500 * time.Millisecond)
		w.Spell(spell("s", "a", clock(10)))
		time.Sleep(30 * time.Second)
		runs := w.Runs("s-id")
		if last := runs[len(runs)-1]; last.Firing.Tick != 3 {
			t.Errorf("the newest run is of tick %d", last.Firing.Tick)
		}
		w.Spell(spell("s", "a", api.Trigger{}))
		time.Sleep(30 * time.Second)
		if again := len(w.Runs("s-id")); again != len(runs) {
			t.Errorf("%d more runs without a trigger", again-len(runs))
		}
		w.RemoveSpell("s-id")
		p.end()
	})
}

// What a run says, and how it fails, is in its end.
func TestWhatRunsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtest.New("a")
		w.Spell(spell("says", "a", clock(0)))
		w.Spell(spell("slow", "a", clock(0)))
		w.Spell(spell("wrong", "a", clock(0)))
		p := start(t, w, "a", func(ctx context.Context, _ *runtest.Cluster, a about, h worker.Host) error {
			switch a.Alias {
			case "slow":
				return wait(ctx, time.Hour)
			case "wrong":
				return &worker.ScriptError{Msg: "division by zero", At: "wrong:3:1"}
			}
			for i := range 600 {
				if _, err := h.Do(ctx, "log", json.RawMessage(fmt.Sprintf(`{"text":"line %d"}`, i))); err != nil {
					return err
				}
			}
			_, err := h.Do(ctx, "error", json.RawMessage(`{"text":"look here"}`))
			return err
		})
		time.Sleep(10 * time.Second)
		p.end()
		log := w.Log("says-id")
		if len(log) != 500 || log[0].Text != "line 0" || !strings.HasPrefix(log[499].Text, "101 more lines were dropped") {
			t.Errorf("%d lines, the last %q", len(log), log[len(log)-1].Text)
		}
		for id, want := range map[string]string{"says-id": "look here", "slow-id": "the run took longer than its call_ttl of 5s", "wrong-id": "division by zero (wrong:3:1)"} {
			r := w.Runs(id)[0]
			if !strings.Contains(r.Error, want) || (r.State == api.RunFailed) != (id != "says-id") {
				t.Errorf("%s: %s, %q, want %q", id, r.State, r.Error, want)
			}
		}
	})
}
