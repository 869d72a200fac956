package fsm

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
)

// What orchd cannot manage of an adopted domain. A VM with any flag is one that
// orchd did not make: its host changes nothing of what its domain is made of.
const (
	flagForeignDisk    = "disk-not-in-pool"
	flagNoCloudInit    = "no-cloud-init"
	flagUnknownAddress = "address-unknown" // what it has for addresses nobody allotted
	flagTakenAddress   = "address-taken"   // what it has for addresses another VM holds
	flagUnknownImage   = "image-unknown"   // the image that it was made from is not there
)

var knownFlags = []string{flagForeignDisk, flagNoCloudInit, flagUnknownAddress, flagTakenAddress, flagUnknownImage}

type vmAdoption struct {
	Peer   string            `cbor:"1,keyasint"` // id
	Domain api.ForeignDomain `cbor:"2,keyasint"`
	Adopt  api.VMAdopt       `cbor:"3,keyasint"`
}

// applyAdoptVM makes a VM of a domain that a peer has found on its hypervisor. What
// it takes is promised even if its host has no room for it, for it has it already.
func applyAdoptVM(tx *Txn, c vmAdoption) (object, error) {
	const op = "vm.adopt"
	if err := tx.may(api.Create, op, api.Object{Kind: "domain"}); err != nil {
		return nothing, err
	}
	host, known := tx.Peer(c.Peer)
	if !known || host.Driver == api.DriverNone {
		return nothing, api.Errorf(api.NotFound, op, "no peer %q that runs virtual machines", clipped(c.Peer))
	}
	if err := adoptable(tx.Reader, op, c); err != nil {
		return nothing, err
	}
	a := adoption{tx: tx, vmAdoption: c, host: host}
	vm, err := a.row(op)
	if err != nil {
		return nothing, err
	}
	if err := accountOpen(tx.Reader, op, vm.Account); err != nil {
		return nothing, err
	}
	countUsage(tx, vm.Account)
	a.addresses(&vm)
	a.keys(&vm)
	free := Free(tx.Reader, host)
	vms.put(tx, vm)
	explain(tx, vm, []api.Candidate{{Peer: host.Name, Status: api.Assigned, Rank: 1, Free: free, Reasons: []string{"it has the domain, which was adopted"}}})
	return object{table: vms, key: vm.ID}, nil
}

// adoptable refuses a domain that no VM can be made of.
func adoptable(r Reader, op string, c vmAdoption) error {
	id, record := c.Domain.UUID, c.Domain.Record
	if !api.IsUUID(id) {
		return api.Errorf(api.Invalid, op, "the domain %q has no UUID in lower case", clipped(c.Domain.Name))
	}
	if vm, there := vms.one(r, id); there {
		return api.Errorf(api.Conflict, op, "the domain's UUID is the id of VM %s/%s", vm.Account, vm.Name)
	}
	if _, gone := tombstones.one(r, id); gone {
		return api.Errorf(api.Conflict, op, "the domain's UUID is the id of a VM that was deleted; this is remembered for 24 hours")
	}
	switch {
	case c.Adopt.Recover && record == nil:
		return api.Errorf(api.Conflict, op, "the domain carries no record of a VM; to take it as it is, adopt it without recovering")
	case c.Adopt.Recover && record.ID != id:
		return api.Errorf(api.Conflict, op, "the domain carries the record of VM %s and is a copy of it", clipped(record.ID))
	case !c.Adopt.Recover && c.Domain.Cluster != "":
		return api.Errorf(api.Conflict, op, "the domain is a VM of cluster %s; if that one is lost for good, recover it", clipped(c.Domain.Cluster))
	case !slices.Contains([]api.VMState{api.VMRunning, api.VMStopped, api.VMPaused, api.VMCrashed}, c.Domain.State):
		return api.Errorf(api.Invalid, op, "a domain is not %q", clipped(string(c.Domain.State)))
	}
	return nil
}

// adoption is a domain on its way to be a VM.
type adoption struct {
	vmAdoption
	tx   *Txn
	host api.Peer
}

