package libvirt

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestImageSize(t *testing.T) {
	head := qcow2Head{Magic: qcow2Magic, Version: 3, Size: 5 << 30}
	spoilt := func(f func(*qcow2Head)) []byte {
		h := head
		f(&h)
		var b bytes.Buffer
		if err := binary.Write(&b, binary.BigEndian, h); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		name, format string
		content      []byte
		want         uint64
		refused      bool
	}{
		{name: "qcow2", format: "qcow2", content: spoilt(func(*qcow2Head) {}), want: 5 << 30},
		{name: "raw", format: "raw", content: make([]byte, 4096), want: 4096},
		{name: "backing file", format: "qcow2", content: spoilt(func(h *qcow2Head) { h.BackingOffset = 104 }), refused: true},
		{name: "encrypted", format: "qcow2", content: spoilt(func(h *qcow2Head) { h.CryptMethod = 2 }), refused: true},
		{name: "external data", format: "qcow2", content: spoilt(func(h *qcow2Head) { h.Incompatible = 4 }), refused: true},
		{name: "no qcow2", format: "qcow2", content: make([]byte, 4096), refused: true},
		{name: "torn", format: "qcow2", content: spoilt(func(*qcow2Head) {})[:20], refused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			check(t, os.WriteFile(path, c.content, 0o600))
			got, err := imageSize(api.Image{Name: "i", Path: path, Format: c.format})
			if got != c.want || api.IsKind(err, api.Invalid) != c.refused {
				t.Errorf("size: got %d, %v; want %d, refused %v", got, err, c.want, c.refused)
			}
		})
	}
	for _, path := range []string{"/nowhere/image", t.TempDir()} {
		if _, err := imageSize(api.Image{Path: path, Format: "raw"}); !api.IsKind(err, api.Invalid) {
			t.Errorf("size of %s: got %v, want invalid", path, err)
		}
	}
}
