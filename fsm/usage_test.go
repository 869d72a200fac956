package fsm

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// during applies a change at a moment, as a command would.
func (l *log) during(at time.Time, change func(*Txn)) {
	l.t.Helper()
	l.index++
	l.at = at
	tx := newTxn(l.m.published.Load(), l.index, at)
	tx.begin(Meta{ID: fmt.Sprint("during ", l.index)})
	change(tx)
	l.m.publish(tx)
}

func clock(text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return at
}

// usagesOf are the rows of an account, as text.
func (l *log) usagesOf(account string) (rows []string) {
	for u := range l.m.Read().Usages("") {
		if u.Account == account {
			rows = append(rows, fmt.Sprintf("%s vm %d vcpu %d mib %d gib %d address %d until %s", u.Month, u.VMSeconds, u.VCPUSeconds, u.MemoryMiBSeconds, u.DiskGiBSeconds,
				u.AddressSeconds, u.CountedUntil.Format("01-02T15:04:05.999999")))
		}
	}
	return rows
}

func (l *log) counted(account string, want ...string) {
	l.t.Helper()
	if got := l.usagesOf(account); !slices.Equal(got, want) {
		l.t.Errorf("usage of %s:\n got %q\nwant %q", account, got, want)
	}
}

func TestUsage(t *testing.T) {
	l := newLog(t, "a")
	vm := func(id string, cpus int64) api.VM {
		return api.VM{ID: id, Name: id, Account: "x", Spec: api.VMSpec{VCPUs: cpus, MemoryMiB: 100 * cpus, DiskGiB: 10}, Status: api.VMStatus{OwnerID: "a"}}
	}
	put := func(v api.VM) func(*Txn) { return func(tx *Txn) { countUsage(tx, "x"); vms.put(tx, v) } }
	count := func(tx *Txn) { countUsage(tx, "x") }

	l.during(clock("2026-11-30T23:59:00.7Z"), put(vm("v1", 1)))
	l.counted("x", "2026-11 vm 0 vcpu 0 mib 0 gib 0 address 0 until 11-30T23:59:00")
	l.during(clock("2026-11-30T23:59:10.2Z"), put(vm("v2", 2)))
	l.counted("x", "2026-11 vm 10 vcpu 10 mib 1000 gib 100 address 0 until 11-30T23:59:10")
	l.during(clock("2026-11-30T23:59:10.9Z"), count)
	l.counted("x", "2026-11 vm 10 vcpu 10 mib 1000 gib 100 address 0 until 11-30T23:59:10")

	// Over the end of the month: 50 s of it with 2 VMs, then 5 s.
	l.during(clock("2026-12-01T00:00:05Z"), func(tx *Txn) { countUsage(tx, "x"); vms.remove(tx, "v2") })
	november := "2026-11 vm 110 vcpu 160 mib 16000 gib 1100 address 0 until 12-01T00:00:00"
	l.counted("x", november, "2026-12 vm 10 vcpu 15 mib 1500 gib 100 address 0 until 12-01T00:00:05")

	// Over a month in which nothing was counted: February 2027 has 28 days.
	l.during(clock("2027-03-01T00:00:01Z"), func(tx *Txn) {
		countUsage(tx, "x")
		tx.state.sums.holdAddresses("x", 3)
	})
	const day = 24 * 3600
	december := fmt.Sprintf("2026-12 vm %d vcpu %d mib %d gib %d address 0 until 01-01T00:00:00", 10+31*day-5, 15+31*day-5, 1500+100*(31*day-5), 100+10*(31*day-5))
	january := fmt.Sprintf("2027-01 vm %d vcpu %d mib %d gib %d address 0 until 02-01T00:00:00", 31*day, 31*day, 3100*day, 310*day)
	february := fmt.Sprintf("2027-02 vm %d vcpu %d mib %d gib %d address 0 until 03-01T00:00:00", 28*day, 28*day, 2800*day, 280*day)
	l.counted("x", november, december, january, february, "2027-03 vm 1 vcpu 1 mib 100 gib 10 address 0 until 03-01T00:00:01")

	l.during(clock("2027-03-01T00:00:03Z"), func(tx *Txn) {
		countUsage(tx, "x")
		vms.remove(tx, "v1")
		tx.state.sums.holdAddresses("x", -3)
	})
	march := "2027-03 vm 3 vcpu 3 mib 300 gib 30 address 6 until 03-01T00:00:03"
	l.counted("x", november, december, january, february, march)

	// Who holds nothing has no month of it.
	l.during(clock("2027-06-10T00:00:00Z"), put(vm("v3", 1)))
	l.during(clock("2027-06-10T00:00:07Z"), count)
	l.counted("x", november, december, january, february, march, "2027-06 vm 7 vcpu 7 mib 700 gib 70 address 0 until 06-10T00:00:07")

	// An account whose name begins alike has rows of its own.
	l.during(clock("2027-06-10T00:00:08Z"), func(tx *Txn) { countUsage(tx, "x-y"); countUsage(tx, "x0") })
	l.during(clock("2027-06-10T00:00:09Z"), count)
	l.counted("x-y", "2027-06 vm 0 vcpu 0 mib 0 gib 0 address 0 until 06-10T00:00:08")
	if got := l.usagesOf("x"); len(got) != 6 || got[5] != "2027-06 vm 9 vcpu 9 mib 900 gib 90 address 0 until 06-10T00:00:09" {
		t.Errorf("beside others: %q", got)
	}
}

