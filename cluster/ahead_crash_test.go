package cluster

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// grainyFile is a file on a disk that loses power: of what was written since the
// last sync, any of its grains may be on the disk and any may not.
type grainyFile struct {
	name    string
	at      func()  // called before and after each step
	written []byte  // as the process sees it
	synced  []byte  // what is sure to be on the disk
	fail    []error // of the next syncs
}

func newGrainy(name string, size int64) *grainyFile {
	return &grainyFile{name: name, written: make([]byte, size), synced: make([]byte, size)}
}

func (f *grainyFile) step() {
	if f.at != nil {
		f.at()
	}
}

func (f *grainyFile) ReadAt(b []byte, pos int64) (int, error) { return copy(b, f.written[pos:]), nil }

func (f *grainyFile) WriteAt(b []byte, pos int64) (int, error) {
	f.step()
	n := copy(f.written[pos:], b)
	if n < len(b) {
		return n, fmt.Errorf("%d bytes at %d are more than fit", len(b), pos)
	}
	f.step()
	return n, nil
}

func (f *grainyFile) Sync() error {
	if len(f.fail) > 0 {
		err := f.fail[0]
		f.fail = f.fail[1:]
		if err != nil {
			return err
		}
	}
	copy(f.synced, f.written)
	f.step()
	return nil
}

func (f *grainyFile) Close() error { return nil }
func (f *grainyFile) Name() string { return f.name }

// powerLoss is what is left: of each grain in which something was written either
// what was written or what was synced, by a pattern that is as likely to be all,
// none, all but the first, only the first, or any.
func (f *grainyFile) powerLoss(r *rand.Rand, grain int) *grainyFile {
	left := &grainyFile{name: f.name, written: slices.Clone(f.synced)}
	pattern, first := r.IntN(5), true
	for pos := 0; pos < len(f.written); pos += grain {
		if slices.Equal(f.written[pos:pos+grain], f.synced[pos:pos+grain]) {
			continue
		}
		if pattern == 0 || pattern == 1 && first || pattern == 2 && !first || pattern == 3 && r.IntN(2) == 0 {
			copy(left.written[pos:pos+grain], f.written[pos:pos+grain])
		}
		first = false
	}
	left.synced = slices.Clone(left.written)
	return left
}

// sureBolt is a bolt whose commits are whole and on disk, as bolt's are.
type sureBolt struct {
	mu     sync.Mutex
	logs   map[uint64]*raft.Log
	before map[uint64]*raft.Log // before the newest StoreLogs
	err    error                // of StoreLogs
}

func (b *sureBolt) edge(better func(a, b uint64) bool) (index uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.logs {
		if index == 0 || better(i, index) {
			index = i
		}
	}
	return index, nil
}

func (b *sureBolt) FirstIndex() (uint64, error) {
	return b.edge(func(a, b uint64) bool { return a < b })
}

func (b *sureBolt) LastIndex() (uint64, error) {
	return b.edge(func(a, b uint64) bool { return a > b })
}

func (b *sureBolt) GetLog(index uint64, l *raft.Log) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	found, ok := b.logs[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*l = *found
	return nil
}

func (b *sureBolt) StoreLog(l *raft.Log) error { return b.StoreLogs([]*raft.Log{l}) }

func (b *sureBolt) StoreLogs(logs []*raft.Log) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.before = maps.Clone(b.logs)
	for _, l := range logs {
		b.logs[l.Index] = l
	}
	return nil
}

func (b *sureBolt) DeleteRange(first, last uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.logs, func(i uint64, _ *raft.Log) bool { return i >= first && i <= last })
	return nil
}

func (b *sureBolt) Close() error { return nil }

// Sizes of the files in the simulation: small, so that they are gone round often.
const (
	grainySize = 10 * aheadPage
	grainyMost = 4 * aheadPage
)

func openGrainy(files [2]aheadFile, bolt boltLog) (*ahead, error) {
	a := &ahead{bolt: bolt, files: files, size: grainySize, most: grainyMost}
	return a, a.recover()
}

