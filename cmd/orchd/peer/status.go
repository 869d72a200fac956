package peer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

// PeerName is this peer's name.
func (p *Peer) PeerName() string { return p.identity.Name }

// Status is one screen on the health of the cluster as this peer sees it. It
// never waits for quorum: it is what one looks at when there is none.
func (p *Peer) Status(context.Context) (api.Status, error) {
	r := p.machine.Read()
	s := p.look(r)
	raft := p.node.Stats()
	st := api.Status{
		ClusterID: p.identity.ClusterID, Peer: p.identity.Name, Term: raft.Term,
		AppliedIndex: r.Index(), CommitIndex: raft.CommitIndex, StateHash: r.Hash(),
		AgeMs: p.node.Age().Milliseconds(), VotersWanted: p.votersWanted(), Software: p.cfg.Version,
		VMs: map[string]int{}, Warnings: []api.Warning{}, Peers: []api.PeerView{}, Level: r.Level(),
	}
	next, without := r.NextLevel()
	st.NextLevel = next
	for _, host := range without {
		st.NextLevelAwaits = append(st.NextLevelAwaits, host.Name)
	}
	answering := 0
	for host := range r.Members() {
		v := s.of(r, host)
		st.Peers = append(st.Peers, v)
		if v.Leader {
			st.Leader = v.Name
		}
		if v.Voter {
			st.Voters++
		}
		if v.Voter && v.Health == "alive" {
			answering++
		}
	}
	slices.SortFunc(st.Peers, func(a, b api.PeerView) int { return strings.Compare(a.Name, b.Name) })
	st.Tolerates = max(answering-(st.Voters/2+1), 0)
	v := view{Reader: r, peer: p, sight: s}
	for vm := range v.VMs("") {
		st.VMs[string(vm.Status.State)]++
	}
	st.Warnings = append(st.Warnings, p.warnings(r, st)...)
	return st, nil
}

// warnings are what a person should know, each with what to do about it.
func (p *Peer) warnings(r fsm.Reader, st api.Status) (list []api.Warning) {
	add := func(code, peer, vm, detail, action string) {
		list = append(list, api.Warning{Code: code, Peer: peer, VM: vm, Detail: detail, Action: action})
	}
	switch {
	case p.isRefused():
		add("refused", st.Peer, "", "the other peers are there and do not let this one in: it was removed from the cluster",
			"stop it; to join anew, move its data folder away and run: orchd join")
	case st.Leader == "":
		add("no-leader", "", "", fmt.Sprintf("no leader in sight: a majority of the %d voters must run and reach each other", st.Voters), "start the silent peers, or mend the network between them")
	}
	if err := p.marks.failed(); err != nil {
		add("snapshot-failed", st.Peer, "", fmt.Sprintf("this peer's newest snapshot could not be written: %v", err), "make room under its data folder, then: orchd snapshot take")
	}
	if err := p.chronicle.losing(); err != nil {
		add("changes-lost", st.Peer, "", fmt.Sprintf("this peer cannot keep what changes: %v", err), "make room under its data folder; what is missed is fetched from another peer then")
	}
	for _, v := range st.Peers {
		p.peerWarnings(r, v, add)
	}
	p.keyWarnings(r, add)
	for d := range r.Deployments() {
		if host, known := r.Peer(d.Peer); known && d.State == api.PackageFailed {
			add("package-failed", host.Name, "", fmt.Sprintf("package %s is not deployed: %s", d.Package, d.Error), "see: orchd package list; it is tried again by itself")
		}
	}
	if n := len(st.Peers); n == 2 {
		add("no-spare-voter", "", "", "two peers: the cluster survives the loss of neither", "add a third: orchd token create --role peer")
	} else if n > 2 && st.Leader != "" && st.Tolerates == 0 {
		add("no-spare-voter", "", "", "the loss of one more voter stops writes", "start the silent voters, or let another peer be promoted")
	}
	if len(st.NextLevelAwaits) > 0 {
		add("level-held-back", "", "", fmt.Sprintf("behaviour level %d is not in force: %s cannot be known to know it", st.NextLevel, strings.Join(st.NextLevelAwaits, ", ")),
			"install there the release that the others run, and start it; a peer that will not come back: orchd peer remove")
	}
	for vm := range r.VMsDoubled() {
		add("double-vm", "", vm.ID, fmt.Sprintf("VM %s/%s of %s has a second domain on %s; nobody touches either", vm.Account, vm.Name, vm.Status.Owner, strings.Join(vm.Status.Doubles, ", ")),
			"find out which is the right one (virsh list --all on both hosts) and undefine the other with virsh")
	}
	for host, seen := range r.Sightings() {
		if _, known := r.VM(seen.VM); !known {
			add("stray-domain", host, seen.VM, "a domain of this cluster that no record knows", "look at it with virsh on that host; undefine it if nobody misses it")
		}
	}
	return list
}

