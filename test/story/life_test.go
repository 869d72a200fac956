package story

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/test/lab"
)

// seenWithin is how soon orchd must know what has become of a guest.
const seenWithin = 5 * time.Second

// life is one guest, and the hosts that its story is told on.
type life struct {
	*house
	vm           api.VM
	owner, other *lab.Host
}

// TestLifeOfAGuest does everything to one small guest that a user may do to it, and
// looks each time from inside or through virsh.
func TestLifeOfAGuest(t *testing.T) {
	t.Parallel() // it mostly waits for the guest
	h := homes(t, 2)
	want := small("one", 512) // with less no memory can be plugged in
	want.Spec.Placement.Peer = "h1"
	l := &life{house: h, owner: h.Host(0), other: h.Host(1), vm: h.make(h.Host(1), want)}
	for _, part := range []struct {
		name string
		tell func(*life, *testing.T)
	}{
		{"the console answers, the address is the one allotted", (*life).inside},
		{"the screen is not black", (*life).screen},
		{"paused, it stands still", (*life).pause},
		{"it is restarted", (*life).restart},
		{"it gets processors and memory while it runs", (*life).grow},
		{"it gets another shape while it is off", (*life).reshape},
		{"its disk goes back to a snapshot", (*life).snapshot},
		{"it is renamed", (*life).rename},
		{"protected, it cannot be deleted", (*life).protect},
		{"its QEMU is killed", (*life).kill},
		{"its kernel panics", (*life).panic},
		{"it switches itself off", (*life).powerOff},
		{"its account is suspended", (*life).suspend},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.tell(l, t) }) {
			return
		}
	}
}

func (l *life) inside(t *testing.T) {
	s := l.console(l.other, "one")
	answers(t, s, "hostname", "one")
	answers(t, s, "mac", l.vm.Status.Addresses[0].MAC)
	answers(t, s, "ip", address(t, l.vm)+"/16")
	meta, err := s.Ask("seed meta-data")
	if err != nil || !strings.Contains(meta, l.vm.ID) {
		t.Errorf("meta-data in the guest: %q, %v", meta, err)
	}
	key, err := s.Ask("hostkey")
	if err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, seenWithin, func() error {
		vm, err := l.house.vm(l.other, "one")
		if err == nil && (len(vm.Status.SSHHostKeys) != 1 || vm.Status.SSHHostKeys[0].Type+" "+vm.Status.SSHHostKeys[0].Key != key) {
			err = fmt.Errorf("host keys: %v, the guest's is %s", vm.Status.SSHHostKeys, key)
		}
		return err
	})
	lab.Eventually(t, patience, func() error { // both hosts are neighbours of the guest
		_, err := l.other.Output("busybox", "ping", "-c", "1", "-W", "1", address(t, l.vm))
		return err
	})
}

func (l *life) screen(t *testing.T) {
	shot, err := l.api(l.other).Screenshot(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatalf("the screenshot is no PNG: %v", err)
	}
	if bright(img) < 100 {
		t.Errorf("only %d of the pixels of %v are bright", bright(img), img.Bounds())
	}
}

// bright counts the pixels that one can see.
func bright(img image.Image) (n int) {
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if r, g, b, _ := img.At(x, y).RGBA(); r+g+b > 3*0x4000 {
				n++
			}
		}
	}
	return n
}

func (l *life) pause(t *testing.T) {
	boot, err := l.console(l.other, "one").Ask("boot")
	if err != nil {
		t.Fatal(err)
	}
	l.act(l.other, "one", api.VMAct{Verb: api.ActPause})
	l.becomes(l.other, "one", api.VMPaused, seenWithin)
	if state := domState(l.owner, l.vm); state != "paused" {
		t.Errorf("libvirt says that it is %s", state)
	}
	before := guest.LastTick(l.said(l.other, "one"))
	passes(t, 4*time.Second)
	after := guest.LastTick(l.said(l.other, "one"))
	if before == 0 || before != after {
		t.Errorf("paused, it counted from %d to %d", before, after)
	}
	l.act(l.other, "one", api.VMAct{Verb: api.ActResume})
	l.becomes(l.other, "one", api.VMRunning, seenWithin)
	lab.Eventually(t, patience, func() error {
		if now := guest.LastTick(l.said(l.other, "one")); now <= after {
			return fmt.Errorf("resumed, it has counted to %d, as before", now)
		}
		return nil
	})
	answers(t, l.console(l.other, "one"), "boot", boot)
}

