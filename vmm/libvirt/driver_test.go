package libvirt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
	"github.com/orchd/orchd/vmm/vmmtest"
)

// The one conformance test, on libvirt's own pretended hypervisor and on QEMU.
func TestConformance(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	t.Run("test driver", func(t *testing.T) {
		// libvirtd forgets the pretended host with its last connection.
		keep := d.driver(t, string(golibvirt.TestDefault))
		_, err := keep.List(t.Context())
		check(t, err)
		vmmtest.Core(t, func(t *testing.T) vmmtest.Host { return d.host(t, string(golibvirt.TestDefault)) })
	})
	qemu := func(t *testing.T) vmmtest.Host { return d.host(t, string(golibvirt.QEMUSystem)) }
	t.Run("qemu", func(t *testing.T) { vmmtest.Core(t, qemu) })
	t.Run("qemu record", func(t *testing.T) { vmmtest.Record(t, qemu(t)) })
	d.tell(t, "bridge br0")
	t.Run("qemu guests", func(t *testing.T) {
		vmmtest.Guests(t, func(t *testing.T) vmmtest.Host {
			h := qemu(t)
			h.Image = d.kernel()
			h.Write = func(t *testing.T, b vmm.Build, text string) { d.ask(t, b, "write kept "+text) }
			h.Wrote = func(t *testing.T, b vmm.Build) string { return d.ask(t, b, "read kept") }
			h.NIC = &vmm.NIC{MAC: goodMAC, Bridge: "br0", IPs: []string{"10.9.0.5"}, Filter: true}
			return h
		})
	})
	t.Run("detect", func(t *testing.T) {
		if got, err := Detect(t.Context(), d.uri("qemu:///system")); got != api.DriverLibvirt || err != nil {
			t.Errorf("detect: got %q, %v; want libvirt", got, err)
		}
	})
	t.Run("disk image", func(t *testing.T) { bootFromDisk(t, d) })
	t.Run("many disks", func(t *testing.T) { manyDisks(t, d) })
	t.Run("why it is off", func(t *testing.T) { whyOff(t, d) })
	t.Run("stopped daemon", func(t *testing.T) { stoppedDaemon(t, d) })
}

