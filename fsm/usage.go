package fsm

import (
	"iter"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
)

// usages is what each account has had, month by month. It is counted in the log's
// own time, in whole seconds: what changes within a second counts from its beginning.
var usages = &table[api.Usage]{
	name:    "usage",
	key:     usageKey,
	account: func(u *api.Usage) string { return u.Account },
}

func usageKey(u *api.Usage) string { return u.Account + "/" + u.Month }

const (
	usageMonth = "2006-01"
	// usageEvery is how often it is counted while an account's holdings stay as they are.
	usageEvery = time.Hour
	// usageLeap is the longest stretch that is counted: a clock that was years
	// wrong must not cost a row for every month of them.
	usageLeap = 366 * 24 * time.Hour
)

// countUsage adds up what an account has had until now. It must be called before
// what it holds changes, in the command that changes it.
func countUsage(tx *Txn, account string) {
	until := tx.Now.Truncate(time.Second)
	row := tx.usageOf(account, until)
	if held := tx.used(account); held != (api.Quota{}) && until.Sub(row.CountedUntil) <= usageLeap {
		for row.Month < until.Format(usageMonth) {
			border := monthAfter(row.CountedUntil)
			addUsage(&row, held, border)
			usages.put(tx, row)
			row = api.Usage{Account: account, Month: border.Format(usageMonth), CountedUntil: border}
		}
		addUsage(&row, held, until)
	}
	if row.Month != until.Format(usageMonth) {
		row = api.Usage{Account: account, Month: until.Format(usageMonth)}
	}
	row.CountedUntil = until
	usages.put(tx, row)
}

// addUsage counts what was held from when the row was counted until then.
func addUsage(row *api.Usage, held api.Quota, until time.Time) {
	seconds := int64(until.Sub(row.CountedUntil) / time.Second)
	row.VMSeconds += held.VMs * seconds
	row.VCPUSeconds += held.VCPUs * seconds
	row.MemoryMiBSeconds += held.MemoryMiB * seconds
	row.DiskGiBSeconds += held.DiskGiB * seconds
	row.AddressSeconds += held.Addresses * seconds
	row.CountedUntil = until
}

// monthAfter is the first moment of the next month, in UTC.
func monthAfter(t time.Time) time.Time {
	year, month, _ := t.UTC().Date()
	return time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
}

// usageOf is the newest row of an account; one that begins at otherwise when
// there is none.
func (r Reader) usageOf(account string, otherwise time.Time) api.Usage {
	newest := api.Usage{Account: account, Month: otherwise.Format(usageMonth), CountedUntil: otherwise}
	usages.in(r.state).rows.descend(account+"0", func(key string, it *item[api.Usage]) bool { // "0" is the character behind "/"
		if strings.HasPrefix(key, account+"/") {
			newest = it.row
		}
		return false
	})
	return newest
}

// uncounted are up to limit accounts that hold something and were not counted for a while.
func uncounted(r Reader, now time.Time, limit int) (names []string) {
	r.state.sums.used.Scan(func(account string, _ api.Quota) bool {
		if now.Sub(r.usageOf(account, time.Time{}).CountedUntil) >= usageEvery {
			names = append(names, account)
		}
		return len(names) < limit
	})
	return names
}

// Usages lists what accounts have had, by account and month.
func (r Reader) Usages(after string) iter.Seq[api.Usage] { return usages.each(r, after) }
