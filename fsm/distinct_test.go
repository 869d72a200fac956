package fsm

import (
	"slices"
	"testing"
)

func TestDistinct(t *testing.T) {
	for _, n := range []int{0, 1, few - 1, few, few + 1, 10 * few} {
		var d distinct[int]
		var want []int
		for round := range 2 {
			for k := range n {
				d.add(k)
				d.add(k)
				if round == 0 {
					want = append(want, k)
				}
			}
		}
		if !slices.Equal(d.list, want) {
			t.Errorf("of %d values: %v", n, d.list)
		}
	}
}