// everything is what a log holds.
func everything(a *ahead) (map[uint64]*raft.Log, error) {
	first, err := a.FirstIndex()
	if err != nil {
		return nil, err
	}
	last, err := a.LastIndex()
	if err != nil {
		return nil, err
	}
	all := map[uint64]*raft.Log{}
	for i := first; i <= last && i > 0; i++ {
		l := new(raft.Log)
		if err := a.GetLog(i, l); err != nil {
			return nil, fmt.Errorf("entry %d of %d to %d: %w", i, first, last, err)
		}
		all[i] = l
	}
	return all, nil
}

// simulation is a log on disks that lose power, and what it should hold.
type simulation struct {
	t     *testing.T
	r     *rand.Rand
	files [2]*grainyFile
	bolt  *sureBolt
	log   *ahead

	before, after map[uint64]*raft.Log // the step in hand leads from one to the other
	term          uint64
	crashes       int
	checking      bool
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), bolt: &sureBolt{logs: map[uint64]*raft.Log{}}, term: 1,
		before: map[uint64]*raft.Log{}, after: map[uint64]*raft.Log{},
	}
	s.files = [2]*grainyFile{newGrainy("ahead.0", grainySize), newGrainy("ahead.1", grainySize)}
	s.open()
	return s
}

func (s *simulation) open() {
	s.t.Helper()
	a, err := openGrainy([2]aheadFile{s.files[0], s.files[1]}, s.bolt)
	must(s.t, err)
	s.log = a
	for _, f := range s.files {
		f.at = s.crash
	}
}

// crash looks at what would be left if power went now, with sectors or pages as
// the disk's grain, and with a move into bolt that is under way done or not.
func (s *simulation) crash() {
	if s.checking {
		return
	}
	s.checking = true
	defer func() { s.checking = false }()
	for range 3 {
		s.crashes++
		grain := []int{512, aheadPage}[s.r.IntN(2)]
		left, bolt := s.powerLoss(grain)
		a, err := openGrainy(left, bolt)
		if err != nil {
			s.t.Fatalf("after power was lost (grain %d) the log was refused: %v", grain, err)
		}
		got, err := everything(a)
		must(s.t, err)
		if !reflect.DeepEqual(got, s.before) && !reflect.DeepEqual(got, s.after) {
			s.t.Fatalf("after power was lost (grain %d) the log holds\n%s, want\n%s or\n%s", grain, outline(got), outline(s.before), outline(s.after))
		}
	}
}

func (s *simulation) powerLoss(grain int) (left [2]aheadFile, bolt *sureBolt) {
	moving := s.log.move != nil
	if moving { // it is done, but nobody has heard of it
		err := <-s.log.move
		s.log.move <- err
	}
	s.bolt.mu.Lock()
	bolt = &sureBolt{logs: maps.Clone(s.bolt.logs)}
	if moving && s.bolt.err == nil && s.r.IntN(2) == 0 {
		bolt.logs = maps.Clone(s.bolt.before)
	}
	s.bolt.mu.Unlock()
	for i, f := range s.files {
		left[i] = f.powerLoss(s.r, grain)
	}
	return left, bolt
}

// outline is a log in a line: the indexes and terms.
func outline(logs map[uint64]*raft.Log) (line string) {
	for _, i := range slices.Sorted(maps.Keys(logs)) {
		line += fmt.Sprintf(" %d/%d", i, logs[i].Term)
	}
	return line
}

func (s *simulation) edges() (first, last uint64) {
	all := slices.Sorted(maps.Keys(s.before))
	if len(all) == 0 {
		return 0, 0
	}
	return all[0], all[len(all)-1]
}

// do takes one step and checks what it led to.
func (s *simulation) do(after map[uint64]*raft.Log, step func() error) {
	s.t.Helper()
	s.after = after
	must(s.t, step())
	s.before = after
	s.crash()
}

