package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/lab"
)

// killLeader is F1: the leader's process ends with SIGKILL; how long the others take
// until they acknowledge a write is measured.
func killLeader(r *run, _ *rand.Rand) (string, error) {
	old, term := r.leader()
	if old == nil {
		return "", nil
	}
	old.Kill()
	took, err := r.firstWrite(failoverLimit, r.but(old))
	if err != nil {
		return "", fmt.Errorf("%s, which led, was killed: %w", old.Name, err)
	}
	r.failovers = append(r.failovers, took)
	now, newer := r.leader()
	if now == nil || newer <= term {
		return "", nil
	}
	return fmt.Sprintf("%s led term %d, %s leads term %d, a write after %v", old.Name, term, now.Name, newer, took), nil
}

// killFollower is F1 of a peer that does not lead: it stays away for a while.
func killFollower(r *run, rng *rand.Rand) (string, error) {
	h := r.follower(rng)
	if h == nil {
		return "", nil
	}
	h.Kill()
	time.Sleep(between(rng, 0, 4*time.Second))
	if took, err := r.firstWrite(healLimit, r.but(h)); err != nil {
		return "", fmt.Errorf("%s, a follower, was killed: %w (%v)", h.Name, err, took)
	}
	return h.Name + ", a follower, ended", nil
}

// killMajority is F1: more than half of those who vote are killed, and of all; the rest may
// acknowledge nothing.
func killMajority(r *run, rng *rand.Rand) (string, error) {
	dead := r.majority(rng)
	if dead == nil {
		return "", nil
	}
	for _, h := range dead {
		h.Kill()
	}
	all := len(r.members())
	if took, err := r.firstWrite(1500*time.Millisecond, r.but(dead...)); err == nil {
		return "", fmt.Errorf("a write was acknowledged after %v with %d of %d peers killed, a majority of the voters", took, len(dead), all)
	}
	return fmt.Sprintf("%d of %d ended", len(dead), all), nil
}

// majority are more than half of the voters and more than half of all peers; nil when
// nobody leads.
func (r *run) majority(rng *rand.Rand) []*lab.Host {
	leader, _ := r.leader()
	if leader == nil {
		return nil
	}
	st, err := r.status(leader)
	if err != nil {
		return nil
	}
	votes := func(h *lab.Host) bool {
		return slices.ContainsFunc(st.Peers, func(p api.PeerView) bool { return p.Name == h.Name && p.Voter })
	}
	all := r.members()
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var some, rest []*lab.Host
	for _, h := range all {
		if votes(h) && len(some) <= st.Voters/2 {
			some = append(some, h)
		} else {
			rest = append(rest, h)
		}
	}
	return append(some, rest[:max(0, len(all)/2+1-len(some))]...)
}

// killAll is F1: all are killed at once.
func killAll(r *run, _ *rand.Rand) (string, error) {
	for _, h := range r.members() {
		go h.Kill()
	}
	for _, h := range r.members() {
		h.Kill()
	}
	return "all ended", nil
}

// killInARow is F1: one peer after the other is killed and started, without waiting.
func killInARow(r *run, rng *rand.Rand) (string, error) {
	n := 0
	for range 2 {
		for _, h := range r.members() {
			h.Kill()
			h.Start()
			n++
			time.Sleep(between(rng, 0, 700*time.Millisecond))
		}
	}
	return fmt.Sprintf("%d ended", n), nil
}

// pauseLeader is F2: the leader is stopped, and goes on with all that it had in hand.
func pauseLeader(r *run, rng *rand.Rand) (string, error) {
	old, term := r.leader()
	if old == nil {
		return "", nil
	}
	d := between(rng, 100*time.Millisecond, 5*time.Second)
	old.Pause()
	time.Sleep(d)
	effect := r.silent(old)
	old.Resume()
	now, newer := r.leader()
	if effect == "" || now == nil {
		return "", nil
	}
	return fmt.Sprintf("%s led term %d and was stopped for %v; %s leads term %d", old.Name, term, d.Round(time.Millisecond), now.Name, newer), nil
}

// silent tells that a peer does not answer.
func (r *run) silent(h *lab.Host) string {
	if _, err := r.within(100*time.Millisecond, h, "GET", "/healthz", nil); err == nil {
		return ""
	}
	return h.Name + " does not answer"
}

