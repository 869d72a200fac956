//go:build planted

package api

import (
	"slices"
	"testing"

	"github.com/orchd/orchd/api/planted"
)

// The client leaves out what it has given; for EventTwice to be seen it must not.
func TestPlantedHookEventTwiceInTheClient(t *testing.T) {
	t.Cleanup(func() { planted.Plant("") })
	for bug, want := range map[planted.Bug][]uint64{"": {3}, planted.EventTwice: {2, 3}} {
		planted.Plant(bug)
		var given []uint64
		r := &reading{at: Position{7, 2}, yield: func(e Event, _ error) bool { given = append(given, e.N); return true }}
		for _, f := range []frame{{id: "7.2", event: "change", data: []byte(`{"index":7,"n":2}`)}, {id: "7.3", event: "change", data: []byte(`{"index":7,"n":3}`)}} {
			if err := r.give(f); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(given, want) {
			t.Errorf("with the bug %q: given %v, want %v", bug, given, want)
		}
	}
}