// step does what raft may do next.
func (s *simulation) step() {
	s.t.Helper()
	first, last := s.edges()
	after := maps.Clone(s.before)
	remove := func(from, to uint64) {
		maps.DeleteFunc(after, func(i uint64, _ *raft.Log) bool { return i >= from && i <= to })
		s.do(after, func() error { return s.log.DeleteRange(from, to) })
	}
	switch what := s.r.IntN(120); {
	case what < 3 && last > first: // another leader's entries will stand there
		s.term++
		remove(first+1+s.r.Uint64N(last-first), last)
	case what == 3 && last > first: // behind a snapshot
		remove(first, first+s.r.Uint64N(last-first))
	case what == 4 && last > 0: // the whole of it: a snapshot was installed
		remove(first, last)
	case what == 5: // a clean end
		s.do(after, func() error {
			err := s.log.Close()
			s.open()
			return err
		})
	case what == 6: // the process is killed, and goes on with what is there
		for i := range s.files {
			s.files[i].at = nil
		}
		left, bolt := s.powerLoss(aheadPage)
		for i, f := range left {
			s.files[i] = f.(*grainyFile)
		}
		s.bolt = bolt
		s.do(after, func() error { s.open(); return nil })
	case what == 7 && last > first: // other entries in the place of some that nobody took out
		s.term++
		s.store(after, last-s.r.Uint64N(last-first), 1)
	default:
		s.store(after, last+1, 1+s.r.Uint64N(3))
	}
}

func (s *simulation) store(after map[uint64]*raft.Log, first, n uint64) {
	s.t.Helper()
	size := []int{0, 300, 300, 5000, 2 * aheadPage, grainyMost}[s.r.IntN(6)]
	logs := filled(first, first+n-1, s.term, size)
	for _, l := range logs {
		after[l.Index] = l
	}
	s.do(after, func() error { return s.log.StoreLogs(logs) })
}

// TestPowerMayGoAtAnyStep takes steps as raft does, loses power at each write and
// each sync in them, and compares with what was acknowledged: all of it is there,
// of the step in hand all or nothing, and nothing else.
//
//race:out
func TestPowerMayGoAtAnyStep(t *testing.T) {
	start := rand.Uint64()
	for seed := start; seed < start+8; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := newSimulation(t, seed)
			for range 150 {
				s.step()
			}
			if s.crashes < 450 {
				t.Errorf("power was lost %d times only", s.crashes)
			}
		})
	}
}

// TestFlippedBitIsNoticed: wherever a bit of the files flips, the log is refused
// or what it gives was stored. What may be missing then is the last batch: it
// looks like one that a crash tore.
//
//race:out
func TestFlippedBitIsNoticed(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	refused, dropped := 0, 0
	for round := range uint64(20) {
		s := newSimulation(t, seed+round)
		for _, f := range s.files {
			f.at = nil
		}
		s.checking = true // power stays
		for range 30 {
			s.step()
		}
		for range 100 {
			left, bolt := s.powerLoss(aheadPage)
			f := left[s.r.IntN(2)].(*grainyFile)
			f.written[s.r.IntN(len(f.written))] ^= 1 << s.r.IntN(8)
			a, err := openGrainy(left, bolt)
			if err != nil {
				refused++
				continue
			}
			got, err := everything(a)
			if errors.Is(err, raft.ErrLogNotFound) { // preflight refuses
				refused++
				continue
			}
			must(t, err)
			for i, l := range got {
				if !reflect.DeepEqual(l, s.before[i]) {
					t.Fatalf("entry %d is of term %d with %d bytes, and was not stored so", i, l.Term, len(l.Data))
				}
			}
			if len(got) < len(s.before) {
				dropped++
				_, last := s.edges()
				if len(s.before)-len(got) > 3 || got[last] != nil {
					t.Fatalf("more is missing than the last batch: the log holds\n%s of\n%s", outline(got), outline(s.before))
				}
			}
		}
	}
	if refused == 0 || dropped == 0 {
		t.Errorf("of 2000 flipped bits %d were noticed and %d cost the last batch; both happen", refused, dropped)
	}
}

