package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// openLog opens a log in a folder as a peer does.
func openLog(t *testing.T, dir string) *ahead {
	t.Helper()
	a, err := tryOpenLog(dir)
	must(t, err)
	return a
}

func tryOpenLog(dir string) (*ahead, error) {
	bolt, err := openBolt(filepath.Join(dir, "raft.db"))
	if err != nil {
		return nil, err
	}
	return openAhead(dir, bolt)
}

// crashed is what the disk holds when the process is killed now.
func crashed(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// filled are entries with content; the term tells one from another at its index.
func filled(first, last, term uint64, size int) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		l := &raft.Log{Index: i, Term: term, Type: raft.LogCommand, AppendedAt: time.Unix(int64(i), 7).UTC(), Extensions: []byte("mark")}
		if size > 0 {
			l.Data = bytes.Repeat([]byte{byte(i)}, size)
		}
		logs = append(logs, l)
	}
	return logs
}

// holds compares what the log gives with what it should.
func (a *ahead) holds(t *testing.T, want map[uint64]*raft.Log, first, last uint64) {
	t.Helper()
	gotFirst, err := a.FirstIndex()
	must(t, err)
	gotLast, err := a.LastIndex()
	must(t, err)
	if gotFirst != first || gotLast != last {
		t.Fatalf("the log goes from %d to %d, want %d to %d", gotFirst, gotLast, first, last)
	}
	var l raft.Log
	for i := first; i <= last && i > 0; i++ {
		l = raft.Log{}
		must(t, a.GetLog(i, &l))
		if !reflect.DeepEqual(&l, want[i]) {
			t.Fatalf("entry %d is %d bytes of term %d at %s, want %d bytes of term %d at %s", i, len(l.Data), l.Term, l.AppendedAt, len(want[i].Data), want[i].Term, want[i].AppendedAt)
		}
	}
	for _, none := range []uint64{first - 1, last + 1} {
		if err := a.GetLog(none, &l); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("entry %d, outside: %v", none, err)
		}
	}
}

// TestLogSurvivesKillsAtAnyStep appends and deletes as raft does, in sizes from
// an empty entry to one that goes straight to bolt, and looks after each step
// at what a kill would leave.
//
//race:out
func TestLogSurvivesKillsAtAnyStep(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	a := openLog(t, dir)
	want := map[uint64]*raft.Log{}
	first, last, term := uint64(0), uint64(0), uint64(1)
	for step := range 120 {
		switch what := r.IntN(20); {
		case what == 0 && last > first+3: // another leader's entries instead of the newest
			from := last - r.Uint64N(3)
			must(t, a.DeleteRange(from, last))
			last = from - 1
			term++
		case what == 1 && last > first+3: // after a snapshot
			to := first + r.Uint64N(last-first-1)
			must(t, a.DeleteRange(first, to))
			first = to + 1
		default:
			size := []int{0, 700, 700, 40 << 10, 200 << 10, aheadMost}[r.IntN(6)]
			logs := filled(last+1, last+1+r.Uint64N(3), term, size)
			must(t, a.StoreLogs(logs))
			for _, l := range logs {
				want[l.Index] = l
			}
			first, last = max(first, 1), logs[len(logs)-1].Index
		}
		if step%10 != 0 {
			continue
		}
		a.holds(t, want, first, last)
		if a.move == nil { // bolt's file is not copied while it is written
			left := openLog(t, crashed(t, dir))
			left.holds(t, want, first, last)
			must(t, left.Close())
		}
	}
	must(t, a.Close())
	bolt, err := openBolt(filepath.Join(dir, "raft.db"))
	must(t, err)
	if got, err := bolt.LastIndex(); err != nil || got != last {
		t.Errorf("after Close bolt ends at %d, %v; want %d", got, err, last)
	}
	must(t, bolt.Close())
}

// TestFullFilesMoveIntoBolt goes round several times, with a reader beside it.
func TestFullFilesMoveIntoBolt(t *testing.T) {
	dir := t.TempDir()
	a := openLog(t, dir)
	const n, size = 150, 100 << 10
	want := map[uint64]*raft.Log{}
	for i := uint64(1); i <= n; i++ {
		logs := filled(i, i, 1, size)
		want[i] = logs[0]
		must(t, a.StoreLogs(logs))
		var l raft.Log
		for _, earlier := range []uint64{1, i / 2, i} {
			if earlier > 0 {
				must(t, a.GetLog(earlier, &l))
			}
		}
		if held := len(a.pending) + len(a.moving); held > 2*aheadSize/size {
			t.Fatalf("%d entries are in memory, more than the files hold", held)
		}
	}
	if got, err := a.bolt.LastIndex(); err != nil || got == 0 {
		t.Errorf("after %d bytes bolt ends at %d, %v", n*size, got, err)
	}
	a.holds(t, want, 1, n)
	must(t, a.Close())
	again := openLog(t, dir)
	again.holds(t, want, 1, n)
	must(t, again.Close())
}

