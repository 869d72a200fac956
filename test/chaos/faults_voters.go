package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/orchd/orchd/test/lab"
)

// oneVoterAndBack is F13: the voters become one, three, five where there are as many
// peers, three again, and as many as there were, while clients work and now and then
// whoever leads is killed.
func oneVoterAndBack(r *run, rng *rand.Rand) (string, error) {
	before, err := r.status(r.members()[0])
	if err != nil {
		return "", nil
	}
	steps, peers := "", len(r.members())
	for _, wanted := range []int{1, 3, 5, 3, before.VotersWanted} {
		r.must(http.StatusOK, "PATCH", "/v1/settings", fmt.Sprintf(`{"voters":%d}`, wanted), "Content-Type: application/merge-patch+json")
		if leader, _ := r.leader(); leader != nil && rng.IntN(3) == 0 {
			time.Sleep(between(rng, 0, 300*time.Millisecond))
			leader.Kill() // with one voter nobody takes over: it has to come back
			time.Sleep(between(rng, 0, time.Second))
			leader.Start()
			steps += " (the leader killed)"
		}
		voters := min(wanted, peers)
		if err := r.voters(voters); err != nil {
			return "", fmt.Errorf("after%s: %w", steps, err)
		}
		steps += fmt.Sprintf(" %d", voters)
	}
	return "voters:" + steps, nil
}

// voters waits until so many vote, and a write is acknowledged.
func (r *run) voters(n int) error {
	said := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		leader, _ := r.leader()
		if leader == nil {
			said = "nobody leads"
			continue
		}
		st, err := r.status(leader)
		if err == nil && st.Voters == n {
			_, err = r.firstWrite(failoverLimit, r.members())
			return err
		}
		said = fmt.Sprintf("%s, which leads, knows %d (%v)", leader.Name, st.Voters, err)
	}
	return fmt.Errorf("%v after %d voters were wanted %s", patience, n, said)
}

// behind is how many entries a peer misses before it comes back to a leader that has
// dropped them.
const behind = 60

// leftBehind is F13 and the way of snapshots: a follower is away until the log has
// gone on, the leader drops what it has of that part and leads again, and the one that
// comes back can only be sent a snapshot.
func leftBehind(r *run, rng *rand.Rand) (string, error) {
	leader, _ := r.leader()
	late := r.follower(rng)
	if late == nil || late == leader {
		return "", nil
	}
	at, err := r.status(late)
	if err != nil {
		return "", nil
	}
	late.Kill()
	if err := r.keepLog(late); err != nil {
		return "", err
	}
	if on, err := r.goneOn(r.but(late), at.AppliedIndex+behind); !on || err != nil {
		return "", err
	}
	if err := r.shorten(leader); err != nil {
		return "", err
	}
	if !r.letLead(leader) {
		r.say("%s did not come to lead again", leader.Name)
		return "", nil
	}
	late.Start()
	if ready, err := r.settles(late, endLimit); err != nil || !ready {
		return "", fmt.Errorf("%s, which missed %d entries, is not ready: %w", late.Name, behind, err)
	}
	if installed, err := r.caughtUpBySnapshot(late, leader); err != nil || !installed {
		return "", err
	}
	return fmt.Sprintf("%s missed what came after index %d and was sent a snapshot by %s", late.Name, at.AppliedIndex, leader.Name), nil
}

// goneOn waits until one of these has applied an entry.
func (r *run) goneOn(among []*lab.Host, index uint64) (bool, error) {
	for deadline := time.Now().Add(endLimit); time.Now().Before(deadline); {
		if _, err := r.firstWrite(failoverLimit, among); err != nil {
			return false, err
		}
		for _, h := range among {
			if st, err := r.status(h); err == nil && st.AppliedIndex >= index {
				return true, nil
			}
		}
	}
	return false, nil
}

// shorten lets a peer drop all of its log but the last few entries: it makes a snapshot
// when it ends in good order. What it had is kept for the end of the run.
func (r *run) shorten(h *lab.Host) error {
	h.Kill()
	if err := r.keepLog(h); err != nil {
		return err
	}
	h.Start("ORCHD_RAFT__TRAILING_LOGS=5", "ORCHD_RAFT__SNAPSHOT_THRESHOLD=5")
	if ready, err := r.settles(h, endLimit); err != nil || !ready {
		return fmt.Errorf("%s was killed and started, and is not ready: %w", h.Name, err)
	}
	h.Stop()
	h.Start()
	if ready, err := r.settles(h, endLimit); err != nil || !ready {
		return fmt.Errorf("%s was stopped in good order and started, and is not ready: %w", h.Name, err)
	}
	return nil
}

// letLead has a peer lead, if that can be had.
func (r *run) letLead(h *lab.Host) bool {
	for range 50 {
		if leader, _ := r.leader(); leader == h {
			return true
		}
		h.Output("orchd", "raft", "transfer-leader", h.Name) // refused while it lags: asked again
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// caughtUpBySnapshot waits until one peer has what another had, and tells whether a
// snapshot was part of it.
func (r *run) caughtUpBySnapshot(late, leader *lab.Host) (bool, error) {
	goal, err := r.status(leader)
	if err != nil {
		return false, nil // it was just stopped, and may be busy
	}
	for deadline := time.Now().Add(endLimit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if st, err := r.status(late); err == nil && st.AppliedIndex >= goal.AppliedIndex {
			installs, err := r.installs(late)
			return installs > 0, err
		}
	}
	return false, fmt.Errorf("%s, which was behind, has not come to index %d %v after its start", late.Name, goal.AppliedIndex, endLimit)
}

// installs is how many snapshots a peer was sent since its process began.
func (r *run) installs(h *lab.Host) (int, error) {
	a, err := r.within(5*time.Second, h, "GET", "/metrics", nil)
	if err != nil {
		return 0, err
	}
	if a.Status != http.StatusOK {
		return 0, fmt.Errorf("metrics of %s: %d %.300s", h.Name, a.Status, a.Body)
	}
	if count := installCount.FindSubmatch(a.Body); count != nil {
		return strconv.Atoi(string(count[1]))
	}
	return 0, nil
}

// installCount is a line of raft's metrics: one sample for each snapshot that came.
var installCount = regexp.MustCompile(`(?m)^raft_rpc_installSnapshot_count (\d+)$`)
