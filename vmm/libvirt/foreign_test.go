package libvirt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
	"github.com/orchd/orchd/vmm/vmmtest"
)

const otherCluster = "55555555-5555-4555-8555-555555555555"

// TestHost is about what a host has beside the life of a guest, on one libvirtd.
func TestHost(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	driver := d.driver(t, string(golibvirt.QEMUSystem))
	t.Run("copy", func(t *testing.T) { copyBootsAlone(t, d, driver) })
	t.Run("adopt", func(t *testing.T) { adoptsWhatRuns(t, d, driver) })
	t.Run("recover", func(t *testing.T) { recoversARecord(t, d, driver) })
	t.Run("filters", func(t *testing.T) { filtersOrSaysSo(t, d) })
	t.Run("long path", func(t *testing.T) { longPath(t, d) })
	t.Run("networks", func(t *testing.T) { reservesOnce(t, d, driver) })
}

// copyBootsAlone: a copied disk has all that it was over, and nothing below it.
func copyBootsAlone(t *testing.T, d *daemon, driver *Driver) {
	h := d.host(t, string(golibvirt.QEMUSystem))
	image := &api.Image{Name: "tiny", Kind: api.ImageDisk, Path: filepath.Join(d.dir, "below.raw"), Format: "raw"}
	check(t, os.WriteFile(image.Path, append(bootSector(), make([]byte, 1<<20)...), 0o644))
	b := h.NewBuild()
	b.Spec.Image, b.Image = image.Name, image
	t.Cleanup(func() { vmmtest.Remove(t, h, b) })
	_, err := driver.MakeDisk(t.Context(), b)
	check(t, err)
	check(t, driver.Define(t.Context(), b))
	check(t, driver.Start(t.Context(), b.Mark.VM))
	copied := filepath.Join(d.dir, "copied.qcow2")
	if err := driver.CopyDisk(t.Context(), b, copied); !api.IsKind(err, api.Conflict) {
		t.Errorf("copy the disk of a domain that is on: got %v, want conflict", err)
	}
	while := uuid.NewString()
	check(t, driver.SnapshotDisk(t.Context(), b, while))
	check(t, driver.Destroy(t.Context(), b.Mark.VM))
	check(t, driver.SnapshotDisk(t.Context(), b, uuid.NewString()))
	check(t, driver.RevertDisk(t.Context(), b, while))
	ended, end := context.WithCancel(t.Context())
	end()
	if err := driver.CopyDisk(ended, b, copied); !api.IsKind(err, api.Unavailable) {
		t.Errorf("copy without time: got %v, want unavailable", err)
	}
	check(t, driver.CopyDisk(t.Context(), b, copied))
	if err := driver.CopyDisk(t.Context(), b, copied); !api.IsKind(err, api.Conflict) {
		t.Errorf("copy over a file: got %v, want conflict", err)
	}
	check(t, os.Remove(image.Path))
	check(t, os.Chmod(copied, 0o644))
	if names, err := keptIn(t.Context(), copied); err != nil || len(names) > 0 {
		t.Errorf("snapshots in the copy: got %v, %v; want none", names, err)
	}

	next := h.NewBuild()
	next.Image = &api.Image{Name: "copied", Kind: api.ImageDisk, Path: copied, Format: "qcow2"}
	next.Spec.Image = next.Image.Name
	t.Cleanup(func() { vmmtest.Remove(t, h, next) })
	_, err = driver.MakeDisk(t.Context(), next) // refuses an image that has anything below it
	check(t, err)
	check(t, driver.Define(t.Context(), next))
	check(t, driver.Start(t.Context(), next.Mark.VM))
	d.awaitConsole(t, next, "orchd disk up")
}

