package libvirt

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// facts is all of a domain that depends on what is asked for; the rest is the
// same in every domain. It is what goes into the XML, and what must come out of
// it. It holds no slices, so that two can be compared with ==.
type facts struct {
	marked
	kind, name, uuid        string
	memoryMiB, maxMemoryMiB uint // maxMemoryMiB 0: none can be plugged in
	vcpus, maxVCPUs         uint
	kernel, initrd, cmdline string
	disk, seed              string
	backing, backingFormat  string
	console, socket         string // the log of the serial console, and where it answers
	nic                     nicFacts
}

// nicFacts are the facts of the one interface; without a MAC there is none.
type nicFacts struct {
	mac, bridge, network string
	mtu                  uint
	filter               string // name of the filter and the addresses that it lets through; empty: none
}

// Room to grow while a domain is on.
const (
	minMaxVCPUs = 8
	maxVCPUs    = 240 // of QEMU's usual machine, a little less than it has
	memorySlots = 16

	// A Linux guest with room for more memory sets 64 MiB aside (swiotlb), for the
	// room lies above 4 GiB: a small guest would rather have those.
	minMemoryForRoom = 512
	maxMemoryRoom    = 256 << 10 // below what any processor can address
)

// factsOf are the facts of a domain with its files in the folder dir.
func factsOf(b vmm.Build, kind, dir string, filtered bool) (facts, error) {
	record, err := recordText(b.Record)
	if err != nil {
		return facts{}, err
	}
	f := facts{
		marked:    marked{mark: b.Mark, record: record},
		kind:      kind,
		name:      b.Name,
		uuid:      b.Mark.VM,
		memoryMiB: uint(max(0, b.Spec.MemoryMiB)),
		vcpus:     uint(max(0, b.Spec.VCPUs)),
		console:   filepath.Join(dir, vmm.ConsoleName(b.Mark.VM)),
		socket:    socketPath(dir, b.Mark.VM),
	}
	f.maxVCPUs, f.maxMemoryMiB = vcpuRoom(f.vcpus), memoryRoom(f.memoryMiB)
	if vmm.NeedsDisk(b) {
		f.disk = filepath.Join(dir, vmm.DiskName(b.Mark))
	}
	if b.Seeded {
		f.seed = filepath.Join(dir, vmm.SeedName(b.Mark.VM))
	}
	switch {
	case b.Image == nil:
	case b.Image.Kind == api.ImageKernel:
		f.kernel, f.initrd, f.cmdline = b.Image.Kernel, b.Image.Initrd, b.Image.Cmdline
	default:
		f.backing, f.backingFormat = b.Image.Path, b.Image.Format
	}
	if b.NIC == nil {
		return f, nil
	}
	if f.nic, f.filter, err = nicOf(*b.NIC); err == nil && filtered {
		f.nic.filter = f.filter
	}
	return f, err
}

// vcpuRoom is how many processors a domain that starts with so many may get while it is on.
func vcpuRoom(vcpus uint) uint {
	if vcpus >= maxVCPUs {
		return vcpus
	}
	return min(max(4*vcpus, minMaxVCPUs), maxVCPUs)
}

// memoryRoom is how many MiB; 0: no more than it starts with.
func memoryRoom(mib uint) uint {
	if mib < minMemoryForRoom || mib >= maxMemoryRoom {
		return 0
	}
	return min(max(4*mib, 4096), maxMemoryRoom)
}

// nicOf are the facts of an interface, and the filter that it should have: its
// name and the addresses that it lets through; empty: none.
func nicOf(n vmm.NIC) (f nicFacts, filter string, err error) {
	mac, err := net.ParseMAC(n.MAC)
	if err != nil || len(mac) != 6 || mac[0]&1 == 1 {
		return f, "", api.Errorf(api.Invalid, "libvirt.xml", "%q is no MAC that an interface can have", n.MAC)
	}
	if (n.Bridge == "") == (n.Network == "") {
		return f, "", api.Errorf(api.Invalid, "libvirt.xml", "an interface is on a bridge or on a network of libvirt, and on one of the two")
	}
	f = nicFacts{mac: mac.String(), bridge: n.Bridge, network: n.Network, mtu: uint(max(0, n.MTU))}
	if !n.Filter {
		return f, "", nil
	}
	v4, v6, err := families(n.IPs)
	if err != nil {
		return f, "", err
	}
	return f, strings.Join(append(append([]string{filterFor(v4, v6)}, v4...), v6...), " "), nil
}

// families sorts addresses into those of IPv4 and of IPv6, written as libvirt writes them.
func families(ips []string) (v4, v6 []string, err error) {
	for _, s := range ips {
		ip, err := netip.ParseAddr(s)
		switch {
		case err != nil || ip.Zone() != "":
			return nil, nil, api.Errorf(api.Invalid, "libvirt.xml", "%q is no address that an interface can have", s)
		case ip.Unmap().Is4():
			v4 = append(v4, ip.Unmap().String())
		default:
			v6 = append(v6, ip.String())
		}
	}
	return v4, v6, nil
}

// check refuses what XML cannot hold, and what no name, path or command line needs.
func (f facts) check() error {
	for _, s := range []string{f.mark.Cluster, f.mark.VM, f.mark.Spec, f.record, f.kind, f.name, f.uuid,
		f.kernel, f.initrd, f.cmdline, f.disk, f.seed, f.console, f.socket, f.backing, f.backingFormat,
		f.nic.bridge, f.nic.network} {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
			return api.Errorf(api.Invalid, "libvirt.xml", "%q has characters that no domain may have", s)
		}
	}
	for _, path := range []string{f.kernel, f.initrd, f.disk, f.seed, f.console, f.socket, f.backing} {
		if path != "" && (!filepath.IsAbs(path) || filepath.Clean(path) != path) {
			return api.Errorf(api.Invalid, "libvirt.xml", "%q is no absolute, plain path", path)
		}
	}
	if strings.Contains(f.nic.bridge, "/") || len(f.nic.bridge) > maxDevice {
		return api.Errorf(api.Invalid, "libvirt.xml", "%q is no name of a bridge", f.nic.bridge)
	}
	if f.backing != "" && f.backingFormat != "qcow2" && f.backingFormat != "raw" {
		return api.Errorf(api.Invalid, "libvirt.xml", "the image has no format: it is never guessed")
	}
	if !api.IsUUID(f.uuid) || f.name == "" || f.vcpus == 0 || f.memoryMiB == 0 {
		return api.Errorf(api.Invalid, "libvirt.xml", "a domain has a UUID, a name, processors and memory")
	}
	return nil
}

// maxDevice is how long the name of a network device of Linux may be.
const maxDevice = 15

func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == '\uFFFE' || r == '\uFFFF'
}