// row is the VM, but for its addresses.
func (a adoption) row(op string) (api.VM, error) {
	d := a.Domain
	vm := api.VM{ID: d.UUID, Name: fittingName(d.Name, d.UUID), Account: api.DefaultAccount,
		Spec:    api.VMSpec{VCPUs: d.VCPUs, MemoryMiB: d.MemoryMiB, DiskGiB: d.DiskGiB, Restart: api.RestartOnFailure},
		Status:  api.VMStatus{Epoch: 1, Flags: a.flags()},
		Version: 1, CreatedAt: a.tx.Now, UpdatedAt: a.tx.Now}
	if a.Adopt.Recover {
		a.remember(&vm)
	}
	if a.Adopt.Account != "" {
		vm.Account = a.Adopt.Account
	}
	if a.Adopt.Labels != nil {
		vm.Labels = a.Adopt.Labels
	}
	if a.Adopt.Name != "" {
		vm.Name = a.Adopt.Name
	}
	name, free := a.freeName(vm)
	if !free {
		return vm, api.Errorf(api.Conflict, op, "account %q has a VM named %q already", vm.Account, name)
	}
	vm.Name = name
	vm.Status.Owner, vm.Status.OwnerID, vm.Status.Begun = a.host.Name, a.host.ID, true
	vm.Status.State, vm.Status.Desired = d.State, desiredOf(d.State)
	bad := labelFaults("/labels", vm.Labels)
	bad.wrong(!api.ValidName(vm.Name), "/name", badName)
	bad.amounts("/domain", vm.Spec)
	return vm, bad.refusal(op, "the domain cannot be a virtual machine")
}

// desiredOf is what is wanted of a domain that is adopted: that it go on as it is.
func desiredOf(s api.VMState) api.Desired {
	switch s {
	case api.VMRunning:
		return api.WantRunning
	case api.VMPaused:
		return api.WantPaused
	}
	return api.WantStopped
}

// flags are what its host said that orchd could not manage of a domain. Of one that
// orchd did not make the addresses at least are not known.
func (a adoption) flags() (flags []string) {
	said := a.Domain.Flags
	if a.Adopt.Recover { // its record knows about its seed
		said = slices.DeleteFunc(slices.Clone(said), func(f string) bool { return f == flagNoCloudInit })
		said = append(said, a.Domain.Record.Status.Flags...)
	} else {
		said = append(slices.Clone(said), flagUnknownAddress)
	}
	for _, f := range knownFlags {
		if slices.Contains(said, f) {
			flags = append(flags, f)
		}
	}
	return flags
}

// remember takes over from the record what still holds. The epoch stays: the files
// of the VM have it in their names.
func (a adoption) remember(vm *api.VM) {
	was := *a.Domain.Record
	vm.Name, vm.Account, vm.Labels, vm.Protected = was.Name, was.Account, was.Labels, was.Protected
	vm.Status.Epoch = max(was.Status.Epoch, 1)
	vm.Status.SSHHostKeys = hostKeys(was.Status.SSHHostKeys)
	if !was.CreatedAt.IsZero() && was.CreatedAt.Before(a.tx.Now) {
		vm.CreatedAt = was.CreatedAt
	}
	var bad faults
	bad.amounts("", was.Spec)
	bad.restart("", was.Spec.Restart)
	if bad = append(bad, placementForm(was.Spec.Placement)...); len(bad) > 0 {
		return // it was made by something else: what the domain has counts
	}
	spec := api.VMSpec{VCPUs: was.Spec.VCPUs, MemoryMiB: was.Spec.MemoryMiB, DiskGiB: was.Spec.DiskGiB, Placement: was.Spec.Placement, Restart: was.Spec.Restart}
	if size, known := a.tx.Size(was.Spec.Size); known {
		spec.Size = size.Name
	}
	a.rememberImage(vm, &spec, was.Spec.Image)
	if network, known := a.tx.Network(was.Spec.Network); known {
		spec.Network = network.Name
	}
	vm.Spec = spec
}

func (a adoption) rememberImage(vm *api.VM, spec *api.VMSpec, name string) {
	if name == "" {
		return
	}
	if image, known := imageFor(a.tx.Reader, vm.Account, name); known {
		spec.Image = image.Name
		return
	}
	vm.Status.Flags = withFlag(vm.Status.Flags, flagUnknownImage)
}

