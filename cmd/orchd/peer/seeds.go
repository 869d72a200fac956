package peer

import (
	"context"
	"net/netip"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/vmm/cloudinit"
)

// seeds makes what a guest's cloud-init reads when it first boots; it makes Peer a vmm.Seeds.
type seeds struct{ *Peer }

// Seeded tells whether a VM has a seed: one that was given keys or user data, or is on a network.
func (s seeds) Seeded(vm api.VM) bool {
	if len(vm.Status.Flags) > 0 {
		return false // adopted: it has booted before
	}
	_, given := s.machine.Read().Seed(vm.ID)
	return given || vm.Spec.Network != ""
}

// Seed is the NoCloud image of a VM.
func (s seeds) Seed(_ context.Context, vm api.VM, _ api.Network) (iso []byte, ok bool, err error) {
	if !s.Seeded(vm) {
		return nil, false, nil
	}
	docs, err := s.documents(vm)
	if err != nil {
		return nil, false, err
	}
	iso, err = cloudinit.ISO(docs)
	return iso, err == nil, err
}

// VMSeed is a file of the seed of the VM that holds an address, for guests that fetch it over HTTP.
func (p *Peer) VMSeed(_ context.Context, addr netip.Addr, file string) ([]byte, error) {
	r := p.machine.Read()
	lease, held := r.LeaseAt(addr)
	vm, known := r.VM(lease.VM)
	if !held || !known || !(seeds{p}).Seeded(vm) {
		return nil, api.Errorf(api.NotFound, "boot", "no VM has the address %s", addr)
	}
	docs, err := seeds{p}.documents(vm)
	if err != nil {
		return nil, err
	}
	doc, there := docs[file]
	if !there {
		return nil, api.Errorf(api.NotFound, "boot", "a seed has no file %q", file)
	}
	return doc, nil
}

// documents are the files of a VM's seed.
func (s seeds) documents(vm api.VM) (map[string][]byte, error) {
	r := s.machine.Read()
	guest := cloudinit.Guest{InstanceID: vm.ID, Hostname: vm.Name}
	if seed, given := r.Seed(vm.ID); given {
		guest.Keys = seed.Keys
		if len(seed.UserData) > 0 {
			plain, err := s.openSealed(fsm.SealUserData, seed.UserData)
			if err != nil {
				return nil, err
			}
			guest.UserData = plain
		}
	}
	if n, known := r.Network(vm.Spec.Network); known && vm.Spec.Network != "" {
		guest.DNS, guest.MTU = n.DNS, int(n.MTU)
		for _, a := range vm.Status.Addresses {
			guest.MAC = a.MAC
			if a.IP == "" {
				continue // the network has no range: the guest asks a DHCP server
			}
			guest.Addresses = append(guest.Addresses, addressOf(a, n, vm.Status.Owner))
		}
	}
	return cloudinit.Documents(guest)
}

// addressOf is an address as a guest configures it: with the length of its
// network's prefix, and the gateway of its family; that of the owner's pool, where it has one.
func addressOf(a api.VMAddress, n api.Network, owner string) cloudinit.Address {
	ip, _ := netip.ParseAddr(a.IP)
	cidr, gateway := n.CIDR, n.Gateway
	if six, err := netip.ParsePrefix(n.CIDR6); err == nil && six.Contains(ip) {
		cidr, gateway = n.CIDR6, n.Gateway6
	} else {
		for _, pool := range n.Pools {
			if pool.Peer == owner && pool.Gateway != "" {
				gateway = pool.Gateway
			}
		}
	}
	out := cloudinit.Address{IP: ip}
	if prefix, err := netip.ParsePrefix(cidr); err == nil {
		out.Prefix = prefix.Bits()
	}
	out.Gateway, _ = netip.ParseAddr(gateway)
	return out
}
