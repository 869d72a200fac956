package vmmtest

import (
	"bytes"
	"encoding/binary"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// off switches a guest off.
func off(t *testing.T, h Host, b vmm.Build) {
	t.Helper()
	must(t, "destroy", h.Driver.Destroy(t.Context(), b.Mark.VM))
	wantPower(t, h, b, vmm.Off)
}

// seed is stored, replaced, and removed with the VM; its domain starts with it.
func seed(t *testing.T, h Host) {
	b := h.NewBuild()
	b.Seeded = true
	b = shaped(b)
	t.Cleanup(func() { Remove(t, h, b) })
	image := make([]byte, 64<<10)
	must(t, "put seed", h.Driver.PutSeed(t.Context(), b.Mark.VM, image))
	must(t, "put seed again", h.Driver.PutSeed(t.Context(), b.Mark.VM, image))
	if got, want := filesOf(t, h, b), []string{vmm.SeedName(b.Mark.VM)}; !slices.Equal(got, want) {
		t.Errorf("files: got %v, want %v", got, want)
	}
	names, err := h.Driver.DiskFiles(t.Context())
	must(t, "list files", err)
	if !slices.Contains(names, vmm.SeedName(b.Mark.VM)) {
		t.Errorf("files that the driver lists: got %v, want the seed among them", names)
	}
	must(t, "define", h.Driver.Define(t.Context(), b))
	must(t, "start", h.Driver.Start(t.Context(), b.Mark.VM))
	off(t, h, b)
	must(t, "undefine", h.Driver.Undefine(t.Context(), b.Mark.VM))
	must(t, "clean", h.Driver.Clean(t.Context(), b.Mark.VM))
	if got := filesOf(t, h, b); len(got) > 0 {
		t.Errorf("files after clean: got %v, want none", got)
	}
}

// diskSnapshots are kept, gone back to and forgotten; to ask again changes nothing.
func diskSnapshots(t *testing.T, h Host) {
	d := h.Driver
	b := h.boot(t)
	first, second, none := uuid.NewString(), uuid.NewString(), uuid.NewString()
	h.write(t, b, "one")
	must(t, "snapshot while on", d.SnapshotDisk(t.Context(), b, first))
	h.write(t, b, "two")
	must(t, "the same snapshot again", d.SnapshotDisk(t.Context(), b, first))
	wantKind(t, "revert while on", d.RevertDisk(t.Context(), b, first), api.Conflict)
	wantPower(t, h, b, vmm.Running)
	off(t, h, b)
	must(t, "snapshot while off", d.SnapshotDisk(t.Context(), b, second))
	wantKind(t, "revert to what is not there", d.RevertDisk(t.Context(), b, none), api.NotFound)
	must(t, "revert", d.RevertDisk(t.Context(), b, first))
	must(t, "revert again", d.RevertDisk(t.Context(), b, first))
	h.wantWritten(t, b, "one")
	must(t, "revert to the newer", d.RevertDisk(t.Context(), b, second))
	must(t, "forget", d.DropSnapshot(t.Context(), b, first))
	must(t, "forget twice", d.DropSnapshot(t.Context(), b, first))
	wantKind(t, "revert to what was forgotten", d.RevertDisk(t.Context(), b, first), api.NotFound)
	h.wantWritten(t, b, "two")
	must(t, "forget the last", d.DropSnapshot(t.Context(), b, second))
	if err := d.SnapshotDisk(t.Context(), h.NewBuild(), first); err == nil || api.IsKind(err, api.Unavailable) {
		t.Errorf("snapshot of no disk: got %v, want a definite failure", err)
	}
}

// write makes a running guest write a text, where the host can do that.
func (h Host) write(t *testing.T, b vmm.Build, text string) {
	t.Helper()
	if h.Write != nil {
		h.Write(t, b, text)
	}
}

// wantWritten boots a guest that is off and looks what is on its disk.
func (h Host) wantWritten(t *testing.T, b vmm.Build, want string) {
	t.Helper()
	if h.Wrote == nil {
		return
	}
	must(t, "start", h.Driver.Start(t.Context(), b.Mark.VM))
	h.Booted(t, b)
	if got := h.Wrote(t, b); got != want {
		t.Errorf("written on the disk: got %q, want %q", got, want)
	}
	off(t, h, b)
}

// copyDisk writes a disk that stands still to a new file, and to no other.
func copyDisk(t *testing.T, h Host) {
	b := h.boot(t)
	to := h.newFile(t)
	wantKind(t, "copy the disk of what is on", h.Driver.CopyDisk(t.Context(), b, to), api.Conflict)
	off(t, h, b)
	must(t, "copy", h.Driver.CopyDisk(t.Context(), b, to))
	if got := sizeIn(t, to); got != 1<<30 {
		t.Errorf("size of the copied disk: got %d bytes, want 1 GiB", got)
	}
	wantKind(t, "copy over a file", h.Driver.CopyDisk(t.Context(), b, to), api.Conflict)
}

// newFile is the path of a file that is not there yet.
func (h Host) newFile(t *testing.T) string {
	t.Helper()
	if h.Temp != nil {
		return filepath.Join(h.Temp(t), "copy.qcow2")
	}
	return filepath.Join(t.TempDir(), "copy.qcow2")
}

// sizeIn is the size of the disk in a qcow2 file, as its header says.
func sizeIn(t *testing.T, path string) uint64 {
	t.Helper()
	f, err := os.Open(path)
	must(t, "open the copy", err)
	defer f.Close()
	head := make([]byte, 32)
	if _, err := io.ReadFull(f, head); err != nil || string(head[:4]) != "QFI\xfb" {
		t.Fatalf("copy: got %q, %v; want it to begin as qcow2 does", head, err)
	}
	return binary.BigEndian.Uint64(head[24:])
}

// largerDisk: a disk grows with its domain, and never shrinks.
func largerDisk(t *testing.T, h Host) {
	b := h.boot(t)
	off(t, h, b)
	larger := b
	larger.Spec.DiskGiB = 2
	larger = shaped(larger)
	must(t, "grow", h.Driver.Reshape(t.Context(), larger))
	if got := find(t, h, b); got.Mark != larger.Mark {
		t.Errorf("mark of a domain whose disk has grown: got %+v, want %+v", got.Mark, larger.Mark)
	}
	must(t, "ask for a smaller one", h.Driver.Reshape(t.Context(), b))
	to := h.newFile(t)
	must(t, "copy", h.Driver.CopyDisk(t.Context(), b, to))
	if got := sizeIn(t, to); got != 2<<30 {
		t.Errorf("size of a disk that has grown: got %d bytes, want 2 GiB still", got)
	}
	must(t, "start with a larger disk", h.Driver.Start(t.Context(), b.Mark.VM))
	wantPower(t, h, b, vmm.Running)
}

// console: the guest answers whoever opened it last, until it is off.
func console(t *testing.T, h Host) {
	b := h.boot(t)
	first, err := h.Driver.Console(t.Context(), b.Mark.VM)
	must(t, "open console", err)
	defer first.Close()
	second, err := h.Driver.Console(t.Context(), b.Mark.VM)
	must(t, "open console again", err)
	defer second.Close()
	await(t, "the end of the console that was opened first", ended(first))
	_, err = second.Write([]byte("hello\n"))
	must(t, "write", err)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		if n, err := second.Read(make([]byte, 100)); n == 0 || err != nil {
			t.Errorf("read: got %d bytes, %v; want the guest's answer", n, err)
		}
	}()
	await(t, "an answer of the guest", heard)
	must(t, "destroy", h.Driver.Destroy(t.Context(), b.Mark.VM))
	await(t, "the end of the console of a guest that is off", ended(second))
	if c, err := h.Driver.Console(t.Context(), b.Mark.VM); !api.IsKind(err, api.Conflict) {
		t.Errorf("console of what is off: got %v, want conflict", err)
		if err == nil {
			c.Close()
		}
	}
}

