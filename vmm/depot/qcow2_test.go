package depot

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm/vmmtest"
)

// made makes an image with qemu-img.
func made(t *testing.T, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	qemuImg(t, dir, "create", "-f", "qcow2", "base.qcow2", "8M")
	args = append(args[:len(args):len(args)], "image")
	if args[len(args)-2] == "8M" { // create wants the size last
		n := len(args)
		args[n-1], args[n-2] = args[n-2], args[n-1]
	}
	qemuImg(t, dir, args...)
	return read(t, filepath.Join(dir, "image"))
}

// TestRealImages takes and refuses what qemu-img makes, with QEMU's second opinion
// and without.
func TestRealImages(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain.raw")
	write(t, plain, append(content(300<<10), make([]byte, 7<<20)...))
	luks := []string{"--object", "secret,id=s,data=secret"}
	for _, c := range []struct {
		name   string
		args   []string
		refuse string
	}{
		{"plain", []string{"create", "-f", "qcow2", "8M"}, ""},
		{"version 2", []string{"create", "-f", "qcow2", "-o", "compat=0.10", "8M"}, ""},
		{"small clusters", []string{"create", "-f", "qcow2", "-o", "cluster_size=512", "8M"}, ""},
		{"large clusters", []string{"create", "-f", "qcow2", "-o", "cluster_size=2M", "8M"}, ""},
		{"extended tables", []string{"create", "-f", "qcow2", "-o", "extended_l2=on", "8M"}, ""},
		{"lazy", []string{"create", "-f", "qcow2", "-o", "lazy_refcounts=on", "8M"}, ""},
		{"one bit", []string{"create", "-f", "qcow2", "-o", "refcount_bits=1", "8M"}, ""},
		{"reserved", []string{"create", "-f", "qcow2", "-o", "preallocation=full", "8M"}, ""},
		{"with content", []string{"convert", "-f", "raw", "-O", "qcow2", plain}, ""},
		{"packed with zlib", []string{"convert", "-c", "-f", "raw", "-O", "qcow2", plain}, ""},
		{"packed with zstd", []string{"convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", plain}, ""},
		{"backing file", []string{"create", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", "8M"}, "backing file"},
		{"backing file, version 2", []string{"create", "-f", "qcow2", "-o", "compat=0.10", "-F", "qcow2", "-b", "base.qcow2", "8M"}, "backing file"},
		{"data file (CVE-2024-32498)", []string{"create", "-f", "qcow2", "-o", "data_file=data.raw", "8M"}, "data file"},
		{"raw data file", []string{"create", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "8M"}, "data file"},
		{"LUKS", append(append([]string{"create"}, luks...), "-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "8M"), "encrypted"},
		{"AES", append(append([]string{"create"}, luks...), "-f", "qcow2", "-o", "compat=0.10,encrypt.format=aes,encrypt.key-secret=s", "8M"), "encrypted"},
		{"raw", []string{"create", "-f", "raw", "8M"}, "none"},
		{"VMDK (CVE-2022-47951)", []string{"create", "-f", "vmdk", "8M"}, "none"},
		{"version 1", []string{"create", "-f", "qcow", "8M"}, "version 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "LUKS" && testing.Short() {
				t.Skip("qemu-img takes seconds to make a key")
			}
			b := made(t, c.args...)
			for _, second := range []string{"", "/nonexistent/qemu-img"} {
				d := openDepot(t, Config{Dir: t.TempDir(), QemuImg: second})
				w := Wanted{ID: uuid.NewString(), Format: Qcow2, SHA256: sumOf(b), Bytes: int64(len(b))}
				got, err := receive(t, d, w, b)
				if c.refuse == "" {
					wantStored(t, d, w, got, err, b)
					if got.VirtualBytes < 7<<20 || got.VirtualBytes > 8<<20 {
						t.Errorf("the disk in it has %d bytes", got.VirtualBytes)
					}
					continue
				}
				wantKind(t, d, w, err, api.Invalid)
				if err != nil && !strings.Contains(err.Error(), c.refuse) {
					t.Errorf("got %v, want it refused for %q", err, c.refuse)
				}
				wantFiles(t, d)
			}
		})
	}
}

// TestSnapshotsInside: an image with a snapshot in it is whole too.
func TestSnapshotsInside(t *testing.T) {
	dir := t.TempDir()
	qemuImg(t, dir, "create", "-f", "qcow2", "image", "8M")
	qemuImg(t, dir, "snapshot", "-c", "one", "image")
	b := read(t, filepath.Join(dir, "image"))
	d, w := newDepot(t), Wanted{ID: uuid.NewString(), Format: Qcow2}
	got, err := receive(t, d, w, b)
	wantStored(t, d, w, got, err, b)
}

// TestTorn cuts an image at many places: what is taken is read by QEMU without a complaint.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain.raw")
	write(t, plain, content(300<<10))
	b := made(t, "convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", plain)
	d := newDepot(t)
	if len(d.tool) == 0 {
		t.Skip("this host has no qemu-img with bounds")
	}
	for _, n := range []int{1, 4, 71, 72, 103, 104, 111, 4095, 4096, 3 * 4096, len(b) / 2} {
		w := Wanted{ID: uuid.NewString(), Format: Qcow2}
		_, err := receive(t, d, w, b[:n])
		wantKind(t, d, w, err, api.Invalid)
	}
}

// TestSecondOpinion has images whose head is well and whose inside is not.
func TestSecondOpinion(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain.raw")
	write(t, plain, content(300<<10))
	b := made(t, "convert", "-f", "raw", "-O", "qcow2", plain)
	h, why := parseQcow2(b[:112])
	if why != "" {
		t.Fatal(why)
	}
	d := newDepot(t)
	if len(d.tool) == 0 {
		t.Skip("this host has no qemu-img with bounds")
	}
	spoilt := bytes.Clone(b)
	copy(spoilt[h.L1:], "\x80\x00\x00\x00\x00\x00\x00\x00") // its table of clusters is its own header
	w := Wanted{ID: uuid.NewString(), Format: Qcow2}
	_, err := receive(t, d, w, spoilt)
	wantKind(t, d, w, err, api.Invalid)
	if err == nil || !strings.Contains(err.Error(), "QEMU") {
		t.Errorf("got %v, want QEMU's opinion", err)
	}
	if _, err := Inspect(bytes.NewReader(spoilt), int64(len(spoilt)), Qcow2); err != nil {
		t.Errorf("its head was refused (%v): this test asks for nobody's second opinion", err)
	}
}

// TestSecondOpinionBounds runs programs in qemu-img's place.
func TestSecondOpinionBounds(t *testing.T) {
	b := made(t, "create", "-f", "qcow2", "8M")
	for name, c := range map[string]struct {
		script string
		kind   api.Kind
	}{
		"writes":        {`echo x >"$0.new" && exit 0`, api.Invalid},
		"writes to it":  {`echo x >&3 && exit 0`, api.Invalid},
		"is killed":     {`kill -9 $$`, api.Invalid},
		"talks rubbish": {`echo rubbish`, api.Invalid},
		"disagrees":     {`echo '{"format":"qcow2","virtual-size":1}'`, api.Invalid},
		"finds a file":  {`echo '{"format":"qcow2","virtual-size":8388608,"backing-filename":"/etc/shadow"}'`, api.Invalid},
		"finds more":    {`echo '{"format":"qcow2","virtual-size":8388608,"format-specific":{"data":{"data-file":"/etc/shadow"}}}'`, api.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDepot(t, Config{Dir: t.TempDir(), QemuImg: script(t, c.script)})
			if len(d.tool) == 0 {
				t.Skip("this host has no prlimit")
			}
			w := Wanted{ID: uuid.NewString(), Format: Qcow2, SHA256: sumOf(b)}
			_, err := receive(t, d, w, b)
			wantKind(t, d, w, err, c.kind)
			wantFiles(t, d)
		})
	}
}

