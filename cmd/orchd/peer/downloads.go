package peer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// moments are states that somebody reads table by table: each stays for a while,
// so that all tables are of one index.
type moments struct {
	now func() time.Time

	mu   sync.Mutex
	held map[uint64]moment
}

type moment struct {
	fsm.Reader
	until time.Time
}

// How long a moment stays, and how many do at once: an old state keeps rows in
// memory that have been replaced since.
const (
	momentLife  = 10 * time.Minute
	heldMoments = 4
)

func newMoments(now func() time.Time) *moments {
	return &moments{now: now, held: map[uint64]moment{}}
}

// hold keeps a state; where that is one too many, the one that would go first goes.
func (m *moments) hold(r fsm.Reader) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[r.Index()] = moment{r, m.now().Add(momentLife)}
	for len(m.held) > heldMoments {
		first := r.Index()
		for index, o := range m.held {
			if o.until.Before(m.held[first].until) {
				first = index
			}
		}
		delete(m.held, first)
	}
}

// find gives a held state and keeps it for longer.
func (m *moments) find(index uint64) (fsm.Reader, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.held[index]
	if ok {
		o.until = m.now().Add(momentLife)
		m.held[index] = o
	}
	return o.Reader, ok
}

// expire lets go of those that nobody has read for a while.
func (m *moments) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for index, o := range m.held {
		if m.now().After(o.until) {
			delete(m.held, index)
		}
	}
}

// The ids of states that are no marked snapshots.
const (
	idNow    = "now"
	idPrefix = "at-" // and the log index
)

// tablesOf is where the tables of an id come from.
type tablesOf struct {
	describe api.Snapshot
	export   func(table string, w io.Writer) error
}

// state finds what an id names.
func (p *Peer) state(ctx context.Context, id string) (tablesOf, error) {
	if id == idNow {
		if err := p.node.ReadIndex(ctx); err != nil {
			return tablesOf{}, err
		}
		now := p.machine.Read()
		p.moments.hold(now)
		return momentary(now), nil
	}
	if digits, ok := strings.CutPrefix(id, idPrefix); ok {
		index, err := strconv.ParseUint(digits, 10, 64)
		if r, held := p.moments.find(index); err == nil && held {
			return momentary(r), nil
		}
		return tablesOf{}, api.Errorf(api.NotFound, "snapshot", "this peer does not hold the state %q any more: ask for %q again, on the peer that you read from", id, idNow)
	}
	folder, err := p.openMarked(ctx, id)
	if err != nil {
		return tablesOf{}, err
	}
	return tablesOf{describeSnapshot(id, folder.Path(), folder.Manifest()), func(table string, w io.Writer) error {
		_, err := fsm.ExportFolder(folder, table, w)
		return err
	}}, nil
}

func momentary(r fsm.Reader) tablesOf {
	s := api.Snapshot{ID: idPrefix + strconv.FormatUint(r.Index(), 10), Index: r.Index(), CreatedAt: r.Now(), StateHash: r.Hash(), Rows: r.Rows()}
	return tablesOf{s, func(table string, w io.Writer) error {
		_, err := r.Export(table, w)
		return err
	}}
}

// awaitMarked has a snapshot written whose turn has not come yet on this peer, and waits for
// it. One whose mark is only met again, after a restart, is there already.
func (p *Peer) awaitMarked(ctx context.Context, id string) error {
	index, err := strconv.ParseUint(id, 10, 64)
	if err != nil || !p.machine.Marking(index) {
		return nil
	}
	if _, err := os.Lstat(p.marks.files.Path(id)); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	return p.marks.wait(ctx, index)
}

// openMarked opens a marked snapshot of this peer.
func (p *Peer) openMarked(ctx context.Context, id string) (*snapshot.Folder, error) {
	if err := p.awaitMarked(ctx, id); err != nil {
		return nil, err
	}
	folder, err := p.marks.files.Open(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.NotFound, "snapshot", "no snapshot %q on this peer; list them with: orchd snapshot list", id)
	}
	if err != nil {
		return nil, api.Errorf(api.Conflict, "snapshot", "snapshot %s on this peer is damaged: %v. It is left out until it is mended; ask another peer for it", id, err)
	}
	return folder, nil
}

