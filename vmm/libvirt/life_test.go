package libvirt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/vmm"
	"github.com/orchd/orchd/vmm/cloudinit"
	"github.com/orchd/orchd/vmm/vmmtest"
)

// The network that the guests of these tests are on.
const (
	lan        = "lan"
	lanGateway = "10.7.0.1"
	lanMTU     = 1400
)

// TestLife takes a guest with disk, seed and interface through what a user may ask of it.
func TestLife(t *testing.T) {
	t.Parallel() // a guest keeps one processor busy
	d := startDaemon(t)
	driver := d.driver(t, string(golibvirt.QEMUSystem))
	d.defineLAN(t, driver)
	h := vmmtest.Host{Driver: driver, Cluster: cluster, Image: d.kernel(), Files: d.files}

	var b, thief vmm.Build
	if !t.Run("define", func(t *testing.T) {
		b = d.networked(t, h, "10.7.0.5", "10.7.0.5", 512)
		thief = d.networked(t, h, "10.7.0.6", "10.7.0.77", 128)
		d.onSmallDisk(t, driver, thief)
		for _, b := range []vmm.Build{b, thief} {
			t.Run(b.NIC.IPs[0], func(t *testing.T) { wantReserved(t, driver, b) })
			check(t, driver.Start(t.Context(), b.Mark.VM))
		}
	}) {
		return
	}
	t.Cleanup(func() { vmmtest.Remove(t, h, b); vmmtest.Remove(t, h, thief) })

	s := talk(t, driver, b)
	t.Run("interface", func(t *testing.T) { onItsNetwork(t, d, driver, b, s) })
	thiefs := talk(t, driver, thief)
	t.Run("thief", func(t *testing.T) { stealsNoAddress(t, thiefs) })
	t.Run("full host", func(t *testing.T) { waitsForRoom(t, d, driver, thief, thiefs) })
	t.Run("screen", func(t *testing.T) { screenIsNotBlack(t, driver, b) })
	t.Run("screens at once", func(t *testing.T) { screensAtOnce(t, driver, b) })
	t.Run("pause", func(t *testing.T) { pausedStandsStill(t, driver, b, s) })
	t.Run("hotplug", func(t *testing.T) { b = growsWhileOn(t, driver, b, s) })
	kept := uuid.NewString()
	t.Run("snapshot", func(t *testing.T) {
		wantAnswer(t, s, "write f one", "")
		for range 2 {
			check(t, driver.SnapshotDisk(t.Context(), b, kept))
		}
		wantAnswer(t, s, "write f two", "")
		if err := driver.RevertDisk(t.Context(), b, kept); !api.IsKind(err, api.Conflict) {
			t.Errorf("go back while it is on: got %v, want conflict", err)
		}
		passing := uuid.NewString()
		check(t, driver.SnapshotDisk(t.Context(), b, passing))
		for range 2 {
			check(t, driver.DropSnapshot(t.Context(), b, passing))
		}
	})
	t.Run("console", func(t *testing.T) { secondTakesConsole(t, driver, b, s) })
	check(t, driver.Destroy(t.Context(), b.Mark.VM))

	t.Run("go back", func(t *testing.T) { goesBack(t, d, driver, b, kept) })
	t.Run("reshape", func(t *testing.T) { b = reshapes(t, driver, b) })
	check(t, driver.Start(t.Context(), b.Mark.VM))
	s = talk(t, driver, b)
	t.Run("after", func(t *testing.T) {
		wantAnswer(t, s, "read f", "one")
		wantAnswer(t, s, "cpus", "3")
		wantAnswer(t, s, "disk", strconv.Itoa(2<<30))
		if got := memoryOf(t, s); got < 600<<10 {
			t.Errorf("memory after a start with 768 MiB: got %d KiB", got)
		}
	})
	t.Run("panic", func(t *testing.T) { panicIsACrash(t, h, b, s) })
	t.Run("undefine", func(t *testing.T) {
		check(t, driver.Undefine(t.Context(), b.Mark.VM))
		if got := reservations(t, driver, b); len(got) > 0 {
			t.Errorf("reservations of a domain that is gone: got %+v, want none", got)
		}
		check(t, driver.Clean(t.Context(), b.Mark.VM))
		for _, name := range d.files(t) {
			if strings.HasPrefix(name, b.Mark.VM) {
				t.Errorf("after clean there is %s", name)
			}
		}
	})
}

