package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answer is what a run of the program printed.
type answer struct {
	out, complaints string
	code            int
}

// folder is a work folder with a table of three hosts, and beside it a file that nobody may read.
func folder(t *testing.T) (dir string) {
	t.Helper()
	outside := t.TempDir()
	dir = filepath.Join(outside, "work")
	write(t, filepath.Join(outside, "secret.csv"), "secret\nmine\n")
	write(t, filepath.Join(dir, "hosts.csv"), "name,free,since\nh1,3,2026-11-01T00:00:00Z\nh2,,\n\"h\t3\",5,2026-11-01T00:00:01.5Z\n")
	write(t, filepath.Join(dir, "prelude.sql"), `CREATE VIEW hosts AS SELECT name, free, since::TIMESTAMPTZ AS since FROM read_csv('hosts.csv');
CREATE SCHEMA history; CREATE VIEW history.hosts AS SELECT * FROM main.hosts; COMMENT ON VIEW hosts IS 'those we have';`)
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// opened is an engine over a folder.
func opened(t *testing.T, dir string) *engine {
	t.Helper()
	t.Chdir(dir) // the engine goes there too; the test comes back
	e, err := open(t.Context(), options{prelude: "prelude.sql", memory: "1GB", threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// ask runs the program over a folder.
func ask(t *testing.T, dir string, args ...string) answer {
	t.Helper()
	t.Chdir(dir) // the program goes there too; the test comes back
	var out, complaints bytes.Buffer
	args = append([]string{"--prelude", filepath.Join(dir, "prelude.sql"), "--threads", "1"}, args...)
	code := run(t.Context(), args, strings.NewReader(""), &out, &complaints)
	return answer{out.String(), complaints.String(), code}
}

func TestFormats(t *testing.T) {
	dir := folder(t)
	for format, want := range map[string]string{
		"table": "name   free   since\nh1     3      2026-11-01 00:00:00+00\nh2     -      -\nh\\t3   5      2026-11-01 00:00:01.5+00\n",
		"csv":   "name,free,since\nh1,3,2026-11-01T00:00:00.000000Z\nh2,,\nh\t3,5,2026-11-01T00:00:01.500000Z\n",
		"json": `[
	{"name":"h1","free":3,"since":"2026-11-01T00:00:00.000000Z"},
	{"name":"h2","free":null,"since":null},
	{"name":"h\t3","free":5,"since":"2026-11-01T00:00:01.500000Z"}
]
`,
	} {
		if got := ask(t, dir, "-o", format, "-c", "from hosts; -- all of them"); got != (answer{want, "", exitDone}) {
			t.Errorf("-o %s: got %+v\nwant %q", format, got, want)
		}
	}
	if got := ask(t, dir, "-o", "csv", "--no-headers", "-c", "select name from hosts limit 1 -- one"); got.out != "h1\n" {
		t.Errorf("without headers: got %+v", got)
	}
}

// TestOtherResults: statements that give rows without being a SELECT.
func TestOtherResults(t *testing.T) {
	dir := folder(t)
	for text, want := range map[string]string{
		"show tables":                     "hosts",
		"describe hosts":                  "TIMESTAMP WITH TIME ZONE",
		"summarize hosts":                 "null_percentage",
		"pragma table_info('hosts')":      "free",
		"explain select * from hosts":     "READ_CSV",
		"explain analyze select 1":        "Total Time",
		"values (1, 'a')":                 "1      a",
		"with x as (select 7 s) from x":   "7",
		"select 1 as a, 2 as a":           "1",
		"select [1, 2], {'a': 'x'}":       "[1, 2]",
		"select '\x1b[31mred'::varchar s": `\x1b[31mred`,
		"create temp table t as select 4 f; insert into t values (5); select sum(f) from t": "9",
	} {
		if got := ask(t, dir, "-c", text); got.code != exitDone || !strings.Contains(got.out, want) {
			t.Errorf("%s: got %+v, want %q in it", text, got, want)
		}
	}
	for _, text := range []string{"show tables", "describe hosts", "select 1 as a, now() as a"} {
		if got := ask(t, dir, "-o", "json", "-c", text); got.code != exitDone || !strings.HasPrefix(got.out, "[\n\t{") {
			t.Errorf("%s as JSON: got %+v", text, got)
		}
	}
}

func TestOut(t *testing.T) {
	dir := folder(t)
	elsewhere := t.TempDir()
	for _, format := range formats {
		to := filepath.Join(elsewhere, "result."+format)
		if got := ask(t, dir, "-o", format, "--out", to, "-c", "from hosts"); got != (answer{"", "", exitDone}) {
			t.Errorf("-o %s: got %+v", format, got)
		}
	}
	write(t, filepath.Join(elsewhere, "prelude.sql"), "CREATE VIEW r AS FROM 'result.parquet'")
	if got := ask(t, elsewhere, "-o", "csv", "-c", "select max(free), count(*) from r"); got.out != "max(free),count_star()\n5,3\n" {
		t.Errorf("the parquet file read again: got %+v", got)
	}
	to := filepath.Join(elsewhere, "result.csv")
	before, _ := os.ReadFile(to)
	if got := ask(t, dir, "-o", "csv", "--out", to, "-c", "select error('halfway') from hosts"); got.code != exitWrong {
		t.Errorf("a query that fails: got %+v", got)
	}
	if after, _ := os.ReadFile(to); len(before) == 0 || !bytes.Equal(before, after) {
		t.Errorf("a query that fails changed the file: %q", after)
	}
	left, err := filepath.Glob(filepath.Join(elsewhere, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWrongUse(t *testing.T) {
	dir := folder(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-c", "selec 1"}, exitWrong, `syntax error at or near "selec"`},
		{[]string{"-c", "select nme from hosts"}, exitWrong, `Candidate bindings: "name"`},
		{[]string{"-c", "select 1; from nowhere; select 2"}, exitWrong, "nowhere does not exist"},
		{[]string{"-c", "pivot hosts on name using sum(free)"}, exitWrong, "needs its values"},
		{[]string{"-c", "select 1", "-f", "x"}, exitWrong, "exclude each other"},
		{[]string{"-c", "select 1", "-o", "yaml"}, exitWrong, `unknown output format "yaml"`},
		{[]string{"-c", "select 1", "--threads", "0"}, exitWrong, "at least 1"},
		{[]string{"-c", "select 1", "--memory", "much"}, exitWrong, "Memory must have"},
		{[]string{"-c", "select 1; select 2", "--out", "x"}, exitWrong, "one statement, not of 2"},
		{[]string{"--out", "x"}, exitWrong, "--out is for"},
		{[]string{"select 1"}, exitWrong, "is no flag"},
		{[]string{"--nonsense"}, exitWrong, "nonsense"},
		{[]string{"-f", "/does/not/exist"}, exitFailed, "read the statements"},
		{[]string{"-c", "select 1", "--prelude", "/does/not/exist"}, exitFailed, "read the prelude"},
	} {
		if got := ask(t, dir, c.args...); got.code != c.code || !strings.Contains(got.complaints, c.want) {
			t.Errorf("%q: got %+v, want %d, %q", c.args, got, c.code, c.want)
		}
	}
	write(t, filepath.Join(dir, "prelude.sql"), "CREATE VIEW v AS FROM 'none.parquet'")
	if got := ask(t, dir, "-c", "select 1"); got.code == exitDone || !strings.Contains(got.complaints, "none.parquet") {
		t.Errorf("a prelude that fails: got %+v", got)
	}
}

// TestMemoryIsBounded: what does not fit is put on disk, or is said not to fit.
func TestMemoryIsBounded(t *testing.T) {
	dir := folder(t)
	got := ask(t, dir, "--memory", "120MB", "-o", "csv", "--no-headers", "-c", "select count(*) from (select i, repeat('x', 50) || i from range(2_000_000) t(i) order by 2)")
	if got.code != exitDone || got.out != "2000000\n" {
		t.Errorf("a sort larger than memory: got %+v", got)
	}
	got = ask(t, dir, "--memory", "30MB", "-c", "select len(list(repeat('x', 50) || i)) from range(3_000_000) t(i)")
	if got.code != exitFailed || !strings.Contains(got.complaints, "Out of Memory") {
		t.Errorf("a list larger than memory: got %+v", got)
	}
}

func TestCancel(t *testing.T) {
	e := opened(t, folder(t))
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan struct{})
	go func() {
		<-begun
		cancel()
	}()
	close(begun)
	p := printer{format: "csv", out: &bytes.Buffer{}}
	if err := e.runAll(ctx, "select count(*) from range(1e9::bigint) a, range(1e9::bigint) b where a.range + b.range = 3", p); explain(err, &bytes.Buffer{}) != exitInterrupted {
		t.Errorf("got %v, want an interrupt", err)
	}
	if _, err := e.run(t.Context(), "select 1", p); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
}
