package cloudinit

import (
	"bytes"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"github.com/orchd/orchd/api"
)

func docsOf(t *testing.T, g Guest) map[string][]byte {
	t.Helper()
	docs, err := Documents(g)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func isoOf(t *testing.T, docs map[string][]byte) []byte {
	t.Helper()
	iso, err := ISO(docs)
	if err != nil {
		t.Fatal(err)
	}
	return iso
}

// largest is a guest of which everything is as long as it may be.
func largest() Guest {
	g := web()
	g.UserData = []byte("#" + strings.Repeat("u", MaxUserData-1))
	g.Keys = slices.Repeat([]string{"ssh-rsa " + strings.Repeat("A", maxKeyBytes-8)}, maxKeys)
	return g
}

// TestReadBack reads the documents out of images again.
func TestReadBack(t *testing.T) {
	for name, g := range map[string]Guest{"whole": web(), "little": {InstanceID: "i", Hostname: "a"}, "largest": largest()} {
		t.Run(name, func(t *testing.T) {
			docs := docsOf(t, g)
			iso := isoOf(t, docs)
			if len(iso) > MaxISO {
				t.Errorf("the image has %d bytes, at most %d are allowed", len(iso), MaxISO)
			}
			fs := open(t, iso)
			if got := strings.TrimRight(fs.Label(), " \x00"); got != VolumeID {
				t.Errorf("volume id: got %q, want %q", got, VolumeID)
			}
			entries, err := fs.ReadDir(".")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if want := slices.Sorted(maps.Keys(docs)); !slices.Equal(slices.Sorted(slices.Values(names)), want) {
				t.Errorf("files: got %q, want %q", names, want)
			}
			for name, want := range docs {
				f, err := fs.OpenFile(name, os.O_RDONLY)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(f); !bytes.Equal(got, want) || err != nil {
					t.Errorf("%s: %d bytes came back, %v; want %d", name, len(got), err, len(want))
				}
			}
		})
	}
}

func open(t *testing.T, iso []byte) *iso9660.FileSystem {
	t.Helper()
	image, err := file.OpenFromPath(write(t, iso), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { image.Close() })
	fs, err := iso9660.Read(image, int64(len(iso)), 0, sector)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func write(t *testing.T, iso []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed.iso")
	if err := os.WriteFile(path, iso, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOthersRead asks the programs of the host: what cloud-init itself goes by is blkid's word.
func TestOthersRead(t *testing.T) {
	docs := docsOf(t, web())
	path := write(t, isoOf(t, docs))
	t.Run("blkid", func(t *testing.T) {
		said := run(t, "blkid", "-p", path)
		for _, want := range []string{`LABEL="cidata"`, `TYPE="iso9660"`} {
			if !strings.Contains(said, want) {
				t.Errorf("blkid does not say %s: %s", want, said)
			}
		}
	})
	for _, tree := range []string{"-R", "-J"} {
		t.Run("isoinfo "+tree, func(t *testing.T) {
			for name, want := range docs {
				if got := run(t, "isoinfo", tree, "-i", path, "-x", "/"+name); got != string(want) {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	}
}

// run skips the test when the host lacks the program.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("this host has no %s", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// TestSameBytes makes images that the library by itself would make differently: of
// files of another owner, with other links and other times.
func TestSameBytes(t *testing.T) {
	docs := docsOf(t, web())
	first := isoOf(t, docs)
	if again := isoOf(t, docs); !bytes.Equal(first, again) {
		t.Error("the same documents gave two images")
	}
	other := docsOf(t, web())
	other[UserData] = []byte("#cloud-config\nusers: []\n")
	if bytes.Equal(first, isoOf(t, other)) {
		t.Error("other documents gave the same image")
	}

	raw, err := build(t.TempDir(), docs)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(raw, first) {
		t.Fatal("the library's image holds nothing of now: settle has become idle")
	}
	for name, field := range map[string][]byte{"TF": []byte("TF\x1a\x01\x0e"), "PX": []byte("PX\x2c\x01")} {
		if n := bytes.Count(raw, field); n != len(docs)+2 {
			t.Errorf("%d %s fields in the image, want one for each file and two for the folder", n, name)
		}
	}
	scribble(raw)
	if err := settle(raw); err != nil {
		t.Fatal(err)
	}
	if at := firstDifference(raw, first); at >= 0 {
		t.Errorf("an image of another time, owner and file system differs at byte %d", at)
	}
}

// scribble writes other times, links and owners wherever the library writes any.
func scribble(iso []byte) {
	for at := range iso {
		switch rest := iso[at:]; {
		case bytes.HasPrefix(rest, []byte("TF\x1a\x01\x0e")):
			copy(rest[5:26], bytes.Repeat([]byte{99, 2, 3, 4, 5, 6, 7}, 3))
		case bytes.HasPrefix(rest, []byte("PX\x2c\x01")):
			copy(rest[12:36], "twenty-four odd bytes...")
		}
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

func TestISORefused(t *testing.T) {
	for name, docs := range map[string]map[string][]byte{
		"no documents": {},
		"no user-data": {MetaData: {}},
		"another name": {MetaData: {}, UserData: {}, "../../etc/passwd": {}},
		"too large":    {MetaData: {}, UserData: make([]byte, MaxISO)},
	} {
		if _, err := ISO(docs); !api.IsKind(err, api.Invalid) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
}

// TestSettleTorn gives settle images that are cut or wrong: it must say so and not run out of them.
func TestSettleTorn(t *testing.T) {
	iso := isoOf(t, docsOf(t, web()))
	for n := range len(iso) / 512 {
		settle(bytes.Clone(iso[:n*512])) // any answer but a panic
	}
	if err := settle(iso[:firstAfter]); err == nil {
		t.Error("an image without descriptors was settled")
	}
	wrong := bytes.Clone(iso)
	copy(wrong[firstAfter+158:], "\xff\xff\xff\x7f") // the root folder lies behind the end
	if err := settle(wrong); err == nil {
		t.Error("an image whose root folder is nowhere was settled")
	}
}