// defineLAN makes a network of libvirt that hands out addresses.
func (d *daemon) defineLAN(t *testing.T, driver *Driver) {
	t.Helper()
	n := libvirtxml.Network{Name: lan, Bridge: &libvirtxml.NetworkBridge{Name: "lan0"}, IPs: []libvirtxml.NetworkIP{{
		Address: lanGateway, Netmask: "255.255.255.0",
		DHCP: &libvirtxml.NetworkDHCP{Ranges: []libvirtxml.NetworkDHCPRange{{Start: "10.7.0.100", End: "10.7.0.200"}}},
	}}}
	text, err := n.Marshal()
	check(t, err)
	check(t, driver.jobs.call(t.Context(), "network", startLimit, func(rpc *golibvirt.Libvirt) error {
		made, err := rpc.NetworkDefineXML(text)
		if err != nil {
			return err
		}
		return rpc.NetworkCreate(made)
	}))
}

// networked makes a VM with disk, seed and an interface that may use ip; the seed
// tells it to use takes.
func (d *daemon) networked(t *testing.T, h vmmtest.Host, ip, takes string, memory int64) vmm.Build {
	t.Helper()
	b := h.NewBuild()
	b.Spec.DiskGiB, b.Spec.MemoryMiB, b.Seeded = 1, memory, true
	last := netip.MustParseAddr(ip).As4()[3]
	b.NIC = &vmm.NIC{MAC: fmt.Sprintf("52:54:00:aa:bb:%02x", last), Network: lan, IPs: []string{ip}, Filter: true, MTU: lanMTU}
	b.Mark.Spec = vmm.Shape(b)
	docs, err := cloudinit.Documents(cloudinit.Guest{InstanceID: b.Mark.VM, Hostname: "web", MAC: b.NIC.MAC,
		Addresses: []cloudinit.Address{{IP: netip.MustParseAddr(takes), Prefix: 24}}})
	check(t, err)
	iso, err := cloudinit.ISO(docs)
	check(t, err)
	_, err = h.Driver.MakeDisk(t.Context(), b)
	check(t, err)
	for range 2 { // the second takes the place of the first
		check(t, h.Driver.PutSeed(t.Context(), b.Mark.VM, iso))
	}
	check(t, h.Driver.Define(t.Context(), b))
	return b
}

// talk takes over the console of a guest and waits until it answers.
func talk(t *testing.T, driver *Driver, b vmm.Build) *guest.Shell {
	t.Helper()
	c, err := driver.Console(t.Context(), b.Mark.VM)
	check(t, err)
	t.Cleanup(func() { c.Close() })
	s := guest.Talk(c)
	if err := s.AwaitReady(bootLimit); err != nil {
		t.Fatalf("%v; its console: %s", err, lastWords(t, driver, b))
	}
	return s
}

// lastWords is the end of what a guest has said on its console.
func lastWords(t *testing.T, driver *Driver, b vmm.Build) string {
	t.Helper()
	log, err := driver.ConsoleLog(t.Context(), b.Mark.VM, 2000)
	check(t, err)
	said, err := io.ReadAll(log)
	check(t, errors.Join(err, log.Close()))
	return string(said)
}

func wantAnswer(t *testing.T, s *guest.Shell, command, want string) {
	t.Helper()
	if got, err := s.Ask(command); err != nil || got != want {
		t.Errorf("%s: got %q, %v; want %q", command, got, err, want)
	}
}

func memoryOf(t *testing.T, s *guest.Shell) int {
	t.Helper()
	text, err := s.Ask("mem")
	check(t, err)
	kib, err := strconv.Atoi(text)
	check(t, err)
	return kib
}

