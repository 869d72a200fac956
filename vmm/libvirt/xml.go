package libvirt

import (
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
)

// buildXML makes the text of a domain and reads it back: what libvirt is given
// says exactly what was asked, whatever characters that is made of.
func buildXML(f facts) (string, error) {
	if err := f.check(); err != nil {
		return "", err
	}
	d, err := f.domain()
	if err != nil {
		return "", err
	}
	text, err := d.Marshal()
	if err != nil {
		return "", api.Errorf(api.Invalid, "libvirt.xml", "the domain cannot be written: %w", err)
	}
	back, err := readXML(text)
	if err != nil || back != f {
		return "", api.Errorf(api.Invalid, "libvirt.xml", "the domain does not read back as it was written")
	}
	return text, nil
}

// domain is the one shape that every domain has. Without graphics nobody sees
// its screen but by a screenshot. A panic of its kernel is told by the panic
// device and ends it: that is a crash.
func (f facts) domain() (*libvirtxml.Domain, error) {
	mark, err := markText(f.marked)
	if err != nil {
		return nil, api.Errorf(api.Invalid, "libvirt.xml", "the mark cannot be written: %w", err)
	}
	d := &libvirtxml.Domain{
		Type:       f.kind,
		Name:       f.name,
		UUID:       f.uuid,
		Metadata:   &libvirtxml.DomainMetadata{XML: mark},
		Memory:     &libvirtxml.DomainMemory{Value: f.memoryMiB, Unit: "MiB"},
		VCPU:       &libvirtxml.DomainVCPU{Current: f.vcpus, Value: f.maxVCPUs},
		OS:         &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Type: "hvm"}, Kernel: f.kernel, Initrd: f.initrd, Cmdline: f.cmdline},
		Features:   &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}},
		Clock:      &libvirtxml.DomainClock{Offset: "utc"},
		OnPoweroff: "destroy",
		OnReboot:   "restart",
		OnCrash:    "destroy",
		Devices: &libvirtxml.DomainDeviceList{
			Disks:      f.disks(),
			Interfaces: f.interfaces(),
			Serials:    []libvirtxml.DomainSerial{f.serial()},
			Videos:     []libvirtxml.DomainVideo{{Model: libvirtxml.DomainVideoModel{Type: "vga", VRam: videoKiB, Heads: 1}}},
			MemBalloon: &libvirtxml.DomainMemBalloon{Model: "virtio", Stats: &libvirtxml.DomainMemBalloonStats{Period: 10}},
			Panics:     []libvirtxml.DomainPanic{{Model: "isa"}},
		},
	}
	if f.maxMemoryMiB > 0 {
		f.makeRoom(d)
	}
	return d, nil
}

const videoKiB = 16 << 10

// makeRoom lets memory be plugged in; libvirt wants a NUMA node for that.
func (f facts) makeRoom(d *libvirtxml.Domain) {
	d.MaximumMemory = &libvirtxml.DomainMaxMemory{Value: f.maxMemoryMiB, Unit: "MiB", Slots: memorySlots}
	cpus := "0-" + strconv.FormatUint(uint64(f.maxVCPUs-1), 10)
	d.CPU = &libvirtxml.DomainCPU{Numa: &libvirtxml.DomainNuma{
		Cell: []libvirtxml.DomainCell{{ID: new(uint), CPUs: cpus, Memory: f.memoryMiB, Unit: "MiB"}}}}
}

// serial is the console: QEMU listens on a socket, and virtlogd writes the log,
// turns it over at 2 MiB and keeps three older parts.
func (f facts) serial() libvirtxml.DomainSerial {
	return libvirtxml.DomainSerial{
		Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind", Path: f.socket}},
		Log:    &libvirtxml.DomainChardevLog{File: f.console, Append: "on"},
	}
}

// disks are the VM's disk, with the whole chain below it spelt out, so that
// neither libvirt nor QEMU ever looks into a file to guess what it is, and its seed.
func (f facts) disks() (all []libvirtxml.DomainDisk) {
	if f.disk != "" {
		d := libvirtxml.DomainDisk{
			Device: "disk",
			// A guest whose disk fails is stopped, and goes on where it was once the host is mended.
			Driver:       &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "qcow2", ErrorPolicy: "stop", RErrorPolicy: "stop"},
			Source:       fileSource(f.disk),
			BackingStore: &libvirtxml.DomainDiskBackingStore{},
			Target:       &libvirtxml.DomainDiskTarget{Dev: diskTarget, Bus: "virtio"},
		}
		if f.backing != "" {
			d.BackingStore = &libvirtxml.DomainDiskBackingStore{
				Format:       &libvirtxml.DomainDiskFormat{Type: f.backingFormat},
				Source:       fileSource(f.backing),
				BackingStore: &libvirtxml.DomainDiskBackingStore{},
			}
		}
		all = append(all, d)
	}
	if f.seed != "" {
		all = append(all, libvirtxml.DomainDisk{
			Device:       "disk",
			Driver:       &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
			Source:       fileSource(f.seed),
			BackingStore: &libvirtxml.DomainDiskBackingStore{},
			Target:       &libvirtxml.DomainDiskTarget{Dev: seedTarget, Bus: "virtio"},
			ReadOnly:     &libvirtxml.DomainDiskReadOnly{},
		})
	}
	return all
}

// Names of the disks inside a domain.
const (
	diskTarget = "vda"
	seedTarget = "vdb"
)

func fileSource(path string) *libvirtxml.DomainDiskSource {
	return &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}}
}

// interfaces is the one that a domain has, or none.
func (f facts) interfaces() []libvirtxml.DomainInterface {
	n := f.nic
	if n.mac == "" {
		return nil
	}
	i := libvirtxml.DomainInterface{
		MAC:    &libvirtxml.DomainInterfaceMAC{Address: n.mac},
		Source: &libvirtxml.DomainInterfaceSource{},
		Model:  &libvirtxml.DomainInterfaceModel{Type: "virtio"},
		ROM:    &libvirtxml.DomainROM{Enabled: "no"}, // nobody boots from the network: that only takes time
	}
	if n.bridge != "" {
		i.Source.Bridge = &libvirtxml.DomainInterfaceSourceBridge{Bridge: n.bridge}
	} else {
		i.Source.Network = &libvirtxml.DomainInterfaceSourceNetwork{Network: n.network}
	}
	if n.mtu > 0 {
		i.MTU = &libvirtxml.DomainInterfaceMTU{Size: n.mtu}
	}
	i.FilterRef = filterRef(n.filter)
	return []libvirtxml.DomainInterface{i}
}

// filterRef puts a filter on an interface; none for "".
func filterRef(filter string) *libvirtxml.DomainInterfaceFilterRef {
	words := strings.Fields(filter)
	if len(words) == 0 {
		return nil
	}
	ref := &libvirtxml.DomainInterfaceFilterRef{Filter: words[0]}
	for _, ip := range words[1:] {
		name := varIP
		if strings.Contains(ip, ":") {
			name = varIPv6
		}
		ref.Parameters = append(ref.Parameters, libvirtxml.DomainInterfaceFilterParam{Name: name, Value: ip})
	}
	return ref
}