// TestSecondOpinionEnds: QEMU does not outlive the context that asked it.
func TestSecondOpinionEnds(t *testing.T) {
	b := made(t, "create", "-f", "qcow2", "8M")
	path := script(t, `: >"$0.began.$$"; exec sleep 1000`)
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	d := openDepot(t, Config{Dir: t.TempDir(), QemuImg: path})
	if len(d.tool) == 0 {
		t.Skip("this host has no prlimit")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := Wanted{ID: uuid.NewString(), Format: Qcow2}
	done := make(chan error)
	go func() {
		_, err := d.Receive(ctx, w, bytes.NewReader(b), 1<<30, nil)
		done <- err
	}()
	pid := began(t, path)
	cancel()
	wantKind(t, d, w, <-done, api.Unavailable)
	wantFiles(t, d)
	wantGone(t, pid)
}

// began waits until the program has left its number beside itself.
func began(t *testing.T, path string) (pid int) {
	t.Helper()
	vmmtest.Eventually(t, func() error {
		found, err := filepath.Glob(path + ".began.*")
		if err != nil || len(found) != 1 {
			return fmt.Errorf("the program left %q, %v", found, err)
		}
		pid, err = strconv.Atoi(strings.TrimPrefix(found[0], path+".began."))
		return err
	})
	return pid
}

// wantGone waits until a process is no more.
func wantGone(t *testing.T, pid int) {
	t.Helper()
	vmmtest.Eventually(t, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			return fmt.Errorf("process %d is there: %s", pid, stat)
		}
		return nil
	})
}