// reservations are those of a VM in the network, in what runs and in what is kept.
func reservations(t *testing.T, driver *Driver, b vmm.Build) (all []libvirtxml.NetworkDHCPHost) {
	t.Helper()
	check(t, driver.questions.call(t.Context(), "network", askLimit, func(rpc *golibvirt.Libvirt) error {
		n, err := rpc.NetworkLookupByName(lan)
		if err != nil {
			return err
		}
		for _, flags := range []uint32{0, uint32(golibvirt.NetworkXMLInactive)} {
			text, err := rpc.NetworkGetXMLDesc(n, flags)
			if err != nil {
				return err
			}
			var x libvirtxml.Network
			if err := x.Unmarshal(text); err != nil {
				return err
			}
			for _, h := range x.IPs[0].DHCP.Hosts {
				if h.MAC == b.NIC.MAC {
					all = append(all, h)
				}
			}
		}
		return nil
	}))
	return all
}

func wantReserved(t *testing.T, driver *Driver, b vmm.Build) {
	t.Helper()
	got := reservations(t, driver, b)
	if len(got) != 2 || got[0].IP != b.NIC.IPs[0] || got[1].IP != b.NIC.IPs[0] {
		t.Errorf("reservations of %s: got %+v, want its address in the network that runs and in the one that is kept", b.Name, got)
	}
}

// onItsNetwork: the guest has its MAC and address, reaches its host, and is counted and seen.
func onItsNetwork(t *testing.T, d *daemon, driver *Driver, b vmm.Build, s *guest.Shell) {
	wantAnswer(t, s, "hostname", "web")
	wantAnswer(t, s, "mac", b.NIC.MAC)
	wantAnswer(t, s, "ip", b.NIC.IPs[0]+"/24")
	wantAnswer(t, s, "ping "+lanGateway, "")
	if len(driver.Warnings()) > 0 {
		t.Errorf("warnings of a host that filters: got %q, want none", driver.Warnings())
	}
	stats, err := driver.Stats(t.Context())
	check(t, err)
	i := slices.IndexFunc(stats, func(s vmm.Stats) bool { return s.UUID == b.Mark.VM })
	if i < 0 {
		t.Fatalf("stats: got %+v, want %s among them", stats, b.Mark.VM)
	}
	if got := stats[i]; got.CPUSeconds <= 0 || got.MemoryBytes < 1<<20 || got.DiskReadBytes <= 0 || got.NetReceiveBytes <= 0 || got.NetSendBytes <= 0 {
		t.Errorf("stats of a guest that has pinged its host: got %+v, want all counters above zero", got)
	}
	want := api.VMAddress{IP: b.NIC.IPs[0], MAC: b.NIC.MAC}
	seen := d.seenInside(t, b)
	for i := range seen {
		if seen[i].SeenAt.IsZero() {
			t.Errorf("seen: %+v has no time", seen[i])
		}
		seen[i].SeenAt = time.Time{}
	}
	if !slices.Contains(seen, want) {
		t.Errorf("seen: got %+v, want %+v", seen, want)
	}
}

// seenInside asks the driver in the network of its libvirtd, where orchd always is.
func (d *daemon) seenInside(t *testing.T, b vmm.Build) (seen []api.VMAddress) {
	t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", d.process.Pid))
	check(t, err)
	c := exec.Command("nsenter", "--net", "--target", strings.TrimSpace(string(children)), os.Args[0], "-test.run=^TestSeenInside$", "-test.v")
	c.Env = append(os.Environ(), seenURI+"="+d.uri(string(golibvirt.QEMUSystem)), seenDisks+"="+d.disks(), seenVM+"="+b.Mark.VM)
	out, err := c.CombinedOutput()
	check(t, err)
	_, answer, found := strings.Cut(string(out), seenMark)
	answer, _, ended := strings.Cut(answer, "\n")
	if !found || !ended {
		t.Fatalf("seen inside: got %s", out)
	}
	check(t, json.Unmarshal([]byte(answer), &seen))
	return seen
}

