package libvirt

import (
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

const (
	someVM  = "11111111-2222-4333-8444-555555555555"
	goodMAC = "52:54:00:12:34:56"
)

// FuzzBuild: what is read from the XML has exactly the fields of what was asked,
// or nothing is built.
func FuzzBuild(f *testing.F) {
	f.Add("web", "/boot/vmlinuz", "console=ttyS0", "/images/debian.qcow2", "hash", int64(1), int64(64), uint64(1), "52:54:00:12:34:56", "br0", "10.1.0.5", int64(1500))
	f.Add("web", "/boot/vmlinuz", "console=ttyS0", "/images/debian.qcow2", "hash", int64(2), int64(1024), uint64(1), "52:54:00:AB:CD:EF", "", "fd00:1::5", int64(0))
	f.Add("web", "/boot/vmlinuz", "console=ttyS0", "/images/debian.qcow2", "hash", int64(300), int64(1<<20), uint64(1), "52:54:00:AB:CD:EF", "lan", "::ffff:10.1.0.5", int64(-1))
	for _, hostile := range []string{
		`"/><qemu:commandline/>`, "]]>", "&lt;", "&#0;", "<!--", "\x00", "a\nb", "\xff\xfe", "\u202e", "\ufffe", "\ufffd", "' onload='",
		"</metadata><devices/>", "<![CDATA[x]]>", "../../etc/passwd", "/a/../b", strings.Repeat("x", 5000), "fe80::1%eth0", "10.1.0.5 10.1.0.6",
	} {
		f.Add(hostile, hostile, hostile, hostile, hostile, int64(2), int64(128), uint64(3), hostile, hostile, hostile, int64(1))
		f.Add("web", "/"+hostile, hostile, "/"+hostile, hostile, int64(2), int64(128), uint64(3), "52:54:00:12:34:56", hostile, "10.1.0.5", int64(9000))
		f.Add("web", "/k", "", "/d", hostile, int64(2), int64(512), uint64(3), "52:54:00:12:34:56", "br0", hostile, int64(9000))
	}
	f.Fuzz(func(t *testing.T, name, path, cmdline, disk, hash string, vcpus, memory int64, epoch uint64, mac, net, ip string, mtu int64) {
		for _, image := range []*api.Image{
			nil,
			{Kind: api.ImageKernel, Kernel: path, Initrd: disk, Cmdline: cmdline},
			{Kind: api.ImageDisk, Path: disk, Format: "raw"},
		} {
			for _, nic := range []*vmm.NIC{
				nil,
				{MAC: mac, Bridge: net, IPs: []string{"10.1.0.9", ip}, Filter: true, MTU: mtu},
				{MAC: mac, Network: net, IPs: []string{ip}, MTU: mtu},
			} {
				b := vmm.Build{Mark: vmm.Mark{Cluster: cluster, VM: someVM, Epoch: epoch, Spec: hash}, Name: name,
					Spec: api.VMSpec{VCPUs: vcpus, MemoryMiB: memory, DiskGiB: 1}, Image: image, NIC: nic, Seeded: nic != nil,
					Record: api.VM{ID: someVM, Name: name, Labels: map[string]string{cmdline: disk}, Spec: api.VMSpec{UserData: "canary"}}}
				readsBack(t, b)
			}
		}
	})
}

// readsBack: b makes a domain that says what b says, or none.
func readsBack(t *testing.T, b vmm.Build) {
	t.Helper()
	want, err := factsOf(b, "qemu", "/var/lib/orchd/disks", true)
	if err != nil {
		return
	}
	text, err := buildXML(want)
	if err != nil {
		return
	}
	if got, err := readXML(text); err != nil || got != want {
		t.Fatalf("read back: %v\n got %+v\nwant %+v\n%s", err, got, want, text)
	}
	wantParts(t, text, b)
}

// wantParts: a domain has the parts that were asked for, and nothing that QEMU is told past libvirt.
func wantParts(t *testing.T, text string, b vmm.Build) {
	t.Helper()
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		t.Fatal(err)
	}
	if d.QEMUCommandline != nil || d.QEMUOverride != nil || len(d.Devices.Graphics)+len(d.Devices.Hostdevs)+len(d.Devices.Channels) > 0 {
		t.Errorf("the domain has parts that no domain has:\n%s", text)
	}
	disks, interfaces := 1, 0
	if b.NIC != nil {
		disks, interfaces = 2, 1 // the seed
	}
	if len(d.Devices.Disks) != disks || len(d.Devices.Serials) != 1 || len(d.Devices.Interfaces) != interfaces {
		t.Errorf("disks, consoles and interfaces: got %d, %d and %d, want %d, 1 and %d",
			len(d.Devices.Disks), len(d.Devices.Serials), len(d.Devices.Interfaces), disks, interfaces)
	}
	below := d.Devices.Disks[0].BackingStore
	if wantImage := b.Image != nil && b.Image.Kind == api.ImageDisk; below == nil || (below.Format != nil) != wantImage {
		t.Errorf("backing store: got %+v, want the chain spelt out to its end", below)
	}
	if interfaces == 1 && (d.Devices.Interfaces[0].FilterRef != nil) != b.NIC.Filter {
		t.Errorf("interface: got filter %+v, want one %v", d.Devices.Interfaces[0].FilterRef, b.NIC.Filter)
	}
	if strings.Contains(text, "canary") {
		t.Errorf("the domain has the user's data in it:\n%s", text)
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
		"no MAC":            func(b *vmm.Build) { b.NIC = &vmm.NIC{Bridge: "br0"} },
		"MAC of many":       func(b *vmm.Build) { b.NIC = &vmm.NIC{MAC: "01:00:5e:00:00:01", Bridge: "br0"} },
		"nowhere":           func(b *vmm.Build) { b.NIC = &vmm.NIC{MAC: goodMAC} },
		"two places":        func(b *vmm.Build) { b.NIC = &vmm.NIC{MAC: goodMAC, Bridge: "br0", Network: "lan"} },
		"path as a bridge":  func(b *vmm.Build) { b.NIC = &vmm.NIC{MAC: goodMAC, Bridge: "../br0"} },
		"long bridge":       func(b *vmm.Build) { b.NIC = &vmm.NIC{MAC: goodMAC, Bridge: "a234567890123456"} },
		"no address":        func(b *vmm.Build) { b.NIC = &vmm.NIC{MAC: goodMAC, Bridge: "br0", IPs: []string{"ten"}, Filter: true} },
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

// Filters have the rules of the families that they are for, and end with a drop.
func TestFilters(t *testing.T) {
	for name, want := range map[string]string{
		"orchd-mac": "", "orchd-ipv4": varIP, "orchd-ipv6": varIPv6, "orchd-ipv4-ipv6": varIP + " " + varIPv6,
	} {
		f, known := guestFilters[name]
		text, err := f.Marshal()
		if err != nil || !known || !api.IsUUID(f.UUID) {
			t.Fatalf("filter %s: got %+v, %v", name, f, err)
		}
		for _, v := range []string{varIP, varIPv6} {
			if has, wants := strings.Contains(text, `"$`+v+`"`), strings.Contains(" "+want+" ", " "+v+" "); has != wants {
				t.Errorf("filter %s: variable %s %v, want %v:\n%s", name, v, has, wants, text)
			}
		}
		last := f.Entries[len(f.Entries)-1].Rule
		if !strings.Contains(text, `"$MAC"`) || last.Action != "drop" {
			t.Errorf("filter %s: want the MAC looked at and the rest dropped:\n%s", name, text)
		}
	}
}

// What goes through a domain's mark comes back, whatever it is made of.
func TestRecordsAreASCII(t *testing.T) {
	vm := api.VM{ID: someVM, Name: "web", Account: "<&>\"'", Labels: map[string]string{"\u2028 \ufffe \x7f": "Zürich 😀 \x00"}}
	text, err := recordText(vm)
	check(t, err)
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("record: got %q, want printable ASCII", text)
	}
	back := recordOf(text)
	if back == nil || back.Account != vm.Account || back.Labels["\u2028 \ufffe \x7f"] != "Zürich 😀 \x00" {
		t.Errorf("record: got %+v, want %+v", back, vm)
	}
	for _, broken := range []string{"", "{", "{}", "null", "[]"} {
		if got := recordOf(broken); got != nil {
			t.Errorf("record %q: got %+v, want none", broken, got)
		}
	}
}