func TestLimitedBuffer(t *testing.T) {
	var b limitedBuffer
	for range 3 {
		if n, err := b.Write(make([]byte, maxSaid-1)); n != maxSaid-1 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if b.Len() != maxSaid {
		t.Errorf("kept %d bytes, want %d", b.Len(), maxSaid)
	}
}

// script makes a program that everybody may run.
func script(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{dir, filepath.Dir(dir)} { // the child is another user
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "qemu-img")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// header is a sound qcow2 file of 8 clusters, to be spoilt.
func header(spoil func(b []byte)) []byte {
	b := make([]byte, 8<<16)
	be := binary.BigEndian
	copy(b, qcow2Magic)
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 16)
	be.PutUint64(b[24:], 1<<30)
	be.PutUint32(b[36:], 2)
	be.PutUint64(b[40:], 3<<16)
	be.PutUint64(b[48:], 1<<16)
	be.PutUint32(b[56:], 1)
	be.PutUint32(b[96:], 4)
	be.PutUint32(b[100:], 104)
	if spoil != nil {
		spoil(b)
	}
	return b
}

// TestHeaders has what qemu-img does not make.
func TestHeaders(t *testing.T) {
	be := binary.BigEndian
	set32 := func(at int, v uint32) func([]byte) { return func(b []byte) { be.PutUint32(b[at:], v) } }
	set64 := func(at int, v uint64) func([]byte) { return func(b []byte) { be.PutUint64(b[at:], v) } }
	extension := func(kind, length uint32) func([]byte) {
		return func(b []byte) { be.PutUint32(b[104:], kind); be.PutUint32(b[108:], length) }
	}
	for _, c := range []struct {
		name  string
		spoil func([]byte)
		says  string // empty: it is taken
	}{
		{"sound", nil, ""},
		{"1 PiB is too much for this table", set64(24, 1<<50), "first table"},
		{"more than 1 PiB", set64(24, 1<<50+1), "1 PiB"},
		{"2^64 - 1", set64(24, 1<<64-1), "1 PiB"},
		{"no size", set64(24, 0), "1 PiB"},
		{"version 4", set32(4, 4), "version 4"},
		{"version 0", set32(4, 0), "version 0"},
		{"name of a backing file", set64(8, 200), "backing file"},
		{"encrypted in a new way", set32(32, 3), "encrypted"},
		{"unknown feature 5", set64(72, 1<<5), "not known"},
		{"unknown feature 63", set64(72, 1<<63), "not known"},
		{"dirty", set64(72, bitDirty), "not closed"},
		{"corrupt", set64(72, bitCorrupt), "corrupt"},
		{"data file", set64(72, bitDataFile), "data file"},
		{"data file and unknown", set64(72, bitDataFile|1<<40), "data file"},
		{"tiny clusters", set32(20, 8), "clusters"},
		{"huge clusters", set32(20, 22), "clusters"},
		{"cluster bits beyond a shift", set32(20, 200), "clusters"},
		{"no first table", set32(36, 0), "first table"},
		{"short first table", set32(36, 1), "first table"},
		{"endless first table", set32(36, 1<<32-1), "first table"},
		{"first table behind the end", set64(40, 8<<16), "torn"},
		{"first table far behind the end", set64(40, 1<<63), "torn"},
		{"first table between clusters", set64(40, 3<<16+8), "torn"},
		{"first table in the header", set64(40, 0), "torn"},
		{"no references", set32(56, 0), "torn"},
		{"endless references", set32(56, 1<<32-1), "torn"},
		{"references behind the end", set64(48, 1<<40), "torn"},
		{"references beyond counting", set64(48, 1<<64-1<<16), "torn"},
		{"snapshots behind the end", func(b []byte) { set32(60, 1)(b); set64(64, 1<<40)(b) }, "torn"},
		{"endless snapshots", func(b []byte) { set32(60, 1<<32-1)(b); set64(64, 4<<16)(b) }, "torn"},
		{"wide references", set32(96, 7), "counts"},
		{"short header", set32(100, 96), "header of 96"},
		{"crooked header", set32(100, 105), "header of 105"},
		{"endless header", set32(100, 1<<32-8), "header of"},
		{"unknown packing", func(b []byte) { set64(72, bitCompression)(b); set32(100, 112)(b); b[104] = 2 }, "type 2"},
		{"packing without its bit", func(b []byte) { set32(100, 112)(b); b[104] = 1 }, "type 1"},
		{"bit without a packing", set64(72, bitCompression), "type 0"},
		{"packed with zstd", func(b []byte) { set64(72, bitCompression)(b); set32(100, 112)(b); b[104] = 1 }, ""},
		{"extended tables in small clusters", func(b []byte) { set64(72, bitExtendedL2)(b); set32(20, 13)(b) }, "too small"},
		{"LUKS header and no method", extension(extLUKS, 16), "LUKS"},
		{"name of a data file and no bit", extension(extDataFile, 8), "data file"},
		{"unknown extension", extension(0x12345678, 8), ""},
		{"endless extension", extension(0x12345678, 1<<32-1), "first cluster"},
		{"LUKS behind another extension", func(b []byte) { extension(0x12345678, 3)(b); set32(120, extLUKS)(b) }, "LUKS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := header(c.spoil)
			virtual, err := Inspect(bytes.NewReader(b), int64(len(b)), Qcow2)
			if c.says == "" {
				if err != nil || virtual != 1<<30 {
					t.Errorf("got %d, %v; want it taken, with a disk of 1 GiB", virtual, err)
				}
				return
			}
			if !api.IsKind(err, api.Invalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it refused with %q", err, c.says)
			}
		})
	}
	b := header(nil)
	d := openDepot(t, Config{Dir: t.TempDir(), MaxVirtualBytes: 1<<30 - 1})
	w := Wanted{ID: uuid.NewString(), Format: Qcow2}
	_, err := receive(t, d, w, b)
	wantKind(t, d, w, err, api.Invalid)
	if err == nil || !strings.Contains(err.Error(), "the most on this host") {
		t.Errorf("a disk larger than this host takes: got %v", err)
	}
}