func (l *life) restart(t *testing.T) {
	boot, err := l.console(l.other, "one").Ask("boot")
	if err != nil {
		t.Fatal(err)
	}
	l.act(l.other, "one", api.VMAct{Verb: api.ActRestart})
	l.becomes(l.other, "one", api.VMRunning, seenWithin)
	if again, err := l.console(l.other, "one").Ask("boot"); err != nil || again == boot {
		t.Errorf("after a restart it is in the same boot: %s, %v", again, err)
	}
}

func (l *life) grow(t *testing.T) {
	before := l.owner.Guests()
	s := l.console(l.other, "one")
	answers(t, s, "cpus", "1")
	small := l.memory(t, s)
	l.act(l.other, "one", api.VMAct{Verb: api.ActResize, Resize: api.VMResize{VCPUs: 2, MemoryMiB: 1024}})
	lab.Eventually(t, patience, func() error {
		cpus, err := s.Ask("cpus")
		if err == nil && cpus != "2" {
			err = fmt.Errorf("the guest sees %s processors", cpus)
		}
		if big := l.memory(t, s); err == nil && big < small+400<<10 {
			err = fmt.Errorf("the guest had %d KiB and has %d", small, big)
		}
		return err
	})
	if after := l.owner.Guests(); !slices.Equal(before, after) {
		t.Errorf("QEMU was process %v, is %v", before, after)
	}
	h := l.house
	h.do(l.other, http.StatusConflict, "POST", "/v1/vms/one/resize", api.VMResize{VCPUs: 1})
}

// memory is how many KiB the guest has.
func (l *life) memory(t *testing.T, s *guest.Shell) int {
	t.Helper()
	text, err := s.Ask("mem")
	kib, bad := strconv.Atoi(text)
	if err != nil || bad != nil {
		t.Fatalf("mem: %q, %v", text, err)
	}
	return kib
}

func (l *life) reshape(t *testing.T) {
	l.act(l.other, "one", api.VMAct{Verb: api.ActStop})
	l.becomes(l.other, "one", api.VMStopped, seenWithin)
	if running := l.owner.Guests(); len(running) != 0 {
		t.Errorf("stopped, it still runs: %v", running)
	}
	l.act(l.other, "one", api.VMAct{Verb: api.ActResize, Resize: api.VMResize{VCPUs: 1, MemoryMiB: 128, DiskGiB: 2}})
	h := l.house
	h.do(l.other, http.StatusUnprocessableEntity, "POST", "/v1/vms/one/resize", api.VMResize{DiskGiB: 1})
	l.act(l.other, "one", api.VMAct{Verb: api.ActStart})
	s := l.console(l.other, "one")
	answers(t, s, "cpus", "1")
	answers(t, s, "disk", strconv.Itoa(2<<30))
	if kib := l.memory(t, s); kib > 128<<10 {
		t.Errorf("the guest has %d KiB, want less than 128 MiB", kib)
	}
}

func (l *life) snapshot(t *testing.T) {
	c := l.api(l.other)
	s := l.console(l.other, "one")
	answers(t, s, "write old kept", "")
	snap, err := c.CreateDiskSnapshot(t.Context(), "one", api.DiskSnapshotCreate{Name: "good"})
	if err != nil {
		t.Fatal(err)
	}
	l.succeeds(l.other, api.Operation{ID: snap.Operation})
	answers(t, s, "write new lost", "")
	answers(t, s, "read new", "lost")
	if _, err := c.RestoreDiskSnapshot(t.Context(), "one", "good"); !api.IsKind(err, api.Conflict) {
		t.Errorf("going back while it runs: got %v, want a conflict", err)
	}
	l.act(l.other, "one", api.VMAct{Verb: api.ActForceStop})
	op, err := c.RestoreDiskSnapshot(t.Context(), "one", "good")
	if err != nil {
		t.Fatal(err)
	}
	l.succeeds(l.other, op)
	l.act(l.other, "one", api.VMAct{Verb: api.ActStart})
	s = l.console(l.other, "one")
	answers(t, s, "read old", "kept")
	if said, err := s.Ask("read new"); err == nil {
		t.Errorf("a file written after the snapshot is still there: %q", said)
	}
	op, err = c.DeleteDiskSnapshot(t.Context(), "one", "good")
	if err != nil {
		t.Fatal(err)
	}
	l.succeeds(l.other, op)
	answers(t, s, "read old", "kept")
}

