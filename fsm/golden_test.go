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

// TestGoldenLog applies a log that an earlier release wrote: this one must read
// every command in it and come to the same state.
func TestGoldenLog(t *testing.T) {
	const file = "testdata/log.golden"
	if *update {
		writeGoldenLog(t, file)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, lines := New(), bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if want, last := strings.CutPrefix(lines.Text(), "hash "); last {
			if got := m.Read().Hash(); got != want {
				t.Fatalf("state hash after the golden log is %s, want %s", got, want)
			}
			return
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
		m.Apply(index, 0, time.UnixMicro(micros), command)
	}
	t.Fatal("the golden log names no hash")
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
