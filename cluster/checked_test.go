package cluster

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// openTestFiles opens log and values in a folder, and closes them with the test if need be.
func openTestFiles(t *testing.T, dir string) files {
	t.Helper()
	f, err := openFiles(dir, func(err error) { t.Errorf("failed: %v", err) })
	must(t, err)
	return f
}

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	f := openTestFiles(t, dir)
	at := time.Now().UTC().Round(0)
	in := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte("configuration"), AppendedAt: at},
		{Index: 2, Term: 1, Type: raft.LogCommand, Data: []byte("command"), Extensions: []byte("extension"), AppendedAt: at},
		{Index: 3, Term: 2, Type: raft.LogNoop, AppendedAt: at},
	}
	must(t, f.logs.StoreLogs(in))
	must(t, f.values.SetUint64([]byte("CurrentTerm"), 2))
	must(t, f.values.Set([]byte("LastVoteCand"), []byte("peer")))
	if string(in[1].Extensions) != "extension" {
		t.Error("the entry that was handed in was changed")
	}
	for range 2 { // from memory, and from the file
		for _, want := range in {
			var got raft.Log
			must(t, f.logs.GetLog(want.Index, &got))
			if !reflect.DeepEqual(&got, want) {
				t.Errorf("entry %d came back as %+v, want %+v", want.Index, got, want)
			}
		}
		if err := f.logs.GetLog(4, new(raft.Log)); err != raft.ErrLogNotFound {
			t.Errorf("an entry that is not there gave %v", err)
		}
		if term, err := f.values.GetUint64([]byte("CurrentTerm")); err != nil || term != 2 {
			t.Errorf("the term is %d, %v", term, err)
		}
		if vote, err := f.values.Get([]byte("LastVoteCand")); err != nil || string(vote) != "peer" {
			t.Errorf("the vote is %q, %v", vote, err)
		}
		if _, err := f.values.GetUint64([]byte("LastVoteTerm")); !isNotFound(err) {
			t.Errorf("a value that is not there gave %v", err)
		}
		must(t, f.close())
		f = openTestFiles(t, dir)
	}
	must(t, f.close())
}

// TestFilesOfAnOlderVersion: entries and values without checksums are read, and from
// then on all have one.
func TestFilesOfAnOlderVersion(t *testing.T) {
	dir := t.TempDir()
	bolt, err := openBolt(boltPath(dir))
	must(t, err)
	old := &journal{LogStore: bolt, stable: bolt}
	must(t, old.StoreLogs(entries(1, 9)))
	must(t, old.note(7))
	must(t, bolt.SetUint64([]byte("CurrentTerm"), 3))
	must(t, bolt.Set([]byte("LastVoteCand"), []byte("orchd/k")))
	must(t, bolt.Close())

	f := openTestFiles(t, dir)
	var l raft.Log
	for i := range uint64(9) {
		must(t, f.logs.GetLog(i+1, &l))
	}
	must(t, f.logs.StoreLogs(filled(10, 10, 3, 100)))
	must(t, f.close())
	f = openTestFiles(t, dir)
	if term, err := f.values.GetUint64([]byte("CurrentTerm")); err != nil || term != 3 {
		t.Errorf("the term is %d, %v", term, err)
	}
	if vote, err := f.values.Get([]byte("LastVoteCand")); err != nil || string(vote) != "orchd/k" {
		t.Errorf("the vote is %q, %v", vote, err)
	}
	if f.logs.since != 10 {
		t.Errorf("entries have checksums from %d on, want 10", f.logs.since)
	}
	must(t, f.close())
	bolt, err = openBolt(boltPath(dir))
	must(t, err)
	must(t, bolt.GetLog(10, &l))
	l.Extensions = nil
	must(t, bolt.StoreLog(&l))
	must(t, bolt.Close())
	f = openTestFiles(t, dir)
	if err := f.logs.GetLog(10, &l); err == nil || !strings.Contains(err.Error(), "log entry 10 has no checksum") {
		t.Errorf("a new entry without a checksum gave %v", err)
	}
	must(t, f.close())
}

// TestValueThatWasAltered: a term or a vote that is not what was stored stops the peer.
func TestValueThatWasAltered(t *testing.T) {
	dir := t.TempDir()
	f := openTestFiles(t, dir)
	must(t, f.values.SetUint64([]byte("CurrentTerm"), 2))
	must(t, f.close())
	bolt, err := openBolt(boltPath(dir))
	must(t, err)
	b, err := bolt.Get([]byte("CurrentTerm"))
	must(t, err)
	b[len(b)-1] = 1
	must(t, bolt.Set([]byte("CurrentTerm"), b))
	must(t, bolt.Close())
	f = openTestFiles(t, dir)
	if _, err := f.values.GetUint64([]byte("CurrentTerm")); err == nil || !strings.Contains(err.Error(), "CurrentTerm") || !strings.Contains(err.Error(), "raft.db") {
		t.Errorf("an altered term gave %v", err)
	}
	must(t, f.close())
}

