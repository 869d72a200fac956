package vmm

import (
	"time"

	"github.com/orchd/orchd/api"
)

// The restart policy's pauses: each time that a guest goes off by itself it waits
// twice as long as the time before, until it has been on for long enough.
const (
	firstPause = time.Second
	lastPause  = 5 * time.Minute
	settled    = 10 * time.Minute
)

// fall is a VM that went off by itself, and may do so again.
type fall struct {
	times int // before this one, in a row
	after time.Duration
	until time.Time
	up    time.Time // since when it is on again; zero while it is off
}

// restart follows one of our VMs and tells when it is started again, if it is off
// and its policy says so. Whoever asks for it to run ends the row of falls.
func (m *memory) restart(w Wanted, p present, row api.VM, now time.Time) (comeback, bool) {
	own, _ := p.of(row.ID)
	want := wantOf(row)
	f, fell := m.falls[row.ID]
	switch {
	case own == nil || own.Mark.Epoch != row.Status.Epoch || want == api.WantStopped || want == api.WantDeleted || asksToRun(w.Open(row.ID)):
		delete(m.falls, row.ID)
		return comeback{}, false
	case own.Power != Off:
		if fell && f.up.IsZero() {
			f.up = now
			m.falls[row.ID] = f
		}
		if fell && now.Sub(f.up) >= settled {
			delete(m.falls, row.ID)
		}
		return comeback{}, false
	case !comesBack(row, own) || own.Cause == ByGuest && p.asked[row.ID]:
		return comeback{}, false
	case !fell || !f.up.IsZero() && now.Sub(f.up) >= settled:
		f = fall{after: firstPause, until: now.Add(firstPause)}
	case !f.up.IsZero():
		f = fall{times: f.times + 1, after: pauseAfter(f.times + 1)}
		f.until = now.Add(f.after)
	}
	m.falls[row.ID] = f
	return comeback{f.after, !now.Before(f.until)}, true
}

// pauseAfter is the pause after so many falls before this one.
func pauseAfter(times int) time.Duration {
	return min(firstPause<<min(times, 20), lastPause)
}

// started notes that a domain was switched on: it may be off again before the
// next look, and then has fallen once more.
func (m *memory) started(s step, row api.VM, now time.Time) {
	delete(m.asked, s.vm)
	if f, fell := m.falls[s.vm]; fell && f.up.IsZero() {
		f.up = now
		m.falls[s.vm] = f
	}
	if s.restarted {
		m.anew[s.vm] = row.Status.Operation
	}
}