// ended is closed when nothing more can be read.
func ended(c io.Reader) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, c)
	}()
	return done
}

// consoleLog is what the guest has said, from its end.
func consoleLog(t *testing.T, h Host) {
	b := h.boot(t)
	read := func(max int64) []byte {
		t.Helper()
		log, err := h.Driver.ConsoleLog(t.Context(), b.Mark.VM, max)
		must(t, "open console log", err)
		defer log.Close()
		text, err := io.ReadAll(log)
		must(t, "read console log", err)
		return text
	}
	Eventually(t, func() error {
		if text := read(1 << 20); !bytes.Contains(text, []byte("guest up")) {
			return api.Errorf(api.Internal, "", "console log: got %q, want the guest's greeting in it", text)
		}
		return nil
	})
	if got := read(5); len(got) != 5 {
		t.Errorf("the last 5 bytes: got %q, want 5 of them", got)
	}
	off(t, h, b)
	if len(read(1<<20)) == 0 {
		t.Error("console log of what is off: got nothing, want it kept")
	}
	if log, err := h.Driver.ConsoleLog(t.Context(), uuid.NewString(), 5); !api.IsKind(err, api.NotFound) {
		t.Errorf("console log of no VM: got %v, want not-found", err)
		if err == nil {
			log.Close()
		}
	}
}