// TestFullDiskDoesNotKeepALogFromOpening: what a crash left cannot go into bolt
// yet; it is there all the same, and more can be stored once there is room.
func TestFullDiskDoesNotKeepALogFromOpening(t *testing.T) {
	s := newSimulation(t, 1)
	logs := filled(1, 5, 1, 300)
	s.do(map[uint64]*raft.Log{1: logs[0], 2: logs[1], 3: logs[2], 4: logs[3], 5: logs[4]}, func() error { return s.log.StoreLogs(logs) })
	left, bolt := s.powerLoss(512)
	bolt.err = syscall.ENOSPC
	a, err := openGrainy(left, bolt)
	must(t, err)
	got, err := everything(a)
	must(t, err)
	if !reflect.DeepEqual(got, s.before) {
		t.Fatalf("on a full disk the log holds %s, want %s", outline(got), outline(s.before))
	}
	next := filled(6, 6, 1, 300)
	if err := a.StoreLogs(next); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("storing on a full disk gave %v", err)
	}
	if err := a.DeleteRange(5, 5); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("deleting on a full disk gave %v", err)
	}
	bolt.err = nil
	must(t, a.StoreLogs(next))
	s.before[6] = next[0]
	got, err = everything(a)
	must(t, err)
	if !reflect.DeepEqual(got, s.before) {
		t.Errorf("with room again the log holds %s, want %s", outline(got), outline(s.before))
	}
}

// TestAppendThatFoundNoRoomLeavesNothing: its entries were refused, others may
// come in their place, and they do not return with the next crash.
func TestAppendThatFoundNoRoomLeavesNothing(t *testing.T) {
	s := newSimulation(t, 2)
	s.checking = true
	kept := filled(1, 2, 1, 300)
	s.do(map[uint64]*raft.Log{1: kept[0], 2: kept[1]}, func() error { return s.log.StoreLogs(kept) })
	for _, f := range s.files {
		f.fail = []error{syscall.ENOSPC}
	}
	if err := s.log.StoreLogs(filled(3, 4, 1, 300)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the append gave %v", err)
	}
	s.files[0].fail, s.files[1].fail = nil, nil
	other := filled(3, 3, 2, 300)
	s.do(map[uint64]*raft.Log{1: kept[0], 2: kept[1], 3: other[0]}, func() error { return s.log.StoreLogs(other) })
	s.checking = false
	s.crash()
}

// TestNoRoomToTellTheEnd: what bolt has taken in, or given up, is so, also where the files
// have no room to say where the log ends now.
func TestNoRoomToTellTheEnd(t *testing.T) {
	s := newSimulation(t, 3)
	s.checking = true
	few, large := filled(1, 3, 1, 300), filled(4, 4, 1, grainySize)
	s.do(map[uint64]*raft.Log{1: few[0], 2: few[1], 3: few[2]}, func() error { return s.log.StoreLogs(few) })
	full := func(at int) { // from its at-th write on, each file has no room
		for _, f := range s.files {
			f.fail = append(make([]error, at), syscall.ENOSPC)
		}
	}
	full(0)
	s.do(map[uint64]*raft.Log{1: few[0], 2: few[1], 3: few[2], 4: large[0]}, func() error { return s.log.StoreLogs(large) })
	full(1) // the first is before bolt changes
	s.do(map[uint64]*raft.Log{1: few[0], 2: few[1]}, func() error { return s.log.DeleteRange(3, 4) })
	s.files[0].fail, s.files[1].fail = nil, nil
	other := filled(3, 3, 2, 300)
	s.do(map[uint64]*raft.Log{1: few[0], 2: few[1], 3: other[0]}, func() error { return s.log.StoreLogs(other) })
	s.checking = false
	s.crash()
}

