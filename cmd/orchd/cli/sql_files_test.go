package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// oneMachine is a log with one machine behind it, which applies at once.
type oneMachine struct {
	m     *fsm.Machine
	index uint64
}

func (o *oneMachine) Propose(_ context.Context, command []byte) ([]byte, error) {
	o.index++
	return o.m.Apply(o.index, 0, now.Add(time.Duration(o.index)*time.Second), command).(fsm.Result).MarshalBinary()
}

// plainSeal seals nothing; it is enough to see where sealed bytes go.
type plainSeal struct{}

func (plainSeal) Seal(_ string, plaintext []byte) ([]byte, error) { return plaintext, nil }

// manyNodes are so many that their table has several parts.
const manyNodes = 45_000

// TestFilesOfAPeer: another program reads the files as they lie on a peer's disk: marked
// snapshots, with their folders of parts, and changes.
func TestFilesOfAPeer(t *testing.T) {
	dir := t.TempDir()
	o := &oneMachine{m: fsm.New()}
	o.m.KeepChanges(0)
	history, err := snapshot.OpenHistory(filepath.Join(dir, "changes"), nil)
	if err != nil {
		t.Fatal(err)
	}
	marks, err := snapshot.OpenMarks(filepath.Join(dir, "snapshots"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(api.WithCaller(t.Context(), api.Caller{Actor: api.Actor{ID: "uid:0", Role: api.RoleAdmin}}))
	defer stop()
	writing := make(chan error, 1)
	go func() { writing <- o.m.WriteChanges(ctx, history) }()
	written := make(chan error, 1)
	go func() {
		err := o.m.WriteMarks(ctx, func(k *fsm.Mark) {
			_, err := marks.Write(k.Content())
			written <- err
			stop()
		})
		if err != nil {
			t.Error(err)
		}
	}()
	w := fsm.NewWriter(o, nil, plainSeal{})
	for from := 0; from < manyNodes; from += 1000 {
		var nodes []inventory.ComputeNode
		for i := from; i < from+1000; i++ {
			nodes = append(nodes, inventory.ComputeNode{Hostname: fmt.Sprintf("nid%05d", i), Architecture: "x86_64", XName: fmt.Sprintf("x%dc%ds0b0n0", 1000+i%9000, i/9000),
				NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "eth0", MACAddress: fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255)}}})
		}
		if _, err := w.CreateNodes(ctx, nodes, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Mark(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err := <-writing; err != nil {
		t.Fatal(err)
	}
	if err := history.Close(); err != nil {
		t.Fatal(err)
	}
	if parts, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "compute_nodes", "*.parquet")); err != nil || len(parts) < 2 {
		t.Fatalf("parts %q, %v: want several", parts, err)
	}
	got := overFiles(t, dir, `
SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || min(hostname) || ' ' || max(hostname) || ' ' || max(network_interfaces[1].mac_address) FROM 'snapshots/*/compute_nodes/*.parquet';
SELECT count(*) || ' ' || count(DISTINCT "key") || ' ' || min("index") || ' ' || max(json_extract_string("value", '$.hostname')) FROM 'changes/*.parquet' WHERE "table" = 'compute_nodes';
SELECT string_agg(DISTINCT "verb", ',') FROM 'changes/*.parquet';`)
	if want := "45000 45000 nid00000 nid44999 02:00:00:00:af:c7\n45000 45000 1 nid44999\ncreate\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "*.parquet"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables %q, %v", tables, err)
	}
	for _, path := range tables {
		if !strings.HasSuffix(strings.TrimSpace(overFiles(t, dir, "SELECT count(*) >= 0 FROM "+sqlText(path))), "true") {
			t.Errorf("%s cannot be read", path)
		}
	}
	tryFormatPage(t, dir)
}

// overFiles runs statements in a folder, with no other names than those of its files.
func overFiles(t *testing.T, dir, text string) string {
	t.Helper()
	engine, err := sqlEngine()
	if err != nil {
		t.Fatal(err)
	}
	prelude := filepath.Join(dir, "prelude.sql")
	if err := os.WriteFile(prelude, []byte("SELECT 1;"), 0o600); err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), engine, "--prelude", prelude, "-o", "csv", "--no-headers", "-c", text)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v, %s", text, err, complaints.String())
	}
	return string(out)
}
