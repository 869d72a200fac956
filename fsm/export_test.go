package fsm

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// canary stands for what is secret in every row of these tests.
const canary = "CANARY-that-must-stay-in"

// plant fills every field of v, those that are secret with the canary. It tells how many are.
func plant(v reflect.Value, secret bool) (secrets int) {
	if v.Type() == timeType {
		v.Set(reflect.ValueOf(epoch0))
		return 0
	}
	if v.Type() == objectType {
		v.SetString(`{"a":1}`)
		return 0
	}
	if v.Type() == rawJSONType {
		v.SetBytes([]byte(`{"a":"public"}`))
		return 0
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64, reflect.Uint32:
		v.SetUint(7)
	case reflect.String:
		v.SetString("public")
		if secret {
			v.SetString(canary)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return plant(v.Elem(), secret)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("public"))
			if secret {
				v.SetBytes([]byte(canary))
			}
			return 0
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		return plant(v.Index(0), secret) + plant(v.Index(1), secret)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		plant(key, false)
		secrets = plant(value, secret)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			inner := v.Type().Field(i).Tag.Get("secret") != ""
			if inner {
				secrets++
			}
			secrets += plant(v.Field(i), secret || inner)
		}
	default:
		panic("plant: a row has a field of type " + v.Type().String())
	}
	return secrets
}

// planted puts one such row into the table, and tells how many secrets it has.
func (t *table[T]) planted(tx *Txn) int {
	row := new(T)
	secrets := plant(reflect.ValueOf(row).Elem(), false)
	t.put(tx, *row)
	return secrets
}

// leaks tells whether text holds the canary, as it is or in base64.
func leaks(text []byte) bool {
	for shift := range 3 { // base64 of a text depends on what comes before it, modulo 3
		coded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + canary))
		if bytes.Contains(text, []byte(coded[4:len(coded)-4])) {
			return true
		}
	}
	return bytes.Contains(text, []byte(canary))
}

// TestNothingSecretLeaves: neither an exported table, from memory or from a
// folder, nor one with changes laid over it, nor an event holds a secret; the
// changes as they are kept hold them all.
func TestNothingSecretLeaves(t *testing.T) {
	m, out := New(), &stream{}
	m.KeepChanges(0)
	tx := m.begin(1, epoch0)
	secrets := map[string]int{}
	for _, table := range tables {
		secrets[table.label()] = table.(interface{ planted(*Txn) int }).planted(tx)
	}
	tx.note()
	m.publish(tx)
	out.drain(m)
	if len(out.changes) != len(RecordedTables()) {
		t.Fatalf("%d changes of %d tables", len(out.changes), len(RecordedTables()))
	}
	for name, want := range map[string]int{"tokens": 1, "settings": 2, "seeds": 1, "vms": 1, "bmcs": 1, "compute_nodes": 4, "node_collections": 1, "redfish_endpoints": 1} {
		if secrets[name] != want {
			t.Errorf("table %s has %d secrets, want %d", name, secrets[name], want)
		}
	}
	folder := markedFolder(t, m)
	for i := range out.changes {
		c := &out.changes[i]
		what := func(kind string) string { return kind + " of " + c.Table }
		if leaks(c.Value) != (secrets[c.Table] > 0) {
			t.Errorf("%s: it has %d secrets, and the kept value is %s", what("change"), secrets[c.Table], c.Value)
		}
		event, err := PublicChange(c)
		if err != nil || leaks(event.Value) || !bytes.Contains(event.Value, []byte("public")) {
			t.Errorf("%s: %s, %v", what("event"), event.Value, err)
		}
		noLeak(t, what("export"), c.Table, func(w io.Writer) (int64, error) { return m.Read().Export(c.Table, w) })
		noLeak(t, what("export from a folder"), c.Table, func(w io.Writer) (int64, error) { return ExportFolder(folder, c.Table, w) })
		one := between(out.changes, snapshot.Range{From: 1, To: 1})
		noLeak(t, what("overlay"), c.Table, func(w io.Writer) (int64, error) { return Overlay(c.Table, nil, 0, one, w) })
		versions := &bytes.Buffer{}
		if n, err := Versions(c.Table, nil, 0, 0, time.Time{}, one, versions); err != nil || n != 1 || leaks(versions.Bytes()) {
			t.Errorf("%s: %d rows, %v, a leak: %v", what("versions"), n, err, leaks(versions.Bytes()))
		}
	}
}

// noLeak reads back the one row that a table was written with.
func noLeak(t *testing.T, what, table string, write func(io.Writer) (int64, error)) {
	t.Helper()
	var b bytes.Buffer
	n, err := write(&b)
	if err != nil || n != 1 {
		t.Errorf("%s: %d rows, %v", what, n, err)
		return
	}
	if rows := rowsIn(t, table, b.Bytes()); leaks(b.Bytes()) || leaks([]byte(rows)) || !strings.Contains(rows, "public") {
		t.Errorf("%s: %s", what, rows)
	}
}