// plant makes a domain that orchd has no hand in: without a definition if it is transient.
func plant(t *testing.T, driver *Driver, name string, transient bool) (id string) {
	t.Helper()
	id = uuid.NewString()
	x := libvirtxml.Domain{
		Type: VirtQEMU, Name: name, UUID: id,
		Memory:  &libvirtxml.DomainMemory{Value: 64, Unit: "MiB"},
		VCPU:    &libvirtxml.DomainVCPU{Value: 1},
		OS:      &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Type: "hvm"}},
		Devices: &libvirtxml.DomainDeviceList{Inputs: []libvirtxml.DomainInput{{Type: "tablet", Bus: "usb"}}},
	}
	text, err := x.Marshal()
	check(t, err)
	check(t, driver.jobs.call(t.Context(), "plant", startLimit, func(rpc *golibvirt.Libvirt) error {
		if transient {
			_, err := rpc.DomainCreateXML(text, 0)
			return err
		}
		dom, err := rpc.DomainDefineXML(text)
		if err != nil {
			return err
		}
		return errors.Join(rpc.DomainSetAutostart(dom, 1), rpc.DomainCreate(dom))
	}))
	t.Cleanup(func() {
		b := vmm.Build{Name: name, Mark: vmm.Mark{VM: id}}
		vmmtest.Remove(t, vmmtest.Host{Driver: driver}, b)
	})
	return id
}

// adoptsWhatRuns: the guest of an adopted domain notices nothing, and orchd has it from then on.
func adoptsWhatRuns(t *testing.T, d *daemon, driver *Driver) {
	for name, transient := range map[string]bool{"kept": false, "passing": true} {
		id := plant(t, driver, name, transient)
		found := strangerOf(t, driver, id)
		if found.Name != name || found.State != api.VMRunning || found.VCPUs != 1 || found.MemoryMiB != 64 || !slices.Equal(found.Flags, []string{flagNoSeed}) {
			t.Errorf("stranger: got %+v, want it as it was planted", found)
		}
		before := d.pid(t, name)
		mark := vmm.Mark{Cluster: cluster, VM: id, Epoch: 3, Spec: "x"}
		record := api.VM{ID: id, Name: "ours", Labels: map[string]string{"of": "Jürgen 😀 \u2028\"<>&'"}, Spec: api.VMSpec{VCPUs: 1, UserData: "secret"}}
		for range 2 {
			check(t, driver.Adopt(t.Context(), id, mark, record))
		}
		if after := d.pid(t, name); after != before {
			t.Errorf("%s: QEMU was %s and is %s", name, before, after)
		}
		b := vmm.Build{Name: name, Mark: mark}
		if got := powerNow(t, driver, b); got.Power != vmm.Running || got.Mark != mark {
			t.Errorf("adopted: got %+v, want it running with mark %+v", got, mark)
		}
		if got := kept(t, driver, id); got.autostart || !got.persistent || strings.Contains(got.record, "secret") {
			t.Errorf("adopted: got %+v, want it kept, not started by libvirt, and no secret in it", got)
		}
		if back := recordOf(kept(t, driver, id).record); back == nil || back.Labels["of"] != record.Labels["of"] {
			t.Errorf("record: got %+v, want %+v", back, record)
		}

		b.Spec = api.VMSpec{VCPUs: 2, MemoryMiB: 128}
		if err := driver.Reshape(t.Context(), b); !api.IsKind(err, api.Conflict) {
			t.Errorf("reshape what is on: got %v, want conflict", err)
		}
		check(t, driver.Destroy(t.Context(), id))
		b.Name, b.Mark.Spec = name+"-ours", "y"
		check(t, driver.Reshape(t.Context(), b))
		x := definitionOf(t, driver, id)
		tablets := slices.ContainsFunc(x.Devices.Inputs, func(i libvirtxml.DomainInput) bool { return i.Type == "tablet" })
		if vcpus, _ := processors(x.VCPU); x.Name != b.Name || vcpus != 2 || x.Memory.Value != 128<<10 || !tablets {
			t.Errorf("reshaped: got %s with %+v, %+v, tablet %v; want it larger, and else as it was", x.Name, x.VCPU, x.Memory, tablets)
		}
		if got := powerNow(t, driver, b); got.Mark != b.Mark {
			t.Errorf("mark: got %+v, want %+v", got.Mark, b.Mark)
		}
		if err := driver.CopyDisk(t.Context(), b, filepath.Join(d.dir, "none")); !api.IsKind(err, api.Conflict) {
			t.Errorf("copy a disk that is not there: got %v, want conflict", err)
		}
	}
}

