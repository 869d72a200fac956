package fsm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
)

// placement is where a VM goes, and each host's part in the decision.
type placement struct {
	owner api.Peer
	found bool
	hosts []api.HostPart // by peer name
}

// place picks the owner of a VM: the first of the candidates that has room by
// the committed reservations. Gossip ranked the candidates, and knew why others
// are none; it admits nothing.
func place(r Reader, need api.Resources, candidates []string, others []api.HostPart) placement {
	var p placement
	seen := map[string]bool{}
	for _, id := range candidates {
		host, known := peers.one(r, id)
		if !known || host.State != api.PeerMember || seen[id] {
			continue
		}
		seen[id] = true
		p.consider(host, Fit(r, host, need))
	}
	for host := range r.Members() {
		if !seen[host.ID] {
			p.hosts = append(p.hosts, passedOver(host, others))
		}
	}
	slices.SortFunc(p.hosts, func(a, b api.HostPart) int { return strings.Compare(a.Peer, b.Peer) })
	return p
}

// consider takes the first host that fits as the owner.
func (p *placement) consider(host api.Peer, part api.HostPart) {
	if part.Status == api.AssignedToOther && !p.found {
		p.owner, p.found = host, true
		part.Status = api.Assigned
	}
	p.hosts = append(p.hosts, part)
}

// passedOver is the part of a host that was no candidate.
func passedOver(host api.Peer, others []api.HostPart) api.HostPart {
	for _, o := range others {
		if o.Peer == host.Name {
			return o
		}
	}
	return api.HostPart{Peer: host.Name, Status: api.NotApplicable, Reason: "it was no candidate when the request was made"}
}

// Fit says whether need fits on a host by the committed reservations:
// assigned_to_other_host when it does, so that the caller picks among those.
func Fit(r Reader, host api.Peer, need api.Resources) api.HostPart {
	part := api.HostPart{Peer: host.Name, Status: api.NotApplicable}
	switch {
	case host.Driver == api.DriverNone:
		part.Reason = "it runs no virtual machines (driver none)"
	case host.Problem != "":
		part.Status, part.Reason = api.ErrorFromHost, host.Problem
	case !host.Schedulable:
		part.Reason = "it is cordoned"
	default:
		part.Reason = shortage(Free(r, host), need)
	}
	if part.Reason == "" {
		part.Status = api.AssignedToOther
	}
	return part
}

// Free is what may still be promised on a host; negative where it is overcommitted.
func Free(r Reader, host api.Peer) api.Resources {
	reserved, _ := r.Reserved(host.ID)
	return host.Room().Minus(reserved)
}

// shortage says what is missing; empty when need fits. A host that is short of
// anything already (it shrank) gets nothing new, not even what takes none of it.
func shortage(free, need api.Resources) string {
	var missing []string
	for _, d := range []struct {
		unit       string
		free, need int64
	}{{"vcpus", free.VCPUs, need.VCPUs}, {"MiB of memory", free.MemoryMiB, need.MemoryMiB}, {"GiB of disk", free.DiskGiB, need.DiskGiB}} {
		if d.free < 0 {
			missing = append(missing, fmt.Sprintf("it is overcommitted by %d %s", -d.free, d.unit))
		} else if d.need > d.free {
			missing = append(missing, fmt.Sprintf("needs %d %s, %d free", d.need, d.unit, d.free))
		}
	}
	return strings.Join(missing, "; ")
}