// markedFolder writes a machine's state as a marked snapshot.
func markedFolder(t *testing.T, m *Machine) *snapshot.Folder {
	t.Helper()
	marks, err := snapshot.OpenMarks(t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := marks.Write(content(m.published.Load())); err != nil {
		t.Fatal(err)
	}
	found, err := marks.List()
	if err != nil || len(found) != 1 {
		t.Fatalf("snapshots: %v, %v", found, err)
	}
	folder, err := marks.Open(found[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// TestExportOfAFolder: a table from a folder is, to the byte, that from memory.
func TestExportOfAFolder(t *testing.T) {
	s := newScribe(11)
	for range 300 {
		s.next(t)
	}
	folder := markedFolder(t, s.m)
	read := recordRead(t, s.m.Read())
	for _, table := range RecordedTables() {
		var b bytes.Buffer
		if _, err := ExportFolder(folder, table, &b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), read.files[table]) {
			t.Errorf("%s from a folder:\n%s\nfrom memory:\n%s", table, rowsIn(t, table, b.Bytes()), rowsIn(t, table, read.files[table]))
		}
	}
}

// TestBookkeepingIsNotOffered: remembered answers and staged chunks are for nobody's eyes.
func TestBookkeepingIsNotOffered(t *testing.T) {
	r, folder := newLog(t, "a").m.Read(), markedFolder(t, New())
	for _, table := range []string{"requests", "staged", "sightings", "no_such_table", ""} {
		_, event := PublicChange(&snapshot.Change{Table: table, Value: []byte("{}")})
		_, export := r.Export(table, io.Discard)
		_, fromFolder := ExportFolder(folder, table, io.Discard)
		for what, err := range map[string]error{"event": event, "export": export, "export from a folder": fromFolder} {
			if e := (*api.Error)(nil); !errors.As(err, &e) || e.Kind != api.NotFound {
				t.Errorf("%s of %q: %v, want not found", what, table, err)
			}
		}
		if _, there := r.Rows()[table]; there || slices.Contains(RecordedTables(), table) {
			t.Errorf("table %q is offered", table)
		}
	}
}

// public are the fields that look secret and are not, with the reason. A field
// that holds bytes, or is named like a secret, is in here or tagged secret:"true".
var public = map[string]string{
	"peers.public_key": "a public key",
	"peers.wrap_key":   "a public key: what is wrapped for it stands in settings, tagged",

	"ssh_keys.public_key": "a public key",

	"services.modules.settings": "what a package tells its modules, as its files say it to everybody on the host",
	"spell_kv.key":              "the name of a value",

	"vms.status.ssh_host_keys.key": "a public key of the guest, to be compared with what ssh shows",
}

var looksSecret = regexp.MustCompile(`(?i)passw|secret|credential|private|sealed|wrapped|hash|user_?data|meta_?data|vendor_?data|cloud_?init|_key$|^key$|token`)

// TestWhatLooksSecretIsTagged: who adds a field for a secret and forgets the tag is told.
func TestWhatLooksSecretIsTagged(t *testing.T) {
	used := map[string]bool{}
	for _, table := range tables {
		if table.isBookkeeping() { // which leaves in no form
			continue
		}
		for _, f := range untagged(table.label(), table.(anyRows).rowType()) {
			if public[f] == "" {
				t.Errorf("%s looks like a secret: tag it secret:\"true\", or say here why everybody may see it", f)
			}
			used[f] = true
		}
	}
	for f := range public {
		if !used[f] {
			t.Errorf("%s is said to be public, and there is no such field", f)
		}
	}
}

// untagged are the paths of fields of t that look secret and are not tagged.
func untagged(path string, t reflect.Type) (found []string) {
	switch {
	case t == timeType:
		return nil
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return []string{path}
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return untagged(path, t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			below := path + "." + name
			if f.Anonymous && name == "" {
				below = path
			}
			switch {
			case f.Tag.Get("secret") == "true":
			case name != "" && looksSecret.MatchString(name) && isText(f.Type):
				found = append(found, below)
			default:
				found = append(found, untagged(below, f.Type)...)
			}
		}
	}
	return found
}

func isText(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t.Kind() == reflect.String || t.Kind() == reflect.Uint8
}

// TestTheGuardSees: what the test above would find in a row of these fields.
func TestTheGuardSees(t *testing.T) {
	type inner struct {
		UserData string            `json:"user_data"`
		Sums     map[string][]byte `json:"sums"`
		Sealed   []byte            `json:"sealed,omitempty" secret:"true"`
	}
	type row struct {
		inner
		Password *string `json:"password"`
		List     []inner `json:"list"`
		Plain    string  `json:"plain"`
	}
	got := fmt.Sprint(untagged("t", reflect.TypeFor[row]()))
	if want := "[t.user_data t.sums t.password t.list.user_data t.list.sums]"; got != want {
		t.Errorf("untagged: %s, want %s", got, want)
	}
}
