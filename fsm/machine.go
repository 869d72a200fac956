package fsm

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orchd/orchd/api"
)

// Machine is the replicated state machine. Apply, Snapshot and Restore are
// raft's and come one at a time; everything else may be called from anywhere.
type Machine struct {
	published atomic.Pointer[state]

	mu          sync.Mutex
	marks       []*Mark
	marked      chan struct{} // holds a token while marks may have something new
	checkpoints []Checkpoint

	unmarked  chan struct{} // closed when nobody writes marks any more
	unmarking sync.Once

	changes *changeQueue
}

// New makes a machine that remembers nothing.
func New() *Machine {
	m := &Machine{marked: make(chan struct{}, 1), unmarked: make(chan struct{}), changes: newChangeQueue()}
	m.published.Store(emptyState())
	return m
}

// Read opens the state as it is now.
func (m *Machine) Read() Reader { return Reader{m.published.Load()} }

// Index is the log index of the last entry applied.
func (m *Machine) Index() uint64 { return m.published.Load().index }

// Time is the cluster's time in the state as it is now; zero before the first entry.
func (m *Machine) Time() time.Time { return m.published.Load().now }

// Apply applies one command, the n-th of entry index, with the leader's time. It
// gives a Result. It panics on what it cannot read: to skip a command is to leave
// the cluster without saying so. Where changes are kept ApplyAll must be used: a
// sink takes an entry for whole as soon as it has heard of it.
func (m *Machine) Apply(index uint64, n int, at time.Time, command []byte) any {
	tx := m.begin(index, at)
	answer := tx.run(n, command)
	m.publish(tx)
	return answer
}

// ApplyAll is Apply for all commands of an entry. What each copies before it
// changes it the next finds copied, and readers see the entry whole.
func (m *Machine) ApplyAll(index uint64, at time.Time, commands [][]byte) []any {
	tx := m.begin(index, at)
	answers := make([]any, len(commands))
	for n, command := range commands {
		answers[n] = tx.run(n, command)
	}
	m.publish(tx)
	return answers
}

// begin opens an entry.
func (m *Machine) begin(index uint64, at time.Time) *Txn {
	tx := newTxn(m.published.Load(), index, at)
	tx.noting = m.changes.wants(index)
	return tx
}

// run applies the n-th command of the Txn's entry.
func (tx *Txn) run(n int, command []byte) any {
	cmd, a, err := decode(command)
	if err != nil {
		panic(fmt.Sprintf("fsm: entry %d.%d: %v", tx.Index(), n, err))
	}
	tx.begin(cmd.Meta)
	defer tx.dropChunks()
	if answer, again := remembered(tx); again {
		return answer
	}
	about := nothing
	if err = tx.admitted(); err == nil {
		about, err = a.apply(tx, cmd.Body)
	}
	if err == nil {
		err = tx.openable()
	}
	if err != nil { // a rejected command leaves its status, nothing else
		tx.undo()
		about = nothing
	}
	answer := answerOf(tx, about, err)
	remember(tx, answer, n)
	tx.note()
	return answer
}

// admitted refuses a command whose sender is not in charge any more, or sends too much.
func (tx *Txn) admitted() error {
	if err := tx.inCharge(); err != nil {
		return err
	}
	return keyRoom(tx)
}

// publish makes a Txn's state the one that is read, and wakes who watches what it replaced.
func (m *Machine) publish(tx *Txn) {
	from := m.published.Swap(tx.state)
	for pos, mine := range tx.mine {
		if mine {
			from.trees[pos].supersede()
		}
	}
	m.checkpoint(tx.state)
	if tx.noting {
		m.changes.add(changedEntry{to: tx.Index(), index: tx.Index(), at: tx.Now, commands: tx.noted, bytes: tx.notedBytes})
	}
	if tx.mark {
		m.keepMark(tx.state)
	}
}

// Checkpoint is the state hash at an index at which every peer notes it.
type Checkpoint struct {
	Index uint64 `json:"index"`
	Hash  string `json:"hash"`
}

// Every checkpointEvery-th index is a checkpoint; the newest keptCheckpoints are kept.
const (
	checkpointEvery = 256
	keptCheckpoints = 64
)

// checkpoint notes the hash of the state at each index that is a multiple of
// checkpointEvery. One that holds no command, or was skipped by a snapshot, is not
// noted; peers compare those that both have.
func (m *Machine) checkpoint(s *state) {
	if s.index%checkpointEvery != 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := len(m.checkpoints); k > 0 && m.checkpoints[k-1].Index == s.index {
		m.checkpoints = m.checkpoints[:k-1] // another command of the same entry
	}
	m.checkpoints = append(m.checkpoints, Checkpoint{s.index, s.sum.String()})
	if len(m.checkpoints) > keptCheckpoints {
		m.checkpoints = append([]Checkpoint(nil), m.checkpoints[len(m.checkpoints)-keptCheckpoints:]...)
	}
}

// Checkpoints are the newest checkpoints, oldest first: what peers compare.
func (m *Machine) Checkpoints() []Checkpoint {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Checkpoint(nil), m.checkpoints...)
}

// Verify computes the hash of every row anew and compares it with the running
// sum. It reads one unchanging state and so disturbs nobody.
func (m *Machine) Verify() error {
	s := m.published.Load()
	var total sum
	for _, t := range tables {
		total = total.plus(t.rehash(s))
	}
	if total != s.sum {
		return api.Errorf(api.Internal, "fsm.verify", "state hash at index %d is %s, its rows give %s", s.index, s.sum, total)
	}
	return nil
}
