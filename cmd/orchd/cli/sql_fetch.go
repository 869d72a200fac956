package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// fetch brings what a statement needs into a folder.
type fetch struct {
	client client
	folder string
	wanted wanted
	past   past         // empty where nobody asks about it
	state  way          // to the state that is asked about
	moment api.Snapshot // that state: its index, and the time until which it holds
}

// fetchInto fills a folder with what is wanted, and with the prelude.sql that names it.
func (a *App) fetchInto(ctx context.Context, folder string, w wanted, flags sqlFlags) error {
	to, err := a.target()
	if err != nil {
		return err
	}
	c, err := a.connect(to)
	if err != nil {
		return err
	}
	defer c.api.Close()
	f := fetch{client: c, folder: folder, wanted: w}
	if err := f.find(ctx, flags); err != nil {
		return err
	}
	return f.all(ctx)
}

// find settles which moment is asked about.
func (f *fetch) find(ctx context.Context, flags sqlFlags) (err error) {
	now := f.client.app.Now()
	if flags.at == "" && len(f.wanted.history) == 0 && !f.wanted.changes { // the usual case needs no look into the past
		return f.findState(ctx, flags.snapshot, now)
	}
	i := instant{time: now}
	if flags.at != "" {
		if i, err = instantOf(flags.at, now); err != nil {
			return err
		}
	}
	if f.past, err = f.client.caughtUp(ctx); err != nil {
		return err
	}
	if flags.at == "" {
		return f.findState(ctx, flags.snapshot, now)
	}
	if newest := f.past.newest; i.index > newest.Index || i.time.After(now) && i.time.After(newest.CreatedAt) {
		return usagef("%v is in the future: now is %s, index %d", i, precise(now), newest.Index)
	}
	if f.state, err = f.past.to(i); err != nil {
		return err
	}
	return f.settle(ctx, i)
}

// findState asks for the state of now, or of a marked snapshot. What is so now
// still is: its moment lasts until the clock of who asks.
func (f *fetch) findState(ctx context.Context, id string, now time.Time) error {
	if id == "" && f.past.newest.ID != "" {
		f.moment = f.past.newest
	} else if err := f.client.get(ctx, "/v1/snapshots/"+pathName(id, "now"), nil, &f.moment); err != nil {
		return err
	}
	f.state = way{base: f.moment, until: instant{index: f.moment.Index}}
	if id == "" && now.After(f.moment.CreatedAt) {
		f.moment.CreatedAt = now
	}
	return nil
}

// settle finds the index of an instant, which is before the first change behind it.
func (f *fetch) settle(ctx context.Context, i instant) error {
	f.moment = api.Snapshot{Index: f.state.base.Index, CreatedAt: f.state.base.CreatedAt}
	for _, r := range f.state.ranges {
		if err := f.changesFile(ctx, r); err != nil {
			return err
		}
		f.moment.Index = r.To
	}
	beyond := way{f.state.base, f.state.ranges, instant{index: math.MaxUint64}}
	for c, err := range f.behind(beyond) {
		if err != nil {
			return err
		}
		if !i.covers(c.Index, c.Time) {
			f.moment.Index = c.Index - 1
			break
		}
		f.moment.CreatedAt = c.Time
	}
	if i.index != 0 {
		f.moment.Index = i.index
	} else {
		f.moment.CreatedAt = i.time
	}
	f.state.until = instant{index: f.moment.Index}
	return nil
}

// all fetches tables, versions and changes, and writes the prelude.
func (f *fetch) all(ctx context.Context) error {
	for _, table := range f.wanted.tables {
		if err := f.table(ctx, table); err != nil {
			return fmt.Errorf("fetch %s: %w", table, err)
		}
	}
	var gaps string
	if f.wanted.changes || len(f.wanted.history) > 0 {
		var err error
		if gaps, err = f.changes(ctx); err != nil {
			return fmt.Errorf("fetch the changes: %w", err)
		}
	}
	if len(f.wanted.history) > 0 {
		if err := f.histories(ctx); err != nil {
			return err
		}
	}
	if gaps != "" {
		f.client.app.say("changes are missing on this peer: %s", gaps)
	}
	if err := f.dropBases(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(f.folder, "prelude.sql"), []byte(f.prelude()), 0o600)
}

// table makes the file of a table as it was at the moment.
func (f *fetch) table(ctx context.Context, table string) error {
	to := table + ".parquet"
	if f.state.exact() {
		return f.download(ctx, "/v1/snapshots/"+f.state.base.ID+"/"+to, to)
	}
	return f.made(ctx, table, to, f.state, func(base io.ReaderAt, size int64, w io.Writer) error {
		_, err := fsm.Overlay(table, base, size, f.behind(f.state), w)
		return err
	})
}

// histories makes the files of all versions of rows.
func (f *fetch) histories(ctx context.Context) error {
	at := f.moment
	at.ID = "" // where the state is no snapshot, history cannot begin with it
	if f.state.exact() {
		at.ID, at.CreatedAt = f.state.base.ID, f.state.base.CreatedAt
	}
	through, err := f.past.history(at)
	if err != nil {
		return err
	}
	if through.base.ID != "" {
		f.client.app.say("history begins at %s, index %d", precise(through.base.CreatedAt), through.base.Index)
	}
	for _, table := range f.wanted.history {
		err := f.made(ctx, table, versionsFile(table), through, func(base io.ReaderAt, size int64, w io.Writer) error {
			_, err := fsm.Versions(table, base, size, through.base.Index, through.base.CreatedAt, f.behind(through), w)
			return err
		})
		if err != nil {
			return fmt.Errorf("fetch the history of %s: %w", table, err)
		}
	}
	return nil
}

func versionsFile(table string) string { return historySchema + "-" + table + ".parquet" }

