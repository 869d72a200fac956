package fsm

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew; read the diff")

// TestGoldenLog applies logs that earlier releases wrote: this one must read every
// command in them and come to the same state. The older of them knows nothing of
// services and spells.
func TestGoldenLog(t *testing.T) {
	const newest = "testdata/log.golden"
	if *update {
		writeGoldenLog(t, newest)
	}
	for _, file := range []string{newest, "testdata/log-2.golden", keysLog} {
		m, want := appliedLog(t, file)
		if got := m.Read().Hash(); got != want {
			t.Errorf("state hash after %s is %s, want %s", file, got, want)
		}
	}
}

// TestOlderLogs: what this release makes of the bodies of older ones keeps every
// promise. The state is not the one that they came to: rows have more in them now.
func TestOlderLogs(t *testing.T) {
	m, _ := appliedLog(t, "testdata/log-1.golden")
	r := m.Read()
	fleetHolds(t, 0, r)
	ledgerHolds(t, 0, r)
	catalogueHolds(t, 0, r)
	guestsHold(t, 0, r)
	servicesHold(t, 0, r)
	if err := m.Verify(); err != nil {
		t.Error(err)
	}
	if n := r.VMCount(); n == 0 {
		t.Error("no VM is left of the log: it says nothing")
	}
}

// appliedLog is a machine that has applied a log, and the hash that the log names.
func appliedLog(t *testing.T, file string) (m *Machine, hash string) {
	t.Helper()
	entries, hash := goldenEntries(t, file)
	m = New()
	for _, e := range entries {
		m.Apply(e.index, 0, e.at, e.command)
	}
	return m, hash
}

// goldenEntries is what a golden log says: its entries, and the hash of the state after them.
func goldenEntries(t *testing.T, file string) (entries []entry, hash string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if hash, last := strings.CutPrefix(lines.Text(), "hash "); last {
			return entries, hash
		}
		var index uint64
		var micros int64
		var body string
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %s", &index, &micros, &body); err != nil {
			t.Fatal(err)
		}
		command, err := hex.DecodeString(body)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{index, time.UnixMicro(micros), command})
	}
	t.Fatalf("%s names no hash", file)
	return nil, ""
}

func writeGoldenLog(t *testing.T, file string) {
	t.Helper()
	var b strings.Builder
	s := newScribe(7)
	for range 300 {
		e := s.next(t)
		fmt.Fprintf(&b, "%d %d %x\n", e.index, e.at.UnixMicro(), e.command)
	}
	fmt.Fprintf(&b, "hash %s\n", s.m.Read().Hash())
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