// filledLog is a data folder with a log of some pages, and what it holds.
func filledLog(t *testing.T) (dir string, want map[uint64]raft.Log) {
	t.Helper()
	dir, want = t.TempDir(), map[uint64]raft.Log{}
	f := openTestFiles(t, dir)
	must(t, f.values.SetUint64([]byte("CurrentTerm"), 5))
	must(t, f.values.SetUint64([]byte("LastVoteTerm"), 5))
	must(t, f.values.Set([]byte("LastVoteCand"), []byte("somebody")))
	for i := range uint64(60) {
		logs := filled(3*i+1, 3*i+3, 5, 50+int(i)*20)
		for _, l := range logs {
			binary.BigEndian.PutUint64(l.Data, l.Index) // no two alike
			want[l.Index] = *l
		}
		must(t, f.logs.StoreLogs(logs))
	}
	must(t, f.logs.DeleteRange(1, 20)) // leaves free pages
	for i := range uint64(20) {
		delete(want, i+1)
	}
	must(t, f.values.SetUint64(commitKey, 170))
	must(t, f.close())
	return dir, want
}

// TestEveryPageOfBolt flips bits all over raft.db, or cuts it off there: it is refused
// with a sentence, or gives exactly what was stored. Bolt itself would panic, or loop,
// or forget the last commit.
//
//race:out
func TestEveryPageOfBolt(t *testing.T) {
	dir, want := filledLog(t)
	good, err := os.ReadFile(boltPath(dir))
	must(t, err)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	memory, err := os.MkdirTemp("/dev/shm", "orchd-") // each opening syncs ten times
	must(t, err)
	defer os.RemoveAll(memory)
	refused, fine := 0, 0
	for n := range 600 {
		at := r.IntN(len(good))
		bad := append([]byte(nil), good...)
		what := fmt.Sprintf("byte %d, ", at)
		switch {
		case n%20 == 0:
			bad, what = bad[:at], what+"cut off"
		case n%3 == 0:
			bad[at] ^= byte(1 + r.IntN(255))
		default:
			bad[at] ^= 1 << r.IntN(8)
		}
		if len(bad) > at {
			what += fmt.Sprintf("%#x becomes %#x", good[at], bad[at])
		}
		other := filepath.Join(memory, "peer")
		must(t, os.RemoveAll(other))
		must(t, os.MkdirAll(filepath.Join(other, "raft"), 0o700))
		must(t, os.WriteFile(boltPath(other), bad, 0o600))
		for _, name := range []string{"ahead.0", "ahead.1"} { // without blocks, which would take long to write
			must(t, os.WriteFile(filepath.Join(other, "raft", name), nil, 0o600))
			must(t, os.Truncate(filepath.Join(other, "raft", name), aheadSize))
		}
		if err := whole(other, want); err == nil {
			fine++
		} else if refused++; !strings.Contains(err.Error(), "raft.db") && !strings.Contains(err.Error(), "not found") {
			t.Errorf("%s: refused with %q", what, err)
		}
		if t.Failed() {
			t.Fatalf("after %s", what)
		}
	}
	t.Logf("%d were refused, %d did no harm", refused, fine)
	if refused == 0 || fine == 0 {
		t.Errorf("%d were refused, %d did no harm; both happen", refused, fine)
	}
}

// whole opens a log and reads all that it should hold; the error is that it is refused.
// A wrong entry or value ends the test.
func whole(dir string, want map[uint64]raft.Log) error {
	f, err := openFiles(dir, nil)
	if err != nil {
		return err
	}
	defer f.close()
	first, err := f.logs.FirstIndex()
	if err != nil {
		return err
	}
	last, err := f.logs.LastIndex()
	if err != nil {
		return err
	}
	var l raft.Log
	for i := first; i <= last; i++ {
		if err := f.logs.GetLog(i, &l); err != nil {
			return err
		}
		if w := want[i]; w.Term != l.Term || w.Type != l.Type || string(w.Data) != string(l.Data) {
			panic(fmt.Sprintf("entry %d is another", i))
		}
	}
	if int(last-first+1) != len(want) {
		panic(fmt.Sprintf("entries are %d to %d, want %d", first, last, len(want)))
	}
	for key, want := range map[string]uint64{"CurrentTerm": 5, "LastVoteTerm": 5, string(commitKey): 170} {
		if got, err := f.values.GetUint64([]byte(key)); err != nil {
			return err
		} else if got != want {
			panic(fmt.Sprintf("%s is %d, want %d", key, got, want))
		}
	}
	vote, err := f.values.Get([]byte("LastVoteCand"))
	if err == nil && string(vote) != "somebody" {
		panic(fmt.Sprintf("the vote is for %q", vote))
	}
	return err
}
