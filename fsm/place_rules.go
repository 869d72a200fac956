package fsm

import (
	"fmt"

	"github.com/orchd/orchd/api"
)

// ask is what a VM asks of the host that it goes to.
type ask struct {
	id      string // of a VM that is there already, which is no neighbour of its own; empty for a new one
	account string
	spec    api.VMSpec
	network *api.Network // on which it needs addresses; nil: none, or it has them already
	mac     string       // that it has there
}

// rules are what must hold of a host, and what makes one better than another, with
// what they look at looked up.
type rules struct {
	r         Reader
	ask       ask
	with      map[string]int // by owner's id: VMs of the group to be with; nil when there is none yet
	apart     map[string]int // those of the group to keep away from
	domains   domains
	copies    map[string]bool // by peer's id: it has a copy of the image; nil when that does not matter
	anywhere  *allotment      // what the network gives on every host, where it has no pools
	exhausted string          // why it gives nothing on any
}

func rulesOf(r Reader, a ask) rules {
	p := a.spec.Placement
	rules := rules{r: r, ask: a, domains: domainsOf(r, a)}
	if p.With != "" {
		if rules.with = neighbours(r, a, p.With); len(rules.with) == 0 {
			rules.with = nil
		}
	}
	if p.ApartFrom != "" {
		rules.apart = neighbours(r, a, p.ApartFrom)
	}
	if image, known := r.Image(a.spec.Image); known && image.Kept() {
		rules.copies = map[string]bool{}
		for _, peer := range r.ImagePeers(image.ID) {
			rules.copies[peer] = true
		}
	}
	if a.network != nil && len(a.network.Pools) == 0 {
		nic, why := allotted(r, *a.network, api.Peer{}, a.mac)
		rules.anywhere, rules.exhausted = &nic, why
	}
	return rules
}

// neighbours counts the VMs of a group by their owner, but for those that are
// going or gone.
func neighbours(r Reader, a ask, group string) map[string]int {
	owners := map[string]int{}
	for vm := range vms.all(r, "group", a.account+"/"+group) {
		if vm.ID != a.id && vm.Status.Desired != api.WantDeleted && vm.Status.State != api.VMLost {
			owners[vm.Status.OwnerID]++
		}
	}
	return owners
}

// against says what speaks against a host, and what the VM gets of its network there.
func (s rules) against(host api.Peer) (nic allotment, reasons []string) {
	p := s.ask.spec.Placement
	if p.Peer != "" && p.Peer != host.Name {
		reasons = append(reasons, "only "+p.Peer+" was asked for")
	}
	for key, value := range ordered(p.Labels) {
		if host.Labels[key] != value {
			reasons = append(reasons, fmt.Sprintf("it has not the label %s=%s", key, value))
		}
	}
	if s.with != nil && s.with[host.ID] == 0 {
		reasons = append(reasons, "it has no VM of group "+p.With)
	}
	if n := s.apart[host.ID]; n > 0 {
		reasons = append(reasons, fmt.Sprintf("it has %s of group %s", counted(n), p.ApartFrom))
	}
	nic, why := s.nicOn(host)
	if why != "" {
		reasons = append(reasons, why)
	}
	return nic, reasons
}

// nicOn is what the VM gets of its network on a host, or why it gets nothing.
func (s rules) nicOn(host api.Peer) (nic allotment, why string) {
	switch {
	case s.ask.network == nil:
		return nic, ""
	case s.anywhere != nil:
		return *s.anywhere, s.exhausted
	}
	return allotted(s.r, *s.ask.network, host, s.ask.mac)
}

// preference says how many VMs of the group are as near as a host, which makes it
// the worse, and what there is to say for it. It was the k-th candidate that fits.
func (s rules) preference(host api.Peer, k int) (alike int, notes []string) {
	if s.ask.spec.Placement.Spread != "" {
		domain := s.domains.of(host)
		alike = s.domains.held[domain.key]
		notes = append(notes, fmt.Sprintf("%s of group %s on %s", counted(alike), s.ask.spec.Placement.Group, domain.name))
	}
	if s.copies != nil {
		note := "it would have to fetch the image"
		if s.copies[host.ID] {
			note = "it has the image"
		}
		notes = append(notes, note)
	}
	return alike, append(notes, fmt.Sprintf("number %d of those that fit, as the asked peer saw their load", k+1))
}

func counted(n int) string {
	switch n {
	case 0:
		return "no VM"
	case 1:
		return "1 VM"
	}
	return fmt.Sprintf("%d VMs", n)
}

// placementFaults names what of a placement can never be followed.
func placementFaults(r Reader, p api.Placement) faults {
	f := placementForm(p)
	_, known := r.Peer(p.Peer)
	f.wrong(p.Peer != "" && !known, "/spec/placement/peer", "no such peer")
	return f
}

// placementForm is placementFaults as far as they can be told from what is written.
func placementForm(p api.Placement) faults {
	const at = "/spec/placement"
	f := labelFaults(at+"/labels", p.Labels)
	for field, group := range ordered(map[string]string{"group": p.Group, "with": p.With, "apart_from": p.ApartFrom}) {
		f.wrong(group != "" && !api.ValidName(group), at+"/"+field, badName)
	}
	switch p.Spread {
	case "", api.SpreadPeer, api.SpreadChassis, api.SpreadCabinet, api.SpreadLabel:
	default:
		f.wrong(true, at+"/spread", "must be peer, chassis, cabinet or label")
	}
	f.wrong(p.Spread != "" && p.Group == "", at+"/group", "spread keeps the VMs of a group apart: name the group")
	f.wrong(p.Spread == api.SpreadLabel && !labelKey.MatchString(p.SpreadLabel), at+"/spread_label", "name the label of the peers to spread by")
	f.wrong(p.Spread != api.SpreadLabel && p.SpreadLabel != "", at+"/spread_label", "goes with spread label only")
	f.wrong(len(p.Peer) > 63, at+"/peer", "no such peer")
	return f
}