// TestTornBatchIsDropped: power goes while a batch is written; whatever part of
// it is on disk, those before it are there and it is not.
func TestTornBatchIsDropped(t *testing.T) {
	dir := t.TempDir()
	a := openLog(t, dir)
	kept, torn := filled(1, 5, 1, 700), filled(6, 20, 1, 700)
	must(t, a.StoreLogs(kept))
	before := a.tail
	must(t, a.StoreLogs(torn))
	after, active := a.tail, a.active
	want := map[uint64]*raft.Log{}
	for _, l := range kept {
		want[l.Index] = l
	}
	for page := before; page < after; page += aheadPage {
		lost := crashed(t, dir)
		f, err := os.OpenFile(filepath.Join(lost, fmt.Sprintf("ahead.%d", active)), os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt(make([]byte, aheadPage), page)
		must(t, errors.Join(err, f.Close()))
		left := openLog(t, lost)
		left.holds(t, want, 1, 5)
		must(t, left.Close())
	}
	must(t, a.Close())
}

// TestDamagedBatchIsNotTakenForATornOne: what follows it was acknowledged.
func TestDamagedBatchIsNotTakenForATornOne(t *testing.T) {
	for _, first := range []bool{false, true} {
		dir := t.TempDir()
		a := openLog(t, dir)
		if first { // in a file's first batch
			for i := uint64(1); a.active == 0 || a.tail < 600<<10; i++ {
				must(t, a.StoreLogs(filled(i, i, 1, 200<<10)))
			}
			must(t, a.moved())
		} else {
			must(t, a.StoreLogs(filled(1, 1, 1, 700)))
			must(t, a.StoreLogs(filled(2, 2, 1, 700)))
			must(t, a.StoreLogs(filled(3, 3, 1, 700)))
		}
		at := int64(2 * aheadPage)
		if first {
			at = 100
		}
		lost, name := crashed(t, dir), fmt.Sprintf("ahead.%d", a.active)
		must(t, a.Close())
		f, err := os.OpenFile(filepath.Join(lost, name), os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt([]byte{1, 2, 3, 4}, at)
		must(t, errors.Join(err, f.Close()))
		left, err := tryOpenLog(lost)
		if err == nil {
			left.Close()
			t.Fatal("the log was opened over a damaged batch")
		}
		if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "damaged in the middle") {
			t.Errorf("refused with %q; want the file's name and what is wrong", err)
		}
	}
}

// TestOldBatchesAreNoNewOnes: what a file held before, and bytes that a command
// brought to look like a batch, are not taken for what comes next.
func TestOldBatchesAreNoNewOnes(t *testing.T) {
	dir := t.TempDir()
	a := openLog(t, dir)
	forged := encodeBatch(stamp{round: a.stamp.round + 2}, filled(3, 3, 66, 10))
	data := bytes.Repeat(forged, 20)
	pad := aheadPage - (batchHeader + entryHeader - 4)
	must(t, a.StoreLogs([]*raft.Log{{Index: 1, Term: 1, Data: append(make([]byte, pad), data...)}}))
	must(t, a.DeleteRange(1, 1)) // the files forget
	must(t, a.StoreLogs(filled(1, 1, 2, 10)))
	left := openLog(t, crashed(t, dir))
	left.holds(t, map[uint64]*raft.Log{1: filled(1, 1, 2, 10)[0]}, 1, 1)
	must(t, errors.Join(left.Close(), a.Close()))
}

// TestFolderOfAVersionWithoutTheFiles is opened, and is whole for that version
// again after a clean end.
func TestFolderOfAVersionWithoutTheFiles(t *testing.T) {
	dir := t.TempDir()
	logs := filled(1, 30, 1, 700)
	bolt, err := openBolt(filepath.Join(dir, "raft.db"))
	must(t, err)
	must(t, errors.Join(bolt.StoreLogs(logs[:20]), bolt.Close()))
	want := map[uint64]*raft.Log{}
	for _, l := range logs {
		want[l.Index] = l
	}
	a := openLog(t, dir)
	a.holds(t, want, 1, 20)
	must(t, a.StoreLogs(logs[20:]))
	must(t, a.Close())
	bolt, err = openBolt(filepath.Join(dir, "raft.db"))
	must(t, err)
	if last, err := bolt.LastIndex(); err != nil || last != 30 {
		t.Errorf("without the files the log ends at %d, %v; want 30", last, err)
	}
	must(t, errors.Join(bolt.DeleteRange(25, 30), bolt.StoreLogs(filled(25, 31, 2, 10)), bolt.Close()))
	for _, l := range filled(25, 31, 2, 10) {
		want[l.Index] = l
	}
	a = openLog(t, dir)
	a.holds(t, want, 1, 31)
	must(t, a.Close())
}

// TestEndThatIsGone: the files tell of entries at the log's end that bolt does not have
// any more, and of none that were taken out.
func TestEndThatIsGone(t *testing.T) {
	large := filled(4, 4, 1, aheadMost+1) // straight to bolt
	for name, c := range map[string]struct {
		change  func(a *ahead) error
		crash   bool // without a close, which would note the end anyway
		last    uint64
		removed uint64 // first of the entries that vanish
	}{
		"closed":                      {func(a *ahead) error { return a.StoreLogs(filled(4, 9, 1, 50)) }, false, 9, 9},
		"a large batch, and killed":   {func(a *ahead) error { return a.StoreLogs(large) }, true, 4, 4},
		"shortened, and killed":       {func(a *ahead) error { return a.DeleteRange(1, 2) }, true, 3, 3},
		"an end that went, killed":    {func(a *ahead) error { return a.DeleteRange(3, 3) }, true, 2, 2},
		"all went, and three are new": {func(a *ahead) error { return errors.Join(a.DeleteRange(1, 3), a.StoreLogs(filled(7, 9, 1, 50))) }, false, 9, 8},
		"all went":                    {func(a *ahead) error { return a.DeleteRange(1, 3) }, true, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := openLog(t, dir)
			must(t, a.StoreLogs(filled(1, 3, 1, 50)))
			must(t, c.change(a))
			left := dir
			if c.crash {
				left = crashed(t, dir)
			}
			must(t, a.Close())
			again := openLog(t, crashed(t, left)) // a copy, for to open it is to tell the end anew
			if last, err := again.LastIndex(); err != nil || last != c.last {
				t.Fatalf("the log ends at %d, %v; want %d", last, err, c.last)
			}
			must(t, again.Close())
			if c.removed == 0 {
				return
			}
			bolt, err := openBolt(filepath.Join(left, boltName))
			must(t, err)
			must(t, errors.Join(bolt.DeleteRange(c.removed, c.last), bolt.Close()))
			_, err = tryOpenLog(left)
			if want := fmt.Sprintf("entry %d had been stored", c.last); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), boltName) {
				t.Errorf("without the entries from %d on: %v, want %q", c.removed, err, want)
			}
		})
	}
}

