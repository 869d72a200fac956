package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// plainly is a table under its own name.
func plainly(table string) string { return table }

// TestEveryColumnComesOut: another program reads every column of every table as it
// went in, and nothing secret goes out.
func TestEveryColumnComesOut(t *testing.T) {
	w := randomWorld(t, 1, 400)
	got := tablesIn(t, w.sql(all(plainly)))
	if d := unlike(w.recorded[w.end()], got); len(d) > 0 {
		t.Errorf("%d rows differ:\n%s", len(d), strings.Join(d[:min(len(d), 10)], "\n"))
	}
	asked := "SELECT columns(*) FROM (" + all(plainly) + ") LIMIT 0"
	if rows := w.sql(asked); len(rows) != 0 {
		t.Errorf("got %v, want nothing", rows)
	}
	seen := map[string]bool{}
	for _, rows := range w.sql(all(func(table string) string {
		return "(FROM history." + table + " SELECT * EXCLUDE (valid_from, valid_to, verb, \"index\", n))"
	})) {
		note(seen, rows["name"].(string), rows["content"])
	}
	for path, full := range seen {
		if isGroup(seen, path) {
			continue
		}
		if secret := slices.Contains(secrets, path); full == secret {
			t.Errorf("%s: has values %v, secret %v", path, full, secret)
		}
	}
	for _, path := range secrets {
		if _, there := seen[path]; !there {
			t.Errorf("%s is no column", path)
		}
	}
}

// note tells of each column whether it has a value anywhere.
func note(seen map[string]bool, path string, v any) {
	object, ok := v.(map[string]any)
	if !ok || path == "vms.labels" || path == "peers.labels" {
		seen[path] = seen[path] || v != nil
		return
	}
	for name, value := range object {
		note(seen, path+"."+name, value)
	}
}

// isGroup tells whether a path is one of columns that hold others; it is null in some rows.
func isGroup(seen map[string]bool, path string) bool {
	for other := range seen {
		if strings.HasPrefix(other, path+".") {
			return true
		}
	}
	return false
}

// TestAtIsTheRecordedRead: a moment that is asked about later is as it was read then.
func TestAtIsTheRecordedRead(t *testing.T) {
	for seed := range uint64(2) {
		w := randomWorld(t, seed, 60)
		for k := range 5 {
			index := 1 + (uint64(k)*13+seed*7)%w.end()
			at := fmt.Sprint(index)
			if k%2 == 1 { // what the last entry of that time left
				at = precise(w.times[index])
				for index < w.end() && w.times[index+1].Equal(w.times[index]) {
					index++
				}
			}
			got := tablesIn(t, w.sql(all(plainly), "--at", at))
			if d := unlike(w.recorded[index], got); len(d) > 0 {
				t.Errorf("seed %d, --at %s: %d rows differ:\n%s", seed, at, len(d), strings.Join(d[:min(len(d), 5)], "\n"))
			}
			m := w.sql("from moment", "--at", at)
			if fmt.Sprint(m[0]["index"]) < "1" || len(m) != 1 {
				t.Errorf("seed %d, --at %s: the moment is %v", seed, at, m)
			}
		}
		for _, s := range w.snapshots[:min(len(w.snapshots), 3)] {
			got := tablesIn(t, w.sql(all(plainly), "--snapshot", s.ID))
			if d := unlike(w.recorded[s.Index], got); len(d) > 0 {
				t.Errorf("seed %d, --snapshot %s: %d rows differ: %s", seed, s.ID, len(d), d[0])
			}
		}
	}
}

// TestHistoryIsTheRecordedRead: the versions that held at a moment are the state of that moment.
func TestHistoryIsTheRecordedRead(t *testing.T) {
	for seed := range uint64(2) {
		w := randomWorld(t, 10+seed, 60)
		first := uint64(1)
		if seed == 1 { // the beginning is no longer kept
			w.snapshots = []api.Snapshot{w.described("20", 20), w.described("40", 40)}
			w.files(15, 30) // the changes from 16 on stay
			w.ranges = w.ranges[1:]
			first = 20
		}
		for index := first; index <= w.end(); index += 9 {
			last := index
			for last < w.end() && w.times[last+1].Equal(w.times[index]) {
				last++
			}
			held := all(func(table string) string {
				return fmt.Sprintf(`(FROM history.%s SELECT * EXCLUDE (valid_from, valid_to, verb, "index", n)
					WHERE valid_from <= '%[2]s' AND (valid_to IS NULL OR valid_to > '%[2]s'))`, table, precise(w.times[index]))
			})
			if d := unlike(w.recorded[last], tablesIn(t, w.sql(held))); len(d) > 0 {
				t.Errorf("seed %d, index %d: %d rows differ: %s", seed, index, len(d), d[0])
			}
		}
	}
}