// TestRawLooks refuses as raw what is something else (OpenStack's nova #1524274, CVE-2015-7548).
func TestRawLooks(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"qcow2": {[]string{"create", "-f", "qcow2", "8M"}, "looks like qcow2"},
		"qcow":  {[]string{"create", "-f", "qcow", "8M"}, "looks like qcow2"},
		"VMDK":  {[]string{"create", "-f", "vmdk", "8M"}, "VMDK"},
		"VMDK, with its data elsewhere (CVE-2022-47951)": {[]string{"create", "-f", "vmdk", "-o", "subformat=monolithicFlat", "8M"}, "VMDK"},
		"VDI":       {[]string{"create", "-f", "vdi", "8M"}, "VDI"},
		"VHDX":      {[]string{"create", "-f", "vhdx", "8M"}, "VHDX"},
		"VHD":       {[]string{"create", "-f", "vpc", "8M"}, "VHD"},
		"QED":       {[]string{"create", "-f", "qed", "8M"}, "QED"},
		"Parallels": {[]string{"create", "-f", "parallels", "8M"}, "Parallels"},
	} {
		t.Run(name, func(t *testing.T) {
			b := made(t, c.args...)
			d, w := newDepot(t), Wanted{ID: uuid.NewString(), Format: Raw}
			_, err := receive(t, d, w, b)
			wantKind(t, d, w, err, api.Invalid)
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it refused with %q", err, c.says)
			}
		})
	}
	for name, head := range map[string]string{"gzip": "\x1f\x8b\x08", "xz": "\xfd7zXZ\x00", "zstd": "\x28\xb5\x2f\xfd", "bzip2": "BZh9", "zip": "PK\x03\x04", "LUKS": "LUKS\xba\xbe\x00\x01", "only its magic": "QFI\xfb"} {
		if _, err := Inspect(strings.NewReader(head), int64(len(head)), Raw); !api.IsKind(err, api.Invalid) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	for name, b := range map[string][]byte{"boot sector": content(512), "zeros": make([]byte, 512), "one byte": {1}} {
		if n, err := Inspect(bytes.NewReader(b), int64(len(b)), Raw); err != nil || n != int64(len(b)) {
			t.Errorf("%s: got %d, %v; want it taken", name, n, err)
		}
	}
}

