package snapshot

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Format is the number of the folder format that this package writes, and the
// only one it reads.
const Format = 1

// Names of what lies in a folder beside the tables.
const (
	manifestName = "manifest.json"
	raftName     = "raft.json"
)

// Limits of a folder. A tar header in USTAR form (POSIX.1-1988) holds sizes up
// to 8 GiB, and names that need no second header up to 100 characters.
const (
	maxManifest = 2 << 20 // room for maxFiles
	maxFiles    = 4096
	maxFile     = 8<<30 - 1
)

var (
	tableForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	sumForm   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	pathForm  = regexp.MustCompile(`^([a-z][a-z0-9_]{0,62})(/part-[0-9]{4,6})?\.parquet$`)
)

// Manifest says what a folder holds. It is manifest.json.
type Manifest struct {
	Format    int       `json:"format"`
	Index     uint64    `json:"index"` // log index of the last entry that the state includes
	Term      uint64    `json:"term"`
	Time      time.Time `json:"time"`       // the state's own clock, UTC, not this host's
	Level     uint64    `json:"level"`      // behaviour level in force
	StateHash string    `json:"state_hash"` // hash over all rows; a restored state must have it again
	Files     []File    `json:"files"`      // in the order in which they were written
	Sum       string    `json:"sum"`        // SHA-256 of the manifest whose sum is ""
}

// File is one file of a folder.
type File struct {
	Path   string `json:"path"` // slashes, below the folder
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // lower-case hex

	// Content is, of a part, the SHA-256 of the columns' layout and the hashes of
	// the rows: parts that agree in it hold the same rows. Lower-case hex.
	Content string `json:"content,omitempty"`
}

// Table is the table that the file is part of, for a path of the form that manifests list.
func (f File) Table() string {
	folder, _, _ := strings.Cut(f.Path, "/")
	return strings.TrimSuffix(folder, ".parquet")
}

func (m *Manifest) seal() *string { return &m.Sum }

// Tables lists the tables in the order in which they were written.
func (m Manifest) Tables() []string {
	var out []string
	for _, f := range m.Files {
		if t := f.Table(); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// Rows is the number of rows of a table.
func (m Manifest) Rows(table string) (n int64) {
	for _, f := range m.Files {
		if f.Table() == table {
			n += f.Rows
		}
	}
	return n
}

// parseManifest reads manifest.json. What it lists is safe to create: known
// names only, each once, none above the folder.
func parseManifest(data []byte) (Manifest, error) {
	var head struct{ Format int }
	if err := json.Unmarshal(data, &head); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", manifestName, err)
	}
	if head.Format != Format {
		return Manifest{}, fmt.Errorf("%s: format %d is not known, only %d", manifestName, head.Format, Format)
	}
	var m Manifest
	if err := decodeSealed(data, &m); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", manifestName, err)
	}
	if len(m.Files) > maxFiles {
		return Manifest{}, fmt.Errorf("%s: lists %d files, more than %d", manifestName, len(m.Files), maxFiles)
	}
	seen := map[string]bool{}
	parts := map[string]int{} // of each table that has parts, so far
	for _, f := range m.Files {
		table, parted := f.Table(), path.Dir(f.Path) != "."
		switch {
		case !pathForm.MatchString(f.Path):
			return Manifest{}, fmt.Errorf("%s: %q is no name of a table's file", manifestName, f.Path)
		case seen[f.Path]:
			return Manifest{}, fmt.Errorf("%s: %s is listed twice", manifestName, f.Path)
		case f.Bytes < 0 || f.Bytes > maxFile || f.Rows < 0:
			return Manifest{}, fmt.Errorf("%s: %s has %d bytes and %d rows", manifestName, f.Path, f.Bytes, f.Rows)
		case parted && f.Path != partPath(table, parts[table]):
			return Manifest{}, fmt.Errorf("%s: %s stands where %s should", manifestName, f.Path, partPath(table, parts[table]))
		case seen[table] && (!parted || parts[table] == 0):
			return Manifest{}, fmt.Errorf("%s: %s is one file and also parts", manifestName, table)
		case f.Content != "" && !(parted && sumForm.MatchString(f.Content)):
			return Manifest{}, fmt.Errorf("%s: %s has the content %q", manifestName, f.Path, f.Content)
		}
		seen[f.Path], seen[table] = true, true
		if parted {
			parts[table]++
		}
	}
	return m, nil
}

// folders lists the folders that the files lie in, other than the root.
func (m Manifest) folders() []string {
	var out []string
	for _, f := range m.Files {
		if d := path.Dir(f.Path); d != "." && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}
