package depot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
)

// newDepot opens a depot of its own.
func newDepot(t *testing.T) *Depot {
	t.Helper()
	return openDepot(t, Config{Dir: filepath.Join(t.TempDir(), "images")})
}

func openDepot(t *testing.T, cfg Config) *Depot {
	t.Helper()
	d, err := Open(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// content is n bytes that are alike in each run and no zeros.
func content(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	b[0] = 0xeb // as a boot sector begins
	return b
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// rawOf is what is wanted of a raw image with that content.
func rawOf(b []byte) Wanted {
	return Wanted{ID: uuid.NewString(), Format: Raw, SHA256: sumOf(b), Bytes: int64(len(b))}
}

// wantStored wants the image to be there, whole, as a file that QEMU can open.
func wantStored(t *testing.T, d *Depot, w Wanted, got api.ImageContent, err error, content []byte) {
	t.Helper()
	if err != nil {
		t.Fatalf("bringing it in: %v", err)
	}
	want := api.ImageContent{Image: w.ID, SHA256: sumOf(content), Bytes: int64(len(content)), VirtualBytes: got.VirtualBytes}
	if w.Format == Raw {
		want.VirtualBytes = want.Bytes
	}
	if got != want {
		t.Errorf("told %+v, want %+v", got, want)
	}
	path, err := d.Path(w.ID)
	if err != nil {
		t.Fatal(err)
	}
	if there, err := os.ReadFile(path); !bytes.Equal(there, content) || err != nil {
		t.Errorf("the file has %d bytes, %v; want the %d that came in", len(there), err, len(content))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode of the file: got %v, %v; want 0644", info.Mode(), err)
	}
	wantFiles(t, d, w.ID)
}

// wantFiles wants these files in the folder and no others.
func wantFiles(t *testing.T, d *Depot, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(d.cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("files in the folder: got %q, want %q", got, want)
	}
}

// wantKind wants an error of a kind, and nothing of the image.
func wantKind(t *testing.T, d *Depot, w Wanted, err error, kind api.Kind) {
	t.Helper()
	if !api.IsKind(err, kind) {
		t.Errorf("got %v, want %s", err, kind.Code())
	}
	if d.Has(w.ID) {
		t.Error("the image is there all the same")
	}
}

// qemuImg runs qemu-img in a folder of its own and skips the test if the host has none.
func qemuImg(t *testing.T, dir string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("this host has no qemu-img")
	}
	for {
		cmd := exec.Command("qemu-img", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		switch {
		case err == nil:
			return
		case !bytes.Contains(out, unmeasured):
			t.Fatalf("qemu-img %q: %v: %s", args, err, out)
		}
	}
}

// unmeasured is what QEMU says where it was to see how fast this host makes a LUKS key,
// and the kernel had not accounted any of that time yet. A moment later it has.
var unmeasured = []byte("Unable to get accurate CPU usage")

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// receive uploads content.
func receive(t *testing.T, d *Depot, w Wanted, b []byte) (api.ImageContent, error) {
	t.Helper()
	return d.Receive(t.Context(), w, bytes.NewReader(b), 1<<40, nil)
}

// from is a source that has b.
func from(b []byte) Source {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b[offset:])), nil
	}
}
