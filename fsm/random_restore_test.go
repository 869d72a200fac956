package fsm

import (
	"testing"

	"github.com/orchd/orchd/api"
)

// rollback goes back to a state that an earlier call kept, or keeps the one there is.
func (s *scribe) rollback(t *testing.T) []byte {
	if len(s.kept) == 0 || s.rng.IntN(3) == 0 {
		s.kept = append(s.kept, s.m.published.Load())
		return s.keep(t)
	}
	d := differenceOf(t, s.m.Read(), pick(s, s.kept))
	return s.encoded(t, restoreState, s.fleetActor(), d.command)
}

// differenceOf is the difference between two states, without a folder.
func differenceOf(t *testing.T, now Reader, then *state) *Difference {
	t.Helper()
	c := newComparison(now, then.index)
	for _, table := range rollbackTables {
		if err := table.(interface {
			compareState(*comparison, *state) error
		}).compareState(c, then); err != nil {
			t.Fatal(err)
		}
	}
	d, err := c.difference(nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (t *restorable[T]) compareState(c *comparison, then *state) error {
	return t.compare(c, func(yield func(*item[T], error) bool) {
		t.table.in(then).rows.ascend("", func(_ string, it *item[T]) bool { return yield(it, nil) })
	})
}

// settle is a change of a setting or two, some of them wrong.
func (s *scribe) settle(t *testing.T) []byte {
	c := settingsPut{Values: map[string]string{}, Secret: s.secret()}
	for range 1 + s.rng.IntN(2) {
		name := pick(s, choices).name
		c.Values[name] = pick(s, []string{"3", "5", "2h", "true", "viewer", "-1"})
		if s.rng.IntN(2) == 0 {
			known, _ := choiceNamed(name)
			c.Values[name] = known.otherwise
		}
	}
	return s.encoded(t, putSettings, pick(s, []api.Actor{admin, admin, s.fleetActor()}), c)
}
