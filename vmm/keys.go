package vmm

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"

	"github.com/orchd/orchd/api"
)

const (
	// keysPatience is how long a guest that was switched on has to show its keys.
	keysPatience = 10 * time.Minute
	// consoleTail is how much of the end of a console's log is looked through.
	consoleTail = 256 << 10
)

// lookout is how far the search for the keys of one guest is.
type lookout struct {
	since time.Time // when the guest was switched on
	tail  [sha256.Size]byte
	done  bool
}

// watchKeys reads the consoles of guests that have booted with a seed and whose
// SSH keys are not known yet: cloud-init prints them there, where nobody between
// the guest and its host can put others in their place.
func (l *Loop) watchKeys(ctx context.Context) {
	if l.cfg.Seeds == nil {
		return
	}
	known := map[string]*lookout{}
	tick := time.NewTicker(l.cfg.KeysEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		on := l.guests.since()
		for id := range known {
			if _, still := on[id]; !still {
				delete(known, id)
			}
		}
		wanted, _ := l.records.Wanted()
		for id, since := range on {
			if known[id] == nil || known[id].since != since {
				known[id] = &lookout{since: since}
			}
			if row, ok := wanted.Row(id); ok && !known[id].done {
				l.lookForKeys(ctx, row, known[id])
			}
		}
	}
}

func (l *Loop) lookForKeys(ctx context.Context, row api.VM, k *lookout) {
	if len(row.Status.SSHHostKeys) > 0 || time.Since(k.since) > keysPatience || !l.cfg.Seeds.Seeded(row) {
		k.done = true
		return
	}
	text, err := l.consoleTail(ctx, row.ID)
	sum := sha256.Sum256(text)
	if err != nil || sum == k.tail {
		return // it is looked at again when it has grown
	}
	k.tail = sum
	keys := hostKeys(text)
	if len(keys) == 0 {
		return
	}
	if err := l.tellFacts(ctx, api.VMFacts{VM: row.ID, Epoch: row.Status.Epoch, HostKeys: keys}); err != nil {
		k.tail = [sha256.Size]byte{} // to be tried again
		return
	}
	k.done = true
	l.log.Info("a guest has shown its SSH keys", "vm", row.ID, "keys", len(keys))
}

func (l *Loop) consoleTail(ctx context.Context, vm string) ([]byte, error) {
	log, err := l.hv.ConsoleLog(ctx, vm, consoleTail)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(log, consoleTail))
	return text, errors.Join(err, log.Close())
}

func (l *Loop) tellFacts(ctx context.Context, f api.VMFacts) error {
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	err := l.records.Facts(ctx, f)
	if err != nil {
		l.log.Debug("facts of a guest not told", "vm", f.VM, "err", err)
	}
	return err
}
