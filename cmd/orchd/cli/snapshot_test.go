package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

func aSnapshot(id string) api.Snapshot {
	return api.Snapshot{ID: id, Index: 12, Bytes: 70000, Rows: map[string]int64{"vms": 2, "peers": 3, "requests": 9}, CreatedAt: now.Add(-time.Hour)}
}

// serveFile answers a path as a peer does a file.
func (f *fake) serveFile(path, content string) *fake {
	f.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"e1"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	})
	return f
}

// filesIn is what lies in a folder: "NAME=CONTENT".
func filesIn(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, strings.TrimPrefix(path, dir+"/")+"="+string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// snapshotPeer has snapshot 12 and the state of now; their bookkeeping it gives to nobody.
func snapshotPeer(t *testing.T) *fake {
	f := newFake(t).answer("GET /v1/snapshots/12", aSnapshot("12")).answer("GET /v1/snapshots/now", aSnapshot("at-13")).answer("GET /v1/snapshots/at-13", aSnapshot("at-13")).
		answer("GET /v1/snapshots", page(aSnapshot("12"))).
		answer("GET /v1/snapshots/{id}/{file}", &api.Error{Kind: api.NotFound, Msg: "there is no such table"})
	for _, id := range []string{"12", "at-13"} {
		f.serveFile("/v1/snapshots/"+id+"/vms.parquet", "vms of "+id)
		f.serveFile("/v1/snapshots/"+id+"/peers.parquet", "peers of "+id)
		f.serveFile("/v1/snapshots/"+id+"/all.tar", "all of "+id)
	}
	return f
}

func TestSnapshotDownload(t *testing.T) {
	for _, c := range []struct {
		line   string
		files  []string
		stdout string
	}{
		{"12", []string{"snapshot-12/peers.parquet=peers of 12", "snapshot-12/vms.parquet=vms of 12"}, "snapshot-12/peers.parquet\nsnapshot-12/vms.parquet\n"},
		{"now", []string{"snapshot-at-13/peers.parquet=peers of at-13", "snapshot-at-13/vms.parquet=vms of at-13"}, "snapshot-at-13/peers.parquet\nsnapshot-at-13/vms.parquet\n"},
		{"12 --table vms --dir a/b", []string{"a/b/vms.parquet=vms of 12"}, "a/b/vms.parquet\n"},
		{"12 --table vms,peers --dir .", []string{"peers.parquet=peers of 12", "vms.parquet=vms of 12"}, "vms.parquet\npeers.parquet\n"},
		{"12 --tar 12.tar", []string{"12.tar=all of 12"}, "12.tar\n"},
	} {
		t.Run(c.line, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			r := snapshotPeer(t).run(append([]string{"snapshot", "download", "-o", "name"}, strings.Fields(c.line)...)...)
			if r.code != 0 || r.stdout != c.stdout || r.stderr != "" {
				t.Errorf("exit %d, %q, %q; want %q", r.code, r.stdout, r.stderr, c.stdout)
			}
			if got := filesIn(t, dir); !slices.Equal(got, c.files) {
				t.Errorf("got %q, want %q", got, c.files)
			}
		})
	}
}

func TestSnapshotDownloadFormats(t *testing.T) {
	t.Chdir(t.TempDir())
	f := snapshotPeer(t)
	for format, want := range map[string]string{
		"table": "FILE                    BYTES\nsnapshot-12/vms.parquet   9B\n",
		"csv":   "file,bytes\nsnapshot-12/vms.parquet,9\n",
		"json":  "[\n  {\n    \"file\": \"snapshot-12/vms.parquet\",\n    \"bytes\": 9\n  }\n]\n",
		"yaml":  "- file: snapshot-12/vms.parquet\n  bytes: 9\n",
	} {
		r := f.run("snapshot", "download", "12", "--table", "vms", "-o", format)
		if strings.Join(strings.Fields(r.stdout), " ") != strings.Join(strings.Fields(want), " ") || r.code != 0 {
			t.Errorf("-o %s: exit %d, got\n%s\nwant\n%s", format, r.code, r.stdout, want)
		}
	}
}

