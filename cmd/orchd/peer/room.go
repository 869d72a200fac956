package peer

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// spare is how much of a disk is left for what must always be possible, deletes above
// all: 1 GiB, or a tenth of a smaller disk.
func spare(s snapshot.Space) uint64 { return min(1<<30, s.Size/10) }

// leastFree is how much a peer that is to lead has free at least, beside two of raft's
// snapshots: 64 MiB, or a fiftieth of a smaller disk.
func leastFree(s snapshot.Space) uint64 { return min(64<<20, s.Size/50) }

// space is how much of this peer's disk is free. The room that the ballast file is to have
// again counts as taken.
func (p *Peer) space() (snapshot.Space, error) {
	s, err := snapshot.SpaceOf(p.cfg.DataDir)
	s.Free -= min(s.Free, uint64(p.node.BallastMissing()))
	return s, err
}

// diskCramped tells whether this peer's disk has less room than two of raft's snapshots
// take: a leader that cannot shorten its log any more soon can write nothing.
func (p *Peer) diskCramped() bool {
	s, err := p.space()
	if err != nil {
		return false
	}
	need := leastFree(s)
	if p.rafts == nil { // a simulated peer's snapshots lie elsewhere
		return s.Free < need
	}
	if newest, err := p.rafts.List(); err == nil && len(newest) > 0 {
		need = max(need, 2*uint64(newest[0].Size))
	}
	return s.Free < need
}

// hindered says why a peer should rather not lead, by its last word; empty: nothing is
// known that would hinder it.
func (p *Peer) hindered(id string) string {
	switch {
	case !p.isOpen():
		return ""
	case p.isStalled(id):
		return "its disk does not answer"
	case p.isCramped(id):
		return "its disk is nearly full"
	}
	return ""
}

// isCramped is diskCramped of any peer, by its last word.
func (p *Peer) isCramped(id string) bool {
	if id != p.identity.PeerID {
		w, _ := p.wordOf(id)
		return w.DiskCramped
	}
	p.rooms.mu.Lock()
	defer p.rooms.mu.Unlock()
	if time.Since(p.rooms.looked) > roomTime {
		p.rooms.cramped, p.rooms.looked = p.diskCramped(), time.Now()
	}
	return p.rooms.cramped
}

// diskFull tells whether this peer's disk has no room for a state that grows.
func (p *Peer) diskFull() bool {
	s, err := p.space()
	return err == nil && s.Free < spare(s)
}

// isFull is the same of any peer, by its last word.
func (p *Peer) isFull(id string) bool {
	if id == p.identity.PeerID {
		return p.diskFull()
	}
	w, _ := p.wordOf(id)
	return w.DiskFull
}

// isStalled tells whether a peer's disk does not answer, by its last word.
func (p *Peer) isStalled(id string) bool {
	if id == p.identity.PeerID {
		return p.node.DiskStalled()
	}
	w, _ := p.wordOf(id)
	return w.DiskStalled
}

// roomTime is for how long an answer holds: to ask takes the words of all voters.
const roomTime = 500 * time.Millisecond

// rooms remembers whose disks stood in the way.
type rooms struct {
	mu    sync.Mutex
	asked time.Time
	full  []string // names of the peers for whose sake creates are refused

	looked  time.Time
	cramped bool // this peer's disk, then
}

// room refuses what makes the state grow while the log could not take it: where the
// leader's disk is nearly full, or those of so many voters that the rest is no majority.
// Deletes are not asked, they are what helps.
func (p *Peer) room(op string) error {
	p.rooms.mu.Lock()
	if time.Since(p.rooms.asked) > roomTime {
		p.rooms.full, p.rooms.asked = p.inTheWay(), time.Now()
	}
	full := p.rooms.full
	p.rooms.mu.Unlock()
	if len(full) == 0 {
		return nil
	}
	return api.Errorf(api.NoCapacity, op, "the disk of %s is nearly full, and what is left is kept for deletes: nothing was stored. Make room under its data folder, or delete what is not needed",
		strings.Join(full, ", "))
}

// inTheWay names the voters whose disks are nearly full, if without them nothing can be stored.
func (p *Peer) inTheWay() (full []string) {
	leader, _ := p.node.Leader()
	voters, leads := 0, false
	for _, s := range p.node.Servers() {
		if !s.Voter {
			continue
		}
		voters++
		if p.isFull(s.ID) {
			full, leads = append(full, p.nameOf(s.ID)), leads || s.ID == leader
		}
	}
	if !leads && voters-len(full) > voters/2 {
		return nil
	}
	slices.Sort(full)
	return full
}

// nameOf is a peer's name, or its id where no row has it.
func (p *Peer) nameOf(id string) string {
	if host, known := p.machine.Read().Peer(id); known {
		return host.Name
	}
	return id
}
