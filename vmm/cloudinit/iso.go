package cloudinit

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// VolumeID is the name by which cloud-init finds a seed.
const VolumeID = "cidata"

// MaxISO is how many bytes an image may have: user-data and keys at their largest
// stay well below.
const MaxISO = 4 << 20

// ISO makes an image of documents: ISO 9660 with Rock Ridge, which Linux reads, and
// Joliet, which others do. Equal documents give equal bytes, whoever makes it and when.
func ISO(docs map[string][]byte) ([]byte, error) {
	if err := checkDocs(docs); err != nil {
		return nil, err
	}
	// The library wants the files in a folder. It is for our own eyes only.
	dir, err := os.MkdirTemp("", "orchd-seed-")
	if err != nil {
		return nil, fmt.Errorf("cloudinit: make a seed: %w", err)
	}
	defer os.RemoveAll(dir)
	iso, err := build(dir, docs)
	if err != nil {
		return nil, fmt.Errorf("cloudinit: make a seed: %w", err)
	}
	if err := settle(iso); err != nil {
		return nil, fmt.Errorf("cloudinit: make a seed: %w", err)
	}
	return iso, nil
}

// checkDocs refuses what is no set of documents.
func checkDocs(docs map[string][]byte) error {
	size := 0
	for name, d := range docs {
		if !slices.Contains([]string{MetaData, UserData, VendorData, NetworkConfig}, name) {
			return refuse("%q is no document of NoCloud", name)
		}
		size += len(d)
	}
	if docs[MetaData] == nil || docs[UserData] == nil {
		return refuse("a seed needs %s and %s: cloud-init takes none without them", MetaData, UserData)
	}
	if size > MaxISO/2 {
		return refuse("the documents of a seed have %d bytes: at most %d are taken", size, MaxISO/2)
	}
	return nil
}

// build lets the library make the image of docs, with dir to work in.
func build(dir string, docs map[string][]byte) ([]byte, error) {
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o700); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		if err := os.WriteFile(filepath.Join(tree, name), docs[name], 0o600); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(dir, "iso")
	image, err := file.CreateFromPath(path, MaxISO)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	fs, err := iso9660.Create(image, MaxISO, 0, sector, tree)
	if err != nil {
		return nil, err
	}
	err = fs.Finalize(iso9660.FinalizeOptions{RockRidge: true, Joliet: true, VolumeIdentifier: VolumeID})
	if err != nil {
		return nil, err
	}
	iso, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return cut(iso)
}
