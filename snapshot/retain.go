package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Retention says which marked snapshots stay: the newest, the first of each day
// for some days, and the first of each month for some months. Days and months are those
// of UTC, by the snapshots' own time; today and this month are the first of them.
type Retention struct{ Newest, Daily, Monthly int }

// ErrNewest is why the newest whole snapshot is not deleted.
var ErrNewest = errors.New("it is the newest whole one, which always stays; take another first")

// Retire deletes the snapshots that r does not keep, now being the time, and gives their
// ids, newest first. The newest whole one stays whatever r says.
func (m *Marks) Retire(r Retention, now time.Time) (gone []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.List()
	if err != nil {
		return nil, err
	}
	kept := r.kept(found, now)
	for i, f := range found {
		if kept[i] {
			continue
		}
		if err := remove(f.Path); err != nil {
			return gone, fmt.Errorf("delete snapshot %s: %w", f.ID, err)
		}
		gone = append(gone, f.ID)
	}
	return gone, nil
}

// Delete deletes a snapshot, whole or not. ErrNewest if it is the newest that is
// whole, fs.ErrNotExist if there is none of that id.
func (m *Marks) Delete(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.List()
	if err != nil {
		return err
	}
	newer := false // whether a whole one is newer
	for _, f := range found {
		whole := f.Err == nil
		switch {
		case f.ID != id:
			newer = newer || whole
		case whole && !newer:
			return fmt.Errorf("delete snapshot %s: %w", id, ErrNewest)
		default:
			if err := remove(f.Path); err != nil {
				return fmt.Errorf("delete snapshot %s: %w", id, err)
			}
			return nil
		}
	}
	return fmt.Errorf("snapshot %q: %w", id, fs.ErrNotExist)
}

// kept tells of each snapshot, newest first, whether it stays.
//
// Time is counted back from now or from the newest whole snapshot, whichever is
// earlier: a clock that ran ahead would otherwise delete years. What is
// not whole takes nobody's place. It stays while newer than the newest that are kept, and
// as long as it would if it were whole, because it may be mended.
func (r Retention) kept(found []Found, now time.Time) []bool {
	kept := make([]bool, len(found))
	whole := 0
	for i, f := range found {
		kept[i] = whole < max(r.Newest, 1)
		if f.Err == nil {
			if whole == 0 && f.Manifest.Time.Before(now) {
				now = f.Manifest.Time
			}
			whole++
		}
	}
	isWhole := func(f Found) bool { return f.Err == nil }
	isKnown := func(f Found) bool { return f.Manifest.Format != 0 }
	for _, counts := range []func(Found) bool{isWhole, isKnown} {
		keepFirsts(kept, found, counts, dayOf, dayOf(now)-r.Daily)
		keepFirsts(kept, found, counts, monthOf, monthOf(now)-r.Monthly)
	}
	return kept
}

// keepFirsts keeps the first snapshot of each period after a given one, among those that count.
func keepFirsts(kept []bool, found []Found, counts func(Found) bool, periodOf func(time.Time) int, after int) {
	first := map[int]int{} // of a period, where its first snapshot stands
	for i, f := range found {
		if period := periodOf(f.Manifest.Time); counts(f) && period > after {
			first[period] = i
		}
	}
	for _, i := range first {
		kept[i] = true
	}
}

// dayOf numbers the days of UTC.
func dayOf(t time.Time) int { return int(t.Unix() / (24 * 60 * 60)) }

// monthOf numbers the months of UTC.
func monthOf(t time.Time) int {
	year, month, _ := t.UTC().Date()
	return 12*year + int(month)
}
