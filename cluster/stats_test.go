package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestRaftMetricsAppear(t *testing.T) {
	reg := prometheus.NewRegistry()
	must(t, RegisterMetrics(reg))
	h := newHouse(t, 2)
	h.leader().propose(set("a", "1"))
	h.eventually(func() error {
		families, err := reg.Gather()
		must(t, err)
		var names []string
		for _, f := range families {
			names = append(names, f.GetName())
		}
		for _, want := range []string{"raft_apply", "raft_fsm_apply", "raft_boltdb_storeLogs", "memberlist_"} {
			if !strings.Contains(strings.Join(names, " "), want) {
				return fmt.Errorf("there is no %s among %v", want, names)
			}
		}
		return nil
	})
}

func TestStats(t *testing.T) {
	h := newHouse(t, 1)
	p := h.peers[0]
	p.propose(set("a", "1"))
	s := p.Stats()
	if s.State != "Leader" || s.Term == 0 || s.AppliedIndex != p.machine.Index() || s.CommitIndex < s.AppliedIndex || s.LastIndex < s.CommitIndex {
		t.Errorf("stats %+v do not fit together", s)
	}
	if s.LastWrite <= 0 || s.SlowestWrite < s.LastWrite {
		t.Errorf("writes took %s and %s", s.LastWrite, s.SlowestWrite)
	}
}

func TestPeerWithAHangingDiskLeavesRaft(t *testing.T) {
	h, disks := newHouseOfBadDisks(t, 3)
	old := h.leader()
	disks[old.id].hold.Lock()
	hanging := make(chan error, 1)
	go func() { // an answer comes from the next leader
		_, err := old.Propose(t.Context(), set("a", "1"))
		hanging <- err
	}()
	h.eventually(func() error {
		for _, p := range h.peers {
			if p != old && p.IsLeader() {
				return nil
			}
		}
		return errors.New("the others have not elected a leader")
	})
	if !old.Stats().DiskStalled {
		t.Error("the stall does not show")
	}
	disks[old.id].hold.Unlock()
	h.eventually(func() error { return old.ReadIndex(within(t, time.Second)) })
	must(t, <-hanging)

	old.judgeDisk(giveUpTime + time.Second)
	if err := old.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "hanging") {
		t.Errorf("Wait gives %v; want a sentence", err)
	}
}
