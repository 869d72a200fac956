package peer

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/vmm"
)

// silentAfter is how long a peer may say nothing before it counts as silent: no
// candidate for new VMs, its VMs unknown.
const silentAfter = 15 * time.Second

// Rank orders the hosts for a new VM: those that have its image first, for no other
// can begin at once; then by what gossip and the last pings say, most free memory
// first. Those that are silent or in trouble are no candidates.
func (p *Peer) Rank(_ api.Resources, image string) (candidates []string, others []api.HostPart) {
	loads, heard, r := p.node.Loads(), p.heard(), p.machine.Read()
	type candidate struct {
		id, name string
		lacks    int // 1: it has to fetch the image
		load     cluster.Load
	}
	lacks := lacking(r, image)
	var ranked []candidate
	for host := range r.Members() {
		load, alive := loads[host.ID]
		switch status, why := p.standing(host, heard); {
		case status != "":
			others = append(others, api.HostPart{Peer: host.Name, Status: status, Reason: why})
		case alive || host.ID == p.identity.PeerID:
			ranked = append(ranked, candidate{host.ID, host.Name, lacks(host.ID), load})
		default: // gossip alone calls it dead: a hint, so it is tried last
			ranked = append(ranked, candidate{host.ID, host.Name, 1, cluster.Load{Free: api.Resources{MemoryMiB: -1}}})
		}
	}
	slices.SortFunc(ranked, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.lacks, b.lacks), cmp.Compare(b.load.Free.MemoryMiB, a.load.Free.MemoryMiB), strings.Compare(a.name, b.name))
	})
	for _, c := range ranked {
		candidates = append(candidates, c.id)
	}
	return candidates, others
}

// lacking tells of a peer, by id, whether it would have to fetch an image: 1 if so.
func lacking(r fsm.Reader, image string) func(peer string) int {
	i, _ := r.Image(image)
	if !i.Kept() {
		return func(string) int { return 0 }
	}
	have := r.ImagePeers(i.ID)
	return func(peer string) int {
		if slices.Contains(have, peer) {
			return 0
		}
		return 1
	}
}

// standing says why a host is no candidate, by its last word; empty when it is one.
func (p *Peer) standing(host api.Peer, heard map[string]time.Time) (api.HostStatus, string) {
	if host.Driver == api.DriverNone {
		return "", "" // apply says so
	}
	if since := unheard(host, heard[host.ID], p.cfg.Now()); host.ID != p.identity.PeerID && since > silentAfter {
		return api.NoResponseFromHost, silence(heard[host.ID], since)
	}
	word, said := p.lastWord(host.ID)
	if !said || word.Error == vmm.NotAsked { // it has just started: its row tells what it had
		return "", ""
	}
	return judge(word)
}

// judge says what is wrong with a host's report of itself; empty when nothing is.
func judge(r api.HostReport) (api.HostStatus, string) {
	c := r.Capacity
	switch {
	case r.Error != "":
		return api.ErrorFromHost, r.Error
	case c.VCPUs < 0 || c.MemoryMiB < 0 || c.DiskGiB < 0:
		return api.InvalidFromHost, "it says that it has less than nothing"
	case !r.Up && r.Driver != api.DriverNone:
		return api.ErrorFromHost, r.Driver + ": unreachable"
	}
	return "", ""
}

// unheard is for how long a peer has said nothing: one that nobody has heard yet, since it joined.
func unheard(peer api.Peer, last, now time.Time) time.Duration {
	if last.IsZero() {
		last = peer.CreatedAt
	}
	return now.Sub(last)
}

func silence(last time.Time, since time.Duration) string {
	if last.IsZero() {
		return "it was not heard since this peer started"
	}
	return "it was not heard for " + since.Round(time.Second).String()
}
