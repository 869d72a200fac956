package fsm

import (
	"time"

	"github.com/tidwall/btree"

	"github.com/orchd/orchd/api"
)

// state is everything at one moment of the log. Once published it never
// changes, so a reader, a snapshot or a mark just keeps hold of it.
type state struct {
	index uint64    // log index of the last entry applied
	now   time.Time // the cluster's time: the newest stamp of any leader so far
	trees []anyTree // one for each of tables
	sum   sum       // the state hash: over all rows of all tables
	sums  sums
}

// sums is what is derived from rows, kept beside them because to add it up anew
// for each command would be too slow. It is not in snapshots: restore computes it.
type sums struct {
	reserved btree.Map[string, api.Resources] // by owner's id: what its VMs take
	owned    btree.Map[string, int]           // by owner's id: how many VMs it has
	keys     btree.Map[string, int]           // by principal: how many idempotency keys are remembered
	used     btree.Map[string, api.Quota]     // by account: what it holds
	stores   btree.Map[string, storeSize]     // by store of a spell or service: how much it holds
	// addresses are the IP addresses that the inventory names: none of them is allotted.
	addresses addresses
}

// copied is a copy that may be changed, in O(1).
func (d *sums) copied() sums {
	return sums{*d.reserved.Copy(), *d.owned.Copy(), *d.keys.Copy(), *d.used.Copy(), *d.stores.Copy(), d.addresses.copied()}
}

func emptyState() *state {
	s := &state{trees: make([]anyTree, len(tables))}
	for i, t := range tables {
		s.trees[i] = t.empty()
	}
	return s
}

// successor is a state that begins as a copy of s and may be changed.
func (s *state) successor() *state {
	next := *s
	next.trees = append([]anyTree(nil), s.trees...)
	next.sums = s.sums.copied()
	return &next
}

// addTo adds n to a counter and drops it at zero.
func addTo(m *btree.Map[string, int], key string, n int) {
	if now, _ := m.Get(key); now+n != 0 {
		m.Set(key, now+n)
	} else {
		m.Delete(key)
	}
}