// TestFileThatWasHalfMade, because the disk was full or power went, is completed.
func TestFileThatWasHalfMade(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "ahead.0"), make([]byte, 3*aheadPage+5), 0o600))
	a := openLog(t, dir)
	must(t, a.StoreLogs(filled(1, 1, 1, 700)))
	for _, name := range []string{"ahead.0", "ahead.1"} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if info.Size() != aheadSize || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has %d bytes and mode %s, want %d and 0600", name, info.Size(), info.Mode(), aheadSize)
		}
	}
	left := openLog(t, crashed(t, dir))
	left.holds(t, map[uint64]*raft.Log{1: filled(1, 1, 1, 700)[0]}, 1, 1)
	must(t, errors.Join(left.Close(), a.Close()))
}

// TestSecondProcessIsKeptOut before it touches the files.
func TestSecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	a := openLog(t, dir)
	must(t, a.StoreLogs(filled(1, 3, 1, 700)))
	if _, err := tryOpenLog(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second opening gave %v", err)
	}
	left := openLog(t, crashed(t, dir))
	if last, err := left.LastIndex(); err != nil || last != 3 {
		t.Errorf("the log ends at %d, %v; want 3", last, err)
	}
	must(t, errors.Join(left.Close(), a.Close()))
}

// failing is bolt that a test lets fail.
type failing struct {
	boltLog
	err error
}

func (f *failing) StoreLogs(logs []*raft.Log) error {
	if f.err != nil {
		return f.err
	}
	return f.boltLog.StoreLogs(logs)
}

func TestFailedMoveEndsTheLog(t *testing.T) {
	dir := t.TempDir()
	bolt, err := openBolt(filepath.Join(dir, "raft.db"))
	must(t, err)
	f := &failing{boltLog: bolt}
	a, err := openAhead(dir, f)
	must(t, err)
	told := make(chan error, 1)
	a.fail = func(err error) { told <- err }
	f.err = io.ErrUnexpectedEOF
	var failed error
	i := uint64(1)
	for ; failed == nil && i < 200; i++ {
		failed = a.StoreLogs(filled(i, i, 1, 200<<10))
	}
	if !errors.Is(failed, io.ErrUnexpectedEOF) {
		t.Fatalf("with a bolt that fails, %d entries gave %v", i, failed)
	}
	if err := <-told; !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "this peer stops") {
		t.Errorf("the node was told %v; want the failure and a sentence", err)
	}
	f.err = nil
	if err := a.StoreLogs(filled(i-1, i-1, 1, 10)); err == nil {
		t.Error("a log that failed once was written to again")
	}
	var l raft.Log
	must(t, a.GetLog(1, &l))
	must(t, a.Close())
	// Nothing is lost: the files have what bolt does not.
	again := openLog(t, dir)
	if last, err := again.LastIndex(); err != nil || last != i-2 {
		t.Errorf("the log ends at %d, %v; want %d", last, err, i-2)
	}
	must(t, again.Close())
}