func TestChangesTable(t *testing.T) {
	w := randomWorld(t, 20, 30)
	got := w.sql(`select "index", n, "time", actor, "table", "key", verb, "value" from changes order by 1, 2`, "--at", "25")
	var want []snapshot.Change
	for c := range w.between(1, 25) {
		want = append(want, *c)
	}
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%d changes, want %d", len(got), len(want))
	}
	for i, c := range want {
		g := got[i]
		key := fmt.Sprintln(g["index"], g["n"], g["time"], g["actor"], g["table"], g["key"], g["verb"])
		if want := fmt.Sprintln(c.Index, c.N, c.Time.Format("2006-01-02T15:04:05.000000Z"), "token:t1", c.Table, c.Key, c.Verb); key != want {
			t.Errorf("change %d: %s, want %s", i, key, want)
		}
		var value any
		if c.Value != nil {
			value = parsed(t, c.Value)
		}
		if d := difference(c.Table, value, g["value"]); d != "" {
			t.Errorf("change %d of %s %s: %s", i, c.Table, c.Key, d)
		}
	}
}

// TestOnlyWhatIsNeeded: a statement about one table does not fetch the others.
func TestOnlyWhatIsNeeded(t *testing.T) {
	w := randomWorld(t, 30, 20)
	w.sql("select count(*) from vms -- and no others")
	if want := []string{"GET /v1/snapshots/now", "GET /v1/snapshots/at-20/vms.parquet"}; !slices.Equal(w.asked, want) {
		t.Errorf("asked %q, want %q", w.asked, want)
	}
}

// TestMomentsAroundTheFirstChange: before it there was no cluster, which is said;
// at an index whose entries changed no rows the tables are empty.
func TestMomentsAroundTheFirstChange(t *testing.T) {
	w := randomWorld(t, 7, 20)
	w.files(20)
	w.ranges[0].From = 1
	r := w.ask("select 1 from vms", "--at", "2020-01-01T00:00:00Z")
	if r.code != exitNotFound || !strings.Contains(r.stderr, "is before all that is kept") || !strings.Contains(r.stderr, "index 1") {
		t.Errorf("before the cluster: %d %s", r.code, r.stderr)
	}
	p := past{newest: api.Snapshot{ID: "at-9", Index: 9}, ranges: []api.ChangeRange{{From: 1, To: 9}}}
	if way, err := p.to(instant{index: 3}); err != nil || way.exact() {
		t.Errorf("entries that changed nothing: %+v, %v", way, err)
	}
}

