//go:build planted

package cluster

import (
	"testing"
	"time"

	"github.com/orchd/orchd/api/planted"
)

func TestPlantedHookVerifyLeaderReads(t *testing.T) {
	t.Cleanup(func() { planted.Plant("") })
	leader := newHouse(t, 3).leader()
	leader.term.set(nil) // as it is before the barrier of its term
	if _, err := leader.proveIndex(t.Context()); err == nil {
		t.Error("without the bug a leader without its barrier proves that it leads")
	}
	planted.Plant(planted.VerifyLeaderReads)
	if _, err := leader.proveIndex(t.Context()); err != nil {
		t.Errorf("with the bug heartbeats are no proof: %v", err)
	}
}

func TestPlantedHookAckBeforeCommit(t *testing.T) {
	t.Cleanup(func() { planted.Plant("") })
	h := newHouse(t, 3)
	leader := h.leader()
	for _, p := range h.followers() {
		h.cutOff(p)
	}
	planted.Plant(planted.AckBeforeCommit)
	if _, err := leader.Propose(within(t, time.Second), set("a", "1")); err != nil {
		t.Errorf("with the bug a write that no majority has is refused: %v", err)
	}
	planted.Plant("")
	if _, err := leader.Propose(within(t, 100*time.Millisecond), set("b", "1")); err == nil {
		t.Error("without the bug a write that no majority has is acknowledged")
	}
}

func TestPlantedHookChecksumSkipped(t *testing.T) {
	t.Cleanup(func() { planted.Plant("") })
	frame, err := encodeFrame(time.Now(), set("a", "1"))
	must(t, err)
	frame[len(frame)-1] ^= 1
	if _, _, err := decodeFrame(frame); err == nil {
		t.Error("without the bug an altered frame is taken")
	}
	planted.Plant(planted.ChecksumSkipped)
	if _, _, err := decodeFrame(frame); err != nil {
		t.Errorf("with the bug an altered frame is refused: %v", err)
	}
}
