package libvirt

import (
	"strings"

	"libvirt.org/go/libvirtxml"
)

// readXML finds the facts in the text of a domain that orchd has made.
func readXML(text string) (facts, error) {
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		return facts{}, err
	}
	f := facts{kind: d.Type, name: d.Name, uuid: d.UUID}
	if d.Metadata != nil {
		m, err := parseMark(d.Metadata.XML)
		if err != nil {
			return facts{}, err
		}
		f.marked = m
	}
	if d.Memory != nil {
		f.memoryMiB = mebibytes(d.Memory.Value, d.Memory.Unit)
	}
	if d.MaximumMemory != nil {
		f.maxMemoryMiB = mebibytes(d.MaximumMemory.Value, d.MaximumMemory.Unit)
	}
	f.vcpus, f.maxVCPUs = processors(d.VCPU)
	if d.OS != nil {
		f.kernel, f.initrd, f.cmdline = d.OS.Kernel, d.OS.Initrd, d.OS.Cmdline
	}
	readDevices(d.Devices, &f)
	return f, nil
}

// mebibytes reads the units that we write and libvirt answers in.
func mebibytes(n uint, unit string) uint {
	switch unit {
	case "MiB":
		return n
	case "KiB", "":
		return n >> 10
	case "GiB":
		return n << 10
	}
	return 0
}

// processors are those that a domain has and can have.
func processors(v *libvirtxml.DomainVCPU) (current, most uint) {
	switch {
	case v == nil:
		return 0, 0
	case v.Current == 0:
		return v.Value, v.Value
	}
	return v.Current, v.Value
}

func readDevices(d *libvirtxml.DomainDeviceList, f *facts) {
	if d == nil {
		return
	}
	for _, disk := range d.Disks {
		if disk.ReadOnly != nil {
			f.seed = pathOf(disk.Source)
			continue
		}
		f.disk = pathOf(disk.Source)
		if below := disk.BackingStore; below != nil && below.Format != nil {
			f.backing, f.backingFormat = pathOf(below.Source), below.Format.Type
		}
	}
	for _, serial := range d.Serials {
		if serial.Log != nil {
			f.console = serial.Log.File
		}
		if serial.Source != nil && serial.Source.UNIX != nil {
			f.socket = serial.Source.UNIX.Path
		}
	}
	for _, i := range d.Interfaces {
		f.nic = readInterface(i)
	}
}

func readInterface(i libvirtxml.DomainInterface) (n nicFacts) {
	if i.MAC != nil {
		n.mac = i.MAC.Address
	}
	if i.Source != nil && i.Source.Bridge != nil {
		n.bridge = i.Source.Bridge.Bridge
	}
	if i.Source != nil && i.Source.Network != nil {
		n.network = i.Source.Network.Network
	}
	if i.MTU != nil {
		n.mtu = i.MTU.Size
	}
	n.filter = filterIn(i.FilterRef)
	return n
}

// filterIn is what filterRef was made from. libvirt gives the addresses in its own order.
func filterIn(ref *libvirtxml.DomainInterfaceFilterRef) string {
	if ref == nil {
		return ""
	}
	words := []string{ref.Filter}
	for _, name := range []string{varIP, varIPv6} {
		for _, p := range ref.Parameters {
			if p.Name == name {
				words = append(words, p.Value)
			}
		}
	}
	return strings.Join(words, " ")
}

func pathOf(s *libvirtxml.DomainDiskSource) string {
	if s == nil || s.File == nil {
		return ""
	}
	return s.File.File
}