func TestMomentsThatCannotBeAsked(t *testing.T) {
	w := randomWorld(t, 31, 40)
	w.snapshots = []api.Snapshot{w.described("10", 10)}
	w.files(5, 20, 30)
	w.ranges = slices.Delete(w.ranges, 2, 3) // 21 to 30
	w.ranges = w.ranges[1:]                  // 1 to 5
	for _, c := range []struct {
		flags []string
		code  int
		want  string
	}{
		{[]string{"--at", "41"}, exitUsage, "index 41 is in the future: now is"},
		{[]string{"--at", precise(w.times[40].Add(time.Hour))}, exitUsage, "is in the future"},
		{[]string{"--at", "9"}, exitNotFound, "the oldest moment that can be asked about is " + precise(w.times[10]) + ", index 10"},
		{[]string{"--at", "2020-01-01T00:00:00Z"}, exitNotFound, "is before all that is kept"},
		{[]string{"--at", "22"}, exitNotFound, "the changes from index 21 to 30"},
		{[]string{"--at", "35"}, exitNotFound, "the changes from index 21 to 30"},
		{[]string{"--at", "yesterday"}, exitUsage, "--at takes a time"},
		{[]string{"--at", "-5"}, exitUsage, "--at takes a time"},
		{[]string{"--at", "15", "--snapshot", "10"}, exitUsage, "two moments"},
		{[]string{"-o", "yaml"}, exitUsage, "does not suit this command"},
		{[]string{"--file", "x"}, exitUsage, "not both"},
		{[]string{"--tables", "vmz"}, exitUsage, "unknown table"},
		{[]string{"--engine", "/does/not/exist"}, exitUsage, "--engine"},
		{[]string{"--keep", t.TempDir()}, exitUsage, "new folder"},
	} {
		if r := w.ask(append([]string{"select 1 from vms"}, c.flags...)...); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: exit %d, %q; want %d, %q", c.flags, r.code, r.stderr, c.code, c.want)
		}
	}
	for _, at := range []string{"10", "20", "40"} {
		if r := w.ask("select 1 from vms", "--at", at); r.code != 0 {
			t.Errorf("--at %s: exit %d, %s", at, r.code, r.stderr)
		}
	}
	if r := w.ask("select count(*) from changes"); r.code != 0 || r.stderr != "changes are missing on this peer: index 1 to 5, index 21 to 30\n" {
		t.Errorf("changes with a gap: exit %d, %q", r.code, r.stderr)
	}
	if r := w.ask("select count(*) from history.vms"); r.code != 0 || !strings.Contains(r.stderr, "history begins at "+precise(w.times[40])+", index 40\n") {
		t.Errorf("history behind a gap: exit %d, %q", r.code, r.stderr)
	}
}

func TestWrongSQL(t *testing.T) {
	w := randomWorld(t, 32, 5)
	r := w.ask("selec 1")
	if r.code != exitUsage || !strings.Contains(r.stderr, `syntax error at or near "selec"`) || strings.Contains(r.stderr, "orchd sql:") {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
	if r := w.ask("select * from read_text('/etc/passwd')"); r.code != exitUsage || !strings.Contains(r.stderr, "Permission Error") {
		t.Errorf("a file of this host: exit %d, %q", r.code, r.stderr)
	}
}

func TestKeptFolder(t *testing.T) {
	w := randomWorld(t, 33, 10)
	dir := filepath.Join(t.TempDir(), "kept")
	if r := w.ask("select count(*) from vms", "--keep", dir, "-o", "csv", "--no-headers"); r.code != 0 || r.stdout != fmt.Sprintln(len(w.recorded[10]["vms"])) {
		t.Errorf("exit %d, %q %q", r.code, r.stdout, r.stderr)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"prelude.sql", "statement.sql", "vms.parquet"}; !slices.Equal(names, want) {
		t.Errorf("kept %q, want %q", names, want)
	}
}

// TestStatementsFromElsewhere: a file, and what is piped in.
func TestStatementsFromElsewhere(t *testing.T) {
	w := randomWorld(t, 34, 5)
	path := filepath.Join(t.TempDir(), "q.sql")
	if err := os.WriteFile(path, []byte("select 7 as seven;\nselect 8 as eight;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.ask("-f", path, "-o", "csv"); r.stdout != "seven\n7\neight\n8\n" {
		t.Errorf("a file: %+v", r)
	}
	engine, err := sqlEngine()
	if err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), App{Stdin: strings.NewReader("select 9 as nine"), Environ: []string{"ORCHD_ADDR=unix://" + w.socket}}, "sql", "--engine", engine, "-o", "csv")
	if r.stdout != "nine\n9\n" {
		t.Errorf("stdin: %+v", r)
	}
}

