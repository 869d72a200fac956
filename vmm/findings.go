package vmm

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
)

// The stable words for what hosts and records disagree in.
const (
	domainWithoutRecord = "domain-without-record"
	recordWithoutDomain = "record-without-domain"
	wrongEpoch          = "wrong-epoch"
	secondDomain        = "second-domain"
	addressNotAllotted  = "address-not-allotted"
	fileWithoutRecord   = "file-without-record"
)

// Findings lists in what this host and the records disagree, each with what mends
// it. It looks and changes nothing.
func (l *Loop) Findings(ctx context.Context) ([]api.Finding, error) {
	wanted, _ := l.records.Wanted()
	listing, err := l.hv.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the domains of peer %s: %w", l.cfg.Name, err)
	}
	strangers, err := l.hv.Strangers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the foreign domains of peer %s: %w", l.cfg.Name, err)
	}
	files, err := l.hv.DiskFiles(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the disks of peer %s: %w", l.cfg.Name, err)
	}
	return findings(l.me(), wanted, found{listing.Domains, strangers, files, l.guests.addresses()}), nil
}

// Foreign describes the domains of this host that are none of this cluster's.
func (l *Loop) Foreign(ctx context.Context) ([]api.ForeignDomain, error) {
	found, err := l.hv.Strangers(ctx)
	for i := range found {
		found[i].Peer = l.cfg.Name
	}
	return found, err
}

// found is what there is on a host.
type found struct {
	domains   []Domain
	strangers []api.ForeignDomain
	files     []string                   // in the folder of disks
	seen      map[string][]api.VMAddress // addresses that guests use, by VM
}