// How seenInside and TestSeenInside understand each other.
const (
	seenURI   = "ORCHD_TEST_SEEN_URI"
	seenDisks = "ORCHD_TEST_SEEN_DISKS"
	seenVM    = "ORCHD_TEST_SEEN_VM"
	seenMark  = "seen: "
)

// TestSeenInside is a part of TestLife, which runs it in another network.
func TestSeenInside(t *testing.T) {
	if os.Getenv(seenURI) == "" {
		return
	}
	driver, err := New(Config{URI: os.Getenv(seenURI), Cluster: cluster, Disks: os.Getenv(seenDisks), VirtType: VirtQEMU}, nil)
	check(t, err)
	defer driver.Close()
	seen, err := driver.Seen(t.Context(), os.Getenv(seenVM))
	check(t, err)
	text, err := json.Marshal(seen)
	check(t, err)
	fmt.Printf("%s%s\n", seenMark, text)
}

// stealsNoAddress: a guest that uses another address than its own reaches nobody.
func stealsNoAddress(t *testing.T, s *guest.Shell) {
	wantAnswer(t, s, "ip", "10.7.0.77/24")
	if got, err := s.Ask("ping " + lanGateway); err == nil {
		t.Errorf("ping from an address that is another's: got %q, want no answer", got)
	}
}

// onSmallDisk gives a domain a disk for which its host has no room.
func (d *daemon) onSmallDisk(t *testing.T, driver *Driver, b vmm.Build) {
	t.Helper()
	d.tell(t, "small "+d.small())
	check(t, driver.change(t.Context(), "move", b.Mark.VM, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		x, err := definition(rpc, dom)
		if err != nil {
			return err
		}
		x.Devices.Disks[0].Source = fileSource(filepath.Join(d.small(), "disk"))
		return redefine(rpc, x)
	}))
}

func (d *daemon) small() string { return filepath.Join(d.dir, "small") }

// waitsForRoom: a guest whose disk cannot be written is paused, says why, and goes
// on where it was when it is resumed.
func waitsForRoom(t *testing.T, d *daemon, driver *Driver, b vmm.Build, s *guest.Shell) {
	woken := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go driver.Watch(ctx, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	<-woken
	_, _ = s.AskWithin(time.Second, "write f one") // makes a file system first
	vmmtest.Eventually(t, func() error {
		if got := powerNow(t, driver, b); got.Power != vmm.Paused || got.Paused != vmm.IOError {
			return fmt.Errorf("a guest on a full host: got %+v, want it paused by an I/O error", got)
		}
		return nil
	})
	<-woken
	d.tell(t, "enlarge "+d.small())
	check(t, driver.Resume(t.Context(), b.Mark.VM))
	check(t, s.AwaitReady(bootLimit))
	wantAnswer(t, s, "read f", "one")
	if got := powerNow(t, driver, b); got.Power != vmm.Running {
		t.Errorf("resumed: got %+v, want it running", got)
	}
	check(t, driver.Destroy(t.Context(), b.Mark.VM))
}

func screenIsNotBlack(t *testing.T, driver *Driver, b vmm.Build) {
	picture, err := driver.Screenshot(t.Context(), b.Mark.VM)
	check(t, err)
	img, err := png.Decode(bytes.NewReader(picture))
	check(t, err)
	colours := map[[3]uint32]bool{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r, g, b}] = true
		}
	}
	if len(colours) < 2 {
		t.Errorf("screen of %v: got %d colours, want a text on it", img.Bounds(), len(colours))
	}
}

// screensAtOnce: many want to see the screen, and most of them leave before they do; libvirtd
// lives on.
func screensAtOnce(t *testing.T, driver *Driver, b vmm.Build) {
	var all errgroup.Group
	for range 4 {
		all.Go(func() error {
			for range 4 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				_, _ = driver.Screenshot(ctx, b.Mark.VM)
				cancel()
			}
			_, err := driver.Screenshot(t.Context(), b.Mark.VM)
			return err
		})
	}
	check(t, all.Wait())
}