// FuzzQcow2 looks for heads that make the parser fall, or that it takes although they
// name other files, keys, or places outside of the file.
func FuzzQcow2(f *testing.F) {
	f.Add(header(nil)[:256], int64(8<<16))
	f.Add(header(func(b []byte) { b[107], b[111] = 1, 200 })[:256], int64(8<<16))
	f.Add([]byte(qcow2Magic), int64(1<<40))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if size < int64(len(b)) {
			size = int64(len(b))
		}
		virtual, err := Inspect(padded{b, size}, size, Qcow2)
		if err != nil {
			return
		}
		be := binary.BigEndian
		switch {
		case virtual <= 0 || virtual > maxVirtual || uint64(virtual) != be.Uint64(b[24:]):
			t.Errorf("a disk of %d bytes", virtual)
		case be.Uint64(b[8:]) != 0 || be.Uint32(b[32:]) != 0:
			t.Error("a backing file or keys")
		case be.Uint32(b[4:]) == 3 && be.Uint64(b[72:])&^uint64(bitCompression|bitExtendedL2) != 0:
			t.Error("features that are not known")
		case be.Uint64(b[40:]) >= uint64(size) || be.Uint64(b[48:]) >= uint64(size):
			t.Error("tables outside of the file")
		}
	})
}

// padded is b and zeros behind it.
type padded struct {
	b    []byte
	size int64
}

func (p padded) ReadAt(to []byte, at int64) (int, error) {
	clear(to)
	if at < int64(len(p.b)) {
		copy(to, p.b[at:])
	}
	return len(to), nil
}
