package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/history"
	"github.com/orchd/orchd/test/lab"
)

// newcomer is a second peer on a host, with ports and a folder of its own and no
// room for VMs.
type newcomer struct {
	name, dir string
	on        *lab.Host
	ports     int  // its API; raft and gossip are the next two
	left      bool // it has been taken out
}

// flags are what each of its commands is told.
func (n newcomer) flags() []string {
	return []string{"--name", n.name, "--data-dir", n.dir, "--driver", "none",
		"--api-listen", fmt.Sprintf(":%d", n.ports), "--raft-listen", fmt.Sprintf(":%d", n.ports+1), "--gossip-listen", fmt.Sprintf(":%d", n.ports+2)}
}

// joinRace is W5 and F13: two newcomers come with one token at the same time, while
// leadership may move. One is let in; it serves, catches up, perhaps gets a vote, and
// leaves again.
func joinRace(r *run, rng *rand.Rand) (string, error) {
	r.joins++
	through := r.members()[rng.IntN(len(r.members()))]
	line, err := r.joinLine(through)
	if err != nil {
		return "", err
	}
	var both [2]newcomer
	for i := range both {
		on := r.members()[rng.IntN(len(r.members()))]
		name := fmt.Sprintf("new%d%c", r.joins, 'a'+i)
		both[i] = newcomer{name: name, dir: on.Dir() + "/" + name, on: on, ports: 7800 + 10*i}
	}
	if leader, _ := r.leader(); leader != nil && rng.IntN(2) == 0 {
		leader.Pause()
		time.AfterFunc(between(rng, 100*time.Millisecond, 1500*time.Millisecond), leader.Resume)
	}
	var joins [2]history.Operation
	var race sync.WaitGroup
	for i, n := range both {
		race.Go(func() { joins[i] = r.enrol(n, line, fmt.Sprintf("token-%d", r.joins), i) })
	}
	race.Wait()
	var in []*newcomer
	for i := range both {
		if joins[i].Outcome == history.OK {
			in = append(in, &both[i])
		}
	}
	effect, err := "", error(nil)
	if len(in) > 0 { // who got no answer may be in all the same
		effect = fmt.Sprintf("of %s and %s, %s is in", both[0].name, both[1].name, in[0].name)
	}
	if len(in) == 1 && rng.IntN(2) == 0 {
		var served string
		served, err = r.serveAWhile(in[0], rng)
		effect += served
	}
	members := 0
	for i, n := range both {
		was, failed := r.evict(n)
		err = errors.Join(err, failed)
		if was {
			members++
		}
		if joins[i].Outcome == history.Unknown && was {
			joins[i].Outcome, joins[i].End = history.OK, r.recorder.Now()
		}
		r.recorder.Add(joins[i])
	}
	if members > 1 {
		err = errors.Join(err, fmt.Errorf("one token let in %d newcomers", members))
	}
	return effect, err
}

// joinLine makes a token for one newcomer.
func (r *run) joinLine(through *lab.Host) ([]string, error) {
	a := r.must(http.StatusCreated, "POST", "/v1/tokens", api.TokenCreate{Role: api.RolePeer, TTL: "1h"})
	token := ask.Decode[api.NewToken](r.t, a).Token
	return []string{"join", through.Addr + ":7700", "--token", token}, nil
}

// enrol lets a newcomer join, without serving.
func (r *run) enrol(n newcomer, line []string, token string, client int) history.Operation {
	o := history.Operation{ID: "join-" + n.name, Client: 1000 + client, Kind: history.Token, Object: token, Verb: history.Use, Begin: r.recorder.Now(), Peer: line[1]}
	o.Want.ID = n.name
	out, err := n.on.Output("orchd", append(append(line, "--no-serve"), n.flags()...)...)
	o.End = r.recorder.Now()
	switch {
	case err == nil:
		o.Outcome = history.OK
	case strings.Contains(err.Error(), "used up"):
		o.Outcome, o.Reason = history.Fail, history.Taken
	default:
		o.Outcome = history.Unknown
		o.Note = fmt.Sprintf("%v %s", err, out)
	}
	r.say("%s joins: %s %.300s", n.name, o.Outcome, o.Note)
	return o
}

// serveAWhile runs a newcomer for some seconds, perhaps with one more vote to give.
func (r *run) serveAWhile(n *newcomer, rng *rand.Rand) (string, error) {
	votes := rng.IntN(2) == 0 && len(r.members()) == 3
	if votes {
		r.must(http.StatusOK, "PATCH", "/v1/settings", `{"voters":5}`, "Content-Type: application/merge-patch+json")
	}
	command := fmt.Sprintf("orchd serve %s >>%s.log 2>&1 & echo $!", strings.Join(n.flags(), " "), n.dir)
	pid, err := n.on.Output("sh", "-c", command)
	if err != nil {
		return "", err
	}
	time.Sleep(between(rng, 2*time.Second, 5*time.Second))
	said := ", served"
	if st, err := r.status(r.members()[0]); err == nil && st.Voters > 3 {
		said = fmt.Sprintf(", served, %d voters", st.Voters)
	}
	if rng.IntN(2) == 0 { // it leaves in good order, else it is killed and taken out
		r.must(http.StatusNoContent, "DELETE", "/v1/peers/"+n.name, nil)
		said, n.left = said+", left", true
	}
	n.on.Output("kill", "-KILL", strings.TrimSpace(pid)) // it may have ended
	if votes {
		r.must(http.StatusOK, "PATCH", "/v1/settings", `{"voters":3}`, "Content-Type: application/merge-patch+json")
	}
	return said, nil
}

// evict takes a newcomer out, and tells whether it was a peer.
func (r *run) evict(n newcomer) (was bool, err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		at := r.members()[0]
		a, err := r.within(10*time.Second, at, "DELETE", "/v1/peers/"+n.name, nil, "Idempotency-Key: evict-"+n.name)
		switch {
		case err != nil || a.Status == http.StatusServiceUnavailable || a.Status == http.StatusConflict:
		case a.Status == http.StatusNoContent:
			return true, nil
		case a.Status == http.StatusNotFound:
			return n.left, nil
		default:
			return false, fmt.Errorf("take out %s: %d %s", n.name, a.Status, a.Body)
		}
	}
	return false, fmt.Errorf("%s was not taken out within %v", n.name, patience)
}
