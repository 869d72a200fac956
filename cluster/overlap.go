package cluster

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// overlap lets a leader write an entry while its followers write the same
// (Ongaro's thesis, 10.2.1): raft would wait for its own disk before it sends
// anything, so that a proposal takes the time of two writes.
//
// StoreLogs returns before the entries are on disk, and raft counts the leader as
// one that has them. What makes up for that: no follower's answer reaches raft
// before they are (gate). With two voters or more an entry needs a follower to be
// committed, so none is before the leader's own disk has it, as ever. A lone
// voter, a peer that does not lead, and everything but commands (a change of
// raft's configuration may leave a lone voter) wait for the disk.
//
// A leader that dies in between has a shorter log than it told its followers of.
// It has promised nothing by it: it never leads that term again, and as long as
// it lives it votes by the longer log, which only makes it refuse more.
type overlap struct {
	mu      sync.Mutex
	ready   func() bool   // this peer leads two voters or more; nil: never overlap
	first   uint64        // of the entries that are being written; meaningful while done is open
	done    chan struct{} // closed when they are on disk, or the write has failed; nil: none yet
	failure error         // of such a write
}

// begin allows it from now on.
func (o *overlap) begin(ready func() bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ready = ready
}

func (o *overlap) allows(logs []*raft.Log) bool {
	o.mu.Lock()
	ready := o.ready
	o.mu.Unlock()
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			return false
		}
	}
	return ready != nil && ready()
}

// storeBeside writes entries while raft goes on; one such write at a time. If it
// fails the peer ends, for raft believes that they are stored.
func (d *disk) storeBeside(logs []*raft.Log) error {
	if err := d.settled(); err != nil {
		return err
	}
	done := make(chan struct{})
	o := &d.overlap
	o.mu.Lock()
	o.first, o.done = logs[0].Index, done
	o.mu.Unlock()
	go func() {
		defer close(done)
		if err := d.store(logs); err != nil {
			o.mu.Lock()
			o.failure = err
			o.mu.Unlock()
			d.fail(fmt.Errorf("append to the log: %w. Others may count on what could not be written, so this peer stops: "+
				"look at the disk under its data folder, then start it again", err))
		}
	}()
	return nil
}

// settled waits until nothing is written beside raft any more.
func (d *disk) settled() error { return d.onDisk(^uint64(0)) }

// onDisk waits until the entries up to index are on disk, as far as raft has handed them in.
func (d *disk) onDisk(index uint64) error {
	o := &d.overlap
	o.mu.Lock()
	first, done := o.first, o.done
	o.mu.Unlock()
	if done != nil && index >= first {
		<-done
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failure
}

// GetLog reads an entry; one that is being written, once it is on disk.
func (d *disk) GetLog(index uint64, l *raft.Log) error {
	if err := d.onDisk(index); err != nil {
		return err
	}
	return d.LogStore.GetLog(index, l)
}

// LastIndex is the index of the newest entry.
func (d *disk) LastIndex() (uint64, error) {
	if err := d.settled(); err != nil {
		return 0, err
	}
	return d.LogStore.LastIndex()
}

// FirstIndex is the index of the oldest entry.
func (d *disk) FirstIndex() (uint64, error) {
	if err := d.settled(); err != nil {
		return 0, err
	}
	return d.LogStore.FirstIndex()
}

// gate holds back a follower's answer to entries until they are on this peer's
// disk as well.
type gate struct {
	*raft.NetworkTransport
	disk *disk
}

// AppendEntries sends entries to a follower.
func (g gate) AppendEntries(id raft.ServerID, at raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := g.NetworkTransport.AppendEntries(id, at, args, resp)
	if n := len(args.Entries); err == nil && n > 0 {
		err = g.disk.onDisk(args.Entries[n-1].Index)
	}
	return err
}