func strangerOf(t *testing.T, driver *Driver, id string) api.ForeignDomain {
	t.Helper()
	all, err := driver.Strangers(t.Context())
	check(t, err)
	l, err := driver.List(t.Context())
	check(t, err)
	if len(all) != l.Strangers || len(all) != len(l.StrangerMarks) {
		t.Errorf("strangers: got %d described, %d counted, %d marks", len(all), l.Strangers, len(l.StrangerMarks))
	}
	for _, one := range all {
		if one.UUID == id {
			if l.StrangerMarks[id] != one.Cluster {
				t.Errorf("mark of a stranger: got %q, want %q", l.StrangerMarks[id], one.Cluster)
			}
			return one
		}
	}
	t.Fatalf("strangers: got %+v, want %s among them", all, id)
	return api.ForeignDomain{}
}

// pid is the number of a domain's QEMU in its own namespace.
func (d *daemon) pid(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "run", "qemu", name+".pid"))
	check(t, err)
	return string(text)
}

type keptDomain struct {
	autostart, persistent bool
	record                string
}

// kept is what libvirt keeps of a domain.
func kept(t *testing.T, driver *Driver, id string) (k keptDomain) {
	t.Helper()
	check(t, driver.change(t.Context(), "kept", id, askLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		auto, err := rpc.DomainGetAutostart(dom)
		persistent, err2 := rpc.DomainIsPersistent(dom)
		m, err3 := markedIn(rpc, dom)
		k = keptDomain{auto == 1, persistent == 1, m.record}
		return errors.Join(err, err2, err3)
	}))
	return k
}

func definitionOf(t *testing.T, driver *Driver, id string) (x *libvirtxml.Domain) {
	t.Helper()
	check(t, driver.change(t.Context(), "definition", id, askLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) (err error) {
		x, err = definition(rpc, dom)
		return err
	}))
	return x
}

// recoversARecord: a domain that another cluster has made says what VM it was,
// and goes on under this cluster's mark as if it had been ours.
func recoversARecord(t *testing.T, d *daemon, driver *Driver) {
	lost := d.driver(t, string(golibvirt.QEMUSystem))
	lost.cfg.Cluster = otherCluster
	b := vmmtest.Host{Cluster: otherCluster}.NewBuild()
	b.Spec.DiskGiB = 1
	b.Record.Account, b.Record.Spec = "blue", b.Spec
	t.Cleanup(func() { vmmtest.Remove(t, vmmtest.Host{Driver: driver}, b) })
	_, err := lost.MakeDisk(t.Context(), b)
	check(t, err)
	check(t, lost.Define(t.Context(), b))

	found := strangerOf(t, driver, b.Mark.VM)
	if found.Cluster != otherCluster || found.Record == nil || found.Record.Account != "blue" || found.Record.Spec.DiskGiB != 1 {
		t.Errorf("stranger of a lost cluster: got %+v with record %+v, want it to say what it was", found, found.Record)
	}
	if found.DiskGiB != 1 || len(found.Disks) != 1 || slices.Contains(found.Flags, flagDiskElsewhere) {
		t.Errorf("its disk: got %d GiB in %v, flags %v; want 1 GiB in the folder of disks", found.DiskGiB, found.Disks, found.Flags)
	}
	b.Mark.Cluster = cluster
	check(t, driver.Adopt(t.Context(), b.Mark.VM, b.Mark, *found.Record))
	b.Spec.VCPUs = 2
	b.Mark.Spec = vmm.Shape(b)
	check(t, driver.Reshape(t.Context(), b))
	if f := definedFacts(t, driver, b); f.vcpus != 2 || f.adopted || f.mark != b.Mark || f.console == "" {
		t.Errorf("recovered and reshaped: got %+v, want it made anew with 2 processors", f)
	}
	if err := driver.Adopt(t.Context(), b.Mark.VM, vmm.Mark{Cluster: cluster, VM: uuid.NewString()}, api.VM{}); !api.IsKind(err, api.Conflict) {
		t.Errorf("adopt one of ours as another VM: got %v, want conflict", err)
	}
}

