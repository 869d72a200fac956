package snapshot

import (
	"slices"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestRetire(t *testing.T) {
	dir := t.TempDir()
	h := historyOf(t, dir, Range{1, 10}, Range{11, 20}, Range{31, 40}, Range{41, 50})
	for _, c := range []struct {
		before     uint64
		gone, left []Range
		oldest     uint64
	}{
		{10, nil, []Range{{1, 10}, {11, 20}, {31, 40}, {41, 50}}, 31},
		{18, []Range{{1, 10}}, []Range{{11, 20}, {31, 40}, {41, 50}}, 31},
		{41, []Range{{11, 20}, {31, 40}}, []Range{{41, 50}}, 41},
		{1000, nil, []Range{{41, 50}}, 41},
	} {
		gone, err := h.Retire(timeOf(c.before))
		if err != nil || !slices.Equal(gone, c.gone) || !slices.Equal(ranges(h), c.left) || h.Oldest() != c.oldest {
			t.Errorf("before %d: got %v, %v, files %v, oldest %d, want %v, %v, %d", c.before, gone, err, ranges(h), h.Oldest(), c.gone, c.left, c.oldest)
		}
		if len(names(t, dir)) != len(c.left) {
			t.Errorf("before %d: got %v", c.before, names(t, dir))
		}
	}
	if got := missing(t, h, api.Position{}); got != (Range{1, 40}) || len(h.Gaps()) > 0 {
		t.Errorf("got %v missing, gaps %v", got, h.Gaps())
	}
}

// TestRetired: quiet files go with a later one; what follows a younger one stays.
func TestRetired(t *testing.T) {
	file := func(until uint64) *changeFile {
		f := &changeFile{}
		if until > 0 {
			f.Until = timeOf(until)
		}
		return f
	}
	for _, c := range []struct {
		until []uint64 // of each file; 0: no changes
		want  int
	}{
		{nil, 0}, {[]uint64{1}, 0}, {[]uint64{1, 2}, 1}, {[]uint64{0, 0, 1, 2}, 3}, {[]uint64{0, 0}, 0},
		{[]uint64{1, 0, 60}, 1}, {[]uint64{60, 1, 2}, 0}, {[]uint64{1, 50, 60}, 1},
	} {
		var files []*changeFile
		for _, until := range c.until {
			files = append(files, file(until))
		}
		if got := len(retired(files, timeOf(50))); got != c.want {
			t.Errorf("%v: got %d, want %d", c.until, got, c.want)
		}
	}
}
