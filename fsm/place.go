package fsm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// placement is where a VM goes, what it gets there, and how that was decided.
type placement struct {
	owner api.Peer
	found bool
	nic   allotment
	hosts []api.HostPart  // each host's part, by peer name
	why   []api.Candidate // those that fit by rank, then the others by peer name
}

// option is a host that fits.
type option struct {
	host  api.Peer
	nic   allotment
	alike int      // VMs of the group that are as near as this
	notes []string // why it is preferred, or not
}

// place picks the owner of a VM among the candidates: rules must hold, and there
// must be room by the committed reservations. Of those that fit the first is taken,
// in the candidates' order or, with spread, first where the fewest of the group are.
// Gossip ranked the candidates, and knew why others are none; it admits nothing.
func place(r Reader, a ask, candidates []string, others []api.HostPart) placement {
	var p placement
	var fit []option
	seen, rules := map[string]bool{}, rulesOf(r, a)
	for _, id := range candidates {
		host, known := peers.one(r, id)
		if !known || host.State != api.PeerMember || seen[id] {
			continue
		}
		seen[id] = true
		part := Fit(r, host, a.spec.Resources())
		nic, reasons := rules.against(host)
		if planted.Is(planted.OwnerFromGossip) { // more is promised than the host has
			part, reasons = api.HostPart{Peer: host.Name, Status: api.AssignedToOther}, nil
		}
		if len(reasons) > 0 && part.Status != api.ErrorFromHost {
			part.Status = api.NotApplicable
		}
		if part.Status == api.AssignedToOther {
			fit = append(fit, option{host: host, nic: nic})
			continue
		}
		p.refuse(r, host, part, reasons)
	}
	for host := range r.Members() {
		if !seen[host.ID] {
			p.refuse(r, host, passedOver(host, others), nil)
		}
	}
	p.rank(r, rules, fit)
	slices.SortFunc(p.hosts, func(a, b api.HostPart) int { return strings.Compare(a.Peer, b.Peer) })
	slices.SortFunc(p.why, func(a, b api.Candidate) int {
		return cmp.Or(compareRank(a.Rank, b.Rank), strings.Compare(a.Peer, b.Peer))
	})
	return p
}

// compareRank puts 0, which is no rank, last.
func compareRank(a, b int64) int {
	if (a == 0) != (b == 0) {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

// refuse notes a host that does not get the VM, for the reason of its part and others.
func (p *placement) refuse(r Reader, host api.Peer, part api.HostPart, reasons []string) {
	if part.Reason != "" {
		reasons = append([]string{part.Reason}, reasons...)
	}
	part.Reason = strings.Join(reasons, "; ")
	p.hosts = append(p.hosts, part)
	p.why = append(p.why, api.Candidate{Peer: host.Name, Status: part.Status, Free: Free(r, host), Reasons: reasons})
}

// rank orders the hosts that fit and takes the first.
func (p *placement) rank(r Reader, rules rules, fit []option) {
	for k := range fit {
		fit[k].alike, fit[k].notes = rules.preference(fit[k].host, k)
	}
	slices.SortStableFunc(fit, func(a, b option) int { return cmp.Compare(a.alike, b.alike) })
	for k, o := range fit {
		status := api.AssignedToOther
		if k == 0 {
			p.owner, p.found, p.nic, status = o.host, true, o.nic, api.Assigned
		}
		p.hosts = append(p.hosts, api.HostPart{Peer: o.host.Name, Status: status})
		p.why = append(p.why, api.Candidate{Peer: o.host.Name, Status: status, Rank: int64(k + 1), Free: Free(r, o.host), Reasons: o.notes})
	}
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