// bootSector writes "orchd disk up" to the first serial port and halts: the
// smallest disk image that shows that it was booted.
//
//	xor ax,ax; mov ds,ax; mov dx,0x3f8; mov si,0x7c00+22
//	next: lodsb; test al,al; jz halt; out dx,al; jmp next
//	halt: hlt; jmp halt; nop
func bootSector() []byte {
	code := []byte{0x31, 0xc0, 0x8e, 0xd8, 0xba, 0xf8, 0x03, 0xbe, 22, 0x7c,
		0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4, 0xeb, 0xfd, 0x90}
	sector := make([]byte, 512)
	copy(sector, append(code, "orchd disk up\r\n"...))
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

// bootFromDisk: an overlay over a raw image boots, QEMU runs as its own user,
// and the image itself is never written.
func bootFromDisk(t *testing.T, d *daemon) {
	h := d.host(t, string(golibvirt.QEMUSystem))
	image := &api.Image{Name: "tiny", Kind: api.ImageDisk, Path: filepath.Join(d.dir, "tiny.raw"), Format: "raw"}
	content := append(bootSector(), make([]byte, 1<<20)...)
	check(t, os.WriteFile(image.Path, content, 0o644))
	b := h.NewBuild()
	b.Spec.Image, b.Image = image.Name, image
	t.Cleanup(func() { vmmtest.Remove(t, h, b) })
	if made, err := h.Driver.MakeDisk(t.Context(), b); err != nil || !made {
		t.Fatalf("make disk: got %v, %v; want it made", made, err)
	}
	check(t, h.Driver.Define(t.Context(), b))
	check(t, h.Driver.Start(t.Context(), b.Mark.VM))
	d.awaitConsole(t, b, "orchd disk up")

	info, err := os.Stat(filepath.Join(d.disks(), vmm.DiskName(b.Mark)))
	check(t, err)
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid == 0 {
		t.Error("the disk of a running guest belongs to root, want QEMU's own user")
	}
	if now, err := os.ReadFile(image.Path); err != nil || !bytes.Equal(now, content) {
		t.Errorf("the image has changed under its overlay (%v)", err)
	}

	small := b
	small.Spec.DiskGiB, small.Mark.Epoch = 1, 99
	check(t, os.Truncate(image.Path, 2<<30))
	if _, err := h.Driver.MakeDisk(t.Context(), small); !api.IsKind(err, api.Invalid) || !strings.Contains(err.Error(), "needs a disk of 2 GiB") {
		t.Errorf("a disk smaller than its image: got %v, want invalid with the size", err)
	}
}

// whyOff: what the loop reads out of libvirt's reasons holds on the real thing.
func whyOff(t *testing.T, d *daemon) {
	h := d.host(t, string(golibvirt.QEMUSystem))
	b := h.NewBuild()
	t.Cleanup(func() { vmmtest.Remove(t, h, b) })
	check(t, h.Driver.Define(t.Context(), b))
	wantOff := func(when string, want vmm.Cause) {
		t.Helper()
		vmmtest.Eventually(t, func() error {
			l, err := h.Driver.List(t.Context())
			for _, dom := range l.Domains {
				if dom.UUID == b.Mark.VM && dom.Power == vmm.Off && dom.Cause == want {
					return nil
				}
			}
			return errors.Join(err, api.Errorf(api.Internal, "", "%s: got %+v, want it off with cause %d", when, l.Domains, want))
		})
	}
	wantOff("never started", vmm.Unknown)
	check(t, h.Driver.Start(t.Context(), b.Mark.VM))
	d.tell(t, "killqemu "+b.Name)
	wantOff("QEMU killed", vmm.Crashed)
	check(t, h.Driver.Start(t.Context(), b.Mark.VM))
	check(t, h.Driver.Destroy(t.Context(), b.Mark.VM))
	wantOff("destroyed", vmm.ByForce)
	d.tell(t, "kill")
	d.tell(t, "start")
	wantOff("libvirtd restarted", vmm.Unknown)

	check(t, h.Driver.Start(t.Context(), b.Mark.VM))
	d.tell(t, "kill")
	d.tell(t, "killqemu "+b.Name)
	d.tell(t, "start")
	wantOff("QEMU killed while libvirtd was down", vmm.Crashed)
}

// manyDisks: disks may be asked for side by side, and a file that the pool has
// not heard of is taken as it is.
func manyDisks(t *testing.T, d *daemon) {
	h := d.host(t, string(golibvirt.QEMUSystem))
	var g errgroup.Group
	var builds []vmm.Build
	for range 8 {
		b := h.NewBuild()
		b.Spec.DiskGiB = 1
		builds = append(builds, b)
		t.Cleanup(func() { vmmtest.Remove(t, h, b) })
		g.Go(func() error {
			made, err := h.Driver.MakeDisk(t.Context(), b)
			if err == nil && !made {
				err = errors.New("the disk was there already")
			}
			return err
		})
	}
	check(t, g.Wait())
	b := builds[0]
	b.Mark.Epoch = 50
	path := filepath.Join(d.disks(), vmm.DiskName(b.Mark))
	check(t, exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "--", path, "1G").Run())
	if made, err := h.Driver.MakeDisk(t.Context(), b); made || err != nil {
		t.Errorf("make a disk that is there: got made %v, %v; want neither", made, err)
	}
}

// stoppedDaemon: a libvirtd that does not move is noticed, and used again when it does.
func stoppedDaemon(t *testing.T, d *daemon) {
	h := d.host(t, string(golibvirt.QEMUSystem))
	d.tell(t, "stop")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := h.Driver.Host(ctx)
	d.tell(t, "continue")
	if !api.IsKind(err, api.Unavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("host: got %v, want unavailable because of the deadline", err)
	}
	vmmtest.Eventually(t, func() error { _, err := h.Driver.Host(t.Context()); return err })
}
