package libvirt

import (
	"encoding/xml"
	"errors"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// orchd's element in a domain's metadata.
const (
	namespace   = "https://github.com/orchd/orchd/domain/1"
	markElement = "vm"
)

// markXML is a vmm.Mark inside a domain.
type markXML struct {
	XMLName xml.Name // in our namespace when written; libvirt gives it back without
	Cluster string   `xml:"cluster,attr"`
	VM      string   `xml:"id,attr"`
	Epoch   uint64   `xml:"epoch,attr"`
	Spec    string   `xml:"spec,attr"`
}

// parseMark reads the element that libvirt gives for our namespace.
func parseMark(element string) (vmm.Mark, error) {
	var m markXML
	if err := xml.Unmarshal([]byte(element), &m); err != nil {
		return vmm.Mark{}, err
	}
	if m.XMLName.Local != markElement || m.VM == "" {
		return vmm.Mark{}, errors.New("libvirt: the metadata is no mark of orchd's")
	}
	return vmm.Mark{Cluster: m.Cluster, VM: m.VM, Epoch: m.Epoch, Spec: m.Spec}, nil
}

// facts is all of a domain that depends on what is asked for; the rest is the
// same in every domain. It is what goes into the XML, and what must come out of it.
type facts struct {
	mark                    vmm.Mark
	kind, name, uuid        string
	memoryMiB, vcpus        uint
	kernel, initrd, cmdline string
	disk, console           string
	backing, backingFormat  string
}

// factsOf are the facts of a domain with its files in the folder dir.
func factsOf(b vmm.Build, kind, dir string) facts {
	f := facts{
		mark:      b.Mark,
		kind:      kind,
		name:      b.Name,
		uuid:      b.Mark.VM,
		memoryMiB: uint(b.Spec.MemoryMiB),
		vcpus:     uint(b.Spec.VCPUs),
		console:   filepath.Join(dir, vmm.ConsoleName(b.Mark.VM)),
	}
	if vmm.NeedsDisk(b) {
		f.disk = filepath.Join(dir, vmm.DiskName(b.Mark))
	}
	switch {
	case b.Image == nil:
	case b.Image.Kind == api.ImageKernel:
		f.kernel, f.initrd, f.cmdline = b.Image.Kernel, b.Image.Initrd, b.Image.Cmdline
	default:
		f.backing, f.backingFormat = b.Image.Path, b.Image.Format
	}
	return f
}

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

// check refuses what XML cannot hold, and what no name, path or command line needs.
func (f facts) check() error {
	for _, s := range []string{f.mark.Cluster, f.mark.VM, f.mark.Spec, f.kind, f.name, f.uuid,
		f.kernel, f.initrd, f.cmdline, f.disk, f.console, f.backing, f.backingFormat} {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
			return api.Errorf(api.Invalid, "libvirt.xml", "%q has characters that no domain may have", s)
		}
	}
	for _, path := range []string{f.kernel, f.initrd, f.disk, f.console, f.backing} {
		if path != "" && (!filepath.IsAbs(path) || filepath.Clean(path) != path) {
			return api.Errorf(api.Invalid, "libvirt.xml", "%q is no absolute, plain path", path)
		}
	}
	if f.backing != "" && f.backingFormat != "qcow2" && f.backingFormat != "raw" {
		return api.Errorf(api.Invalid, "libvirt.xml", "the image has no format: it is never guessed")
	}
	if !api.IsUUID(f.uuid) || f.name == "" || f.vcpus == 0 || f.memoryMiB == 0 {
		return api.Errorf(api.Invalid, "libvirt.xml", "a domain has a UUID, a name, processors and memory")
	}
	return nil
}

func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == '\uFFFE' || r == '\uFFFF'
}