// filtersOrSaysSo: a host that cannot filter makes no domain, or warns once.
func filtersOrSaysSo(t *testing.T, d *daemon) {
	d.tell(t, "bridge br7")
	d.tell(t, "hide ebtables")
	hidden := true
	show := func() {
		if hidden {
			d.tell(t, "show ebtables")
		}
		hidden = false
	}
	t.Cleanup(show)
	var last vmm.Build
	for _, c := range []struct {
		filter  string
		refused bool
		says    int // warnings
	}{{FilterAuto, false, 1}, {FilterOn, true, 1}, {FilterOff, false, 0}} {
		driver := d.driver(t, string(golibvirt.QEMUSystem))
		driver.cfg.Filter = c.filter
		h := vmmtest.Host{Driver: driver, Cluster: cluster}
		b := h.NewBuild()
		b.NIC = &vmm.NIC{MAC: "52:54:00:00:00:07", Bridge: "br7", IPs: []string{"10.9.0.7", "fd00:9::7"}, Filter: true}
		err := driver.Define(t.Context(), b)
		if api.IsKind(err, api.Invalid) != c.refused || err != nil && !c.refused {
			t.Errorf("filter %s: got %v, want refused %v", c.filter, err, c.refused)
		}
		if got := driver.Warnings(); len(got) != c.says {
			t.Errorf("filter %s: got warnings %q, want %d", c.filter, got, c.says)
		}
		if c.refused {
			if l, err := driver.List(t.Context()); err != nil || slices.ContainsFunc(l.Domains, func(x vmm.Domain) bool { return x.UUID == b.Mark.VM }) {
				t.Errorf("a domain that was refused is there (%v)", err)
			}
			continue
		}
		if f := definedFacts(t, driver, b); f.nic.filter != "" || f.nic.bridge != "br7" || f.nic.mac != b.NIC.MAC {
			t.Errorf("filter %s: got interface %+v, want it on its bridge, without a filter", c.filter, f.nic)
		}
		t.Cleanup(func() { vmmtest.Remove(t, h, b) })
		last = b
	}

	driver := d.driver(t, string(golibvirt.QEMUSystem))
	driver.cfg.Filter = FilterOn
	if err := driver.Start(t.Context(), last.Mark.VM); !api.IsKind(err, api.Invalid) {
		t.Errorf("start unfiltered where all is to be filtered: got %v, want invalid", err)
	}
	show()
	check(t, driver.Start(t.Context(), last.Mark.VM))
	if f := definedFacts(t, driver, last); f.nic.filter != "orchd-ipv4-ipv6 10.9.0.7 fd00:9::7" || len(driver.Warnings()) > 0 {
		t.Errorf("started on a host that was mended: got interface %+v, warnings %q; want it filtered", f.nic, driver.Warnings())
	}
	check(t, driver.Destroy(t.Context(), last.Mark.VM))
	driver.cfg.Filter = FilterOff
	check(t, driver.Start(t.Context(), last.Mark.VM))
	if f := definedFacts(t, driver, last); f.nic.filter != "" {
		t.Errorf("started on a host that is not to filter: got interface %+v", f.nic)
	}
}