// TestUsageOfALeap: a clock that was years wrong costs neither rows nor usage.
func TestUsageOfALeap(t *testing.T) {
	l := newLog(t, "a")
	l.during(clock("2026-11-30T00:00:00Z"), func(tx *Txn) {
		countUsage(tx, "x")
		vms.put(tx, api.VM{ID: "v", Name: "v", Account: "x", Spec: api.VMSpec{VCPUs: 1}})
	})
	l.during(clock("9000-01-01T00:00:00Z"), func(tx *Txn) { countUsage(tx, "x") })
	l.counted("x", "2026-11 vm 0 vcpu 0 mib 0 gib 0 address 0 until 11-30T00:00:00", "9000-01 vm 0 vcpu 0 mib 0 gib 0 address 0 until 01-01T00:00:00")
}

// TestSweepCountsUsage: what stays as it is is counted when the cluster is swept.
func TestSweepCountsUsage(t *testing.T) {
	l := newLog(t, "a")
	vm := l.create("one", "a")
	born := l.at
	sweepAt := func(after time.Duration) {
		l.at = born.Add(after)
		l.must(ActorOfPeer("a"), sweep, clusterSweep{})
	}
	seconds := func() (n int64) {
		for u := range l.m.Read().Usages("") {
			n += u.VMSeconds
		}
		return n
	}
	sweepAt(10 * time.Minute)
	if n := seconds(); n != 0 {
		t.Errorf("10 min later: %d s", n)
	}
	l.at = born.Add(time.Hour - time.Minute)
	l.must(admin, mark, stateMark{}) // time goes on
	if l.m.Read().SweepDue() {
		t.Error("a sweep is due before an hour is over")
	}
	l.at = born.Add(2 * time.Hour)
	l.must(admin, mark, stateMark{})
	if !l.m.Read().SweepDue() {
		t.Error("usage was not counted for 2 h, and no sweep is due")
	}
	sweepAt(3 * time.Hour)
	if n := seconds(); n != 3*3600 {
		t.Errorf("3 h later: %d s", n)
	}
	if l.m.Read().SweepDue() {
		t.Error("all is counted, and a sweep is due")
	}
	l.at = born.Add(4 * time.Hour)
	l.must(admin, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	sweepAt(9 * time.Hour)
	if n := seconds(); n != 4*3600 {
		t.Errorf("deleted after 4 h: %d s", n)
	}
}