// screenshot is a picture of what is on, and of nothing else.
func screenshot(t *testing.T, h Host) {
	b := h.boot(t)
	picture, err := h.Driver.Screenshot(t.Context(), b.Mark.VM)
	must(t, "screenshot", err)
	if _, err := png.Decode(bytes.NewReader(picture)); err != nil {
		t.Errorf("screenshot: %d bytes that are no PNG: %v", len(picture), err)
	}
	off(t, h, b)
	_, err = h.Driver.Screenshot(t.Context(), b.Mark.VM)
	wantKind(t, "screenshot of what is off", err, api.Conflict)
}

// counters are those of domains that are on.
func counters(t *testing.T, h Host) {
	b := h.boot(t)
	var before vmm.Stats
	Eventually(t, func() error {
		got, on := statsOf(t, h, b)
		if !on || got.MemoryBytes <= 0 || got.CPUSeconds <= 0 {
			return api.Errorf(api.Internal, "", "counters: got %+v, there %v; want memory and time", got, on)
		}
		before = got
		return nil
	})
	if after, _ := statsOf(t, h, b); after.CPUSeconds < before.CPUSeconds {
		t.Errorf("processor time: got %v after %v, want it to grow", after.CPUSeconds, before.CPUSeconds)
	}
	off(t, h, b)
	if got, on := statsOf(t, h, b); on {
		t.Errorf("counters of what is off: got %+v, want none", got)
	}
}

func statsOf(t *testing.T, h Host, b vmm.Build) (vmm.Stats, bool) {
	t.Helper()
	all, err := h.Driver.Stats(t.Context())
	must(t, "counters", err)
	for _, s := range all {
		if s.UUID == b.Mark.VM {
			return s, true
		}
	}
	return vmm.Stats{}, false
}

// interfaces: a guest with one starts, and its host can be asked what it uses.
func interfaces(t *testing.T, h Host) {
	if h.NIC == nil {
		t.Skip("this host has nothing to plug a guest into")
	}
	b := h.NewBuild()
	b.NIC = h.NIC
	b = h.bootThis(t, shaped(b))
	began := time.Now()
	found, err := h.Driver.Seen(t.Context(), b.Mark.VM)
	must(t, "addresses seen", err)
	for _, a := range found {
		if a.IP == "" {
			t.Errorf("address seen: got %+v, want one with an IP", a)
		}
	}
	t.Logf("addresses seen after %v: %v", time.Since(began), found)
	off(t, h, b)
	bare := b
	bare.NIC = nil
	bare = shaped(bare)
	must(t, "take the interface away", h.Driver.Reshape(t.Context(), bare))
	must(t, "start without", h.Driver.Start(t.Context(), b.Mark.VM))
}
