package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/parquet"
	parquetfile "github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/schema"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// sqlEngine is the engine under test: ORCHD_SQL_BIN, else built from the checkout
// into .cache/bin, once for a run of tests.
var sqlEngine = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("ORCHD_SQL_BIN"); path != "" {
		return filepath.Abs(path)
	}
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..", "..")
	path := filepath.Join(root, ".cache", "bin", "orchd-sql")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = filepath.Join(root, "cmd", "orchd-sql")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build orchd-sql: %w\n%s", err, out)
	}
	return path, nil
})

// keyed are the rows of a table, by key, each with the words of its JSON.
type keyed map[string]any

// world is a cluster that only remembers: what changed, and how everything was at each index.
type world struct {
	*fake
	changes   []snapshot.Change
	times     []time.Time        // of each index, from 1
	recorded  []map[string]keyed // of each index; 0: nothing is there yet
	snapshots []api.Snapshot
	ranges    []api.ChangeRange
}

// newWorld is a cluster in which nothing has happened yet.
func newWorld(t *testing.T) *world {
	w := &world{fake: newFake(t), times: []time.Time{{}}, recorded: []map[string]keyed{{}}}
	w.mux.HandleFunc("GET /v1/snapshots", func(out http.ResponseWriter, _ *http.Request) { w.send(out, page(w.snapshots...)) })
	w.mux.HandleFunc("GET /v1/snapshots/{id}", func(out http.ResponseWriter, r *http.Request) { w.send(out, w.snapshot(r.PathValue("id"))) })
	w.mux.HandleFunc("GET /v1/snapshots/{id}/{file}", w.sendTable)
	w.mux.HandleFunc("GET /v1/changes", func(out http.ResponseWriter, _ *http.Request) { w.send(out, page(w.ranges...)) })
	w.mux.HandleFunc("GET /v1/changes/{file}", w.sendChanges)
	return w
}

func (w *world) send(out http.ResponseWriter, v any) {
	if err := json.NewEncoder(out).Encode(v); err != nil {
		w.t.Error(err)
	}
}

func (w *world) end() uint64 { return uint64(len(w.times) - 1) }

// happen is the next entry of the log, with its changes.
func (w *world) happen(at time.Time, changes ...snapshot.Change) {
	now := map[string]keyed{}
	for table, rows := range w.recorded[w.end()] {
		now[table] = maps.Clone(rows)
	}
	w.times = append(w.times, at)
	for n, c := range changes {
		c.Index, c.N, c.Time, c.Actor = w.end(), uint64(n+1), at, "token:t1"
		if now[c.Table] == nil {
			now[c.Table] = keyed{}
		}
		if c.Verb == string(api.Deleted) {
			delete(now[c.Table], c.Key)
		} else {
			now[c.Table][c.Key] = parsed(w.t, c.Value)
		}
		w.changes = append(w.changes, c)
	}
	w.recorded = append(w.recorded, now)
}

// put is a change that stores a row; whether it is a new one is looked up.
func (w *world) put(table, key string, value any) snapshot.Change {
	text, err := json.Marshal(value)
	if err != nil {
		w.t.Fatal(err)
	}
	verb := api.Created
	if _, there := w.recorded[w.end()][table][key]; there {
		verb = api.Updated
	}
	return snapshot.Change{Table: table, Key: key, Verb: string(verb), Value: text}
}

func gone(table, key string) snapshot.Change {
	return snapshot.Change{Table: table, Key: key, Verb: string(api.Deleted)}
}

// mark keeps a marked snapshot of now.
func (w *world) mark() {
	w.snapshots = append(w.snapshots, w.described(strconv.FormatUint(w.end(), 10), w.end()))
}

func (w *world) described(id string, index uint64) api.Snapshot {
	return api.Snapshot{ID: id, Index: index, CreatedAt: w.times[index]}
}

func (w *world) snapshot(id string) api.Snapshot {
	if id == "now" {
		return w.described(fmt.Sprintf("at-%d", w.end()), w.end())
	}
	return w.described(id, w.indexOf(id))
}

func (w *world) indexOf(id string) uint64 {
	index, err := strconv.ParseUint(strings.TrimPrefix(id, "at-"), 10, 64)
	if err != nil || index > w.end() {
		w.t.Errorf("asked for the snapshot %q", id)
	}
	return index
}