func withFlag(flags []string, flag string) []string {
	if slices.Contains(flags, flag) {
		return flags
	}
	return append(slices.Clone(flags), flag)
}

// addresses gives a VM the addresses of its record, as far as they are free, and the
// MAC addresses of its domain: as leases only where no other VM has them.
func (a adoption) addresses(vm *api.VM) {
	network, known := a.tx.Network(vm.Spec.Network)
	if a.Adopt.Recover && known {
		for _, was := range a.Domain.Record.Status.Addresses {
			if !a.holdAgain(vm, network, was) {
				vm.Status.Flags = withFlag(vm.Status.Flags, flagTakenAddress)
			}
		}
	}
	for _, text := range a.Domain.MACs[:min(len(a.Domain.MACs), maxMACs)] {
		mac := normalMAC(text)
		switch {
		case mac == "" || slices.ContainsFunc(vm.Status.Addresses, func(has api.VMAddress) bool { return has.MAC == mac }):
		case a.tx.freeLeaseMAC(mac):
			lease(a.tx, vm, api.Network{}, mac, "")
		default:
			vm.Status.Flags = withFlag(vm.Status.Flags, flagTakenAddress)
		}
	}
}

// maxMACs of one domain.
const maxMACs = 16

// holdAgain gives a VM back an address of its network that it had.
func (a adoption) holdAgain(vm *api.VM, network api.Network, was api.VMAddress) bool {
	mac, ip := normalMAC(was.MAC), plainIP(was.IP)
	holder, held := leases.with(a.tx.Reader, "mac", mac)
	if mac == "" || held && holder.VM != vm.ID || len(vm.Status.Addresses) >= maxMACs {
		return false
	}
	if was.IP == "" {
		if !held {
			lease(a.tx, vm, network, mac, "")
		}
		return true
	}
	addr, err := netip.ParseAddr(ip)
	in := slices.ContainsFunc(ranges(network), func(cidr netip.Prefix) bool { return cidr.Contains(addr) })
	if err != nil || !in || !a.tx.freeAddress(addr) {
		return false
	}
	lease(a.tx, vm, network, mac, ip)
	return true
}

// keys finds the SSH keys of the record that its account has again.
func (a adoption) keys(vm *api.VM) {
	if !a.Adopt.Recover {
		return
	}
	d := draft{VMCreate: api.VMCreate{Account: vm.Account, Spec: api.VMSpec{SSHKeys: a.Domain.Record.Spec.SSHKeys}}}
	if d.lookUpKeys(a.tx.Reader); len(d.keys) > 0 {
		vm.Spec.SSHKeys = d.Spec.SSHKeys
		seeds.put(a.tx, Seed{VM: vm.ID, Account: vm.Account, Keys: d.keys})
	}
}

// freeName is the name of a VM, or one like it that nobody in its account has. Ids may
// begin alike, so that in the end it takes all of the id.
func (a adoption) freeName(vm api.VM) (name string, free bool) {
	names := []string{vm.Name, longName(vm.Name, vm.ID[:8]), longName(vm.Name, vm.ID)}
	if a.Adopt.Name != "" {
		names = names[:1]
	}
	for _, name = range names {
		if _, taken := vms.with(a.tx.Reader, "name", vm.Account+"/"+name); !taken {
			return name, true
		}
	}
	return name, false
}

// longName is a name with an ending, and of a name's length.
func longName(name, ending string) string {
	return name[:min(len(name), 62-len(ending))] + "-" + ending
}

// fittingName is the name of a domain, made to fit.
func fittingName(name, id string) string {
	fit := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return '-'
	}, name)
	fit = strings.Trim(fit, "-")
	if fit = fit[:min(len(fit), 63)]; !api.ValidName(fit) {
		return "vm-" + id[:8]
	}
	return fit
}

// AdoptVM makes a VM of a domain that a peer, by id, has described. Its host then
// puts the mark on it.
func (w *Writer) AdoptVM(ctx context.Context, peer string, d api.ForeignDomain, a api.VMAdopt) (Done[api.VM], error) {
	done, err := propose[api.VM](ctx, w, adoptVM, vmAdoption{peer, d, a})
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}