// pausedStandsStill: the guest counts no second while it is paused.
func pausedStandsStill(t *testing.T, driver *Driver, b vmm.Build, s *guest.Shell) {
	counts := func(from int) {
		t.Helper()
		vmmtest.Eventually(t, func() error {
			if s.Tick() <= from {
				return fmt.Errorf("the guest counts no seconds: got %d, want more than %d", s.Tick(), from)
			}
			return nil
		})
	}
	counts(0)
	check(t, driver.Suspend(t.Context(), b.Mark.VM))
	if got := powerNow(t, driver, b); got.Power != vmm.Paused || got.Paused != vmm.ByWord {
		t.Errorf("after suspend: got %+v, want it paused by word", got)
	}
	if _, err := s.AskWithin(3*time.Second, "hello"); err == nil {
		t.Error("a paused guest answers")
	}
	still := s.Tick()
	if _, err := s.AskWithin(2*time.Second, "hello"); err == nil || s.Tick() != still {
		t.Errorf("a paused guest counts on: from %d to %d (%v)", still, s.Tick(), err)
	}
	for range 2 {
		check(t, driver.Resume(t.Context(), b.Mark.VM))
	}
	counts(still)
	check(t, s.AwaitReady(30*time.Second))
}

func powerNow(t *testing.T, driver *Driver, b vmm.Build) vmm.Domain {
	t.Helper()
	l, err := driver.List(t.Context())
	check(t, err)
	for _, one := range l.Domains {
		if one.UUID == b.Mark.VM {
			return one
		}
	}
	t.Fatalf("%s is not listed: %+v", b.Name, l)
	return vmm.Domain{}
}

// growsWhileOn: processors and memory come while the guest runs, and stay; what
// cannot come is refused with the reason, and nothing has changed then.
func growsWhileOn(t *testing.T, driver *Driver, b vmm.Build, s *guest.Shell) vmm.Build {
	before := memoryOf(t, s)
	for name, spoil := range map[string]func(*vmm.Build){
		"vcpus less":      func(n *vmm.Build) { n.Spec.VCPUs = 0 },
		"too many vcpus":  func(n *vmm.Build) { n.Spec.VCPUs = 9 },
		"memory less":     func(n *vmm.Build) { n.Spec.VCPUs, n.Spec.MemoryMiB = 2, 256 },
		"half a step":     func(n *vmm.Build) { n.Spec.VCPUs, n.Spec.MemoryMiB = 2, 576 },
		"too much memory": func(n *vmm.Build) { n.Spec.VCPUs, n.Spec.MemoryMiB = 2, 8192 },
		"another name":    func(n *vmm.Build) { n.Spec.VCPUs, n.Name = 2, "other" },
		"no interface":    func(n *vmm.Build) { n.Spec.VCPUs, n.NIC = 2, nil },
	} {
		next := b
		spoil(&next)
		next.Mark.Spec = vmm.Shape(next)
		if err := driver.Hotplug(t.Context(), next); !api.IsKind(err, api.Conflict) {
			t.Errorf("hotplug %s: got %v, want conflict", name, err)
		}
	}
	wantAnswer(t, s, "cpus", "1")
	if got := powerNow(t, driver, b); got.Mark != b.Mark {
		t.Errorf("mark after refusals: got %+v, want %+v", got.Mark, b.Mark)
	}

	b.Spec.VCPUs, b.Spec.MemoryMiB = 2, 640
	b.Record.Spec = b.Spec
	b.Mark.Spec = vmm.Shape(b)
	for range 2 {
		check(t, driver.Hotplug(t.Context(), b))
	}
	vmmtest.Eventually(t, func() error {
		cpus, err := s.Ask("cpus")
		if err != nil || cpus != "2" || memoryOf(t, s) < before+120<<10 {
			return fmt.Errorf("the guest has not got 1 processor and 128 MiB more: %s, %d KiB after %d, %v", cpus, memoryOf(t, s), before, err)
		}
		return nil
	})
	if got := powerNow(t, driver, b); got.Mark != b.Mark {
		t.Errorf("mark: got %+v, want %+v", got.Mark, b.Mark)
	}
	f := definedFacts(t, driver, b)
	if f.vcpus != 2 || f.memoryMiB != 640 || f.mark != b.Mark || f.record == "" || f.disk == "" || f.nic.filter == "" {
		t.Errorf("what it starts from next time: got %+v, want 2 processors, 640 MiB and everything else as before", f)
	}
	return b
}

