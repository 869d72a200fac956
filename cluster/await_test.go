package cluster

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestFutureEndsWithTheNode: what raft has in hand and does not answer when it shuts down
// keeps no goroutine. A command lies behind one that is being applied: raft's goroutine
// that applies goes, and leaves it.
func TestFutureEndsWithTheNode(t *testing.T) {
	h := newHouse(t, 1)
	p := h.leader()
	p.machine.hold.Lock()
	outcomes := make(chan error, 8)
	for k := range cap(outcomes) {
		frame, err := encodeFrame(time.Now(), set(fmt.Sprint(k), "v"))
		must(t, err)
		before := p.raft.CommitIndex()
		f := p.raft.Apply(frame, time.Second)
		go func() {
			outcomes <- p.await(t.Context(), f)
		}()
		h.eventually(func() error { // one entry each
			if p.raft.CommitIndex() == before {
				return errors.New("the entry is not committed")
			}
			return nil
		})
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Node.Close() }()
	h.eventually(func() error {
		if p.raft.State() != raft.Shutdown {
			return errors.New("raft has not been shut down")
		}
		return nil
	})
	p.machine.hold.Unlock()
	must(t, <-closed)
	p.running = false
	for range cap(outcomes) {
		if err := <-outcomes; err != nil && !errors.Is(err, raft.ErrRaftShutdown) && !errors.Is(err, raft.ErrLeadershipLost) {
			t.Errorf("an outcome is %v", err)
		}
	}
}

// TestEndWithKnowsRaftsFutures: another release of raft may have others.
func TestEndWithKnowsRaftsFutures(t *testing.T) {
	h := newHouse(t, 1)
	p := h.leader()
	frame, err := encodeFrame(time.Now(), set("a", "1"))
	must(t, err)
	for name, f := range map[string]raft.Future{"Apply": p.raft.Apply(frame, 0), "Barrier": p.raft.Barrier(0), "VerifyLeader": p.raft.VerifyLeader(),
		"Snapshot": p.raft.Snapshot(), "AddNonvoter": p.raft.AddNonvoter("a", "a", 1, 0)} {
		over := make(chan struct{})
		endWith(f, over)
		if got := reflect.ValueOf(f).Elem().FieldByName("ShutdownCh").Interface(); got != any(over) {
			t.Errorf("the future of %s does not end with the node: %T", name, f)
		}
	}
}

// TestCloseDoesNotWaitForADiskThatHangs.
func TestCloseDoesNotWaitForADiskThatHangs(t *testing.T) {
	slow := &badDisk{InmemStore: raft.NewInmemStore()}
	h := emptyHouse(t)
	h.configure = func(c *Config) { c.Logs, c.Stable = slow, slow }
	p := h.addPeer()
	ports := p.ports()
	must(t, Bootstrap(p.config(ports)))
	must(t, ports.closeTaken())
	p.open()
	h.enrol(p, p)
	slow.hold.Lock()
	go p.Propose(t.Context(), set("a", "1"))
	h.eventually(func() error {
		if p.stores.disk.oldest().IsZero() {
			return errors.New("no write hangs")
		}
		return nil
	})
	p.running = false
	if err := p.Node.Close(); err == nil || !strings.Contains(err.Error(), "is left behind") {
		t.Errorf("Close gives %v", err)
	}
	slow.hold.Unlock()
	h.eventually(func() error {
		select {
		case <-p.over:
			return nil
		default:
			return errors.New("it has not ended with the disk back")
		}
	})
}
