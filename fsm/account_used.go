package fsm

import (
	"fmt"
	"strings"

	"github.com/orchd/orchd/api"
)

// This file is what accounts hold, and may hold. It is derived from rows, like
// what is promised on hosts: no command may have to add it up.

// used is what an account holds now.
func (r Reader) used(account string) api.Quota {
	q, _ := r.state.sums.used.Get(account)
	return q
}

// holdVM counts a VM for its account, n = 1, or no more, n = -1.
func (s *sums) holdVM(vm *api.VM, n int64) {
	s.hold(vm.Account, api.Quota{VMs: n, VCPUs: n * vm.Spec.VCPUs, MemoryMiB: n * vm.Spec.MemoryMiB, DiskGiB: n * vm.Spec.DiskGiB})
}

// holdAddresses counts n addresses more for an account, or fewer.
func (s *sums) holdAddresses(account string, n int64) { s.hold(account, api.Quota{Addresses: n}) }

// hold changes what an account holds; who holds nothing is forgotten.
func (s *sums) hold(account string, more api.Quota) {
	before, _ := s.used.Get(account)
	if now := quotaPlus(before, more); now != (api.Quota{}) {
		s.used.Set(account, now)
	} else {
		s.used.Delete(account)
	}
}

func quotaPlus(a, b api.Quota) api.Quota {
	return api.Quota{VMs: a.VMs + b.VMs, VCPUs: a.VCPUs + b.VCPUs, MemoryMiB: a.MemoryMiB + b.MemoryMiB,
		DiskGiB: a.DiskGiB + b.DiskGiB, Addresses: a.Addresses + b.Addresses}
}

// overQuota refuses what an account may not hold beside what it holds; nil when
// it fits. What is not asked for is no reason to refuse: who is over a limit
// that was lowered may still make what takes none of it.
func overQuota(r Reader, account string, more api.Quota) *api.Error {
	a, _ := accounts.one(r, account)
	used := r.used(account)
	var over []string
	for _, d := range []struct {
		what              string
		limit, used, more int64
	}{
		{"VMs", a.Quota.VMs, used.VMs, more.VMs},
		{"vcpus", a.Quota.VCPUs, used.VCPUs, more.VCPUs},
		{"MiB of memory", a.Quota.MemoryMiB, used.MemoryMiB, more.MemoryMiB},
		{"GiB of disk", a.Quota.DiskGiB, used.DiskGiB, more.DiskGiB},
		{"addresses", a.Quota.Addresses, used.Addresses, more.Addresses},
	} {
		if d.limit > 0 && d.more > 0 && d.more > d.limit-d.used {
			over = append(over, fmt.Sprintf("%d %s at most, %d used, %d more asked for", d.limit, d.what, d.used, d.more))
		}
	}
	if len(over) == 0 {
		return nil
	}
	return api.Errorf(api.Conflict, "quota", "account %q may hold %s; delete what it no longer needs, or ask for a larger quota", account, strings.Join(over, "; "))
}
