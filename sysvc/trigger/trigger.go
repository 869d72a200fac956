// Package trigger is the arithmetic of triggers: which tick of a clock is due, which
// peers came and went, which changes a spell asked for.
//
// It looks at nothing but its arguments: no clock, no table, no log. Whoever runs
// spells (package run) decides from its answers what to mark.
package trigger

import (
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// None is the number before the first tick: no tick has been marked.
const None int64 = -1

// Grace is how late a tick may be and still be itself. Beyond it, nobody could run it
// in time, and it is missed. It covers an election and the restart of a peer.
const Grace = api.HolderLease

// At is when tick n of a clock fires. Ticks do not drift: each is worked out from the
// start and never from the one before.
func At(c api.Clock, n int64) time.Time {
	return time.Unix(c.StartSec+n*c.PeriodSec, 0).UTC()
}

// Newest is the newest tick that has fired by now, or None. The end of a clock is the
// first second in which it fires no more.
func Newest(c api.Clock, now time.Time) int64 {
	sec := now.Unix()
	if c.EndSec != 0 {
		sec = min(sec, c.EndSec-1)
	}
	switch {
	case c.IsOff() || sec < c.StartSec:
		return None
	case c.PeriodSec == 0:
		return 0
	}
	return (sec - c.StartSec) / c.PeriodSec
}

// Next is when the tick after n fires; false when there is none.
func Next(c api.Clock, n int64) (time.Time, bool) {
	if c.IsOff() || c.PeriodSec == 0 && n >= 0 || c.StartSec > api.LastSecond || c.PeriodSec > 0 && n >= (api.LastSecond-c.StartSec)/c.PeriodSec {
		return time.Time{}, false
	}
	at := At(c, n+1)
	return at, c.EndSec == 0 || at.Unix() < c.EndSec
}

// Decision is what becomes of a tick that is due.
type Decision int

// What becomes of ticks.
const (
	Wait Decision = iota // nothing is due
	Run                  // it is to run, for itself and for all before it
	Skip                 // it and all before it are missed, and gone
)

// Decide says what becomes of the ticks that are due by now and come after marked, and
// which tick is to be marked for it. Only the newest ever runs: what has been overtaken
// by it is missed. free is since when the spell could run: a tick that only waited for
// its turn is not late.
func Decide(t api.Trigger, marked int64, free, now time.Time) (tick int64, d Decision) {
	n := Newest(t.Clock, now)
	if n <= marked {
		return marked, Wait
	}
	ready := At(t.Clock, n)
	if free.After(ready) {
		ready = free
	}
	if t.Missed != api.MissedRunOnce && now.Sub(ready) > Grace {
		return n, Skip
	}
	return n, Run
}

// Changes are the peers that came and went between two sets of ids, each in order.
func Changes(before, after []string) (came, went []string) {
	for _, id := range after {
		if !slices.Contains(before, id) {
			came = append(came, id)
		}
	}
	for _, id := range before {
		if !slices.Contains(after, id) {
			went = append(went, id)
		}
	}
	slices.Sort(came)
	slices.Sort(went)
	return came, went
}

// OfPeers are the firings for peers that came and went.
func OfPeers(c api.Connections, came, went []string, now time.Time) (all []api.Firing) {
	if c.Connect {
		for _, id := range came {
			all = append(all, api.Firing{Kind: Connect, Peer: id, Due: now})
		}
	}
	if c.Disconnect {
		for _, id := range went {
			all = append(all, api.Firing{Kind: Disconnect, Peer: id, Due: now})
		}
	}
	return all
}

// The kinds of firing.
const (
	Clock      = "clock"
	Connect    = "connect"
	Disconnect = "disconnect"
	Event      = "event"
	Manual     = "manual"
	Retry      = "retry"
)