// longPath: a console is reached where the path of its folder is too long for a socket.
func longPath(t *testing.T, d *daemon) {
	dir := filepath.Join(d.dir, strings.Repeat("long", 20))
	t.Cleanup(func() { check(t, os.Remove(linkTo(dir))) })
	driver, err := New(Config{URI: d.uri(string(golibvirt.QEMUSystem)), Cluster: cluster, Disks: dir, VirtType: VirtQEMU}, slog.New(slog.DiscardHandler))
	check(t, err)
	defer driver.Close()
	h := vmmtest.Host{Driver: driver, Cluster: cluster}
	b := h.NewBuild()
	defer vmmtest.Remove(t, h, b)
	check(t, driver.Define(t.Context(), b))
	if _, err := driver.Console(t.Context(), b.Mark.VM); !api.IsKind(err, api.Conflict) {
		t.Errorf("console of a domain that is off: got %v, want conflict", err)
	}
	check(t, driver.Start(t.Context(), b.Mark.VM))
	files, err := driver.DiskFiles(t.Context())
	if err != nil || !slices.Contains(files, socketName(b.Mark.VM)) {
		t.Errorf("files: got %v, %v; want the console's socket among them", files, err)
	}
	first, err := driver.Console(t.Context(), b.Mark.VM)
	check(t, err)
	second, err := driver.Console(t.Context(), b.Mark.VM)
	check(t, err)
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the first console is open beside the second")
	}
	check(t, errors.Join(first.Close(), second.Close(), second.Close()))
}

// reservesOnce: an address is reserved for one VM, and what cannot be is said.
func reservesOnce(t *testing.T, d *daemon, driver *Driver) {
	d.defineLAN(t, driver)
	h := vmmtest.Host{Driver: driver, Cluster: cluster}
	build := func(mac, ip, network string) vmm.Build {
		b := h.NewBuild()
		b.NIC = &vmm.NIC{MAC: mac, Network: network, IPs: []string{ip, "fd00:7::9"}}
		t.Cleanup(func() { vmmtest.Remove(t, h, b) })
		return b
	}
	b := build("52:54:00:00:00:09", "10.7.0.9", lan)
	check(t, driver.Define(t.Context(), b))
	wantReserved(t, driver, b)
	if err := driver.Define(t.Context(), build("52:54:00:00:00:0a", "10.7.0.9", lan)); !api.IsKind(err, api.Conflict) {
		t.Errorf("an address that is another's: got %v, want conflict", err)
	}
	if err := driver.Define(t.Context(), build("52:54:00:00:00:0b", "10.7.0.11", "nowhere")); !api.IsKind(err, api.Invalid) {
		t.Errorf("a network that is not there: got %v, want invalid", err)
	}
	b.NIC = &vmm.NIC{MAC: b.NIC.MAC, Network: lan, IPs: []string{"10.7.0.10"}}
	check(t, driver.Reshape(t.Context(), b))
	wantReserved(t, driver, b)
	// Somebody has removed the domain by hand: what it left goes with the VM's files.
	check(t, driver.change(t.Context(), "undefine", b.Mark.VM, askLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		return rpc.DomainUndefine(dom)
	}))
	check(t, driver.Clean(t.Context(), b.Mark.VM))
	if got := reservations(t, driver, b); len(got) > 0 {
		t.Errorf("reservations after clean: got %+v, want none", got)
	}
}

// The log of a console is read over its parts, from the oldest on.
func TestConsoleLog(t *testing.T) {
	dir := t.TempDir()
	d := &Driver{cfg: Config{Disks: dir}}
	if _, err := d.ConsoleLog(t.Context(), someVM, 10); !api.IsKind(err, api.NotFound) {
		t.Errorf("log of a VM that has said nothing: got %v, want not found", err)
	}
	for name, text := range map[string]string{"": "gh", ".0": "def", ".1": "c", ".2": "ab"} {
		check(t, os.WriteFile(filepath.Join(dir, vmm.ConsoleName(someVM)+name), []byte(text), 0o600))
	}
	for max, want := range map[int64]string{0: "", 1: "h", 2: "gh", 4: "efgh", 6: "cdefgh", 100: "abcdefgh"} {
		log, err := d.ConsoleLog(t.Context(), someVM, max)
		check(t, err)
		got, err := io.ReadAll(log)
		check(t, errors.Join(err, log.Close()))
		if string(got) != want {
			t.Errorf("last %d bytes: got %q, want %q", max, got, want)
		}
	}
	if _, err := d.ConsoleLog(t.Context(), "../../etc/passwd", 10); !api.IsKind(err, api.Invalid) {
		t.Errorf("log of no VM: got %v, want invalid", err)
	}
}

