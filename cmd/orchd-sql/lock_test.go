package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEscapes: each way out of the folder that is known is closed.
func TestEscapes(t *testing.T) {
	dir := folder(t)
	outside := filepath.Dir(dir)
	e := opened(t, dir)
	for _, text := range []string{
		// reading
		"select * from read_csv('/etc/passwd')",
		"from '/etc/passwd'",
		"from 'OUTSIDE/secret.csv'",
		"from '../secret.csv'",
		"from 'DIR/../secret.csv'",
		"select * from read_text('/etc/passwd')",
		"select * from read_blob('/proc/self/environ')",
		"select * from read_json('/etc/passwd')",
		"select * from read_parquet('/etc/passwd')",
		"select * from parquet_metadata('/etc/passwd')",
		"select * from sniff_csv('/etc/passwd')",
		"select * from read_duckdb('/tmp/x.db')",
		"select * from glob('/etc/*')",
		"select * from glob('OUTSIDE/*')",
		"select * from glob('../*')",
		"select * from query('from read_text(''/etc/passwd'')')",
		"from query_table('/etc/passwd')",
		"create view v as from read_text('/etc/passwd')",
		"create temp table t as from read_text('/etc/passwd')",
		"explain analyze select * from read_text('/etc/passwd')",
		"select getenv('HOME')",
		"copy hosts from '/etc/passwd'",
		"import database '/etc'",
		"pragma import_database('/etc')",
		// writing
		"copy (select 1) to 'OUTSIDE/new.csv'",
		"copy (select 1) to 'DIR/new.csv'",
		"copy (select 1) to 'new.parquet' (format parquet)",
		"explain analyze copy (select 1) to 'DIR/new.csv'",
		"explain (analyze) copy (select 1) to 'DIR/new.csv'",
		"/* harmless */ explain /* ) */ analyze copy (select 1) to 'DIR/new.csv'",
		"prepare p as copy (select 1) to 'DIR/new.csv'",
		"export database 'DIR/new'",
		"export database 'OUTSIDE/new'",
		"attach 'DIR/new.db' as new",
		"attach 'OUTSIDE/new.db' as new",
		"attach ':memory:' as new",
		"create persistent secret s (type http, bearer_token 'x')",
		"call enable_logging(storage = 'file', storage_config = {'path': 'OUTSIDE/new'})",
		"pragma enable_profiling = 'json'; select 1",
		"pragma profiling_output = 'OUTSIDE/new'",
		"checkpoint",
		"select 1) to 'DIR/new.csv' --",
		"select 1\n) to 'DIR/new.csv' (format csv); select (2",
		// code from elsewhere
		"install httpfs",
		"install sqlite from community",
		"load httpfs",
		"load 'OUTSIDE/x.duckdb_extension'",
		"select * from read_csv('http://127.0.0.1:1/x.csv')",
		"from 's3://a/b.parquet'",
		"update extensions",
		// the lock itself
		"set lock_configuration = false",
		"reset lock_configuration",
		"set enable_external_access = true",
		"set allowed_directories = ['/']",
		"set allowed_paths = ['/etc/passwd']",
		"set memory_limit = '1TB'",
		"set temp_directory = '/tmp'",
		"set home_directory = '/tmp'",
		"set extension_directory = '/tmp'",
		"pragma memory_limit = '1TB'",
		"use system",
		"begin",
		"select 1; -- two\nselect 2; copy (select 3) to 'DIR/new.csv'",
	} {
		text = strings.NewReplacer("DIR", dir, "OUTSIDE", outside).Replace(text)
		for _, format := range []string{"table", "csv"} {
			err := e.runAll(t.Context(), text, printer{format: format, out: io.Discard})
			if code := explain(err, io.Discard); code != exitWrong {
				t.Errorf("-o %s, %s: exit %d, %v, want it refused", format, text, code, err)
			}
		}
	}
	if got := ask(t, dir, "-c", "from hosts"); got.code != exitDone {
		t.Errorf("the folder itself: got %+v", got)
	}
	checkNames(t, outside, "secret.csv", "work")
	checkNames(t, dir, "hosts.csv", "new", "prelude.sql") // DuckDB makes the folder of an EXPORT as it reads the statement
}

// checkNames fails if there is more or less in a folder than it should hold.
func checkNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := mapped(entries, os.DirEntry.Name)
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", dir, names, want)
	}
}

// TestNoLogs: a function that writes a log file is a SELECT to DuckDB, and obeys no lock.
func TestNoLogs(t *testing.T) {
	dir := folder(t)
	for _, text := range []string{"from enable_logging(storage = 'file')", "CALL Enable_Profiling(format = 'json')"} {
		if got := ask(t, dir, "-c", text); got.code != exitWrong || !strings.Contains(got.complaints, "writes no logs") {
			t.Errorf("%s: got %+v, want it refused", text, got)
		}
	}
}

// TestLinks: a symbolic link would lead out of the folder; an engine does not
// start in one that holds such a link, and one that comes later leads nowhere.
func TestLinks(t *testing.T) {
	dir := folder(t)
	e := opened(t, dir)
	for name, to := range map[string]string{"file.csv": filepath.Dir(dir) + "/secret.csv", "folder": filepath.Dir(dir)} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"from 'file.csv'", "from '" + dir + "/file.csv'", "from 'folder/secret.csv'", "from glob('folder/*')", "from 'f*/secret.csv'", "from read_text('f*.csv')"} {
		if _, err := e.run(t.Context(), text, printer{format: "csv", out: t.Output()}); explain(err, t.Output()) != exitWrong {
			t.Errorf("%s: got %v, want it refused", text, err)
		}
	}
	if got := ask(t, dir, "-c", "select 1"); got.code != exitFailed || !strings.Contains(got.complaints, "is no plain file") {
		t.Errorf("got %+v, want the folder refused", got)
	}
}

// TestFolderBehindALink: the way to the folder may lead over links.
func TestFolderBehindALink(t *testing.T) {
	dir := folder(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, link, "-o", "csv", "-c", "select count(*) as n from hosts"); got.out != "n\n3\n" {
		t.Errorf("got %+v", got)
	}
}

// TestOddFolder: the name of the folder is a text in SQL, and a prefix of others.
func TestOddFolder(t *testing.T) {
	from := folder(t)
	dir := filepath.Join(t.TempDir(), "o'rchd 1")
	write(t, dir+"0/secret.csv", "secret\nmine\n")
	for _, name := range []string{"hosts.csv", "prelude.sql"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	if got := ask(t, dir, "-o", "csv", "-c", "select count(*) as n from hosts"); got.out != "n\n3\n" {
		t.Errorf("got %+v", got)
	}
	if got := ask(t, dir, "-c", "from "+quoted(dir+"0/secret.csv")); got.code != exitWrong {
		t.Errorf("a neighbour's file: got %+v, want it refused", got)
	}
}