// findings is pure, and in the order of code, VM and name.
func findings(me self, w Wanted, f found) []api.Finding {
	var all []api.Finding
	here := map[string]bool{}
	for _, d := range f.domains {
		here[d.UUID] = true
		if one, ok := ofDomain(me, w, d); ok {
			all = append(all, one)
		}
	}
	for _, d := range f.strangers {
		if one, ok := ofStranger(me, w, d); ok {
			all = append(all, one)
		}
	}
	for row := range w.Mine() {
		if one, ok := ofRow(row, here[row.ID], f.files); ok {
			all = append(all, one)
		}
	}
	for _, name := range f.files {
		if one, ok := ofFile(w, name, here); ok {
			all = append(all, one)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(f.seen)) {
		all = append(all, ofAddresses(w, id, f.seen[id])...)
	}
	for i := range all {
		all[i].Peer = me.name
	}
	slices.SortStableFunc(all, func(a, b api.Finding) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.VM, b.VM), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// ofDomain is about a domain with our mark.
func ofDomain(me self, w Wanted, d Domain) (api.Finding, bool) {
	row, known := w.Row(d.Mark.VM)
	epoch, tomb := w.Buried(d.Mark.VM)
	one := api.Finding{VM: d.Mark.VM, Name: d.Name, Action: removeByHand(d.Name)}
	switch {
	case d.UUID != d.Mark.VM:
		one.Code, one.Detail = secondDomain, fmt.Sprintf("domain %s carries the mark of VM %s and is not its domain: a copy that somebody made; nobody touches that VM until it is gone", d.UUID, d.Mark.VM)
	case !known && tomb && d.Mark.Epoch <= epoch:
		return one, false // it is about to be removed
	case !known:
		one.Code, one.Detail = domainWithoutRecord, "the domain carries this cluster's mark, and the cluster knows no such VM"
	case d.Mark.Epoch != row.Status.Epoch:
		one.Code, one.Detail = wrongEpoch, fmt.Sprintf("the domain is of epoch %d, and VM %s is at epoch %d with peer %s", d.Mark.Epoch, row.Name, row.Status.Epoch, row.Status.Owner)
	case row.Status.OwnerID != me.id:
		one.Code, one.Detail = secondDomain, fmt.Sprintf("VM %s is owned by peer %s, and there is a domain of it here too", row.Name, row.Status.Owner)
	default:
		return one, false
	}
	return one, true
}

// ofStranger is about a domain of another cluster that tells what VM it was.
func ofStranger(me self, w Wanted, d api.ForeignDomain) (api.Finding, bool) {
	if _, known := w.Row(d.UUID); known || d.Cluster == "" || d.Record == nil {
		return api.Finding{}, false
	}
	return api.Finding{Code: domainWithoutRecord, VM: d.UUID, Name: d.Name,
		Detail: "the domain carries the mark of cluster " + d.Cluster + " and the record of its VM " + d.Record.Name,
		Action: fmt.Sprintf("orchd vm adopt --recover --peer %s %s", me.name, d.Name)}, true
}

// ofRow is about a VM of ours without a domain that should have one. What is being
// made or removed is on its way; what is off and was never made has no disk either.
func ofRow(row api.VM, here bool, files []string) (api.Finding, bool) {
	st := row.Status
	if here || !st.Begun || st.Desired == api.WantDeleted {
		return api.Finding{}, false
	}
	switch st.State {
	case api.VMRunning, api.VMPaused:
	case api.VMStopped, api.VMCrashed, api.VMFailed:
		disk := DiskName(Mark{VM: row.ID, Epoch: st.Epoch})
		if !adopted(row) && !slices.Contains(files, disk) {
			return api.Finding{}, false
		}
	default:
		return api.Finding{}, false
	}
	one := api.Finding{Code: recordWithoutDomain, VM: row.ID, Name: row.Name,
		Detail: fmt.Sprintf("VM %s is %s, and there is no domain of it on its host", row.Name, st.State),
		Action: "orchd vm start " + row.Name}
	if adopted(row) {
		one.Action = "define the domain again on its host, or: orchd vm delete " + row.Name
	}
	return one, true
}

// ofFile is about a file in the folder of disks. Its VM may have moved: then the
// disk of an older epoch is kept on purpose.
func ofFile(w Wanted, name string, here map[string]bool) (api.Finding, bool) {
	id, _, _ := strings.Cut(name, ".")
	_, known := w.Row(id)
	_, tomb := w.Buried(id)
	if known || tomb || here[id] || name == "lost+found" { // of a file system of its own
		return api.Finding{}, false
	}
	one := api.Finding{Code: fileWithoutRecord, Name: name,
		Detail: "the file lies in the folder of disks, and the cluster knows no VM that it belongs to",
		Action: "look at it, then: rm DATA_DIR/disks/" + name}
	if api.IsUUID(id) {
		one.VM = id
	}
	return one, true
}

// ofAddresses is about addresses that a guest uses without having been allotted them.
func ofAddresses(w Wanted, id string, seen []api.VMAddress) (all []api.Finding) {
	row, known := w.Row(id)
	if !known || len(row.Status.Addresses) == 0 {
		return nil // none were: an adopted VM has those that it always had
	}
	for _, a := range seen {
		ip, err := netip.ParseAddr(a.IP)
		allotted := slices.ContainsFunc(row.Status.Addresses, func(b api.VMAddress) bool { return b.IP == a.IP })
		if err != nil || allotted || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip.IsLoopback() {
			continue
		}
		all = append(all, api.Finding{Code: addressNotAllotted, VM: id, Name: row.Name,
			Detail: fmt.Sprintf("VM %s uses %s (from %s), which was not allotted to it", row.Name, a.IP, a.MAC),
			Action: fmt.Sprintf("take %s off its interface: orchd vm console %s", a.IP, row.Name)})
	}
	return all
}

// removeByHand is how a person removes a domain that nobody else may.
func removeByHand(domain string) string {
	return fmt.Sprintf("compare with: virsh dumpxml %s; if it is not needed: virsh destroy %s; virsh undefine %s", domain, domain, domain)
}
