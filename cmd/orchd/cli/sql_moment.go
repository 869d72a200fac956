package cli

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/orchd/orchd/api"
)

// past is what a peer remembers: its newest state, its marked snapshots, and its
// stretches of changes, which do not overlap.
type past struct {
	newest    api.Snapshot
	snapshots []api.Snapshot    // by index
	ranges    []api.ChangeRange // by index
}

// instant is a moment that is asked about: a log index, or a time. State and
// changes are those up to and including it.
type instant struct {
	index uint64 // 0: it is a time
	time  time.Time
}

// covers tells whether a change at that index and time belongs to what was before the instant.
func (i instant) covers(index uint64, at time.Time) bool {
	if i.index != 0 {
		return index <= i.index
	}
	return !at.After(i.time)
}

func (i instant) String() string {
	if i.index != 0 {
		return "index " + strconv.FormatUint(i.index, 10)
	}
	return precise(i.time)
}

// precise is a time with all its digits.
func precise(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// instantOf reads what --at takes: a log index, a time, or how long ago.
func instantOf(text string, now time.Time) (instant, error) {
	if index, err := strconv.ParseUint(text, 10, 64); err == nil && index > 0 {
		return instant{index: index}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return instant{time: t}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return instant{time: now.Add(-ago)}, nil
	}
	return instant{}, usagef("--at takes a time as 2026-11-01T03:12:00Z, how long ago as 90m, or a log index; not %q", text)
}

// way leads to a state: a snapshot, and changes to lay over it.
type way struct {
	base   api.Snapshot      // its id is empty when there was nothing before index 1
	ranges []api.ChangeRange // what may hold changes behind the base
	until  instant           // up to which they count
}

// exact tells whether the base is the state itself.
func (w way) exact() bool { return w.base.ID != "" && len(w.ranges) == 0 }

// to finds the way to an instant that is not in the future.
func (p past) to(i instant) (way, error) {
	w := way{until: i}
	if i.covers(p.newest.Index, p.newest.CreatedAt) {
		w.base = p.newest
		return w, nil
	}
	for _, s := range p.snapshots {
		if i.covers(s.Index, s.CreatedAt) {
			w.base = s
		}
	}
	if w.base.ID == "" && (len(p.ranges) == 0 || p.ranges[0].From > 1 || i.index == 0 && p.begin().After(i.time)) {
		return w, p.tooOld(i)
	}
	next := w.base.Index + 1
	for _, r := range p.ranges {
		if i.index != 0 && next > i.index {
			break
		}
		if r.To < next {
			continue
		}
		if r.From > next {
			return w, gap(i, next, r.From-1)
		}
		if r.Rows > 0 {
			if i.index == 0 && r.Since.After(i.time) {
				return w, nil
			}
			w.ranges = append(w.ranges, r)
		}
		next = r.To + 1
		if i.index == 0 && r.Rows > 0 && r.Until.After(i.time) {
			return w, nil
		}
	}
	if i.index == 0 && next <= p.newest.Index || next <= i.index {
		return w, gap(i, next, cmp.Or(i.index, p.newest.Index))
	}
	return w, nil
}

// begin is the time of the oldest change that is kept; that of the newest state without one.
func (p past) begin() time.Time {
	for _, r := range p.ranges {
		if r.Rows > 0 {
			return r.Since
		}
	}
	return p.newest.CreatedAt
}

// tooOld is the error of an instant before all that is kept.
func (p past) tooOld(i instant) error {
	msg, oldest := fmt.Sprintf("%v is before all that is kept", i), p.newest
	if len(p.snapshots) > 0 {
		oldest = p.snapshots[0]
	}
	if len(p.ranges) > 0 && p.ranges[0].From == 1 {
		oldest = api.Snapshot{CreatedAt: p.begin(), Index: 1}
	}
	return &failure{exitNotFound, msg, fmt.Sprintf("the oldest moment that can be asked about is %s, index %d", precise(oldest.CreatedAt), oldest.Index)}
}

// gap is the error of a moment whose changes are not all there.
func gap(i instant, from, to uint64) error {
	return &failure{exitNotFound, fmt.Sprintf("the state at %v cannot be told: this peer has not got the changes from index %d to %d", i, from, to),
		"ask another peer with --addr, or a moment near a snapshot: orchd snapshot list"}
}

// history finds the way through all changes up to an index without a gap, from as far back as
// it goes. The state at that index is where it begins if no snapshot joins on to the changes.
func (p past) history(at api.Snapshot) (way, error) {
	w := way{until: instant{index: at.Index}}
	start := at.Index + 1 // of what is covered without a gap
	for _, r := range slices.Backward(p.ranges) {
		if r.From > at.Index {
			continue
		}
		if r.To+1 < start {
			break
		}
		start = r.From
		if r.Rows > 0 {
			w.ranges = append(w.ranges, r)
		}
	}
	slices.Reverse(w.ranges)
	if start == 1 {
		return w, nil
	}
	w.base = at
	for _, s := range slices.Backward(p.snapshots) {
		if s.Index+1 >= start && s.Index <= at.Index {
			w.base = s
		}
	}
	w.ranges = slices.DeleteFunc(w.ranges, func(r api.ChangeRange) bool { return r.To <= w.base.Index })
	if w.base.ID == "" {
		return w, gap(w.until, 1, start-1)
	}
	return w, nil
}

// end is the last index of which the changes are known.
func (p past) end() uint64 {
	if len(p.ranges) == 0 {
		return 0
	}
	return p.ranges[len(p.ranges)-1].To
}

// caughtUp reads what a peer remembers. Changes are written down a moment after
// they are applied, so those of the newest state may be waited for.
func (c client) caughtUp(ctx context.Context) (past, error) {
	var p past
	if err := c.get(ctx, "/v1/snapshots/now", nil, &p.newest); err != nil {
		return p, err
	}
	var err error
	if p.snapshots, err = every(c.api.Snapshots(ctx)); err != nil {
		return p, c.failed(ctx, api.Answer{}, err)
	}
	slices.SortFunc(p.snapshots, func(x, y api.Snapshot) int { return cmp.Compare(x.Index, y.Index) })
	for deadline := time.Now().Add(catchUpTime); ; {
		if p.ranges, err = every(c.api.ChangeRanges(ctx)); err != nil {
			return p, c.failed(ctx, api.Answer{}, err)
		}
		slices.SortFunc(p.ranges, func(x, y api.ChangeRange) int { return cmp.Compare(x.From, y.From) })
		if p.end() >= p.newest.Index || time.Now().After(deadline) {
			return p, nil
		}
		select {
		case <-ctx.Done():
			return p, ctx.Err()
		case <-time.After(catchUpPause):
		}
	}
}

// every is all that a list gives.
func every[T any](list iter.Seq2[T, error]) (all []T, err error) {
	for item, err := range list {
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, nil
}

// How long the newest changes are waited for.
const (
	catchUpTime  = 10 * time.Second
	catchUpPause = 100 * time.Millisecond
)