// heldBolt does not finish a StoreLogs before a test lets it go on.
type heldBolt struct {
	*sureBolt
	goOn chan struct{}
}

func (b heldBolt) StoreLogs(logs []*raft.Log) error {
	<-b.goOn
	return b.sureBolt.StoreLogs(logs)
}

// TestFileIsKeptUntilBoltHasIt: while the entries of one file are on their way,
// the other takes new ones; when that is full too, the next waits.
func TestFileIsKeptUntilBoltHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bolt := heldBolt{&sureBolt{logs: map[uint64]*raft.Log{}}, make(chan struct{})}
		files := [2]*grainyFile{newGrainy("ahead.0", grainySize), newGrainy("ahead.1", grainySize)}
		a, err := openGrainy([2]aheadFile{files[0], files[1]}, bolt)
		must(t, err)
		const fit = 2*grainySize/aheadPage - 1 // a page of the first file says that it was begun
		stored := uint64(0)
		go func() {
			for stored < fit+1 {
				must(t, a.StoreLogs(filled(stored+1, stored+1, 1, 300)))
				stored++
			}
		}()
		synctest.Wait()
		if stored != fit {
			t.Errorf("%d entries were stored while bolt was held, want %d", stored, fit)
		}
		for i := range uint64(fit) {
			must(t, a.GetLog(i+1, new(raft.Log)))
		}
		left := [2]aheadFile{files[0].powerLoss(rand.New(rand.NewPCG(1, 1)), 512), files[1].powerLoss(rand.New(rand.NewPCG(1, 1)), 512)}
		after, err := openGrainy(left, &sureBolt{logs: map[uint64]*raft.Log{}})
		must(t, err)
		if all, err := everything(after); err != nil || len(all) != fit {
			t.Errorf("after power was lost there are %d entries, %v; want %d", len(all), err, fit)
		}
		close(bolt.goOn)
		synctest.Wait()
		if all, err := everything(a); err != nil || len(all) != fit+1 {
			t.Errorf("in the end there are %d entries, %v; want %d", len(all), err, fit+1)
		}
	})
}

// TestFailedSyncIsTheLast of this log's.
func TestFailedSyncIsTheLast(t *testing.T) {
	s := newSimulation(t, 3)
	s.checking = true
	s.files[0].fail = []error{syscall.EIO}
	if err := s.log.StoreLogs(filled(1, 1, 1, 300)); !errors.Is(err, syscall.EIO) {
		t.Fatalf("with a sync that failed, storing gave %v", err)
	}
	for what, err := range map[string]error{
		"storing": s.log.StoreLogs(filled(1, 1, 1, 300)), "deleting": s.log.DeleteRange(1, 1),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s after that gave %v", what, err)
		}
	}
}

// TestLogThatAnotherVersionWroteIsRefused: after a crash one without the files
// went on, with other entries; what the files hold is out of date.
func TestLogThatAnotherVersionWroteIsRefused(t *testing.T) {
	s := newSimulation(t, 4)
	s.checking = true
	must(t, s.log.StoreLogs(filled(1, 9, 1, 300)))
	for what, instead := range map[string][]*raft.Log{
		"other entries":               filled(1, 12, 2, 300),
		"fewer, and other entries":    filled(1, 3, 2, 300),
		"a log that begins behind it": filled(100, 120, 2, 300),
	} {
		left, bolt := s.powerLoss(512)
		must(t, bolt.StoreLogs(instead))
		if _, err := openGrainy(left, bolt); err == nil {
			t.Errorf("%s: the files' entries were put into the log", what)
		}
	}
	left, bolt := s.powerLoss(512)
	must(t, bolt.StoreLogs(filled(1, 4, 1, 300))) // the same, got again from another peer
	a, err := openGrainy(left, bolt)
	must(t, err)
	if all, err := everything(a); err != nil || len(all) != 9 {
		t.Errorf("a log that is the same so far holds %s, %v; want 9 entries", outline(all), err)
	}
}
