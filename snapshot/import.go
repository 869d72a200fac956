package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Import takes a marked snapshot over from another peer, whose files fetch opens
// by their paths below the folder, manifest.json too. A file that lies here in
// another snapshot is shared with it, not fetched. Nothing is believed: the folder
// is there only if all of it has the sums that its manifest names.
func (m *Marks) Import(ctx context.Context, index uint64, fetch func(ctx context.Context, index uint64, path string) (io.ReadCloser, error)) error {
	open := func(path string) (io.ReadCloser, error) { return fetch(ctx, index, path) }
	if err := m.takeOver(index, open); err != nil {
		return fmt.Errorf("take over snapshot %d: %w", index, err)
	}
	return nil
}

// takeOver holds up nobody who writes a snapshot while files are on their way: it
// takes its turn when they are all there.
func (m *Marks) takeOver(index uint64, open func(path string) (io.ReadCloser, error)) error {
	data, err := fetchSmall(open)
	if err != nil {
		return err
	}
	manifest, err := parseManifest(data)
	if err != nil {
		return err
	}
	if manifest.Index != index {
		return fmt.Errorf("%s: it is of index %d", manifestName, manifest.Index)
	}
	draft := "import-" + markName(index)                                  // not that of one that is being written here meanwhile
	if err := os.RemoveAll(filepath.Join(m.dir, "."+draft)); err != nil { // of an attempt that was cut off
		return err
	}
	here := m.partsBySum()
	if err := m.roomFor(manifest.lacking(here)); err != nil {
		return err
	}
	d, err := newDraft(m.dir, draft)
	if err != nil {
		return err
	}
	d.manifest = manifest
	for _, f := range manifest.Files {
		if err = d.takeOver(f, here[f.SHA256], open); err != nil {
			break
		}
	}
	if err == nil {
		err = d.small(manifestName, data)
	}
	if err != nil {
		return errors.Join(m.ranFull(err), d.discard())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := openMark(m.at(index), index, nil); err == nil {
		return d.discard() // written here meanwhile
	}
	if _, err := d.commit(markName(index), ""); err != nil {
		return errors.Join(m.ranFull(err), d.discard())
	}
	return nil
}

// lacking is how many bytes of a snapshot do not lie here.
func (m Manifest) lacking(here map[string]string) (bytes uint64) {
	for _, f := range m.Files {
		if here[f.SHA256] == "" {
			bytes += uint64(f.Bytes)
		}
	}
	return bytes
}

// fetchSmall reads the manifest.
func fetchSmall(open func(path string) (io.ReadCloser, error)) ([]byte, error) {
	r, err := open(manifestName)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err == nil && len(data) > maxManifest {
		err = fmt.Errorf("%s is larger than %d bytes", manifestName, maxManifest)
	}
	return data, err
}

// partsBySum is where parts of the snapshots here lie, by the sums that their manifests
// name. Other files are small, and to be shared by all snapshots they need only be alike.
func (m *Marks) partsBySum() map[string]string {
	here := map[string]string{}
	indexes, err := m.indexes()
	if err != nil {
		return here // then everything is fetched
	}
	for _, index := range indexes {
		path := filepath.Join(m.dir, markName(index))
		manifest, _, err := readManifest(path)
		if err != nil {
			continue
		}
		for _, f := range manifest.Files {
			if f.Content != "" {
				here[f.SHA256] = below(path, f.Path)
			}
		}
	}
	return here
}

// takeOver links a file that lies here, or fetches it.
func (d *draft) takeOver(f File, here string, open func(path string) (io.ReadCloser, error)) error {
	if here != "" && d.linkTo(here, f, nil) {
		return nil
	}
	r, err := open(f.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := d.create(f.Path)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.LimitReader(r, f.Bytes+1))
	if err = errors.Join(err, w.finish()); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if w.bytes != f.Bytes || w.sum() != f.SHA256 {
		return fmt.Errorf("%s: what came is not what the manifest names", f.Path)
	}
	return nil
}
