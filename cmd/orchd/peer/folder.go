package peer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
)

// modes of the folders in the data folder: its own content is private but for
// what QEMU's user must reach.
var folders = map[string]os.FileMode{"": 0o711, "raft": 0o700, "snapshots": 0o700, "changes": 0o700, "exports": 0o700, "tls": 0o711, "disks": 0o711, "images": 0o711}

// makeFolders makes the data folder and what is always in it.
func makeFolders(dataDir string) error {
	for name, mode := range folders {
		dir := filepath.Join(dataDir, name)
		if err := os.MkdirAll(dir, mode); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	return nil
}

// unfinished is where init works until the cluster is complete; what an
// interrupted one left there is thrown away.
const unfinished = ".init"

// wantUnused refuses a data folder that belongs to a cluster, or holds anything
// but what an interrupted init or join left.
func wantUnused(dataDir string) error {
	if err := wantMember(dataDir); err != nil {
		return err
	}
	if id, err := cluster.LoadIdentity(dataDir); err == nil {
		return api.Errorf(api.Conflict, "", "%s belongs to peer %q of cluster %s already; start it with orchd serve, and the configuration or flags that it was made with", dataDir, id.Name, id.ClusterID)
	}
	entries, err := os.ReadDir(dataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read data folder: %w", err)
	}
	for _, e := range entries {
		if _, ours := folders[e.Name()]; !ours && !slices.Contains([]string{unfinished, "lost+found", "orchd.sock"}, e.Name()) {
			return api.Errorf(api.Conflict, "", "%s is not empty: it holds %s; choose another with --data-dir, or move that away", dataDir, e.Name())
		}
	}
	cutOff, _ := filepath.Glob(filepath.Join(dataDir, "raft", ".known.json*")) // before it had its name
	for _, name := range cutOff {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("remove what an earlier attempt left: %w", err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dataDir, "raft", "*")); len(files) > 0 {
		return api.Errorf(api.Conflict, "", "%s holds a raft log but no identity (%s is missing); move the folder away, or restore that file", dataDir, filepath.Join(dataDir, "raft", "known.json"))
	}
	return nil
}

// settle moves what init made from its workshop into the data folder. The raft
// folder comes last: with known.json in it the folder belongs to a cluster.
func settle(dataDir string) error {
	workshop := filepath.Join(dataDir, unfinished)
	for _, name := range []string{"snapshots", "changes", "tls", "raft"} {
		to := filepath.Join(dataDir, name)
		if name == "raft" { // what it stands on is safe before it
			if err := syncDir(dataDir); err != nil {
				return fmt.Errorf("settle: %w", err)
			}
		}
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) && name != "tls" {
			return fmt.Errorf("settle: %w", err)
		}
		if name == "tls" {
			if err := os.RemoveAll(to); err != nil {
				return fmt.Errorf("settle: %w", err)
			}
		}
		if err := os.Rename(filepath.Join(workshop, name), to); err != nil {
			return fmt.Errorf("settle: %w", err)
		}
	}
	for _, dir := range []string{dataDir, filepath.Dir(dataDir)} { // its own name, too
		if err := syncDir(dir); err != nil {
			return fmt.Errorf("settle: %w", err)
		}
	}
	return os.RemoveAll(workshop)
}

// writeFile replaces a file as a whole; content and name are on disk when it returns.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if err := renameio.WriteFile(path, content, mode); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