// files cuts all that happened into stretches that end at those indexes; the last one ends now.
func (w *world) files(ends ...uint64) {
	w.ranges = nil
	from := uint64(1)
	for _, to := range append(ends, w.end()) {
		r := api.ChangeRange{From: from, To: to, File: fmt.Sprintf("%d-%d.parquet", from, to)}
		for c := range w.between(from, to) {
			if r.Rows++; r.Rows == 1 {
				r.Since = c.Time
			}
			r.Until = c.Time
		}
		w.ranges = append(w.ranges, r)
		from = to + 1
	}
}

func (w *world) between(from, to uint64) iter.Seq2[*snapshot.Change, error] {
	return func(yield func(*snapshot.Change, error) bool) {
		for i := range w.changes {
			if c := &w.changes[i]; c.Index >= from && c.Index <= to && !yield(c, nil) {
				return
			}
		}
	}
}

func (w *world) sendTable(out http.ResponseWriter, r *http.Request) {
	table := strings.TrimSuffix(r.PathValue("file"), ".parquet")
	w.sendFile(out, r, func(to io.Writer) error {
		_, err := fsm.Overlay(table, nil, 0, w.between(1, w.indexOf(r.PathValue("id"))), to)
		return err
	})
}

func (w *world) sendChanges(out http.ResponseWriter, r *http.Request) {
	from, to, _ := strings.Cut(strings.TrimSuffix(r.PathValue("file"), ".parquet"), "-")
	w.sendFile(out, r, func(file io.Writer) error {
		_, err := snapshot.WriteChanges(file, func(yield func(*snapshot.Change, error) bool) {
			for c := range w.between(w.indexOf(from), w.indexOf(to)) {
				e, err := fsm.PublicChange(c)
				public := *c
				public.Value = e.Value
				if !yield(&public, err) {
					return
				}
			}
		})
		return err
	})
}

func (w *world) sendFile(out http.ResponseWriter, r *http.Request, write func(io.Writer) error) {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		w.t.Errorf("%s: %v", r.URL.Path, err)
	}
	out.Header().Set("ETag", strconv.Quote(r.URL.Path))
	http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(b.Bytes()))
}

// sql runs a statement against the world and gives the rows of its JSON.
func (w *world) sql(text string, flags ...string) (rows []map[string]any) {
	w.t.Helper()
	r := w.ask(append([]string{text, "-o", "json"}, flags...)...)
	if r.code != 0 {
		w.t.Fatalf("%s %q: exit %d, %s", text, flags, r.code, r.stderr)
	}
	d := json.NewDecoder(strings.NewReader(r.stdout))
	d.UseNumber()
	if err := d.Decode(&rows); err != nil {
		w.t.Fatalf("%s %q: %v in %q", text, flags, err, r.stdout)
	}
	return rows
}

// ask runs orchd sql with the engine under test, a minute after the last thing that happened.
func (w *world) ask(args ...string) result {
	w.t.Helper()
	engine, err := sqlEngine()
	if err != nil {
		w.t.Fatal(err)
	}
	var out, complaints bytes.Buffer
	a := App{Environ: []string{"ORCHD_ADDR=unix://" + w.socket, "PATH=" + os.Getenv("PATH")}, Stdout: &out, Stderr: &complaints,
		Now: func() time.Time { return w.times[w.end()].Add(time.Minute) }}
	code := a.Run(w.t.Context(), append([]string{"sql", "--engine", engine}, args...))
	return result{out.String(), complaints.String(), code}
}

// all is a statement that gives every row of every table as it is.
func all(source func(table string) string) string {
	var parts []string
	for _, t := range fsm.RecordedTables() {
		parts = append(parts, fmt.Sprintf("SELECT '%s' AS name, to_json(t) AS content FROM %s t", t, source(t)))
	}
	return strings.Join(parts, "\nUNION ALL ")
}

// tablesIn sorts the rows of all by table and key.
func tablesIn(t *testing.T, rows []map[string]any) map[string]keyed {
	t.Helper()
	tables := map[string]keyed{}
	for _, r := range rows {
		table, content := r["name"].(string), r["content"].(map[string]any)
		if tables[table] == nil {
			tables[table] = keyed{}
		}
		var parts []string
		for _, column := range keyColumns(table) {
			part, ok := content[column].(string)
			if !ok {
				t.Fatalf("%s: a row without a key: %v", table, content)
			}
			parts = append(parts, part)
		}
		tables[table][strings.Join(parts, "/")] = content
	}
	return tables
}

