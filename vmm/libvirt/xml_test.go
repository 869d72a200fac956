package libvirt

import (
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

const someVM = "11111111-2222-4333-8444-555555555555"

// FuzzBuild: what is read from the XML has exactly the fields of what was asked,
// or nothing is built.
func FuzzBuild(f *testing.F) {
	f.Add("web", "/boot/vmlinuz", "console=ttyS0", "/images/debian.qcow2", "hash", int64(1), int64(64), uint64(1))
	for _, hostile := range []string{
		`"/><qemu:commandline/>`, "]]>", "&lt;", "&#0;", "<!--", "\x00", "a\nb", "\xff\xfe", "\u202e", "\ufffe", "\ufffd", "' onload='",
		"</metadata><devices/>", "<![CDATA[x]]>", "../../etc/passwd", "/a/../b", strings.Repeat("x", 5000),
	} {
		f.Add(hostile, hostile, hostile, hostile, hostile, int64(2), int64(128), uint64(3))
		f.Add("web", "/"+hostile, hostile, "/"+hostile, hostile, int64(2), int64(128), uint64(3))
	}
	f.Fuzz(func(t *testing.T, name, path, cmdline, disk, hash string, vcpus, memory int64, epoch uint64) {
		for _, image := range []*api.Image{
			nil,
			{Kind: api.ImageKernel, Kernel: path, Initrd: disk, Cmdline: cmdline},
			{Kind: api.ImageDisk, Path: disk, Format: "raw"},
		} {
			b := vmm.Build{Mark: vmm.Mark{Cluster: cluster, VM: someVM, Epoch: epoch, Spec: hash}, Name: name,
				Spec: api.VMSpec{VCPUs: vcpus, MemoryMiB: memory, DiskGiB: 1}, Image: image}
			want, err := factsOf(b, "qemu", "/var/lib/orchd/disks", true)
			if err != nil {
				continue
			}
			text, err := buildXML(want)
			if err != nil {
				continue
			}
			if got, err := readXML(text); err != nil || got != want {
				t.Fatalf("read back: %v\n got %+v\nwant %+v\n%s", err, got, want, text)
			}
			wantShape(t, text, image)
		}
	})
}

// wantShape: a domain has one disk, one console, and nothing that QEMU is told past libvirt.
func wantShape(t *testing.T, text string, image *api.Image) {
	t.Helper()
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		t.Fatal(err)
	}
	if d.QEMUCommandline != nil || d.QEMUOverride != nil || len(d.Devices.Interfaces)+len(d.Devices.Graphics)+len(d.Devices.Hostdevs) > 0 {
		t.Errorf("the domain has parts that no domain has:\n%s", text)
	}
	if len(d.Devices.Disks) != 1 || len(d.Devices.Serials) != 1 {
		t.Errorf("disks and consoles: got %d and %d, want one each", len(d.Devices.Disks), len(d.Devices.Serials))
	}
	below := d.Devices.Disks[0].BackingStore
	if wantImage := image != nil && image.Kind == api.ImageDisk; below == nil || (below.Format != nil) != wantImage {
		t.Errorf("backing store: got %+v, want the chain spelt out to its end", below)
	}
}

func TestHostileBuildsAreRefused(t *testing.T) {
	good := vmm.Build{Mark: vmm.Mark{Cluster: cluster, VM: someVM, Epoch: 1}, Name: "web", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64}}
	for name, spoil := range map[string]func(*vmm.Build){
		"no name":           func(b *vmm.Build) { b.Name = "" },
		"control character": func(b *vmm.Build) { b.Name = "a\x01" },
		"invalid UTF-8":     func(b *vmm.Build) { b.Name = "\xff" },
		"no UUID":           func(b *vmm.Build) { b.Mark.VM = "../../etc" },
		"no memory":         func(b *vmm.Build) { b.Spec.MemoryMiB = 0 },
		"no processors":     func(b *vmm.Build) { b.Spec.VCPUs = 0 },
		"relative kernel":   func(b *vmm.Build) { b.Image = &api.Image{Kind: api.ImageKernel, Kernel: "vmlinuz"} },
		"crooked path":      func(b *vmm.Build) { b.Image = &api.Image{Kind: api.ImageDisk, Path: "/a/../b", Format: "raw"} },
		"guessed format":    func(b *vmm.Build) { b.Image = &api.Image{Kind: api.ImageDisk, Path: "/a"} },
		"newline":           func(b *vmm.Build) { b.Image = &api.Image{Kind: api.ImageKernel, Kernel: "/k", Cmdline: "a\nb"} },
	} {
		b := good
		spoil(&b)
		if err := refused(b); !api.IsKind(err, api.Invalid) {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
	if err := refused(good); err != nil {
		t.Errorf("the same unspoilt: %v", err)
	}
}

func TestMarksOfOthersAreNoMarks(t *testing.T) {
	for _, element := range []string{"", "<vm/>", "<other id='x'/>", "<vm id='x' epoch='-1'/>", "<vm id='x' epoch='1'", "text"} {
		if m, err := parseMark(element); err == nil {
			t.Errorf("parse %q: got %+v, want an error", element, m)
		}
	}
}

// refused is why nothing is built from b.
func refused(b vmm.Build) error {
	f, err := factsOf(b, "qemu", "/disks", true)
	if err == nil {
		_, err = buildXML(f)
	}
	return err
}
