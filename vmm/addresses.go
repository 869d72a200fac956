package vmm

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// seenAgain is how long it is not told again that an address is in use.
const seenAgain = time.Hour

// watchAddresses looks which addresses guests use on this host, and tells the cluster.
func (l *Loop) watchAddresses(ctx context.Context) {
	told := map[string]map[string]time.Time{} // by VM, by address and MAC: when it was told
	tick := time.NewTicker(l.cfg.SeenEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		on := l.guests.since()
		maps.DeleteFunc(told, func(id string, _ map[string]time.Time) bool { _, still := on[id]; return !still })
		wanted, _ := l.records.Wanted()
		for _, id := range slices.Sorted(maps.Keys(on)) {
			row, known := wanted.Row(id)
			if !known || ctx.Err() != nil {
				continue
			}
			if told[id] == nil {
				told[id] = toldBefore(row)
			}
			l.lookForAddresses(ctx, row, told[id])
		}
	}
}

// toldBefore is what the row says was seen: by a life before this one.
func toldBefore(row api.VM) map[string]time.Time {
	told := map[string]time.Time{}
	for _, a := range row.Status.Addresses {
		if !a.SeenAt.IsZero() {
			told[a.IP+" "+a.MAC] = a.SeenAt
		}
	}
	return told
}

func (l *Loop) lookForAddresses(ctx context.Context, row api.VM, told map[string]time.Time) {
	found, err := l.hv.Seen(ctx, row.ID)
	if err != nil {
		l.log.Debug("addresses of a guest not seen", "vm", row.ID, "err", err)
		return
	}
	l.guests.saw(row.ID, found)
	now := time.Now().UTC()
	var news []api.VMAddress
	for _, a := range found {
		if at, was := told[a.IP+" "+a.MAC]; was && now.Sub(at) < seenAgain {
			continue
		}
		a.SeenAt = now
		news = append(news, a)
	}
	if len(news) == 0 || l.tellFacts(ctx, api.VMFacts{VM: row.ID, Epoch: row.Status.Epoch, Seen: news}) != nil {
		return
	}
	for _, a := range news {
		told[a.IP+" "+a.MAC] = now
	}
}