// definedFacts are those of the definition that a domain is started from.
func definedFacts(t *testing.T, driver *Driver, b vmm.Build) (f facts) {
	t.Helper()
	id, err := parseUUID(b.Mark.VM)
	check(t, err)
	check(t, driver.questions.call(t.Context(), "facts", askLimit, func(rpc *golibvirt.Libvirt) error {
		dom, err := rpc.DomainLookupByUUID(id)
		if err != nil {
			return err
		}
		text, err := rpc.DomainGetXMLDesc(dom, golibvirt.DomainXMLInactive)
		if err != nil {
			return err
		}
		f, err = readXML(text)
		return err
	}))
	return f
}

// secondTakesConsole: whoever opens the console last has it. Its log has all of it.
func secondTakesConsole(t *testing.T, driver *Driver, b vmm.Build, first *guest.Shell) {
	second := talk(t, driver, b)
	wantAnswer(t, second, "hello", "orchd guest")
	if first.Lost() == nil {
		t.Error("the first console is open beside the second")
	}
	log, err := driver.ConsoleLog(t.Context(), b.Mark.VM, 1<<20)
	check(t, err)
	said, err := io.ReadAll(log)
	check(t, errors.Join(err, log.Close()))
	if !strings.Contains(string(said), guest.Up) {
		t.Errorf("console log: got %d bytes, want %q among them", len(said), guest.Up)
	}
}

// goesBack: a disk is as it was, on the same id as often as one likes, and never for one that is not there.
func goesBack(t *testing.T, d *daemon, driver *Driver, b vmm.Build, kept string) {
	if err := driver.RevertDisk(t.Context(), b, uuid.NewString()); !api.IsKind(err, api.NotFound) {
		t.Errorf("go back to nothing: got %v, want not found", err)
	}
	off := uuid.NewString()
	for range 2 {
		check(t, driver.SnapshotDisk(t.Context(), b, off))
		check(t, driver.RevertDisk(t.Context(), b, kept))
	}
	names, err := keptIn(t.Context(), filepath.Join(d.disks(), vmm.DiskName(b.Mark)))
	check(t, err)
	if len(names) != 2 || !names[kept] || !names[off] {
		t.Errorf("snapshots in the disk: got %v, want %s and %s", names, kept, off)
	}
	for range 2 {
		check(t, driver.DropSnapshot(t.Context(), b, off))
	}
}

// reshapes gives the domain another name and more of everything.
func reshapes(t *testing.T, driver *Driver, b vmm.Build) vmm.Build {
	b.Name = "shop" + suffixOf(b.Mark.VM)
	b.Spec.VCPUs, b.Spec.MemoryMiB, b.Spec.DiskGiB = 3, 768, 2
	b.Mark.Spec = vmm.Shape(b)
	for range 2 {
		check(t, driver.Reshape(t.Context(), b))
	}
	got := powerNow(t, driver, b)
	if got.Name != b.Name || got.Mark != b.Mark {
		t.Errorf("reshaped: got %+v, want name %s and mark %+v", got, b.Name, b.Mark)
	}
	if r := reservations(t, driver, b); len(r) != 2 || r[0].Name != b.Name {
		t.Errorf("reservations: got %+v, want them under the name %s", r, b.Name)
	}
	return b
}

// panicIsACrash: a kernel that panics ends its domain.
func panicIsACrash(t *testing.T, h vmmtest.Host, b vmm.Build, s *guest.Shell) {
	_, _ = s.AskWithin(time.Second, "crash")
	vmmtest.Eventually(t, func() error {
		l, err := h.Driver.List(context.WithoutCancel(t.Context()))
		for _, one := range l.Domains {
			if one.UUID == b.Mark.VM && one.Power == vmm.Off && one.Cause == vmm.Crashed {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("after a panic: got %+v, want %s crashed", l.Domains, b.Name))
	})
}
