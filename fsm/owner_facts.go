package fsm

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/sshkey"
)

const (
	maxHostKeys = 16
	// seenEvery is how often it is noted that an address is still in use: hosts see
	// their guests all the time, and every note is an entry in the log.
	seenEvery = time.Hour
)

// applyVMFacts notes what an owner has found out about the inside of a guest. What
// it has said before changes nothing, and addresses that were not allotted are not
// kept: the hosts that see them tell of them when they are asked.
func applyVMFacts(tx *Txn, c api.VMFacts) (object, error) {
	const op = "vm.facts"
	vm, err := owned(tx, op, c.VM, c.Epoch)
	if err != nil {
		return nothing, err
	}
	keys := hostKeys(c.HostKeys)
	changed := len(keys) > 0 && !slices.Equal(keys, vm.Status.SSHHostKeys)
	if changed {
		vm.Status.SSHHostKeys = keys
	}
	if seen, news := tx.sawAddresses(vm.Status.Addresses, c.Seen); news {
		vm.Status.Addresses, changed = seen, true
	}
	if !changed {
		return object{table: vms, key: vm.ID}, nil
	}
	return putVM(tx, vm), nil
}

// hostKeys are the keys of a guest with the fingerprints that they have. What is no
// key, or of a kind that is too weak to be shown to anybody, is left out: a guest says
// what it likes.
func hostKeys(said []api.HostKey) (keys []api.HostKey) {
	for _, k := range said[:min(len(said), maxHostKeys)] {
		fingerprint, err := sshkey.Fingerprint(k.Type, k.Key)
		if err != nil {
			continue
		}
		keys = append(keys, api.HostKey{Type: k.Type, Key: k.Key, Fingerprint: fingerprint})
	}
	return keys
}

// sawAddresses notes when the addresses of a VM were last seen, where that is news.
func (tx *Txn) sawAddresses(has, seen []api.VMAddress) (now []api.VMAddress, news bool) {
	now = slices.Clone(has)
	for _, s := range seen {
		at, ip := canonicalTime(s.SeenAt), plainIP(s.IP)
		if at.After(tx.Now) {
			at = tx.Now // its clock is ahead
		}
		for k := range now {
			if now[k].IP == "" || now[k].IP != ip || now[k].MAC != normalMAC(s.MAC) {
				continue
			}
			if had := now[k].SeenAt; had.IsZero() && !at.IsZero() || at.Sub(had) >= seenEvery {
				now[k].SeenAt, news = at, true
			}
		}
	}
	return now, news
}

// plainIP is an IP address as rows have it; empty for what is none.
func plainIP(text string) string {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return addr.Unmap().WithZone("").String()
}

// applyVMProgress notes how far the step in hand of a VM's operation is, in place of
// what was noted of that step before.
func applyVMProgress(tx *Txn, c api.VMProgress) (object, error) {
	const op = "vm.progress"
	vm, err := owned(tx, op, c.VM, c.Epoch)
	if err != nil {
		return nothing, err
	}
	if c.Step == "" || len(c.Step) > maxStepName || c.Done < 0 || c.Total < 0 {
		return nothing, api.Errorf(api.Invalid, op, "the step has no name, or counts less than nothing")
	}
	o, ok := operations.one(tx.Reader, vm.Status.Operation)
	if !ok || o.State.Done() || c.Done+c.Total == 0 {
		return object{table: vms, key: vm.ID}, nil
	}
	o.State, o.Steps = api.OpRunning, withSteps(o.Steps, api.OpStep{Name: c.Step, Done: c.Done, Total: c.Total})
	o.Version++
	operations.put(tx, o)
	return object{table: vms, key: vm.ID}, nil
}

// VMFacts tells the cluster what was found out about the inside of a guest of the
// peer that asks.
func (w *Writer) VMFacts(ctx context.Context, f api.VMFacts) error {
	_, err := propose[api.VM](ctx, w, vmFacts, f)
	return err
}

// VMProgress tells how far the step in hand of a VM's operation is.
func (w *Writer) VMProgress(ctx context.Context, p api.VMProgress) error {
	_, err := propose[api.VM](ctx, w, vmProgress, p)
	return err
}