// keyColumns are the columns of which the key of a table is made.
func keyColumns(table string) []string {
	switch table {
	case "accounts", "settings":
		return []string{"name"}
	case "components", "redfish_endpoints", "component_endpoints", "ethernet_interfaces":
		return []string{"ID"}
	case "seeds", "placements":
		return []string{"vm"}
	case "leases":
		return []string{"ip"}
	case "usage":
		return []string{"account", "month"}
	case "spell_kv":
		return []string{"store", "key"}
	case "deployments":
		return []string{"peer", "package"}
	}
	return []string{"id"}
}

// secrets are the columns that never leave a peer.
var secrets = []string{
	"bmcs.password", "compute_nodes.cloud_init_data.metadata", "compute_nodes.cloud_init_data.userdata", "compute_nodes.cloud_init_data.vendordata",
	"compute_nodes.spec.bmc_password", "node_collections.cloud_init_data", "redfish_endpoints.Password",
	"seeds.user_data", "settings.sealed", "settings.wrapped", "tokens.hash", "vms.spec.user_data",
}

// unlike compares what was recorded with what an engine gave, but for secrets.
func unlike(want, got map[string]keyed) (all []string) {
	for _, table := range fsm.RecordedTables() {
		for key := range want[table] {
			if _, there := got[table][key]; !there {
				all = append(all, fmt.Sprintf("%s %s is missing", table, key))
			}
		}
		for key, row := range got[table] {
			if before, there := want[table][key]; !there {
				all = append(all, fmt.Sprintf("%s %s should not be there", table, key))
			} else if d := difference(table, before, row); d != "" {
				all = append(all, fmt.Sprintf("%s %s: %s", table, key, d))
			}
		}
	}
	return all
}

// isJSONText tells whether a column holds any JSON as a text.
func isJSONText(path string) bool {
	return strings.HasSuffix(path, ".extended_data") || path == "component_endpoints.RedfishSystemInfo.Actions"
}

// difference is where two values differ; null is as good as absent.
func difference(path string, want, got any) string {
	if slices.Contains(secrets, path) {
		want = nil
	}
	if text, ok := got.(string); ok && got != want && isJSONText(path) {
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			return fmt.Sprintf("%s is no JSON: %s", path, text)
		}
	}
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok && !(got == nil && len(want) == 0) {
			break
		}
		for name := range maps.Keys(object) {
			if _, there := want[name]; !there && object[name] != nil && object[name] != "0001-01-01T00:00:00Z" {
				return fmt.Sprintf("%s.%s is %v, want none", path, name, object[name])
			}
		}
		for name, value := range want {
			if d := difference(path+"."+name, value, object[name]); d != "" {
				return d
			}
		}
		return ""
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			break
		}
		for i := range list {
			if d := difference(path, want[i], list[i]); d != "" {
				return d
			}
		}
		return ""
	case string:
		text, ok := got.(string)
		if ok && (text == want || sameMoment(text, want) || sameBytes(text, want)) {
			return ""
		}
	default:
		if want == got {
			return ""
		}
	}
	return fmt.Sprintf("%s is %v, want %v", path, got, want)
}

// sameMoment tells whether the engine's way to write a time says the same as JSON's.
func sameMoment(got, want string) bool {
	g, err := time.Parse("2006-01-02 15:04:05.999999-07", got)
	w, wantErr := time.Parse(time.RFC3339Nano, want)
	return errors.Join(err, wantErr) == nil && g.Equal(w)
}

var escapedByte = regexp.MustCompile(`\\x[0-9A-F]{2}`)

// sameBytes tells whether the engine's way to write bytes says the same as JSON's.
func sameBytes(got, want string) bool {
	plain := escapedByte.ReplaceAllStringFunc(got, func(s string) string {
		n, _ := strconv.ParseUint(s[2:], 16, 8)
		return string([]byte{byte(n)})
	})
	return base64.StdEncoding.EncodeToString([]byte(plain)) == want
}