// domain is the one shape that every domain has.
func (f facts) domain() (*libvirtxml.Domain, error) {
	mark, err := xml.Marshal(markXML{xml.Name{Space: namespace, Local: markElement}, f.mark.Cluster, f.mark.VM, f.mark.Epoch, f.mark.Spec})
	if err != nil {
		return nil, err
	}
	return &libvirtxml.Domain{
		Type:       f.kind,
		Name:       f.name,
		UUID:       f.uuid,
		Metadata:   &libvirtxml.DomainMetadata{XML: string(mark)},
		Memory:     &libvirtxml.DomainMemory{Value: f.memoryMiB, Unit: "MiB"},
		VCPU:       &libvirtxml.DomainVCPU{Value: f.vcpus},
		OS:         &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Type: "hvm"}, Kernel: f.kernel, Initrd: f.initrd, Cmdline: f.cmdline},
		Features:   &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}},
		Clock:      &libvirtxml.DomainClock{Offset: "utc"},
		OnPoweroff: "destroy",
		OnReboot:   "restart",
		OnCrash:    "destroy",
		Devices: &libvirtxml.DomainDeviceList{
			Disks: f.disks(),
			// virtlogd writes the log, turns it over at 2 MiB and keeps three older parts.
			Serials: []libvirtxml.DomainSerial{{
				Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
				Log:    &libvirtxml.DomainChardevLog{File: f.console, Append: "on"},
			}},
			Videos:     []libvirtxml.DomainVideo{{Model: libvirtxml.DomainVideoModel{Type: "none"}}},
			MemBalloon: &libvirtxml.DomainMemBalloon{Model: "none"},
		},
	}, nil
}

// disks is the VM's disk with the whole chain below it spelt out, so that
// neither libvirt nor QEMU ever looks into a file to guess what it is.
func (f facts) disks() []libvirtxml.DomainDisk {
	if f.disk == "" {
		return nil
	}
	d := libvirtxml.DomainDisk{
		Device:       "disk",
		Driver:       &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "qcow2"},
		Source:       fileSource(f.disk),
		BackingStore: &libvirtxml.DomainDiskBackingStore{},
		Target:       &libvirtxml.DomainDiskTarget{Dev: "vda", Bus: "virtio"},
	}
	if f.backing != "" {
		d.BackingStore = &libvirtxml.DomainDiskBackingStore{
			Format:       &libvirtxml.DomainDiskFormat{Type: f.backingFormat},
			Source:       fileSource(f.backing),
			BackingStore: &libvirtxml.DomainDiskBackingStore{},
		}
	}
	return []libvirtxml.DomainDisk{d}
}

func fileSource(path string) *libvirtxml.DomainDiskSource {
	return &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}}
}

// readXML finds the facts in the text of a domain.
func readXML(text string) (facts, error) {
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		return facts{}, err
	}
	f := facts{kind: d.Type, name: d.Name, uuid: d.UUID}
	if d.Metadata != nil {
		mark, err := parseMark(d.Metadata.XML)
		if err != nil {
			return facts{}, err
		}
		f.mark = mark
	}
	if d.Memory != nil && d.Memory.Unit == "MiB" {
		f.memoryMiB = d.Memory.Value
	}
	if d.VCPU != nil {
		f.vcpus = d.VCPU.Value
	}
	if d.OS != nil {
		f.kernel, f.initrd, f.cmdline = d.OS.Kernel, d.OS.Initrd, d.OS.Cmdline
	}
	readDevices(d.Devices, &f)
	return f, nil
}

func readDevices(d *libvirtxml.DomainDeviceList, f *facts) {
	if d == nil {
		return
	}
	for _, disk := range d.Disks {
		f.disk = pathOf(disk.Source)
		if below := disk.BackingStore; below != nil && below.Format != nil {
			f.backing, f.backingFormat = pathOf(below.Source), below.Format.Type
		}
	}
	for _, serial := range d.Serials {
		if serial.Log != nil {
			f.console = serial.Log.File
		}
	}
}

func pathOf(s *libvirtxml.DomainDiskSource) string {
	if s == nil || s.File == nil {
		return ""
	}
	return s.File.File
}