// An old QEMU draws PPM.
func TestScreenFromPPM(t *testing.T) {
	shown, err := asPNG([]byte("P6\n2 1\n255\n\xff\x00\x00\x00\x00\xff"))
	check(t, err)
	img, err := readPPM(bytes.NewReader([]byte("P6\n2 1\n255\n\xff\x00\x00\x00\x00\xff")))
	check(t, err)
	if r, _, _, _ := img.At(0, 0).RGBA(); r != 0xffff || img.Bounds().Dx() != 2 || !bytes.HasPrefix(shown, []byte("\x89PNG")) {
		t.Errorf("picture: got %v with red %x, want a PNG of 2 points, the first of them red", img.Bounds(), r)
	}
	for _, broken := range []string{"", "P6\n2 1\n255\nab", "P5\n1 1\n255\na", "P6\n-1 1\n255\n", "P6\n99999999 99999999\n255\n", "\x89PNG\r\n\x1a\nxx"} {
		if _, err := asPNG([]byte(broken)); err == nil {
			t.Errorf("picture %q: got no error", broken)
		}
	}
}

// A folder with a long path has a short way to it, for sockets.
func TestSocketPathsAreShort(t *testing.T) {
	long := "/" + strings.Repeat("a", 90)
	for _, dir := range []string{"/var/lib/orchd/disks", long} {
		if got := socketPath(dir, someVM); len(got) > maxSocket || filepath.Base(got) != socketName(someVM) {
			t.Errorf("socket in %s: got %s", dir, got)
		}
	}
	if got := socketPath("/var/lib/orchd/disks", someVM); filepath.Dir(got) != "/var/lib/orchd/disks" {
		t.Errorf("socket: got %s, want it in the folder of disks", got)
	}
	if socketPath(long, someVM) == socketPath(long+"b", someVM) {
		t.Error("two folders have one way to them")
	}
}

// What libvirt says of a pause, and of why.
func TestPowerOf(t *testing.T) {
	for _, c := range []struct {
		state  golibvirt.DomainState
		reason int32
		power  vmm.Power
		paused vmm.PauseCause
	}{
		{golibvirt.DomainPaused, int32(golibvirt.DomainPausedUser), vmm.Paused, vmm.ByWord},
		{golibvirt.DomainPaused, int32(golibvirt.DomainPausedIoerror), vmm.Paused, vmm.IOError},
		{golibvirt.DomainPaused, int32(golibvirt.DomainPausedStartingUp), vmm.Running, vmm.ByWord},
		{golibvirt.DomainRunning, 0, vmm.Running, vmm.ByWord},
		{golibvirt.DomainPmsuspended, 0, vmm.Paused, vmm.ByWord},
	} {
		if power, _ := powerOf(c.state, c.reason); power != c.power || pauseOf(c.state, c.reason) != c.paused {
			t.Errorf("state %d, reason %d: got %v, %v; want %v, %v", c.state, c.reason, power, pauseOf(c.state, c.reason), c.power, c.paused)
		}
	}
}

// The tool that the tests use to look into images says what ours reads.
func TestDiskSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	check(t, exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "--", path, "3G").Run())
	out, err := exec.Command("qemu-img", "info", "--output=json", "--", path).Output()
	check(t, err)
	var info struct {
		Size uint64 `json:"virtual-size"`
	}
	check(t, json.Unmarshal(out, &info))
	if got, err := diskSize(path); err != nil || got != info.Size || got != 3<<30 {
		t.Errorf("size: got %d, %v; want %d", got, err, info.Size)
	}
	check(t, os.WriteFile(path, make([]byte, 512), 0o600))
	if _, err := diskSize(path); !api.IsKind(err, api.Conflict) {
		t.Errorf("size of what is not qcow2: got %v, want conflict", err)
	}
	if _, err := diskSize(path + "2"); !api.IsKind(err, api.NotFound) {
		t.Errorf("size of nothing: got %v, want not found", err)
	}
}