// pauseCutLeader is F2 with a partition, the trap of stale reads: the leader is
// stopped and cut off, another takes over, it is resumed and asked at once.
func pauseCutLeader(r *run, rng *rand.Rand) (string, error) {
	old, term := r.leader()
	if old == nil {
		return "", nil
	}
	old.Pause()
	r.Isolate(old)
	if _, err := r.firstWrite(failoverLimit, r.but(old)); err != nil {
		return "", fmt.Errorf("%s, which led, was stopped and cut off: %w", old.Name, err)
	}
	time.Sleep(between(rng, 0, 2*time.Second))
	r.trap(old)
	time.Sleep(between(rng, 200*time.Millisecond, 1500*time.Millisecond))
	if took, err := r.firstWrite(500*time.Millisecond, []*lab.Host{old}); err == nil {
		return "", fmt.Errorf("%s acknowledged a write after %v while it was cut off", old.Name, took)
	}
	now, newer := r.leaderAmong(r.but(old))
	if now == nil || newer <= term {
		return "", nil
	}
	return fmt.Sprintf("%s led term %d, %s leads term %d", old.Name, term, now.Name, newer), nil
}

// trap makes a node through the others while a leader is stopped and cut off, asks
// that one for it, and lets it go on with these questions before it: what it says
// then is part of the history.
func (r *run) trap(old *lab.Host) {
	r.traps++
	node := nodeName(20_000 + r.traps)
	known := &versions{of: map[string]uint64{}}
	client := func(i int, among ...*lab.Host) *worker {
		number := 10_000 + 10*r.traps + i
		return &worker{house: r.house, number: number, rng: r.chance("trap", number), among: among}
	}
	client(0, r.but(old)...).createNode(node, known)
	var reads sync.WaitGroup
	for i := range 8 {
		reads.Go(func() { client(1+i, old).readNode(node, known) })
	}
	time.Sleep(50 * time.Millisecond) // they wait in its sockets
	old.Resume()
	reads.Wait()
}

// pauseFollower is F2 of a peer that does not lead, for up to 15 s.
func pauseFollower(r *run, rng *rand.Rand) (string, error) {
	h := r.follower(rng)
	if h == nil {
		return "", nil
	}
	h.Pause()
	d := between(rng, 500*time.Millisecond, 6*time.Second)
	if rng.IntN(4) == 0 {
		d = between(rng, 10*time.Second, 16*time.Second)
	}
	time.Sleep(d)
	effect := r.silent(h)
	h.Resume()
	if effect == "" {
		return "", nil
	}
	return fmt.Sprintf("%s was stopped for %v", h.Name, d.Round(time.Millisecond)), nil
}

// pauseAll is F2: a whole data centre is suspended and goes on.
func pauseAll(r *run, rng *rand.Rand) (string, error) {
	for _, h := range r.members() {
		h.Pause()
	}
	d := between(rng, 500*time.Millisecond, 5*time.Second)
	time.Sleep(d)
	effect := r.silent(r.members()[0])
	for _, h := range r.members() {
		h.Resume()
		time.Sleep(between(rng, 0, 300*time.Millisecond))
	}
	if effect == "" {
		return "", nil
	}
	return fmt.Sprintf("all were stopped for %v", d.Round(time.Millisecond)), nil
}

// transferStorm is F14: leadership moves about once a second, because somebody asks for
// it or, half of the time, because whoever leads is stopped for a little longer than the
// others have patience.
func transferStorm(r *run, rng *rand.Rand) (string, error) {
	if rng.IntN(2) == 0 {
		return askedToLead(r, rng)
	}
	_, first := r.leader()
	for range 4 {
		if leader, _ := r.leader(); leader != nil {
			leader.Pause()
			time.Sleep(between(rng, 900*time.Millisecond, 1300*time.Millisecond))
			leader.Resume()
		}
	}
	if _, last := r.leader(); last > first {
		return fmt.Sprintf("from term %d to term %d", first, last), nil
	}
	return "", nil
}

// askedToLead is F14 by orders: once a second some peer is asked that another leads.
func askedToLead(r *run, rng *rand.Rand) (string, error) {
	began, handed := time.Now(), 0
	for end := began.Add(between(rng, 4*time.Second, 8*time.Second)); time.Now().Before(end); {
		next := time.Now().Add(time.Second)
		members := r.members()
		if _, err := members[rng.IntN(len(members))].Output("orchd", "raft", "transfer-leader"); err == nil {
			handed++
		}
		time.Sleep(time.Until(next))
	}
	if handed < 2 {
		return "", nil
	}
	return fmt.Sprintf("leadership was handed over %d times in %v", handed, time.Since(began).Round(time.Second)), nil
}

// starve is F22: all peers share one core with programs that want all of it.
func starve(r *run, rng *rand.Rand) (string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer func() {
		for _, h := range r.members() {
			r.onCores(h, "0-1")
		}
	}()
	for _, h := range r.members() {
		r.onCores(h, "0")
	}
	for range 4 {
		go burn(ctx)
	}
	before := r.waited()
	d := between(rng, 2*time.Second, 5*time.Second)
	time.Sleep(d)
	waited := r.waited() - before
	if waited < d/4 {
		return "", nil
	}
	return fmt.Sprintf("one core for all for %v; their threads waited for it for %v", d.Round(time.Millisecond), waited.Round(time.Millisecond)), nil
}