func (l *life) rename(t *testing.T) {
	c := l.api(l.other)
	if _, err := c.PatchVM(t.Context(), "one", json.RawMessage(`{"name":"uno"}`)); err != nil {
		t.Fatal(err)
	}
	l.house.do(l.other, http.StatusNotFound, "GET", "/v1/vms/one", nil)
	l.act(l.other, "uno", api.VMAct{Verb: api.ActForceStop})
	l.act(l.other, "uno", api.VMAct{Verb: api.ActStart})
	l.becomes(l.other, "uno", api.VMRunning, seenWithin)
	if name := strings.TrimSpace(l.owner.Virsh("domname", l.vm.ID)); !strings.HasPrefix(name, "uno-") {
		t.Errorf("its domain is called %s", name)
	}
	l.console(l.other, "uno")
}

func (l *life) protect(t *testing.T) {
	c := l.api(l.other)
	if _, err := c.PatchVM(t.Context(), "uno", json.RawMessage(`{"protected":true}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteVM(t.Context(), "uno"); !api.IsKind(err, api.Conflict) {
		t.Errorf("deleting what is protected: got %v, want a conflict", err)
	}
	if _, err := c.PatchVM(t.Context(), "uno", json.RawMessage(`{"protected":false}`)); err != nil {
		t.Fatal(err)
	}
	if n := len(l.owner.Guests()); n != 1 {
		t.Errorf("%d guests run", n)
	}
}

// policy sets what becomes of the guest when it ends by itself.
func (l *life) policy(t *testing.T, p api.RestartPolicy) {
	t.Helper()
	if _, err := l.api(l.other).PatchVM(t.Context(), "uno", json.RawMessage(`{"restart":"`+string(p)+`"}`)); err != nil {
		t.Fatal(err)
	}
}

// fell waits until orchd knows that the guest, whose QEMU was process old, has ended:
// its state says so, or it has been started again already.
func (l *life) fell(t *testing.T, old []int) {
	t.Helper()
	lab.Eventually(t, seenWithin, func() error {
		vm, err := l.house.vm(l.other, "uno")
		if now := l.owner.Guests(); err == nil && vm.Status.State == api.VMRunning && (len(now) == 0 || slices.Equal(now, old)) {
			err = fmt.Errorf("it is still said to run")
		}
		return err
	})
}

// again waits until the guest runs again, in another QEMU.
func (l *life) again(t *testing.T, old []int) {
	t.Helper()
	lab.Eventually(t, bootTime, func() error {
		if now := l.owner.Guests(); len(now) != 1 || slices.Equal(now, old) {
			return fmt.Errorf("QEMU was process %v, is %v", old, now)
		}
		return nil
	})
	l.becomes(l.other, "uno", api.VMRunning, patience)
}

func (l *life) kill(t *testing.T) {
	old := l.owner.Guests()
	if err := syscall.Kill(old[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.fell(t, old)
	l.again(t, old)

	l.policy(t, api.RestartNever)
	old = l.owner.Guests()
	if err := syscall.Kill(old[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.becomes(l.other, "uno", api.VMCrashed, seenWithin)
	passes(t, 5*time.Second)
	if now := l.owner.Guests(); len(now) != 0 {
		t.Errorf("policy never started %v", now)
	}
	l.act(l.other, "uno", api.VMAct{Verb: api.ActStart})
	l.policy(t, api.RestartOnFailure)
	l.console(l.other, "uno")
}

func (l *life) panic(t *testing.T) {
	old := l.owner.Guests()
	s := l.console(l.other, "uno")
	go s.Ask("crash") // nobody answers
	lab.Eventually(t, patience, func() error {
		if now := l.owner.Guests(); slices.Equal(now, old) {
			return fmt.Errorf("QEMU is still process %v", old)
		}
		return nil
	})
	l.fell(t, old)
	l.again(t, old)
}

func (l *life) powerOff(t *testing.T) {
	s := l.console(l.other, "uno")
	go s.Ask("poweroff")
	gone := func() {
		t.Helper()
		lab.Eventually(t, patience, func() error {
			if now := l.owner.Guests(); len(now) > 0 {
				return fmt.Errorf("QEMU is still process %v", now)
			}
			return nil
		})
	}
	gone()
	l.becomes(l.other, "uno", api.VMStopped, seenWithin)
	l.policy(t, api.RestartAlways)
	l.act(l.other, "uno", api.VMAct{Verb: api.ActStart})
	old := l.owner.Guests()
	s = l.console(l.other, "uno")
	go s.Ask("poweroff")
	l.again(t, old)
	l.policy(t, api.RestartOnFailure)
}

func (l *life) suspend(t *testing.T) {
	c := l.api(l.other)
	if _, err := c.SuspendAccount(t.Context(), api.DefaultAccount, "the bill"); err != nil {
		t.Fatal(err)
	}
	l.becomes(l.other, "uno", api.VMStopped, time.Minute)
	if running := l.owner.Guests(); len(running) != 0 {
		t.Errorf("suspended, it runs: %v", running)
	}
	if _, err := c.CreateVM(t.Context(), small("two", 64)); !api.IsKind(err, api.Forbidden) || !strings.Contains(err.Error(), "the bill") {
		t.Errorf("a create for a suspended account: got %v, want it forbidden, with the reason", err)
	}
	if _, err := c.ResumeAccount(t.Context(), api.DefaultAccount); err != nil {
		t.Fatal(err)
	}
	l.becomes(l.other, "uno", api.VMRunning, bootTime)
	l.delete(l.other, "uno")
	if left := domains(l.owner); len(left) != 0 {
		t.Errorf("domains left: %v", left)
	}
}

// TestExportedDiskBootsElsewhere: the disk of a VM becomes an image, which travels
// and boots on another host, with what was written to it.
func TestExportedDiskBootsElsewhere(t *testing.T) {
	t.Parallel() // it mostly waits for the guest
	disk := guest.SmallDisk(t)
	h := homes(t, 2)
	h.upload(h.Host(0), "small", disk)
	_, public := newSSHKey(t)
	h.sshKey(h.Host(0), "", "laptop", public)
	c := h.api(h.Host(0))
	from := func(image, peer string) api.VMCreate {
		want := small(image+"-on-"+peer, 128)
		want.Spec.Image, want.Spec.DiskGiB, want.Spec.SSHKeys, want.Spec.Placement.Peer = image, 0, []string{"laptop"}, peer
		return want
	}
	first := h.make(h.Host(0), from("small", "h1"))
	answers(t, h.console(h.Host(0), first.Name), "write note from h1", "")
	if _, err := c.ExportVM(t.Context(), first.Name, api.VMExport{Image: "copy"}); !api.IsKind(err, api.Conflict) {
		t.Errorf("an export while it runs: got %v, want a conflict", err)
	}
	h.act(h.Host(0), first.Name, api.VMAct{Verb: api.ActStop})
	if _, err := c.ExportVM(t.Context(), first.Name, api.VMExport{Image: "copy"}); err != nil {
		t.Fatal(err)
	}
	image := h.available(h.Host(1), "copy")
	if image.Source != api.SourceVM || image.VM != first.ID || image.SHA256 == "" {
		t.Errorf("the image is %+v", image)
	}
	h.delete(h.Host(1), first.Name)
	second := h.make(h.Host(1), from("copy", "h2"))
	s := h.console(h.Host(0), second.Name)
	answers(t, s, "read note", "from h1")
	answers(t, s, "hostname", second.Name)
	if info := h.Host(1).Run("sh", "-c", "qemu-img info -U --backing-chain "+h.Host(1).DataDir()+"/disks/"+second.ID+".epoch-1"); !strings.Contains(info, image.ID) {
		t.Errorf("the disk does not stand on the image:\n%s", info)
	}
}
