package cluster

import (
	"fmt"
	"slices"
	"time"
)

// followRoster keeps the book, known.json and the open connections in step with
// the tables.
func (n *Node) followRoster() {
	saved := n.cfg.Identity.Peers
	for {
		changed := n.book.changed.wait()
		members, moved := n.roster.Members()
		if n.takeRows(members) {
			continue // the book rang for itself
		}
		n.hall.sweep()
		saved = n.saveMembers(saved)
		select {
		case <-moved:
		case <-changed:
		case <-n.ctx.Done():
			return
		}
	}
}

// takeRows puts the tables' peers into the book and tells whether that changed it.
func (n *Node) takeRows(members []Member) bool {
	have := n.book.inTables()
	same := len(have) == len(members)
	for _, m := range members {
		old, ok := have[m.ID]
		same = same && ok && equal(old, m)
	}
	if !same {
		n.book.setRows(members)
	}
	return !same
}

func equal(a, b Member) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Addresses == b.Addresses && slices.Equal(a.PublicKey, b.PublicKey)
}

// saveMembers writes known.json when the tables, being current, differ from
// what was saved; until then the file knows better. It gives what is saved now.
func (n *Node) saveMembers(saved []Member) []Member {
	members := n.book.members()
	if n.cfg.DataDir == "" || len(n.book.inTables()) == 0 || !n.book.isCurrent() || slices.EqualFunc(saved, members, equal) {
		return saved
	}
	if err := n.papers.setPeers(members); err != nil {
		n.log.Warn("known peers were not saved; tried again at the next change", "err", err)
		return saved
	}
	return members
}

// How long a write may hang until this peer leaves raft, and until it ends.
const (
	stallTime  = 3 * time.Second
	giveUpTime = 20 * time.Second
	diskTick   = 500 * time.Millisecond
	noteEvery  = time.Second
)

// watchDisk takes this peer out of raft while its disk does not answer: its
// heartbeats come from memory and would keep the others from electing a leader
// that can write.
func (n *Node) watchDisk() {
	var c stallClock
	n.every(diskTick, func() { n.judgeDisk(c.look(time.Now(), n.stores.disk.oldest())) })
}

// stallClock tells for how long a write has been seen to hang, by one who looks
// every diskTick. The time of a write alone would not do: to a process that was
// paused for a minute, with its host or by a signal, a write that was in hand then
// seems to have taken that long.
type stallClock struct {
	write  time.Time     // when the write that is watched began
	looked time.Time     // when it was looked at last
	seen   time.Duration // for how long it has been seen
}

// look notes what is in hand now, the zero time for nothing.
func (c *stallClock) look(now, oldest time.Time) time.Duration {
	if !oldest.Equal(c.write) || oldest.IsZero() {
		c.write, c.looked, c.seen = oldest, now, 0
		return 0
	}
	c.seen += min(now.Sub(c.looked), 2*diskTick)
	c.looked = now
	return c.seen
}

// noteLoop lets the disk know what is committed. It is no part of watchDisk,
// because it hangs when the disk does.
func (n *Node) noteLoop() { n.every(noteEvery, n.noteCommitted) }

// every calls f again and again until the node is closed.
func (n *Node) every(pause time.Duration, f func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f()
		case <-n.ctx.Done():
			return
		}
	}
}

// judgeDisk acts on how long the write in hand takes.
func (n *Node) judgeDisk(hanging time.Duration) {
	stalled, before := hanging > stallTime, n.hall.stalled.Load()
	switch {
	case stalled && !before:
		n.log.Warn("disk does not answer, this peer leaves raft until it does", "took", hanging)
		n.hall.setStalled(true)
	case !stalled && before:
		n.log.Info("disk answers again")
		n.hall.setStalled(false)
	}
	if hanging > giveUpTime {
		n.fail(fmt.Errorf("a write to the log has been hanging for %s: look at the disk under %s, then start this peer again", hanging.Round(time.Second), n.cfg.DataDir))
	}
}

// DiskStalled tells whether this peer takes no part in raft because its disk does not answer.
func (n *Node) DiskStalled() bool { return n.hall.stalled.Load() }

// noteCommitted lets the disk know what has been applied here and is therefore
// committed. In a busy cluster the log itself carries that.
func (n *Node) noteCommitted() {
	if err := n.stores.logs.note(n.replica.whole.Load()); err != nil {
		n.log.Warn("the commit index was not stored", "err", err)
	}
}