func parsed(t *testing.T, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// author invents rows that fit the columns of the tables.
type author struct {
	rng     *rand.Rand
	columns map[string]*schema.GroupNode
}

func newAuthor(t *testing.T, seed uint64) *author {
	t.Helper()
	a := &author{rand.New(rand.NewPCG(seed, 0)), map[string]*schema.GroupNode{}}
	for _, table := range fsm.RecordedTables() {
		var b bytes.Buffer
		if _, err := fsm.Overlay(table, nil, 0, func(func(*snapshot.Change, error) bool) {}, &b); err != nil {
			t.Fatal(err)
		}
		r, err := parquetfile.NewParquetReader(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		a.columns[table] = r.MetaData().Schema.Root()
	}
	return a
}

// change is one of a random row: it is made, changed or deleted.
func (a *author) change(w *world) snapshot.Change {
	table := fsm.RecordedTables()[a.rng.IntN(len(a.columns))]
	parts := []string{fmt.Sprintf("x%dc0s0b0n0", a.rng.IntN(6)), "2026-11"}[:len(keyColumns(table))] // an xname where the key is one
	key := strings.Join(parts, "/")
	if _, there := w.recorded[w.end()][table][key]; there && a.rng.IntN(3) == 0 {
		return gone(table, key)
	}
	row := a.group(a.columns[table])
	for i, column := range keyColumns(table) {
		row[column] = parts[i]
	}
	return w.put(table, key, row)
}

func (a *author) group(g *schema.GroupNode) map[string]any {
	row := map[string]any{}
	for i := range g.NumFields() {
		f := g.Field(i)
		if f.RepetitionType() == parquet.Repetitions.Optional && a.rng.IntN(4) == 0 {
			continue
		}
		row[f.Name()] = a.value(f)
	}
	return row
}

// value is one that is not the zero value, for that is null where it may be.
func (a *author) value(f schema.Node) any {
	g, isGroup := f.(*schema.GroupNode)
	if !isGroup {
		return a.leaf(f.(*schema.PrimitiveNode))
	}
	switch f.LogicalType().(type) {
	case schema.ListLogicalType, *schema.ListLogicalType:
		element := g.Field(0).(*schema.GroupNode).Field(0)
		return []any{a.value(element), a.value(element)}[:1+a.rng.IntN(2)]
	case schema.MapLogicalType, *schema.MapLogicalType:
		return map[string]any{a.text(): a.value(g.Field(0).(*schema.GroupNode).Field(1))}
	}
	row := a.group(g)
	for len(row) == 0 {
		row = a.group(g)
	}
	return row
}

func (a *author) leaf(f *schema.PrimitiveNode) any {
	switch l := f.LogicalType(); {
	case f.PhysicalType() == parquet.Types.Boolean:
		return true
	case l.Equals(schema.JSONLogicalType{}):
		return map[string]any{a.text(): []any{1.5, nil, a.text()}}
	case l.Equals(schema.StringLogicalType{}):
		return a.text()
	case f.PhysicalType() == parquet.Types.ByteArray:
		return []byte(a.text() + "\x00\xff")
	case l.Equals(schema.NewTimestampLogicalType(true, schema.TimeUnitMicros)):
		return time.UnixMicro(1_790_000_000_000_000 + a.rng.Int64N(1e12)).UTC()
	case f.Name() == "u32": // a column has 64 bits all the same
		return 1 + a.rng.Int64N(1<<32-1)
	case l.Equals(schema.NewIntLogicalType(64, false)):
		return 1 + a.rng.Uint64N(1<<63) + a.rng.Uint64N(1<<62)
	default:
		return 1 + a.rng.Int64N(1<<40)
	}
}

func (a *author) text() string {
	return []string{"web1", "ü, \"quoted\" 'twice'", "a\nb\tc\\", "null", "10.1.0.7", "x1000c0s0b0", "日本"}[a.rng.IntN(7)] + strconv.Itoa(a.rng.IntN(10))
}

// randomWorld is a history of as many entries, some of which share a time or change
// nothing, with snapshots and stretches of changes.
func randomWorld(t *testing.T, seed uint64, entries int) *world {
	t.Helper()
	w, a := newWorld(t), newAuthor(t, seed)
	at := now
	var ends []uint64
	for range entries {
		at = at.Add(time.Duration(a.rng.IntN(3)) * 700 * time.Microsecond)
		var changes []snapshot.Change
		touched := map[string]bool{}
		for range a.rng.IntN(6) {
			if c := a.change(w); !touched[c.Table+c.Key] { // a row changes once in an entry
				touched[c.Table+c.Key] = true
				changes = append(changes, c)
			}
		}
		w.happen(at, changes...)
		if a.rng.IntN(entries/4+1) == 0 {
			w.mark()
		}
		if a.rng.IntN(entries/5+1) == 0 && len(w.times)-1 < entries {
			ends = append(ends, w.end())
		}
	}
	w.files(ends...)
	return w
}
