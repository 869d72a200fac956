package snapshot

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// family is a table and its lineage, with a count of the rows that plans read.
type family struct {
	keyed
	lineage Lineage
	at      uint64
	sum     Hash
	read    int
}

// become puts a row, or takes it away.
func (f *family) become(key string, there bool) {
	at, was := f.find(key)
	if was {
		h := f.keyed[at].hash()
		f.sum = f.sum.plus(Hash{-h.Hi, -h.Lo})
	}
	switch {
	case there:
		f.keyed = f.put(key)
		at, _ = f.find(key)
		f.sum = f.sum.plus(f.keyed[at].hash())
	case was:
		f.keyed = slices.Delete(f.keyed, at, at+1)
	default:
		return
	}
	f.at = f.lineage.Touch(key, was != there)
}

// planned is the plan that goes by the lineage.
func (f *family) planned() []part {
	l := large{layout: "test", lineage: &f.lineage, moment: Moment{f.at, len(f.keyed), f.sum}, keys: func(from string, yield func(string, Hash) bool) {
		f.walk(from, func(key string, h Hash) bool {
			f.read++
			return yield(key, h)
		})
	}}
	return slices.Collect(l.plan)
}

// newFamily has each of the keys.
func newFamily(keys keyed) *family {
	f := &family{}
	for _, row := range keys {
		f.become(row.key, true)
	}
	return f
}

// wantPlan compares the plan with the one that nothing is known for, and gives how many rows it read.
func (f *family) wantPlan(t *testing.T, after string) int {
	t.Helper()
	f.read = 0
	if got, want := f.planned(), f.plan(); !slices.Equal(got, want) {
		t.Fatalf("%s: got %d parts %v, want %d: %v", after, len(got), got, len(want), want)
	}
	return f.read
}

// TestPlanOfALineage: after any changes the plan is the one that is made of all rows.
//
//race:out
func TestPlanOfALineage(t *testing.T) {
	const rows = 60_000
	all := nodeKeys(2 * rows)
	rng := rand.New(rand.NewPCG(7, 8))
	f := newFamily(slices.DeleteFunc(slices.Clone(all), func(keyedRow) bool { return rng.IntN(2) == 0 }))
	f.wantPlan(t, "at first")
	less := 0
	for round := range 150 {
		// A few rows anywhere, or many beside each other; at the ends of the table, too.
		kind, from, n := rng.IntN(3), rng.IntN(len(all)), 1+rng.IntN(4)
		if rng.IntN(4) == 0 {
			n = rng.IntN(3000)
		}
		if rng.IntN(5) == 0 {
			from = []int{0, len(all) - n}[rng.IntN(2)]
		}
		for i := range n {
			key := all[(from+i)%len(all)].key
			if n < 5 {
				key = all[rng.IntN(len(all))].key
			}
			_, there := f.find(key)
			f.become(key, kind == 0 && there || kind == 1 || kind == 2 && rng.IntN(2) == 0)
		}
		if f.wantPlan(t, fmt.Sprintf("round %d: %d rows of kind %d from %d on", round, n, kind, from)) < len(f.keyed) {
			less++
		}
	}
	if less < 100 {
		t.Errorf("%d of 150 plans read less than all rows", less)
	}
}

// TestPlanReadsWhatWasTouched: no row where nothing was, and the rows of one part where one row is another.
func TestPlanReadsWhatWasTouched(t *testing.T) {
	keys := nodeKeys(60_000)
	f := newFamily(keys)
	if n := f.wantPlan(t, "at first"); n != len(keys) {
		t.Errorf("the first plan read %d rows, want all %d", n, len(keys))
	}
	if n := f.wantPlan(t, "again"); n != 0 {
		t.Errorf("%d rows were read where nothing was touched", n)
	}
	f.become(keys[30_000].key, true)
	if n := f.wantPlan(t, "after one row"); n == 0 || n > maxPart {
		t.Errorf("%d rows were read after a change of one, want those of one part", n)
	}
	f.become(keys[30_000].key, false)
	if n := f.wantPlan(t, "after one row is gone"); n == 0 || n > 6*maxPart {
		t.Errorf("%d rows were read after one was gone, want those of a few parts", n)
	}
	nobody := large{layout: "test", keys: f.walk}
	if got := slices.Collect(nobody.plan); !slices.Equal(got, f.planned()) {
		t.Error("without a lineage the plan is another")
	}
}

// TestPlanOfAnOlderState: a plan of a state is no plan of the ones before it.
func TestPlanOfAnOlderState(t *testing.T) {
	f := newFamily(nodeKeys(30_000))
	f.planned()
	older := family{keyed: slices.Clone(f.keyed), at: f.at, sum: f.sum}
	f.become("x1", true)
	f.wantPlan(t, "one row more")
	l := large{layout: "test", keys: older.walk, lineage: &f.lineage, moment: Moment{older.at, len(older.keyed), older.sum}}
	if got := slices.Collect(l.plan); !slices.Equal(got, older.plan()) {
		t.Error("the older state has another plan than its rows make")
	}
	if n := f.wantPlan(t, "the newer one again"); n != 0 {
		t.Errorf("%d rows were read: the plan of the newer state was forgotten", n)
	}
}

// TestTooMuchWasTouched: what is not remembered any more is read.
func TestTooMuchWasTouched(t *testing.T) {
	f := newFamily(nodeKeys(30_000))
	f.planned()
	for range maxTouched + 1 {
		f.become("x1000c0s0b0n0", true)
	}
	if got := len(f.lineage.touched); got > maxTouched {
		t.Errorf("%d touches are kept, want %d at most", got, maxTouched)
	}
	if n := f.wantPlan(t, "after many touches"); n != len(f.keyed) {
		t.Errorf("%d rows were read, want all %d", n, len(f.keyed))
	}
	f.become("x1000c0s0b0n0", true)
	f.wantPlan(t, "and one more")
}

// TestPlanThatDoesNotAddUp: a lineage that was not told of a change makes no wrong plan.
func TestPlanThatDoesNotAddUp(t *testing.T) {
	f := newFamily(nodeKeys(30_000))
	f.planned()
	at := f.at
	f.become("x1000c0s0b0n0", true)
	f.lineage, f.at = Lineage{parts: f.lineage.parts, at: at, now: at}, at
	if n := f.wantPlan(t, "after a change that nobody was told of"); n < len(f.keyed) {
		t.Errorf("%d rows were read, want all %d", n, len(f.keyed))
	}
}
