package fsm

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// sighting is a domain of this cluster where there should be none.
type sighting struct {
	VM    string    `json:"vm"`
	Peer  string    `json:"peer"` // id
	Name  string    `json:"name"` // of the peer
	Epoch uint64    `json:"epoch"`
	At    time.Time `json:"at"`
}

var sightings = &table[sighting]{
	name:        "sightings",
	bookkeeping: true,
	key:         func(s *sighting) string { return s.VM + "/" + s.Peer },
	by:          map[string]func(*sighting) string{"vm": func(s *sighting) string { return s.VM }},
}

// applySawDomain records a domain where it should not be. One of the epoch in
// force is a double: from here on nobody touches that VM until it is gone.
func applySawDomain(tx *Txn, c api.Sighting) (object, error) {
	peer, err := tx.asPeer("vm.saw")
	if err != nil {
		return nothing, err
	}
	s := sighting{c.VM, peer.ID, peer.Name, c.Epoch, tx.Now}
	before, seen := sightings.one(tx.Reader, sightings.key(&s))
	switch {
	case c.Gone && !seen, !c.Gone && seen && before.Epoch == c.Epoch:
		return nothing, nil
	case c.Gone:
		sightings.remove(tx, sightings.key(&s))
	default:
		sightings.put(tx, s)
	}
	vm, ok := vms.one(tx.Reader, c.VM)
	if !ok {
		return nothing, nil
	}
	vm.Status.Doubles = doublesOf(tx.Reader, vm)
	return putVM(tx, vm), nil
}

// forgetSightings drops what a peer saw that is no more: it cannot withdraw it,
// and a VM with a double is touched by nobody.
func forgetSightings(tx *Txn, peer string) {
	for _, s := range slices.Collect(sightings.each(tx.Reader, "")) {
		if s.Peer != peer {
			continue
		}
		sightings.remove(tx, sightings.key(&s))
		if vm, ok := vms.one(tx.Reader, s.VM); ok {
			vm.Status.Doubles = doublesOf(tx.Reader, vm)
			putVM(tx, vm)
		}
	}
}

// doublesOf names the peers on which a second domain of the VM was seen. A
// domain of an older epoch is left behind, not a double: its host has suspended it.
func doublesOf(r Reader, vm api.VM) (names []string) {
	for s := range sightings.all(r, "vm", vm.ID) {
		if s.Epoch >= vm.Status.Epoch {
			names = append(names, s.Name)
		}
	}
	return names
}

// Sightings lists the domains that were seen where none should be.
func (r Reader) Sightings() iter.Seq2[string, api.Sighting] {
	return func(yield func(string, api.Sighting) bool) {
		for s := range sightings.each(r, "") {
			if !yield(s.Name, api.Sighting{VM: s.VM, Epoch: s.Epoch}) {
				return
			}
		}
	}
}

// SightingsOf lists what one peer, by id, has seen: by VM, the epoch.
func (r Reader) SightingsOf(peer string) map[string]uint64 {
	seen := map[string]uint64{}
	for s := range sightings.each(r, "") {
		if s.Peer == peer {
			seen[s.VM] = s.Epoch
		}
	}
	return seen
}

// SawDomain tells the cluster of a domain that should not be there.
func (w *Writer) SawDomain(ctx context.Context, s api.Sighting) error {
	_, err := propose[api.VM](ctx, w, sawDomain, s)
	return err
}
