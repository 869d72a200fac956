package chaos

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/orchd/orchd/test/lab"
)

// between is a time between two, by chance.
func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(to-from)))
}

// dropped counts the packets that the hosts' rules took.
func (r *run) dropped() (n int) {
	for _, h := range r.Hosts() {
		text, err := h.Output("iptables", "--wait", "-L", "INPUT", "-v", "-x", "-n")
		if err != nil {
			continue
		}
		for _, line := range strings.Split(text, "\n") {
			if fields := strings.Fields(line); len(fields) > 3 && (fields[2] == "DROP" || fields[2] == "REJECT") {
				count, _ := strconv.Atoi(fields[0])
				n += count
			}
		}
	}
	return n
}

// cutFor keeps a cut for a while; it took effect when packets were dropped.
func (r *run) cutFor(d time.Duration, what string) (string, error) {
	time.Sleep(d)
	n := r.dropped()
	if n == 0 {
		return "", nil
	}
	now, term := r.leader()
	leads := "nobody"
	if now != nil {
		leads = now.Name
	}
	return fmt.Sprintf("%s for %v, %d packets dropped, then %s leads term %d", what, d.Round(time.Millisecond), n, leads, term), nil
}

// isolateLeader is F3: nothing comes to the leader and nothing from it. The others
// must take over meanwhile.
func isolateLeader(r *run, rng *rand.Rand) (string, error) {
	old, _ := r.leader()
	if old == nil {
		return "", nil
	}
	r.Isolate(old)
	if _, err := r.firstWrite(failoverLimit, r.but(old)); err != nil {
		return "", fmt.Errorf("%s, which led, was cut off: %w", old.Name, err)
	}
	return r.cutFor(between(rng, 200*time.Millisecond, 4*time.Second), old.Name+", the leader, alone")
}

// isolateFollower is F3 of a peer that does not lead.
func isolateFollower(r *run, rng *rand.Rand) (string, error) {
	h := r.follower(rng)
	if h == nil {
		return "", nil
	}
	r.Isolate(h)
	return r.cutFor(between(rng, time.Second, 8*time.Second), h.Name+" alone")
}

// follower is a peer that does not lead.
func (r *run) follower(rng *rand.Rand) *lab.Host {
	leader, _ := r.leader()
	if leader == nil {
		return nil
	}
	others := r.but(leader)
	return others[rng.IntN(len(others))]
}

// deafLeader is F3 one way: the leader speaks and hears nobody.
func deafLeader(r *run, rng *rand.Rand) (string, error) {
	old, _ := r.leader()
	if old == nil {
		return "", nil
	}
	for _, h := range r.but(old) {
		r.CutOneWay(h, old)
	}
	return r.cutFor(between(rng, 2*time.Second, 4*time.Second), old.Name+", the leader, deaf")
}

// muteLeader is the other way: it hears and nobody hears it.
func muteLeader(r *run, rng *rand.Rand) (string, error) {
	old, _ := r.leader()
	if old == nil {
		return "", nil
	}
	for _, h := range r.but(old) {
		r.CutOneWay(old, h)
	}
	return r.cutFor(between(rng, 2*time.Second, 4*time.Second), old.Name+", the leader, mute")
}

// ring is F3: each peer reaches its neighbours in a ring only; with three peers one
// link is cut, which leaves a bridge.
func ring(r *run, rng *rand.Rand) (string, error) {
	all := r.members()
	n := len(all)
	rng.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i := range all {
		for j := i + 1; j < n; j++ {
			neighbours := j == i+1 || n > 3 && i == 0 && j == n-1
			if !neighbours {
				r.Cut(all[i], all[j])
			}
		}
	}
	return r.cutFor(between(rng, 2*time.Second, 5*time.Second), "a ring")
}

// splitAll is F3: no two peers reach each other, so nothing may be acknowledged.
func splitAll(r *run, rng *rand.Rand) (string, error) {
	all := r.members()
	for i, a := range all {
		for _, b := range all[i+1:] {
			r.Cut(a, b)
		}
	}
	time.Sleep(between(rng, time.Second, 3*time.Second))
	if took, err := r.firstWrite(1500*time.Millisecond, all); err == nil {
		return "", fmt.Errorf("a write was acknowledged after %v while no two peers reached each other", took)
	}
	return r.cutFor(time.Millisecond, "every peer alone")
}

// gossipCut is F5: only gossip is cut, everywhere. Nothing may depend on it.
func gossipCut(r *run, rng *rand.Rand) (string, error) {
	for _, h := range r.members() {
		for _, proto := range []string{"udp", "tcp"} {
			h.Run("iptables", "--wait", "-A", "INPUT", "-i", "eth0", "-p", proto, "--dport", "7702", "-j", "DROP")
		}
	}
	time.Sleep(between(rng, 2*time.Second, 5*time.Second))
	if took, err := r.firstWrite(healLimit, r.members()); err != nil {
		return "", fmt.Errorf("with gossip cut: %w (%v)", err, took)
	}
	return r.cutFor(time.Millisecond, "gossip")
}

// loss is F4: each packet is lost with some chance, on all hosts.
func loss(r *run, rng *rand.Rand) (string, error) {
	chance := 0.02 + 0.3*rng.Float64()
	for _, h := range r.members() {
		h.Run("iptables", "--wait", "-A", "INPUT", "-i", "eth0", "-m", "statistic", "--mode", "random", "--probability", fmt.Sprintf("%.3f", chance), "-j", "DROP")
	}
	return r.cutFor(between(rng, 2*time.Second, 6*time.Second), fmt.Sprintf("%.0f %% of packets", 100*chance))
}

// resets is F4: every connection between the peers is reset, again and again.
func resets(r *run, rng *rand.Rand) (string, error) {
	effect := ""
	for range 2 + rng.IntN(4) {
		for _, h := range r.members() {
			h.Run("iptables", "--wait", "-A", "INPUT", "-i", "eth0", "-p", "tcp", "--dport", "7701", "-j", "REJECT", "--reject-with", "tcp-reset")
		}
		time.Sleep(between(rng, 50*time.Millisecond, 400*time.Millisecond))
		text, _ := r.cutFor(time.Millisecond, "connections reset")
		if text != "" {
			effect = text
		}
		r.Heal()
	}
	return effect, nil
}

// narrow is F4: all that a host sends goes through 64 to 512 kbit/s.
func narrow(r *run, rng *rand.Rand) (string, error) {
	rate := 64 << rng.IntN(4)
	for _, h := range r.members() {
		h.Run("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", fmt.Sprintf("%dkbit", rate), "burst", "4kb", "latency", "500ms")
	}
	time.Sleep(between(rng, 2*time.Second, 5*time.Second))
	over := 0
	for _, h := range r.members() {
		text, err := h.Output("tc", "-s", "qdisc", "show", "dev", "eth0")
		h.Run("tc", "qdisc", "del", "dev", "eth0", "root")
		if err != nil {
			continue
		}
		if _, rest, found := strings.Cut(text, "overlimits "); found {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			over += n
		}
	}
	if over == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d kbit/s, %d packets had to wait", rate, over), nil
}