func TestNoEngine(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	r := newFake(t).run("sql", "select 1")
	if r.code != exitFailed || !strings.Contains(r.stderr, "there is no SQL engine on this host") || !strings.Contains(r.stderr, "make sql builds it") {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

// TestDuckDBInstead: where there is no orchd-sql, DuckDB's own shell gets the same folder, and none of our environment.
func TestDuckDBInstead(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	script := "#!/bin/sh\nfor a in \"$@\"; do echo \"$a\"; done\ncat \"$2\"\nenv | grep ORCHD\nexit 7\n"
	if err := os.WriteFile(filepath.Join(dir, "duckdb"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	w := randomWorld(t, 35, 5)
	r := w.run("sql", "select 1 from vms", "-o", "csv", "--no-headers")
	for _, want := range []string{"-init\n", "SET lock_configuration = true", "-csv\n-noheader\n-c\nselect 1 from vms\n", "CREATE VIEW vms AS SELECT * FROM read_parquet('vms.parquet');"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("got %q, want %q in it", r.stdout, want)
		}
	}
	if r.code != 7 || strings.Contains(r.stdout, "ORCHD_ADDR") {
		t.Errorf("exit %d, %q", r.code, r.stdout)
	}
	if r := w.run("sql", "select 1 from vms", "-o", "parquet"); r.code != exitUsage || !strings.Contains(r.stderr, "needs orchd-sql") {
		t.Errorf("parquet: exit %d, %q", r.code, r.stderr)
	}
}

func TestWantedTables(t *testing.T) {
	for text, want := range map[string]wanted{
		"select 1":                                  {},
		"from vms":                                  {tables: []string{"vms"}},
		`select * from "VMS" v, Peers`:              {tables: []string{"vms", "peers"}},
		"from my_vms, vms_old":                      {},
		"from history.vms":                          {history: []string{"vms"}},
		`from "history" . "vms" join peers`:         {history: []string{"vms"}, tables: []string{"peers"}},
		"from history/* all */.vms":                 {history: []string{"vms"}, tables: []string{"vms"}},
		"from changes where \"table\" = 'bmcs'":     {changes: true, tables: []string{"bmcs"}},
		"from free_capacity":                        {tables: []string{"peers", "vms"}},
		"from usage_by_month, vms_by_hour":          {history: []string{"vms"}},
		"from address_hours_by_month":               {history: []string{"compute_nodes", "bmcs", "ethernet_interfaces"}},
		"-- vms\nselect 'history.peers', \"x.vms\"": {history: []string{"peers"}, tables: []string{"vms"}},
	} {
		got, err := wantedIn(text, nil, false)
		if err != nil || !slices.Equal(got.tables, want.tables) && !slices.Equal(slices.Sorted(slices.Values(got.tables)), slices.Sorted(slices.Values(want.tables))) ||
			!slices.Equal(got.history, want.history) || got.changes != want.changes {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	everything, err := wantedIn("", nil, true)
	if err != nil || len(everything.tables) != len(fsm.RecordedTables()) || len(everything.history) != len(fsm.RecordedTables()) || !everything.changes {
		t.Errorf("interactive: %+v, %v", everything, err)
	}
	some, err := wantedIn("", []string{"vms", "history.peers"}, true)
	if err != nil || len(some.tables) != 1 || len(some.history) != 1 || some.changes {
		t.Errorf("interactive with --tables: %+v, %v", some, err)
	}
}

// TestViewsHaveNamesOfTheirOwn: a view must not hide a table.
func TestViewsHaveNamesOfTheirOwn(t *testing.T) {
	names := append(sqlNames(), historySchema, "moment")
	slices.Sort(names)
	if unique := slices.Compact(slices.Clone(names)); len(unique) != len(names) {
		t.Errorf("a name stands for two: %q", names)
	}
}

// TestHistoryKeepsTheColumns: what history adds to the columns of a table has names that no table has.
func TestHistoryKeepsTheColumns(t *testing.T) {
	w := newWorld(t)
	w.happen(now)
	w.files()
	for _, table := range fsm.RecordedTables() {
		plain := w.sql("select column_name, column_type from (describe " + table + ")")
		versions := w.sql("select column_name, column_type from (describe history." + table + ")")
		if len(versions) != len(plain)+5 {
			t.Fatalf("%s: %d columns, in history %d", table, len(plain), len(versions))
		}
		for i, c := range plain {
			if got := fmt.Sprint(versions[i+5]); got != fmt.Sprint(c) {
				t.Errorf("history.%s: column %d is %s, want %v", table, i, got, c)
			}
		}
	}
}

// aHistory is that of two accounts' VMs, hosts, nodes and a BMC, over 50 days.
func aHistory(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	day := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, time.UTC)
	}
	vm := func(id, account string, state api.VMState, vcpus int64) api.VM {
		return api.VM{ID: id, Name: "vm-" + id, Account: account, Spec: api.VMSpec{VCPUs: vcpus, MemoryMiB: 2048, DiskGiB: 10},
			Status: api.VMStatus{Owner: "h1", OwnerID: "p1", Epoch: 1, State: state, Desired: api.WantRunning}, Version: 1, CreatedAt: day(10, 1, 0), UpdatedAt: day(10, 1, 0)}
	}
	node := func(id, host, addr, bmc string) map[string]any {
		return map[string]any{"id": id, "hostname": host, "architecture": "x86_64", "boot_ipv4_address": addr, "bmc": bmc, "version": 1,
			"created_at": day(9, 1, 0), "updated_at": day(9, 1, 0)}
	}
	host := api.Peer{ID: "p1", Name: "h1", Capacity: api.Resources{VCPUs: 8, MemoryMiB: 16384, DiskGiB: 100}, Ratios: api.Ratios{VCPUs: 200},
		Driver: api.DriverLibvirt, Schedulable: true, State: api.PeerMember, PublicKey: []byte{1}, WrapKey: []byte{1}, Version: 1}
	w.happen(day(10, 1, 0), w.put("peers", "p1", host), w.put("accounts", "team", api.Account{Name: "team", Version: 1}))
	w.happen(day(10, 1, 12), w.put("compute_nodes", "n1", node("n1", "nid1", "10.1.0.7", "b1")), w.put("compute_nodes", "n2", node("n2", "nid2", "10.1.0.8", "")))
	w.happen(day(10, 30, 0), w.put("vms", "a", vm("a", "team", api.VMRunning, 2)))
	w.happen(day(10, 31, 0), w.put("vms", "b", vm("b", "other", api.VMRunning, 1)))
	w.happen(day(11, 1, 0), w.put("vms", "b", vm("b", "other", api.VMStopped, 1)), w.put("compute_nodes", "n1", node("n1", "nid1", "10.1.0.9", "b1")))
	w.mark()
	w.happen(day(11, 2, 0), gone("vms", "b"), w.put("compute_nodes", "n2", node("n2", "nid2", "10.1.0.7", "")))
	w.happen(day(11, 2, 0).Add(-0), w.put("peers", "p1", host))
	w.files(3)
	return w
}

// TestReadyViews: the numbers can be worked out by hand.
func TestReadyViews(t *testing.T) {
	w := aHistory(t)
	for name, want := range map[string]string{
		"from free_capacity": `[{"host":"h1","schedulable":true,"vms":1,"free_vcpus":14,"free_memory_mib":14336,"free_disk_gib":90}]`,
		"from usage_by_month where month < '2026-11-01'": `[{"account":"other","month":"2026-10-01T00:00:00.000000Z","vcpu_hours":24.0,"memory_gib_hours":48.0,"disk_gib_hours":240.0},
			{"account":"team","month":"2026-10-01T00:00:00.000000Z","vcpu_hours":96.0,"memory_gib_hours":96.0,"disk_gib_hours":480.0}]`,
		"select name, account, up_hours, known_hours, gone_at from vm_uptime": `[{"name":"vm-a","account":"team","up_hours":72.017,"known_hours":72.017,"gone_at":null},
			{"name":"vm-b","account":"other","up_hours":24.0,"known_hours":48.0,"gone_at":"2026-11-02T00:00:00.000000Z"}]`,
		"select account, vms, running, count(*) as hours from vms_by_hour group by all order by all": `[{"account":"other","vms":1,"running":0,"hours":24},
			{"account":"other","vms":1,"running":1,"hours":24}, {"account":"team","vms":1,"running":1,"hours":73}]`,
		"select address, holder, valid_from, valid_to from address_holders where address = '10.1.0.7'": `[
			{"address":"10.1.0.7","holder":"nid1","valid_from":"2026-10-01T12:00:00.000000Z","valid_to":"2026-11-01T00:00:00.000000Z"},
			{"address":"10.1.0.7","holder":"nid2","valid_from":"2026-11-02T00:00:00.000000Z","valid_to":null}]`,
		"select hostname from nodes_without_bmc":                                      `[{"hostname":"nid2"}]`,
		"select address_hours from address_hours_by_month where month < '2026-11-01'": `[{"address_hours":1464.0}]`,
	} {
		got, err := json.Marshal(w.sql(name))
		if err != nil {
			t.Fatal(err)
		}
		var wanted any
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		var have any
		if err := json.Unmarshal(got, &have); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(have) != fmt.Sprint(wanted) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
	if got := w.sql("select count(*) as n from vm_uptime", "--at", "2026-10-30T12:00:00Z"); fmt.Sprint(got[0]["n"]) != "1" {
		t.Errorf("uptime at a moment: %v", got)
	}
}