// whenSilent is what to do about a silent peer.
func whenSilent(v api.PeerView) string {
	look := fmt.Sprintf("look at it: ssh %s systemctl status orchd", v.Name)
	if v.VMs > 0 {
		return look + "; while it is away its VMs can neither be moved nor deleted, for nobody can tell whether they run"
	}
	return look + "; if it is gone for good, remove it: orchd peer remove " + v.Name
}

// clockLimit is how far a peer's clock may be off before status says so.
const clockLimit = 2 * time.Second

// stuckAfter is how long a peer may apply nothing, while others go on, until status says so.
const stuckAfter = 30 * time.Second

func (p *Peer) peerWarnings(r fsm.Reader, v api.PeerView, add func(code, peer, vm, detail, action string)) {
	if v.Health == "silent" {
		role := "peer"
		if v.Voter {
			role = "voter"
		}
		add("peer-silent", v.Name, "", fmt.Sprintf("%s %s was not heard since %s; %d VMs there are unknown", role, v.Name, p.look(r).silent[v.ID], v.VMs),
			whenSilent(v))
	}
	if p.isFull(v.ID) {
		add("disk-full", v.Name, "", "its disk is nearly full, and what is left is kept for deletes: while it leads, or most voters are so, creates are refused",
			"make room under its data folder, or keep fewer snapshots")
	}
	if p.isCramped(v.ID) {
		add("disk-cramped", v.Name, "", "its disk has less room than two snapshots of the log take: it does not lead while another voter can",
			"make room under its data folder, or keep fewer snapshots")
	}
	if p.isStalled(v.ID) {
		add("disk-stalled", v.Name, "", "its disk does not answer, so it takes no part in raft; it ends by itself if that lasts", "look at the disk under its data folder")
	}
	if v.Problem != "" {
		add("driver-down", v.Name, "", v.Problem, "look at it: ssh "+v.Name+" systemctl status libvirtd")
	}
	p.findingWarnings(v, add)
	if v.Overcommitted {
		add("overcommitted", v.Name, "", "more is promised there than it has", "delete VMs there, or raise its overcommit ratios")
	}
	c := p.node.Contacts()[v.ID]
	if c.Offset.Abs() > clockLimit {
		add("clock-off", v.Name, "", fmt.Sprintf("its clock is %s off this peer's", c.Offset.Round(time.Millisecond)), "mend its time synchronisation")
	}
	if stuck := c.HeardAt.Sub(c.StuckSince); !c.StuckSince.IsZero() && stuck > stuckAfter {
		add("peer-stuck", v.Name, "", fmt.Sprintf("it answers, and has applied nothing for %s though it lacks what this peer has", stuck.Round(time.Second)),
			"if it is not being sent a large snapshot (its log says so), restart it: ssh "+v.Name+" systemctl restart orchd; if that does not help: orchd raft transfer-leader")
	}
	if index, ours, theirs := p.differs(v.ID); index > 0 {
		add("hash-differs", v.Name, "", fmt.Sprintf("its state at index %d hashes to %s, this peer's to %s", index, theirs, ours), "stop it and join it anew with an empty data folder; keep the old one for the report of this bug")
	}
}

// differs compares the newest checkpoint that a peer and this one both noted.
func (p *Peer) differs(id string) (index uint64, ours, theirs string) {
	w, _ := p.wordOf(id)
	own := p.machine.Checkpoints()
	for _, their := range slices.Backward(w.Checkpoints) {
		for _, our := range own {
			if our.Index == their.Index {
				if our.Hash != their.Hash {
					return our.Index, our.Hash, their.Hash
				}
				return 0, "", ""
			}
		}
	}
	return 0, "", ""
}

// Ready is nil when this peer can serve, or says what is missing.
func (p *Peer) Ready() error {
	if leader, _ := p.node.Leader(); leader == "" {
		return fmt.Errorf("no leader in sight")
	}
	if p.machine.Index() == 0 {
		return fmt.Errorf("nothing replayed yet")
	}
	voters, mine := 0, false
	for _, s := range p.node.Servers() {
		if s.Voter {
			voters++
			mine = mine || s.ID == p.identity.PeerID
		}
	}
	if !mine && voters < p.votersWanted() {
		return fmt.Errorf("catching up: not a voter yet, and there are %d of %d", voters, p.votersWanted())
	}
	if age := p.node.Age(); age > silentAfter {
		return fmt.Errorf("not current for %s", age.Round(time.Second))
	}
	return nil
}
