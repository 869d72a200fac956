package snapshot

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/orchd/orchd/api"
)

// coverage is a set of log indexes.
type coverage map[uint64]bool

func (c coverage) add(r Range) {
	for index := r.From; index <= r.To; index++ {
		c[index] = true
	}
}

// ranges are the runs of the set, in order.
func (c coverage) ranges() (out []Range) {
	for _, index := range slices.Sorted(func(yield func(uint64) bool) {
		for index := range c {
			if !yield(index) {
				return
			}
		}
	}) {
		if n := len(out); n > 0 && out[n-1].To+1 == index {
			out[n-1].To = index
			continue
		}
		out = append(out, Range{index, index})
	}
	return out
}

// crash is a copy of a folder, taken between two steps of the disk.
type crash struct {
	step    string
	dir     string
	must    coverage // what must be there: it was durable and was not being deleted
	may     coverage // what may be there
	durable uint64
}

// historyModel drives a history at random and knows what it must hold.
type historyModel struct {
	t    *testing.T
	rng  *rand.Rand
	dir  string
	disk *testDisk
	h    *History

	mu      sync.Mutex // the disk's steps look at what is below from another goroutine
	held    coverage
	going   coverage // what is added or deleted right now
	end     uint64
	crashes []crash
}

func (m *historyModel) open() {
	m.h = openOn(m.t, m.dir, m.disk)
	m.h.FlushBytes = 6000
}

// beforeStep copies the folder now and then.
func (m *historyModel) beforeStep(step, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rng.IntN(10) > 0 {
		return nil
	}
	c := crash{step: step, dir: copyFolder(m.t, m.dir), must: coverage{}, may: coverage{}, durable: m.h.Durable()}
	for index := range m.held {
		c.may[index] = true
		c.must[index] = index <= c.durable && !m.going[index]
	}
	for index := range m.going {
		c.may[index] = true
	}
	m.crashes = append(m.crashes, c)
	return nil
}

// during does f, which adds or deletes what is in r.
func (m *historyModel) during(r Range, f func() error) {
	m.t.Helper()
	m.mu.Lock()
	m.going = coverage{}
	m.going.add(r)
	m.mu.Unlock()
	if err := f(); err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.going = nil
}

func (m *historyModel) append() {
	r := Range{m.end + 1, m.end + 1 + m.upTo(4)}
	again := Range{r.From - min(r.From-1, m.upTo(3)), r.To} // as a replay would
	m.during(r, func() error { return m.h.Append(r.To, truths(again)) })
	m.set(r, true)
	m.end = r.To
}

func (m *historyModel) skip() {
	m.end += 1 + m.upTo(5)
	m.during(Range{1, 0}, func() error { return m.h.Skip(m.end) })
}

func (m *historyModel) importSome() {
	from := 1 + m.upTo(m.end)
	r := Range{from, min(m.end, from+m.upTo(20))}
	m.during(r, func() error { return m.h.Import(r, given(truths(r))) })
	m.set(r, true)
}

func (m *historyModel) retire() {
	before := timeOf(m.end - min(m.end, 30+m.upTo(60)))
	var gone []Range
	m.during(Range{1, m.end}, func() (err error) { gone, err = m.h.Retire(before); return err })
	for _, r := range gone {
		m.set(r, false)
	}
}

func (m *historyModel) set(r Range, held bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for index := r.From; index <= r.To; index++ {
		if delete(m.held, index); held {
			m.held[index] = true
		}
	}
}

func (m *historyModel) reopen() {
	if err := m.h.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.open()
	if n := len(m.held.ranges()); n > 0 {
		m.end = m.held.ranges()[n-1].To // a gap at the end is not remembered
	} else {
		m.end = 0
	}
}

// check compares all that can be asked.
func (m *historyModel) check() {
	m.t.Helper()
	runs := m.held.ranges()
	var gaps []Range
	oldest := m.end + 1
	if len(runs) > 0 {
		gaps = Range{runs[0].From, m.end}.without(runs)
	}
	if n := len(runs); n > 0 && runs[n-1].To == m.end {
		oldest = runs[n-1].From
	}
	if got := m.h.Gaps(); m.h.End() != m.end || !slices.Equal(got, gaps) || m.h.Oldest() != oldest {
		m.t.Fatalf("got end %d, gaps %v, oldest %d, want %d, %v, %d", m.h.End(), got, m.h.Oldest(), m.end, gaps, oldest)
	}
	for _, r := range runs {
		after := api.Position{Index: r.From + m.upTo(r.To-r.From+1), N: m.upTo(4)}
		expect(m.t, m.h, after, r.To)
	}
	for _, r := range gaps {
		_, err := collect(m.h.Changes(api.After(r.From-1), m.end))
		if missing, ok := errors.AsType[ErrMissing](err); !ok || missing.Range != r {
			m.t.Fatalf("got %v, want %v missing", err, r)
		}
	}
}

// survives opens what a crash left.
func (c crash) survives(t *testing.T) {
	t.Helper()
	h := openTestHistory(t, c.dir)
	defer h.Close()
	got := coverage{}
	for _, f := range h.Files() {
		got.add(f.Range)
		expect(t, h, api.After(f.From-1), f.To)
	}
	for index, must := range c.must {
		if must && !got[index] {
			t.Fatalf("crash before %s: %d is lost of %v, durable was %d", c.step, index, got.ranges(), c.durable)
		}
	}
	for index := range got {
		if !c.may[index] {
			t.Fatalf("crash before %s: %d came from nowhere", c.step, index)
		}
	}
	for _, name := range names(t, c.dir) {
		if _, ok := changesRange(name); !ok {
			t.Fatalf("crash before %s: %s stays", c.step, name)
		}
	}
}

// TestHistoryModel drives histories at random; readers see exactly what was
// appended, also in every copy that a crash could have left.
func TestHistoryModel(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &historyModel{t: t, rng: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), disk: &testDisk{}, held: coverage{}}
			m.open()
			m.disk.before = m.beforeStep
			for range 150 {
				switch n := m.upTo(100); {
				case n < 55:
					m.append()
				case n < 85:
					m.during(Range{1, 0}, m.h.Flush)
				case n < 88:
					m.skip()
				case n < 92 && m.end > 0:
					m.importSome()
				case n < 95:
					m.retire()
				case n < 97:
					m.reopen()
				}
				if m.upTo(10) == 0 {
					m.check()
				}
			}
			m.check()
			if err := m.h.Close(); err != nil {
				t.Fatal(err)
			}
			for _, c := range m.crashes {
				c.survives(t)
			}
			if len(m.crashes) == 0 {
				t.Error("no crash was tried")
			}
		})
	}
}

// upTo draws a number below n; the disk's steps draw from the same source.
func (m *historyModel) upTo(n uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rng.Uint64N(n)
}