func TestSnapshotDownloadRefused(t *testing.T) {
	gone := newFake(t).answer("GET /v1/snapshots/12", aSnapshot("12"), &api.Error{Kind: api.NotFound, Msg: "this peer has no such snapshot"}).
		answer("GET /v1/snapshots", page[api.Snapshot]()).
		answer("GET /v1/snapshots/{id}/{file}", &api.Error{Kind: api.NotFound, Msg: "this peer has no such snapshot"})
	for _, c := range []struct {
		f      *fake
		line   string
		code   int
		stderr string
	}{
		{snapshotPeer(t), "12 --table vsm", exitUsage, "unknown table \"vsm\"\ndid you mean vms?"},
		{snapshotPeer(t), "12 --table requests", exitNotFound, "there is no such table"},
		{snapshotPeer(t), "12 --table vms --tar x", exitUsage, "none of the others can be"},
		{snapshotPeer(t), "12 --tar nowhere/x", exitFailed, "no such file or directory"},
		{gone, "12", exitNotFound, "this peer has no such snapshot"},
		{newFake(t).answer("GET /v1/snapshots/12", &api.Error{Kind: api.Forbidden, Msg: "not you"}), "12", exitNotAllowed, "not you"},
	} {
		dir := t.TempDir()
		t.Chdir(dir)
		r := c.f.run(append([]string{"snapshot", "download"}, strings.Fields(c.line)...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.stderr) || r.stdout != "" {
			t.Errorf("%s: exit %d, %q, %q; want %d, %q", c.line, r.code, r.stdout, r.stderr, c.code, c.stderr)
		}
		if left := filesIn(t, dir); len(left) > 0 {
			t.Errorf("%s: left behind: %q", c.line, left)
		}
	}
}

// TestSnapshotDownloadThatBreaks: the file is whole in the end, and until then it has no name.
func TestSnapshotDownloadThatBreaks(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	content := strings.Repeat("0123456789", 50000)
	f := newFake(t).answer("GET /v1/snapshots/12", aSnapshot("12"))
	var ranges []string
	f.mux.HandleFunc("GET /v1/snapshots/12/vms.parquet", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"e1"`)
		if ranges = append(ranges, r.Header.Get("Range")); len(ranges) > 1 {
			if got := filesIn(t, dir); len(got) != 1 || !strings.HasPrefix(got[0], "snapshot-12/vms.parquet.part=") {
				t.Errorf("%d files while it is on its way, want one whose name says so", len(got))
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		io.WriteString(w, content[:200000])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	r := f.run("snapshot", "download", "12", "--table", "vms")
	if got := filesIn(t, dir); r.code != 0 || len(got) != 1 || got[0] != "snapshot-12/vms.parquet="+content {
		t.Errorf("exit %d, %s, %d files", r.code, r.stderr, len(got))
	}
	if want := []string{"", "bytes=200000-"}; !slices.Equal(ranges, want) {
		t.Errorf("asked for %q, want %q", ranges, want)
	}
}

func TestSnapshotDownloadShowsHowFarItIs(t *testing.T) {
	t.Chdir(t.TempDir())
	f := snapshotPeer(t)
	r := f.screen("", "snapshot", "download", "12", "--tar", "x.tar")
	if !strings.Contains(r.stderr, "\r\x1b[Kx.tar: 0 of 9B, 0%") || !strings.HasSuffix(r.stderr, "\r\x1b[K") || r.code != 0 {
		t.Errorf("exit %d, saw %q", r.code, r.stderr)
	}
	if r := f.screen("", "snapshot", "download", "12", "--tar", "x.tar", "-q"); r.stderr != "" {
		t.Errorf("--quiet: saw %q", r.stderr)
	}
}

func TestSnapshotVerify(t *testing.T) {
	good := api.SnapshotCheck{ID: "12", Index: 12, OK: true, StateHash: "00ff", Rows: map[string]int64{"vms": 2, "peers": 3}, Problems: []string{}}
	bad := good
	bad.OK, bad.Problems = false, []string{"vms.parquet: its checksum differs", "peers.parquet: 2 rows, the manifest says 3"}
	f := newFake(t).answer("POST /v1/snapshots/12/verify", good)
	r := f.run("snapshot", "verify", "12")
	if want := "id           12\nok           yes\nrows         5\nstate-hash   00ff\nproblems     0\n"; r.code != 0 || r.stdout != want || r.stderr != "" {
		t.Errorf("whole: exit %d, %q, %q; want %q", r.code, r.stdout, r.stderr, want)
	}
	f = newFake(t).answer("POST /v1/snapshots/12/verify", bad)
	for _, format := range []string{"table", "json", "csv"} {
		r := f.run("snapshot", "verify", "12", "-o", format)
		want := "orchd snapshot verify: snapshot 12 is damaged: vms.parquet: its checksum differs; peers.parquet: 2 rows, the manifest says 3\n"
		if r.code != exitFailed || !strings.HasPrefix(r.stderr, want) || r.stdout == "" {
			t.Errorf("-o %s: exit %d, %q, %q; want 1, %q", format, r.code, r.stdout, r.stderr, want)
		}
	}
}

func aRestore() api.Restore {
	return api.Restore{ID: "12", Index: 12, Digest: "5d", Tables: []api.TableDifference{{Table: "bmcs", Create: 1, Update: 20}, {Table: "compute_nodes", Delete: 300}},
		MissingVMs: []api.MissingVM{{Account: "default", Name: "web9", Command: "orchd vm create web9 --cpu 2 --memory 4GiB"}}}
}

// restores answers rollbacks as a peer does, from what r says.
func (f *fake) restores(r api.Restore) *fake {
	f.mux.HandleFunc("POST /v1/snapshots/12/restore", func(w http.ResponseWriter, _ *http.Request) {
		r.DryRun = strings.Contains(f.asked[len(f.asked)-1], `{"dry_run":true}`)
		if r.Applied = 99; r.DryRun {
			r.Applied = 0
		}
		if err := json.NewEncoder(w).Encode(r); err != nil {
			f.t.Error(err)
		}
	})
	return f
}

func TestSnapshotRestoreFormats(t *testing.T) {
	var all strings.Builder
	for _, flag := range []string{"--dry-run", "--yes"} {
		for _, format := range formats {
			f := newFake(t).restores(aRestore())
			r := f.run("snapshot", "restore", "12", flag, "-o", format)
			if r.code != 0 || len(f.asked) != 1 {
				t.Errorf("%s -o %s: exit %d, asked %v", flag, format, r.code, f.asked)
			}
			fmt.Fprintf(&all, "# %s -o %s\n%s# stderr\n%s", flag, format, r.stdout, r.stderr)
		}
	}
	golden(t, "snapshot-restore.golden", all.String())
}

func TestSnapshotRestoreAsks(t *testing.T) {
	const dry, real = `POST /v1/snapshots/12/restore {"dry_run":true}`, `POST /v1/snapshots/12/restore {"digest":"5d"}`
	const question, counts, guest = "roll back to snapshot 12? [y/N] ", "compute_nodes   0        0        300", "orchd vm create web9 --cpu 2"
	for _, c := range []struct {
		name, typed string
		asked       []string
		code        int
		says        string
	}{
		{"yes", "y\n", []string{dry, real}, 0, "rolled back to snapshot 12 at log index 99"},
		{"a longer yes", " YES \n", []string{dry, real}, 0, "rolled back"},
		{"no", "n\n", []string{dry}, exitFailed, "not done: the answer was not yes"},
		{"enter", "\n", []string{dry}, exitFailed, "not done"},
		{"maybe", "yes please\n", []string{dry}, exitFailed, "not done"},
		{"the end of the input", "\x04", []string{dry}, exitFailed, "not done"},
	} {
		f := newFake(t).restores(aRestore())
		r := f.screen(c.typed, "snapshot", "restore", "12")
		if !slices.Equal(f.asked, c.asked) || r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%s: exit %d, asked %q, saw %q; want %d, %q, %q", c.name, r.code, f.asked, r.stderr, c.code, c.asked, c.says)
		}
		for _, want := range []string{question, counts, guest} {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("%s: the person did not see %q but %q", c.name, want, r.stderr)
			}
		}
		if changed := strings.Contains(r.stdout, counts); changed != (c.code == 0) {
			t.Errorf("%s: stdout %q", c.name, r.stdout)
		}
	}
}

func TestSnapshotRestoreWithoutATerminal(t *testing.T) {
	f := newFake(t).restores(aRestore())
	r := f.run("snapshot", "restore", "12")
	if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, "300") || !strings.HasSuffix(r.stderr, "say yes in advance with --yes\n") {
		t.Errorf("exit %d, %q, %q; want 2, and what would change on stderr", r.code, r.stdout, r.stderr)
	}
	if want := []string{`POST /v1/snapshots/12/restore {"dry_run":true}`}; !slices.Equal(f.asked, want) {
		t.Errorf("asked %q, want %q", f.asked, want)
	}
	f = newFake(t).restores(api.Restore{ID: "12", Index: 12, Tables: []api.TableDifference{}, MissingVMs: []api.MissingVM{}})
	if r := f.run("snapshot", "restore", "12"); r.code != 0 || r.stderr != "nothing differs from snapshot 12\n" || len(f.asked) != 1 {
		t.Errorf("nothing to do: exit %d, %q, asked %q", r.code, r.stderr, f.asked)
	}
	f = newFake(t).answer("POST /v1/snapshots/12/restore", &api.Error{Kind: api.Conflict, Msg: "bmcs/x1 has changed meanwhile"})
	if r := f.run("snapshot", "restore", "12", "--yes"); r.code != exitConflict || !strings.Contains(r.stderr, "has changed meanwhile") {
		t.Errorf("somebody was faster: exit %d, %q", r.code, r.stderr)
	}
	if f.header.Get("Idempotency-Key") == "" {
		t.Error("a rollback without an Idempotency-Key cannot be sent again")
	}
}

func TestSnapshotDelete(t *testing.T) {
	peer := func() *fake {
		f := newFake(t)
		f.mux.HandleFunc("GET /v1/snapshots/12", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Orchd-Peer", "h1")
			if err := json.NewEncoder(w).Encode(aSnapshot("12")); err != nil {
				t.Error(err)
			}
		})
		return f.answer("DELETE /v1/snapshots/12", struct{}{})
	}
	const what = "snapshot 12 of 2026-11-01T11:00:00Z on h1: 69KiB"
	looked, deleted := []string{"GET /v1/snapshots/12"}, []string{"GET /v1/snapshots/12", "DELETE /v1/snapshots/12?peer=h1"}
	f := peer()
	if r := f.run("snapshot", "delete", "12", "--yes"); r.code != 0 || r.stderr != "deleting "+what+"\n" || !slices.Equal(f.asked, deleted) {
		t.Errorf("--yes: exit %d, %q, asked %q", r.code, r.stderr, f.asked)
	}
	f = peer()
	if r := f.run("snapshot", "delete", "12"); r.code != exitUsage || !strings.Contains(r.stderr, "delete "+what+"?") || !strings.Contains(r.stderr, "--yes") || !slices.Equal(f.asked, looked) {
		t.Errorf("no terminal: exit %d, %q, asked %q", r.code, r.stderr, f.asked)
	}
	f = peer()
	if r := f.screen("y\n", "snapshot", "rm", "12"); r.code != 0 || !strings.Contains(r.stderr, "delete "+what+"? [y/N] ") || !slices.Equal(f.asked, deleted) {
		t.Errorf("yes: exit %d, %q, asked %q", r.code, r.stderr, f.asked)
	}
	f = peer()
	if r := f.screen("n\n", "snapshot", "delete", "12"); r.code != exitFailed || !slices.Equal(f.asked, looked) {
		t.Errorf("no: exit %d, %q, asked %q", r.code, r.stderr, f.asked)
	}
	f = newFake(t).answer("GET /v1/snapshots/12", aSnapshot("12")).answer("DELETE /v1/snapshots/12", &api.Error{Kind: api.Conflict, Msg: "it is the newest whole one"})
	if r := f.run("snapshot", "delete", "12", "-y"); r.code != exitConflict || !strings.Contains(r.stderr, "the newest whole one") {
		t.Errorf("the newest: exit %d, %q", r.code, r.stderr)
	}
	f = newFake(t).answer("GET /v1/snapshots/21", &api.Error{Kind: api.NotFound, Msg: "this peer has no such snapshot"}).answer("GET /v1/snapshots", page(aSnapshot("12")))
	if r := f.run("snapshot", "delete", "21", "-y"); r.code != exitNotFound {
		t.Errorf("unknown: exit %d, %q", r.code, r.stderr)
	}
}

func TestSnapshotNames(t *testing.T) {
	f := snapshotPeer(t)
	for line, want := range map[string]string{
		"snapshot verify ":              "12",
		"snapshot restore ":             "12",
		"snapshot delete ":              "12",
		"snapshot download ":            "12 now",
		"snapshot download 12 --table ": "peers requests vms",
		"snapshot download --table ":    "peers requests vms",
	} {
		r := f.run(append([]string{"__completeNoDesc"}, strings.Split(line, " ")...)...)
		words := strings.Fields(r.stdout)
		if got := strings.Join(words[:max(len(words)-1, 0)], " "); got != want {
			t.Errorf("orchd %s<Tab>: got %q, want %q", line, got, want)
		}
	}
	if r := f.run("snapshot", "show", "now", "-o", "name"); r.stdout != "at-13\n" {
		t.Errorf("show now: %q %q", r.stdout, r.stderr)
	}
}