// made writes a file out of a table of the base of a way, which it fetches.
func (f *fetch) made(ctx context.Context, table, to string, w way, write func(base io.ReaderAt, size int64, out io.Writer) error) (err error) {
	out, err := os.OpenFile(filepath.Join(f.folder, to), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if w.base.ID == "" {
		return write(nil, 0, out)
	}
	name := basePrefix + w.base.ID + "-" + table + ".parquet"
	if err := f.download(ctx, "/v1/snapshots/"+w.base.ID+"/"+table+".parquet", name); err != nil {
		return err
	}
	return reading(filepath.Join(f.folder, name), func(base io.ReaderAt, size int64) error { return write(base, size, out) })
}

// basePrefix begins the names of files that only others are made of.
const basePrefix = "base-"

// dropBases removes what the engine does not need.
func (f *fetch) dropBases() error {
	bases, err := filepath.Glob(filepath.Join(f.folder, basePrefix+"*"))
	for _, b := range bases {
		err = errors.Join(err, os.Remove(b))
	}
	return err
}

// reading opens a file for as long as do takes.
func reading(path string, do func(r io.ReaderAt, size int64) error) error {
	r, err := os.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return err
	}
	return do(r, info.Size())
}

// changes fetches all files of changes up to the moment, and says which are missing.
func (f *fetch) changes(ctx context.Context) (gaps string, err error) {
	next := uint64(1)
	var missing []string
	for _, r := range f.past.ranges {
		if r.From > f.moment.Index {
			break
		}
		if r.From > next {
			missing = append(missing, fmt.Sprintf("index %d to %d", next, r.From-1))
		}
		next = r.To + 1
		if err := f.changesFile(ctx, r); err != nil {
			return "", err
		}
	}
	if next <= f.moment.Index {
		missing = append(missing, fmt.Sprintf("index %d to %d", next, f.moment.Index))
	}
	return strings.Join(missing, ", "), nil
}

func (f *fetch) changesFile(ctx context.Context, r api.ChangeRange) error {
	return f.download(ctx, "/v1/changes/"+r.File, changesFile(r))
}

func changesFile(r api.ChangeRange) string { return changesName + "-" + r.File }

// behind are the changes of a way, in order; its files have been fetched.
func (f *fetch) behind(w way) iter.Seq2[*snapshot.Change, error] {
	return func(yield func(*snapshot.Change, error) bool) {
		for _, r := range w.ranges {
			more := true
			err := reading(filepath.Join(f.folder, changesFile(r)), func(file io.ReaderAt, size int64) error {
				for c, err := range snapshot.ReadChanges(file, size) {
					if err != nil {
						return fmt.Errorf("%s: %w", r.File, err)
					}
					if c.Index <= w.base.Index {
						continue
					}
					if more = w.until.covers(c.Index, c.Time) && yield(c, nil); !more {
						return nil
					}
				}
				return nil
			})
			if err != nil {
				yield(nil, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// download fetches a file once.
func (f *fetch) download(ctx context.Context, path, name string) error {
	to := filepath.Join(f.folder, name)
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	_, err := f.client.app.download(ctx, f.client, path, to)
	return err
}

// prelude gives names to the files.
func (f *fetch) prelude() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- the state at index %d; read by orchd-sql, or in this folder by: duckdb -init prelude.sql\n", f.moment.Index)
	b.WriteString(viewAs("moment", "the log index and the time that is asked about",
		fmt.Sprintf(`SELECT %d::UBIGINT AS "index", %s::TIMESTAMPTZ AS "time"`, f.moment.Index, sqlText(precise(f.moment.CreatedAt)))))
	for _, t := range f.wanted.tables {
		b.WriteString(viewAs(t, "", "SELECT * FROM read_parquet("+sqlText(t+".parquet")+")"))
	}
	if f.wanted.changes {
		b.WriteString(viewAs(changesName, "every change of a row, with who asked for it", f.changesView()))
	}
	b.WriteString("CREATE SCHEMA " + historySchema + ";\n")
	for _, t := range f.wanted.history {
		b.WriteString(viewAs(historySchema+"."+t, "every version of the rows of "+t, historyView(t)))
	}
	for _, v := range readyViews {
		if v.stands(f.wanted) {
			b.WriteString(viewAs(v.name, v.about, v.sql))
		}
	}
	return b.String()
}

// changesView is all changes up to the moment.
func (f *fetch) changesView() string {
	var files []string
	for _, r := range f.past.ranges {
		if r.From <= f.moment.Index {
			files = append(files, sqlText(changesFile(r)))
		}
	}
	if len(files) == 0 {
		return `SELECT 0::UBIGINT AS "index", 0::UBIGINT AS n, NULL::TIMESTAMPTZ AS "time", '' AS actor, '' AS request_id, '' AS "table", '' AS "key", '' AS account, '' AS verb, NULL::JSON AS "value" WHERE false`
	}
	return fmt.Sprintf(`SELECT * FROM read_parquet([%s]) WHERE "index" <= %d`, strings.Join(files, ", "), f.moment.Index)
}

// historyView makes spans of versions: each holds until the next of its row begins.
func historyView(table string) string {
	return fmt.Sprintf(`
SELECT valid_from, valid_to, verb, "index", n, "row".* FROM (
  SELECT *, "time" AS valid_from, lead("time") OVER (PARTITION BY "key" ORDER BY "index", n) AS valid_to
  FROM read_parquet(%s)) v WHERE verb IS DISTINCT FROM 'delete'`, sqlText(versionsFile(table)))
}

// pathName is a name as a part of a path, or another one if it is empty.
func pathName(name, otherwise string) string {
	if name == "" {
		return otherwise
	}
	return url.PathEscape(name)
}
