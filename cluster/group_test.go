package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
)

// stopped is a group's carrier that a test lets go on.
type stopped struct {
	groups
	carried chan [][]byte  // what leaves
	goOn    chan []verdict // what it comes back with
}

func newStopped(most int) *stopped {
	s := &stopped{carried: make(chan [][]byte), goOn: make(chan []verdict)}
	s.most = most
	s.carry = func(commands [][]byte) []verdict {
		s.carried <- commands
		return <-s.goOn
	}
	return s
}

// wait returns once n commands wait.
func (g *groups) wait(t *testing.T, n int) {
	t.Helper()
	eventually(t, func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.waiting) != n {
			return fmt.Errorf("%d commands wait, want %d", len(g.waiting), n)
		}
		return nil
	})
}

func TestGroupIsBounded(t *testing.T) {
	g := newStopped(1)
	go g.submit(t.Context(), []byte("lone"))
	if got := <-g.carried; len(got) != 1 {
		t.Fatalf("%d commands left at once, want the lone one", len(got))
	}
	half := make([]byte, MaxEntry/2)
	var small [][]byte
	for range maxGroup + 5 {
		small = append(small, []byte("small"))
	}
	var submitted sync.WaitGroup
	for _, commands := range [][][]byte{{half, half, half}, small} { // two halves and their frame are more than an entry
		submitted.Go(func() { g.submit(t.Context(), commands...) })
		eventually(t, func() error {
			g.mu.Lock()
			defer g.mu.Unlock()
			if n := len(g.waiting); n != 3 && n != 3+len(small) {
				return fmt.Errorf("%d commands wait", n)
			}
			return nil
		})
	}
	g.wait(t, 3+len(small))
	left := 1
	for _, want := range []int{1, 1, maxGroup, 6} { // the third half goes with as many small ones as a group may have
		g.goOn <- make([]verdict, left)
		got := <-g.carried
		if left = len(got); left != want {
			t.Fatalf("%d commands left together, want %d", left, want)
		}
		if size := frameSize(got...); size > MaxEntry {
			t.Errorf("they take %d bytes, at most %d fit", size, MaxEntry)
		}
	}
	g.goOn <- make([]verdict, left)
	submitted.Wait()
}

func TestCommandThatHasNotLeftIsTakenBack(t *testing.T) {
	g := newStopped(1)
	var first sync.WaitGroup
	first.Go(func() { g.submit(t.Context(), []byte("first")) })
	<-g.carried
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error)
	go func() { second <- g.submit(ctx, []byte("second"))[0].err }()
	g.wait(t, 1)
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("the second got %v", err)
	}
	g.wait(t, 0)
	g.goOn <- make([]verdict, 1)
	first.Wait()
	select {
	case got := <-g.carried:
		t.Errorf("%q left after it was taken back", got)
	default:
	}
}

func TestVerdictsReachThoseTheyConcern(t *testing.T) {
	verdicts, err := decodeVerdicts(encodeVerdicts([]verdict{
		{answer: text("one")},
		{answer: struct{}{}}, // cannot be encoded
		{err: fmt.Errorf("append: %w", raft.ErrNotLeader)},
		{err: api.Errorf(api.TooLarge, "x", "too large")},
		{err: raft.ErrLeadershipLost},
		{},
		{answer: text("last")},
	}))
	must(t, err)
	if len(verdicts) != 7 {
		t.Fatalf("%d verdicts came back, want 7", len(verdicts))
	}
	for i, want := range map[int]string{0: "one", 5: "", 6: "last"} {
		if got, err := verdicts[i].encode(); err != nil || string(got) != want {
			t.Errorf("verdict %d is %q, %v; want %q", i, got, err, want)
		}
	}
	if !errors.Is(verdicts[2].err, errNotLeader) {
		t.Errorf("verdict 2 is %v, want %v", verdicts[2].err, errNotLeader)
	}
	wantKind(t, verdicts[1].err, api.Unavailable)
	wantKind(t, verdicts[3].err, api.TooLarge)
	wantKind(t, verdicts[4].err, api.Unavailable)
	whole := encodeVerdicts([]verdict{{answer: text("one")}})
	for cut := 1; cut < len(whole); cut++ {
		if _, err := decodeVerdicts(whole[:cut]); err == nil {
			t.Errorf("an answer that ends after %d of %d bytes was believed", cut, len(whole))
		}
	}
}

// propositions are proposed at once; it gives each one's outcome.
func propositions(p *peer, commands [][]byte) (answers []string, errs []error, wait func()) {
	answers, errs = make([]string, len(commands)), make([]error, len(commands))
	var all sync.WaitGroup
	for i, c := range commands {
		all.Go(func() {
			answer, err := p.Propose(p.house.t.Context(), c)
			answers[i], errs[i] = string(answer), err
		})
	}
	return answers, errs, all.Wait
}

