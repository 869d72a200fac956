package chaos

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
	"github.com/orchd/orchd/test/history"
)

// replayed is what a peer's log did, applied again from its first entry.
type replayed struct {
	log    *history.Log
	last   uint64            // the last entry with a command
	hashes map[uint64]string // of the state after the entries that were asked for
}

// replay applies a log from its first entry.
func replay(whole wholeLog, wanted ...uint64) (*replayed, error) {
	m, sink := fsm.New(), newGatherer()
	m.KeepChanges(0)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go m.WriteChanges(ctx, sink)
	r, owners := &replayed{hashes: map[uint64]string{}}, owners{}
	// An entry that holds no command changes nothing: the state at an index is that
	// after the last entry with a command up to it.
	note := func(next uint64) {
		for _, index := range wanted {
			if index < next && r.hashes[index] == "" {
				r.hashes[index] = m.Read().Hash()
			}
		}
	}
	for _, e := range whole {
		note(e.index)
		m.ApplyAll(e.index, e.at, e.commands)
		r.last = e.index
		if err := owners.look(e.index, m.Read()); err != nil {
			return nil, err
		}
	}
	note(math.MaxUint64)
	r.log = history.NewLog(sink.await(m.Index()))
	return r, nil
}

// owners remembers who owned which VM in which epoch.
type owners map[claim]string

type claim struct {
	vm    string
	epoch uint64
}

// look checks a state: no VM has two owners in an epoch, no host promises more than
// it has, no address is held twice.
func (o owners) look(index uint64, now fsm.Reader) error {
	for vm := range now.VMs("") {
		c := claim{vm.ID, vm.Status.Epoch}
		if before, claimed := o[c]; claimed && before != vm.Status.OwnerID {
			return fmt.Errorf("at index %d VM %s is owned by %s, and was by %s in the same epoch %d", index, vm.ID, vm.Status.OwnerID, before, vm.Status.Epoch)
		}
		o[c] = vm.Status.OwnerID
	}
	for host := range now.Members() {
		if reserved, _ := now.Reserved(host.ID); reserved.VCPUs > vcpusPerHost {
			return fmt.Errorf("at index %d %s promises %d processors and has %d", index, host.Name, reserved.VCPUs, vcpusPerHost)
		}
	}
	return nil
}

// vcpusPerHost is little, so that hosts run full.
const vcpusPerHost = 12

// gatherer is a fsm.ChangeSink that keeps what changed in memory.
type gatherer struct {
	mu      sync.Mutex
	grown   *sync.Cond
	effects []history.Effect
	to      uint64
}

func newGatherer() *gatherer {
	g := &gatherer{}
	g.grown = sync.NewCond(&g.mu)
	return g
}

func (g *gatherer) Append(to uint64, changes []snapshot.Change) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range changes {
		g.effects = append(g.effects, history.Effect{Index: c.Index, N: c.N, Request: c.RequestID, Table: c.Table, Key: c.Key, Verb: c.Verb})
	}
	g.to = to
	g.grown.Broadcast()
	return nil
}

func (g *gatherer) Skip(to uint64) error {
	return fmt.Errorf("changes up to %d are missing, though nobody restored a snapshot", to)
}

// await gives the changes of all entries up to index.
func (g *gatherer) await(index uint64) []history.Effect {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.to < index {
		g.grown.Wait()
	}
	return g.effects
}
