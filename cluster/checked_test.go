package cluster

import (
	"bytes"
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
	refused, fine := 0, 0
	open := openAltered(t, dir, want)
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
		if open(what, bad) == nil {
			fine++
		} else {
			refused++
		}
	}
	t.Logf("%d were refused, %d did no harm", refused, fine)
	if refused == 0 || fine == 0 {
		t.Errorf("%d were refused, %d did no harm; both happen", refused, fine)
	}
}

// TestPagesThatHideOthers alters each number in raft.db that says how many elements a
// page has, or which page comes next: so a part of the log would be gone without a gap in
// what is left, at its beginning, or at its end, where no later entry tells of it.
//
//race:out
func TestPagesThatHideOthers(t *testing.T) {
	dir, want := filledLog(t)
	good, err := os.ReadFile(boltPath(dir))
	must(t, err)
	open := openAltered(t, dir, want)
	pages := uint64(len(good)) / 4096
	ends, refused := 0, 0
	try := func(what string, at uint64, n uint16) {
		bad := bytes.Clone(good)
		native.PutUint16(bad[at:], n)
		err := open(fmt.Sprintf("%s at %d becomes %d", what, at, n), bad)
		if err != nil {
			refused++
		}
		if err != nil && strings.Contains(err.Error(), "had been stored") {
			ends++
		}
	}
	for page := range pages {
		at := page * 4096
		flags, count := native.Uint16(good[at+8:]), native.Uint16(good[at+10:])
		if flags != branchFlag && flags != leafFlag {
			continue
		}
		for n := range min(count, 40) {
			try("a count", at+10, n)
		}
		if flags == branchFlag {
			for other := range pages {
				try("the last page below", at+pageHeader+uint64(count-1)*branchElem+8, uint16(other))
			}
		}
	}
	first, err := readMeta(good)
	must(t, err)
	newer, err := readMeta(good[4096:])
	must(t, err)
	if first.commit > newer.commit {
		newer = first
	}
	root := newer.root*4096 + uint64(bytes.Index(good[newer.root*4096:], []byte("logs"))+len("logs"))
	for other := range pages {
		try("the log's root", root, uint16(other))
	}
	t.Logf("%d pages: %d were refused, %d of them for the end", pages, refused, ends)
	if ends < 10 {
		t.Errorf("an end that is gone was refused %d times", ends)
	}
}

// openAltered gives a function that opens the peer of the folder with another raft.db,
// and compares what it gives; the error, which names the file, is that it is refused.
func openAltered(t *testing.T, dir string, want map[uint64]raft.Log) func(what string, bad []byte) error {
	memory, err := os.MkdirTemp("/dev/shm", "orchd-") // each opening syncs ten times
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(memory) })
	ahead := map[string][]byte{}
	for _, name := range []string{"ahead.0", "ahead.1"} {
		b, err := os.ReadFile(filepath.Join(dir, "raft", name))
		must(t, err)
		ahead[name] = b[:aheadPage] // what is behind it is zeros, and takes long to write
	}
	other := filepath.Join(memory, "peer")
	return func(what string, bad []byte) error {
		must(t, os.RemoveAll(other))
		must(t, os.MkdirAll(filepath.Join(other, "raft"), 0o700))
		must(t, os.WriteFile(boltPath(other), bad, 0o600))
		for name, b := range ahead {
			must(t, os.WriteFile(filepath.Join(other, "raft", name), b, 0o600))
			must(t, os.Truncate(filepath.Join(other, "raft", name), aheadSize))
		}
		err := whole(other, want)
		if err != nil && !strings.Contains(err.Error(), "raft.db") && !strings.Contains(err.Error(), "not found") {
			t.Errorf("refused with %q", err)
		}
		if t.Failed() {
			t.Fatalf("after %s", what)
		}
		return err
	}
}

// whole opens a log, as that of a peer whose snapshot ends where the log begins, and
// reads all that it should hold; the error is that it is refused. A wrong entry or value
// ends the test.
func whole(dir string, want map[uint64]raft.Log) error {
	f, err := openFiles(dir, nil)
	if err != nil {
		return err
	}
	defer f.close()
	s := &stores{logs: &journal{LogStore: f.logs, stable: f.values}, snapshots: snapshotsAt{indexes: []uint64{20}}}
	if _, err := s.preflight(dir); err != nil {
		return err
	}
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
