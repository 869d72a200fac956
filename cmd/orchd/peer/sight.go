package peer

import (
	"encoding/json"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

// word is what a peer tells the others with each ping.
type word struct {
	Host        api.HostReport       `json:"host"`
	Checkpoints []fsm.Checkpoint     `json:"checkpoints,omitempty"` // state hashes, to compare
	Leader      bool                 `json:"leader,omitempty"`
	Heard       map[string]time.Time `json:"heard,omitempty"` // the leader: when it last heard whom

	Findings      []api.Finding `json:"findings,omitempty"` // the first few
	FindingsCount int           `json:"findings_count,omitempty"`

	DiskFull    bool `json:"disk_full,omitempty"`    // nearly: see room
	DiskCramped bool `json:"disk_cramped,omitempty"` // it should not lead: see hindered
	DiskStalled bool `json:"disk_stalled,omitempty"` // it takes no part in raft
}

// sharedCheckpoints is how many of the newest checkpoints go with a ping.
const sharedCheckpoints = 4

// say is this peer's word to the others.
func (p *Peer) say() json.RawMessage {
	if !p.isOpen() {
		return nil
	}
	w := word{Host: p.hostReport(), Checkpoints: p.machine.Checkpoints(), Leader: p.node.IsLeader(),
		DiskFull: p.diskFull(), DiskCramped: p.isCramped(p.identity.PeerID), DiskStalled: p.node.DiskStalled()}
	if k := len(w.Checkpoints); k > sharedCheckpoints {
		w.Checkpoints = w.Checkpoints[k-sharedCheckpoints:]
	}
	w.Findings, w.FindingsCount = p.disagree.shared()
	if w.Leader {
		w.Heard = p.ownHeard()
	}
	b, err := json.Marshal(w)
	if err != nil {
		p.log.Error("own report does not encode", "err", err)
	}
	return b
}

// lastWord is what a host last said of its driver; of this host, what it says now.
func (p *Peer) lastWord(id string) (api.HostReport, bool) {
	if id == p.identity.PeerID {
		return p.hostReport(), true
	}
	w, ok := p.wordOf(id)
	return w.Host, ok
}

func (p *Peer) wordOf(id string) (w word, ok bool) {
	c, known := p.node.Contacts()[id]
	return w, known && len(c.Report) > 0 && json.Unmarshal(c.Report, &w) == nil
}

// ownHeard is when this peer last heard each of the others.
func (p *Peer) ownHeard() map[string]time.Time {
	heard := map[string]time.Time{p.identity.PeerID: p.cfg.Now()}
	for id, c := range p.node.Contacts() {
		heard[id] = c.HeardAt
	}
	return heard
}

// heard is when the leader last heard each peer, as it told with its last ping;
// without a leader in sight, when this peer did.
func (p *Peer) heard() map[string]time.Time {
	leader, _ := p.node.Leader()
	if leader != "" && leader != p.identity.PeerID {
		if w, ok := p.wordOf(leader); ok && w.Leader {
			return p.heardBy(leader, w.Heard)
		}
	}
	return p.ownHeard()
}

// heardBy is what the leader has heard, by this peer's clock.
func (p *Peer) heardBy(leader string, theirs map[string]time.Time) map[string]time.Time {
	contact := p.node.Contacts()[leader]
	heard := map[string]time.Time{leader: contact.HeardAt}
	for id, at := range theirs {
		if id != leader && !at.IsZero() {
			heard[id] = at.Add(-contact.Offset)
		}
	}
	return heard
}

// sight is what is seen of the peers just now, beside what the log remembers.
type sight struct {
	me      string
	leader  string
	now     time.Time
	voters  map[string]bool
	heard   map[string]time.Time
	silent  map[string]string // by id: since when, for people
	said    map[string]uint64 // by id: the index it last said it has applied
	cannot  map[string][]string
	reached map[string]bool // it answered this peer's last ping
}

// look gathers what is seen of the peers.
func (p *Peer) look(r fsm.Reader) sight {
	s := sight{
		me: p.identity.PeerID, now: p.cfg.Now(), heard: p.heard(),
		voters: map[string]bool{}, silent: map[string]string{}, said: map[string]uint64{}, cannot: map[string][]string{}, reached: map[string]bool{},
	}
	s.leader, _ = p.node.Leader()
	for _, server := range p.node.Servers() {
		s.voters[server.ID] = server.Voter
	}
	for id, c := range p.node.Contacts() {
		s.said[id], s.reached[id] = c.Applied, c.Reachable
		for _, other := range c.Unreachable {
			if peer, ok := r.Peer(other); ok {
				s.cannot[id] = append(s.cannot[id], peer.Name)
			}
		}
	}
	s.said[s.me] = r.Index()
	for peer := range r.Members() {
		if peer.ID != s.me && unheard(peer, s.heard[peer.ID], s.now) > silentAfter {
			s.silent[peer.ID] = "this peer started"
			if last := s.heard[peer.ID]; !last.IsZero() {
				s.silent[peer.ID] = last.UTC().Format(time.RFC3339)
			}
		}
	}
	return s
}

// of is a peer's row with what is seen of it.
func (s sight) of(r fsm.Reader, p api.Peer) api.PeerView {
	reserved, n := r.Reserved(p.ID)
	v := api.PeerView{
		Peer: p, Voter: s.voters[p.ID], Leader: p.ID == s.leader, Health: "alive",
		HeardAt: s.heard[p.ID].UTC(), AppliedIndex: s.said[p.ID],
		Reserved: reserved, VMs: n, Overcommitted: !reserved.Within(p.Room()), Cannot: s.cannot[p.ID],
	}
	switch _, silent := s.silent[p.ID]; {
	case silent:
		v.Health = "silent"
	case p.ID != s.me && !s.reached[p.ID]:
		v.Health = "unknown"
	}
	return v
}