// SnapshotTable opens a table of a state as one parquet file, without secrets.
func (p *Peer) SnapshotTable(ctx context.Context, id, table string) (server.Document, error) {
	if !slices.Contains(fsm.RecordedTables(), table) {
		return server.Document{}, api.Errorf(api.NotFound, "snapshot.download", "no table %q; there are: %s", table, strings.Join(fsm.RecordedTables(), ", "))
	}
	if hidden(ctx)(table) {
		return server.Document{}, api.Errorf(api.Forbidden, "snapshot.download", "the table %s is for admins only", table)
	}
	s, err := p.state(ctx, id)
	if err != nil {
		return server.Document{}, err
	}
	return p.exports.document(table+".parquet", s.describe.CreatedAt, func(f io.WriteSeeker) error { return s.export(table, f) })
}

// SnapshotArchive opens all tables of a state as one tar file, without secrets.
func (p *Peer) SnapshotArchive(ctx context.Context, id string) (server.Document, error) {
	s, err := p.state(ctx, id)
	if err != nil {
		return server.Document{}, err
	}
	return p.exports.document("orchd-"+s.describe.ID+".tar", s.describe.CreatedAt, func(f io.WriteSeeker) error { return archive(f, s, hidden(ctx)) })
}

// archived is what snapshot.json in an archive tells.
type archived struct {
	Index     uint64         `json:"index"`
	Time      time.Time      `json:"time"`
	StateHash string         `json:"state_hash"` // of the rows with their secrets, so not of these files
	Files     []archivedFile `json:"files"`
}

type archivedFile struct {
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// archive writes the tables that are not hidden one by one, then the list of them.
func archive(w io.WriteSeeker, s tablesOf, hidden func(table string) bool) error {
	about := archived{Index: s.describe.Index, Time: s.describe.CreatedAt, StateHash: s.describe.StateHash, Files: []archivedFile{}}
	const list, ending = "snapshot.json", ".parquet"
	var names []string
	for _, table := range fsm.RecordedTables() {
		if !hidden(table) {
			names = append(names, table+ending)
		}
	}
	return snapshot.WriteArchive(w, s.describe.CreatedAt, append(names, list), func(name string, w io.Writer) error {
		if name == list {
			text, err := json.MarshalIndent(about, "", "  ")
			if err == nil {
				_, err = w.Write(append(text, '\n'))
			}
			return err
		}
		table, sum := strings.TrimSuffix(name, ending), sha256.New()
		var size counter
		if err := s.export(table, io.MultiWriter(w, sum, &size)); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
		about.Files = append(about.Files, archivedFile{name, s.describe.Rows[table], int64(size), hex.EncodeToString(sum.Sum(nil))})
		return nil
	})
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// ChangesFile opens a stretch of changes, FROM-TO.parquet, without secrets and
// without the tables that who asks may not see.
func (p *Peer) ChangesFile(ctx context.Context, name string) (server.Document, error) {
	stretch, ok := strings.CutSuffix(name, ".parquet")
	if !ok {
		return server.Document{}, api.Errorf(api.NotFound, "changes", "no file %q; a stretch of changes is named FROM-TO.parquet", name)
	}
	hidden := hidden(ctx)
	f, _, err := p.changesBetween(stretch, func(c *snapshot.Change) (bool, error) {
		if hidden(c.Table) {
			return false, nil
		}
		e, err := fsm.PublicChange(c)
		c.Value = e.Value
		return true, err
	})
	if err != nil {
		return server.Document{}, err
	}
	// What an index changed stays as it is for ever: the name says which file it is,
	// and who asks how much of it.
	etag := "changes-" + stretch + "-" + p.identity.ClusterID[:8]
	if hidden("tokens") {
		etag += "-public"
	}
	return server.Document{ReadSeekCloser: f, ETag: etag, Name: name}, nil
}
