package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
)

// Machine is the replicated state: what the log's commands are applied to.
type Machine interface {
	// Apply carries out the n-th command of the entry at index, with the
	// leader's time. The same calls give the same state and the same answer on
	// every peer. Where somebody may wait for the answer it implements
	// encoding.BinaryMarshaler. A panic stops the peer: for a command that this
	// version cannot read. One with an *api.Error says what to do about it.
	Apply(index uint64, n int, at time.Time, command []byte) any
	// Snapshot gives the state as it is now, in constant time.
	Snapshot() (raft.FSMSnapshot, error)
	// Restore replaces the state by a snapshot's, from the reader that the
	// snapshot store's Open gave. An *api.Error stops the peer: this version
	// cannot read it, however often it is sent.
	Restore(io.ReadCloser) error
	// Index is the last entry applied, by Apply or in the snapshot restored.
	// It may be called at any time.
	Index() uint64
}

// Grouped may be implemented by a Machine that applies all commands of an entry
// in one step: as Apply for each, but cheaper, and seen whole or not at all.
type Grouped interface {
	ApplyAll(index uint64, at time.Time, commands [][]byte) []any
}

// Dated may be implemented by a Machine whose state says of what time it is: so
// that a peer whose state came out of a snapshot can tell its age.
type Dated interface{ Time() time.Time }

// errHalted is behind whatever a peer refuses after an entry stopped it.
var errHalted = errors.New("this peer has stopped applying the log")

// replica is the raft.FSM: it opens frames and hands commands to the machine.
type replica struct {
	machine Machine
	log     *slog.Logger
	fail    func(error) // ends the node

	// mu lets one entry, snapshot or restore at a time reach the machine: at the
	// start the replay of what is known to be committed runs beside raft.
	mu     sync.Mutex
	halted atomic.Bool
	stamp  atomic.Int64 // leader's time of the last entry applied, Unix microseconds; 0: none yet
	// whole is the last entry of which every command has been applied. The machine's
	// own index names an entry from its first command on.
	whole   atomic.Uint64
	applied bell // rings when whole has grown
}

var (
	_ raft.FSM                = (*replica)(nil)
	_ raft.ConfigurationStore = (*replica)(nil)
)

// Apply gives the answers to an entry's commands as []any, or the error that stopped this peer.
func (r *replica) Apply(l *raft.Log) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.halted.Load() {
		return errHalted
	}
	// The replay, or a snapshot that was taken while it ran ahead of raft, may
	// have brought this entry already.
	if l.Index <= r.machine.Index() {
		return nil
	}
	at, commands, err := decodeFrame(l.Data)
	if err != nil {
		return r.haltLocked(l.Index, err)
	}
	answers, err := r.runLocked(l.Index, at, commands)
	if err != nil {
		return r.haltLocked(l.Index, err)
	}
	r.stamp.Store(at.UnixMicro())
	r.whole.Store(l.Index)
	r.applied.ring()
	return answers
}

// runLocked applies the commands; a machine that panics has met what it cannot read.
func (r *replica) runLocked(index uint64, at time.Time, commands [][]byte) (answers []any, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("machine panicked", "index", index, "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%v", p)
			if refusal, is := p.(*api.Error); is {
				err = refusal
			}
		}
	}()
	if m, grouped := r.machine.(Grouped); grouped {
		return m.ApplyAll(index, at, commands), nil
	}
	for n, c := range commands {
		answers = append(answers, r.machine.Apply(index, n, at, c))
	}
	return answers, nil
}

// haltLocked stops this peer at an entry. To skip it would be to leave the
// cluster without saying so.
func (r *replica) haltLocked(index uint64, cause error) error {
	r.halted.Store(true)
	if refusal, is := errors.AsType[*api.Error](cause); is { // it says itself what to do
		r.fail(fmt.Errorf("log entry %d cannot be applied: %w", index, refusal))
		return errHalted
	}
	r.fail(fmt.Errorf("log entry %d cannot be applied: %w. Nothing after it is applied here. If the other peers run, "+
		"move this peer's data folder aside and join again; if they stopped at the same entry, start the version of orchd that wrote it", index, cause))
	return errHalted
}

// Snapshot refuses once an entry was refused: the state would pass for that of a later index.
func (r *replica) Snapshot() (raft.FSMSnapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.halted.Load() {
		return nil, errHalted
	}
	return r.machine.Snapshot()
}

// Restore replaces the machine's state.
func (r *replica) Restore(from io.ReadCloser) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.halted.Load() {
		return errHalted
	}
	if err := takenOver(from, r.restoreLocked); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	return nil
}

func (r *replica) restoreLocked(from io.ReadCloser) error {
	if err := r.machine.Restore(from); err != nil {
		if refusal, is := errors.AsType[*api.Error](err); is {
			r.halted.Store(true)
			r.fail(fmt.Errorf("the state of the other peers cannot be taken over: %w", refusal))
		}
		return err
	}
	r.stamp.Store(0)
	if m, dated := r.machine.(Dated); dated && !m.Time().IsZero() {
		r.stamp.Store(m.Time().UnixMicro())
	}
	r.whole.Store(r.machine.Index())
	r.applied.ring()
	return nil
}

// StoreConfiguration has nothing to keep: with this method raft counts
// configuration entries as applied, and a snapshot right after one is possible.
func (r *replica) StoreConfiguration(uint64, raft.Configuration) {}

// replay applies the entries from first, the one after the snapshot, up to
// committed. Those at and before the snapshot's index may be leftovers of a term
// that lost.
func (r *replica) replay(logs raft.LogStore, first, committed uint64) error {
	for index := first; index <= committed; index++ {
		var l raft.Log
		if err := logs.GetLog(index, &l); err != nil {
			if index <= r.machine.Index() {
				continue // raft was faster, and has compacted the log since
			}
			return fmt.Errorf("read log entry %d: %w", index, err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if err, stopped := r.Apply(&l).(error); stopped {
			return err
		}
	}
	return nil
}