func manySets(n int) (commands [][]byte) {
	for i := range n {
		commands = append(commands, set(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	return commands
}

// TestWaitingCommandsShareAnEntry: in the order they came in, each with its own
// answer, through the leader and through a follower.
func TestWaitingCommandsShareAnEntry(t *testing.T) {
	h := newHouse(t, 3)
	leader := h.leader()
	for _, p := range []*peer{leader, h.followers()[0]} {
		queue := &p.groups
		if p != leader {
			queue = &p.forwards
		}
		commands := manySets(100)
		before := leader.raft.LastIndex()
		leader.machine.hold.Lock() // the first one's entry takes its time
		firstAnswer, firstErr, firstDone := propositions(p, commands[:1])
		eventually(t, func() error {
			if leader.raft.LastIndex() == before {
				return errors.New("the first is not in the log")
			}
			return nil
		})
		answers, errs, done := propositions(p, commands[1:])
		queue.wait(t, 99)
		queue.mu.Lock()
		var order [][]byte
		for _, w := range queue.waiting {
			order = append(order, w.command)
		}
		queue.mu.Unlock()
		leader.machine.hold.Unlock()
		firstDone()
		done()
		must(t, errors.Join(append(errs, firstErr...)...))
		for i, answer := range append(firstAnswer, answers...) {
			if want := fmt.Sprintf("k%d=v%d", i, i); answer != want {
				t.Errorf("proposer %d was answered %q, want %q", i, answer, want)
			}
		}
		if took := leader.raft.LastIndex() - before; took != 2 {
			t.Errorf("100 commands took %d entries, want 2", took)
		}
		var l raft.Log
		must(t, leader.stores.logs.GetLog(before+2, &l))
		_, together, err := decodeFrame(l.Data)
		must(t, err)
		if !slices.EqualFunc(together, order, bytes.Equal) {
			t.Error("they stand in another order in the entry than they waited in")
		}
	}
}

func TestCommandTooLargeHurtsNobodyElse(t *testing.T) {
	h := newHouse(t, 3)
	for _, p := range h.peers {
		commands := append(manySets(20), make([]byte, MaxEntry))
		answers, errs, done := propositions(p, commands)
		done()
		wantKind(t, errs[20], api.TooLarge)
		must(t, errors.Join(errs[:20]...))
		if answers[19] != "k19=v19" {
			t.Errorf("the one beside it was answered %q", answers[19])
		}
	}
}

// TestLargeCommandsWaitInFront: of a burst only a few are in hand at once, and all get through.
func TestLargeCommandsWaitInFront(t *testing.T) {
	h := newHouse(t, 3)
	leader, p := h.leader(), h.followers()[0]
	var commands [][]byte
	for i := range 3 * largeAtOnce {
		commands = append(commands, set(fmt.Sprint(i), string(bytes.Repeat([]byte("x"), largeCommand))))
	}
	before := leader.machine.times()
	leader.machine.hold.Lock()
	_, errs, done := propositions(p, commands)
	eventually(t, func() error {
		if len(p.large) < largeAtOnce {
			return fmt.Errorf("%d large commands are in hand", len(p.large))
		}
		return nil
	})
	p.forwards.mu.Lock()
	if n := len(p.forwards.waiting); n > largeAtOnce {
		t.Errorf("%d large commands wait for the leader, want at most %d", n, largeAtOnce)
	}
	p.forwards.mu.Unlock()
	leader.machine.hold.Unlock()
	done()
	must(t, errors.Join(errs...))
	if got := leader.machine.times() - before; got != len(commands) {
		t.Errorf("%d took effect, want %d", got, len(commands))
	}
}

// TestLeaderLosesItsTermInTheMiddleOfAGroup: everyone hears of it, and who sends
// the same bytes again gets them applied once.
func TestLeaderLosesItsTermInTheMiddleOfAGroup(t *testing.T) {
	h := newHouse(t, 3, func(c *Config) { c.ProposeTimeout = 3 * time.Second })
	old := h.leader()
	rest := h.followers()
	commands := manySets(60)
	before := rest[0].machine.times()
	old.machine.hold.Lock()
	_, firstErr, firstDone := propositions(old, commands[:1])
	eventually(t, func() error {
		old.groups.mu.Lock()
		defer old.groups.mu.Unlock()
		if old.groups.underway != 1 || len(old.groups.waiting) != 0 {
			return errors.New("the first has not left")
		}
		return nil
	})
	_, errs, done := propositions(old, commands[1:])
	old.groups.wait(t, len(commands)-1)
	h.cutOff(old)
	old.machine.hold.Unlock() // the first may be answered; the next entry finds no majority
	firstDone()
	done()
	for i, err := range append(firstErr, errs...) {
		if err != nil {
			wantKind(t, err, api.Unavailable)
		} else if i > 0 {
			t.Errorf("proposer %d was told yes by a leader that was cut off", i)
		}
	}
	h.eventually(func() error {
		if !rest[0].IsLeader() && !rest[1].IsLeader() {
			return errors.New("nobody else leads")
		}
		return nil
	})
	_, errs, done = propositions(rest[0], commands)
	done()
	must(t, errors.Join(errs...))
	h.heal(old)
	must(t, old.ReadIndex(within(t, 20*time.Second)))
	for _, p := range h.peers {
		must(t, p.ReadIndex(t.Context()))
		if got := p.machine.times() - before; got != len(commands) {
			t.Errorf("%s applied %d commands, want each of %d once", p.identity.Name, got, len(commands))
		}
	}
}

// slow is a machine whose second commands wait for a test.
type slow struct {
	*kv
	begun, goOn chan struct{}
}

func (m slow) Apply(index uint64, n int, at time.Time, command []byte) any {
	if n == 1 {
		m.begun <- struct{}{}
		<-m.goOn
	}
	return m.kv.Apply(index, n, at, command)
}

// TestHalfAnEntryIsNotApplied: a reader that needs an entry waits for all of its commands.
func TestHalfAnEntryIsNotApplied(t *testing.T) {
	m := slow{newKV(), make(chan struct{}), make(chan struct{})}
	n := &Node{replica: &replica{machine: m, log: testLog(t)}, ctx: t.Context()}
	frame, err := encodeFrame(time.Now(), set("a", "1"), set("b", "2"))
	must(t, err)
	var applied sync.WaitGroup
	applied.Go(func() { n.replica.Apply(&raft.Log{Index: 1, Data: frame}) })
	<-m.begun
	if m.Index() != 1 || m.get("a") != "1" {
		t.Fatal("the first command has not been applied")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantKind(t, n.Await(ctx, 1), api.Unavailable)
	m.goOn <- struct{}{}
	must(t, n.Await(t.Context(), 1))
	if m.get("b") != "2" {
		t.Error("Await returned before the second command was applied")
	}
	applied.Wait()
}

func TestAwaitAfterAWriteThatAnotherPeerLed(t *testing.T) {
	h := newHouse(t, 3)
	follower := h.followers()[0]
	follower.machine.hold.Lock() // it lags
	follower.propose(set("a", "1"))
	index := h.leader().machine.Index()
	wantKind(t, follower.Await(within(t, 50*time.Millisecond), index), api.Unavailable)
	follower.machine.hold.Unlock()
	must(t, follower.Await(t.Context(), index))
	if got := follower.machine.get("a"); got != "1" {
		t.Errorf("a = %q after Await, want 1", got)
	}
	wantKind(t, follower.Await(within(t, 50*time.Millisecond), index+1000), api.Unavailable)
}

// TestPeerThatStopsTellsWhoWaits, at once: those under way and those behind them.
func TestPeerThatStopsTellsWhoWaits(t *testing.T) {
	h := newHouse(t, 3, func(c *Config) { c.ProposeTimeout = time.Hour })
	leader := h.leader()
	leader.machine.hold.Lock()
	_, firstErr, firstDone := propositions(leader, manySets(1))
	eventually(t, func() error {
		leader.groups.mu.Lock()
		defer leader.groups.mu.Unlock()
		if leader.groups.underway != 1 || len(leader.groups.waiting) != 0 {
			return errors.New("the first has not left")
		}
		return nil
	})
	_, errs, done := propositions(leader, manySets(5))
	leader.groups.wait(t, 5)
	leader.fail(errors.New("as a test wants it"))
	firstDone()
	done()
	leader.machine.hold.Unlock()
	for _, err := range append(firstErr, errs...) {
		wantKind(t, err, api.Unavailable)
	}
}

// TestLeaderGathers has some wait and others come back, a moment after they were answered:
// they go together where the group before was of many, and one by one where it was small.
func TestLeaderGathers(t *testing.T) {
	const took = 4 * time.Millisecond
	for _, c := range []struct {
		gathers bool
		first   int
		want    []int
	}{{true, gatherFrom, []int{gatherFrom, 2}}, {true, gatherFrom - 1, []int{gatherFrom - 1, 1, 1}}, {false, gatherFrom, []int{gatherFrom, 1, 1}}} {
		synctest.Test(t, func(t *testing.T) {
			var sizes []int
			g := &groups{most: 1, gathers: c.gathers, carry: func(commands [][]byte) []verdict {
				sizes = append(sizes, len(commands))
				time.Sleep(took)
				return make([]verdict, len(commands))
			}}
			var others sync.WaitGroup
			for _, at := range []time.Duration{took / 2, took + took/4} { // while the first are under way, and behind them
				others.Go(func() {
					time.Sleep(at)
					g.submit(t.Context(), []byte("other"))
				})
			}
			g.submit(t.Context(), slices.Repeat([][]byte{[]byte("first")}, c.first)...)
			others.Wait()
			if !slices.Equal(sizes, c.want) {
				t.Errorf("gathers %v, %d at first: groups of %d, want %d", c.gathers, c.first, sizes, c.want)
			}
		})
	}
}
