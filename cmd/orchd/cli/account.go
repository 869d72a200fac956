package cli

import (
	"context"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
)

func (a *App) account() *cobra.Command {
	return a.group("account", "Who owns virtual machines, how much they may hold and what they have had", `
orchd account create co-op --vms 20 --memory 64GiB
orchd account suspend co-op --reason "no payment since May"
orchd account usage co-op`,
		a.accountCreate(), a.accountList(), a.accountShow(), a.accountSet(), a.accountSuspend(), a.accountResume(), a.accountDelete(), a.accountUsage())
}

// accounts prints what an account may hold; what it holds now only where the answer says so.
func (a *App) accounts() listing[api.Account] {
	type A = api.Account
	return listing[A]{
		name: func(x A) string { return x.Name },
		columns: []column[A]{
			{head: "NAME", text: func(x A) string { return x.Name }},
			{head: "STATE", text: accountState},
			{head: "VMS", text: func(x A) string { return unlessZero(x.Quota.VMs) }},
			{head: "VCPUS", text: func(x A) string { return unlessZero(x.Quota.VCPUs) }},
			{head: "MEMORY", text: func(x A) string { return sizeUnlessZero(x.Quota.MemoryMiB, mib) }, key: "memory_mib", raw: func(x A) string { return number(x.Quota.MemoryMiB) }},
			{head: "DISK", text: func(x A) string { return sizeUnlessZero(x.Quota.DiskGiB, gib) }, key: "disk_gib", raw: func(x A) string { return number(x.Quota.DiskGiB) }},
			{head: "ADDRESSES", text: func(x A) string { return unlessZero(x.Quota.Addresses) }},
			{head: "AGE", text: func(x A) string { return a.age(x.CreatedAt) }, key: "created_at", raw: func(x A) string { return moment(x.CreatedAt) }},
			{head: "REASON", wide: true, text: func(x A) string { return x.Reason }},
		},
	}
}

func accountState(x api.Account) string {
	if x.Suspended {
		return "suspended"
	}
	return "active"
}

func sizeUnlessZero(n int64, unit func(int64) string) string {
	if n == 0 {
		return ""
	}
	return unit(n)
}

// holdings prints what an account holds, of what it may.
func (a *App) holdings() listing[api.AccountView] {
	type A = api.AccountView
	return listing[A]{
		name: func(x A) string { return x.Name },
		columns: []column[A]{
			{head: "NAME", text: func(x A) string { return x.Name }},
			{head: "STATE", text: func(x A) string { return accountState(x.Account) }},
			{head: "REASON", text: func(x A) string { return x.Reason }},
			{head: "VMS", text: func(x A) string { return held(x.Used.VMs, x.Quota.VMs, number[int64]) }},
			{head: "VCPUS", text: func(x A) string { return held(x.Used.VCPUs, x.Quota.VCPUs, number[int64]) }},
			{head: "MEMORY", text: func(x A) string { return held(x.Used.MemoryMiB, x.Quota.MemoryMiB, mib) }},
			{head: "DISK", text: func(x A) string { return held(x.Used.DiskGiB, x.Quota.DiskGiB, gib) }},
			{head: "ADDRESSES", text: func(x A) string { return held(x.Used.Addresses, x.Quota.Addresses, number[int64]) }},
			{head: "AGE", text: func(x A) string { return a.age(x.CreatedAt) }, key: "created_at", raw: func(x A) string { return moment(x.CreatedAt) }},
		},
	}
}

// held is "3 of 20", and "3" where there is no limit.
func held(now, most int64, unit func(int64) string) string {
	if most == 0 {
		return unit(now)
	}
	return unit(now) + " of " + unit(most)
}

func accountPath(name string) string { return "/v1/accounts/" + url.PathEscape(name) }

// quotaFlags are the flags that say how much an account may hold.
type quotaFlags struct {
	vms, vcpus, addresses int64
	memory, disk          sizeFlag
}

func (q *quotaFlags) register(cmd *cobra.Command) {
	q.memory.unit, q.disk.unit = config.MiB, config.GiB
	f := cmd.Flags()
	f.Int64Var(&q.vms, "vms", 0, "how many virtual machines at most, stopped ones too; 0 for no limit")
	f.Int64Var(&q.vcpus, "cpu", 0, "how many virtual CPUs at most")
	f.Var(&q.memory, "memory", "how much memory at most, as 64GiB")
	f.Var(&q.disk, "disk", "how much disk at most, as 500GiB")
	f.Int64Var(&q.addresses, "addresses", 0, "how many addresses at most")
}

func (q *quotaFlags) quota() api.Quota {
	return api.Quota{VMs: q.vms, VCPUs: q.vcpus, MemoryMiB: q.memory.units(), DiskGiB: q.disk.units(), Addresses: q.addresses}
}

// patch is the part of the quota whose flags were given.
func (q *quotaFlags) patch(cmd *cobra.Command) map[string]int64 {
	all := map[string]struct {
		key   string
		value int64
	}{
		"vms": {"vms", q.vms}, "cpu": {"vcpus", q.vcpus}, "addresses": {"addresses", q.addresses},
		"memory": {"memory_mib", q.memory.units()}, "disk": {"disk_gib", q.disk.units()},
	}
	changes := map[string]int64{}
	for flag, x := range all {
		if cmd.Flags().Changed(flag) {
			changes[x.key] = x.value
		}
	}
	return changes
}

func (a *App) accountCreate() *cobra.Command {
	var quota quotaFlags
	cmd := a.verb(verb{
		use:     "create NAME",
		short:   "Make an account, with or without limits (admins only)",
		example: "orchd account create co-op\norchd account create anna --vms 3 --cpu 4 --memory 8GiB --disk 100GiB --addresses 3",
		min:     1, max: 1,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var made api.Account
			want := api.AccountCreate{Name: args[0], Quota: quota.quota()}
			if err := c.do(ctx, call{method: "POST", path: "/v1/accounts", in: want, out: &made}); err != nil {
				return err
			}
			return a.accounts().result(a, made)
		},
	})
	quota.register(cmd)
	return cmd
}

func (a *App) accountList() *cobra.Command {
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the accounts and what each may hold at most",
		example: "orchd account list\norchd account list -o name",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Account](ctx, a, "/v1/accounts", nil)
			if err != nil {
				return err
			}
			return a.accounts().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	return cmd
}

func (a *App) accountShow() *cobra.Command {
	return a.verb(verb{
		use:     "show NAME",
		short:   "Show what an account holds, of what it may",
		example: "orchd account show co-op\norchd account show co-op -o json",
		min:     1, max: 1, noun: accountNames,
		run: func(ctx context.Context, args []string) error {
			x, err := show[api.AccountView](ctx, a, accountPath(args[0]))
			if err != nil {
				return err
			}
			return a.holdings().one(a, x)
		},
	})
}

func (a *App) accountSet() *cobra.Command {
	var quota quotaFlags
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:     "set NAME",
		short:   "Change how much an account may hold; flags that are left out change nothing (admins only)",
		example: "orchd account set co-op --vms 30\norchd account set co-op --memory 0        # no limit",
		min:     1, max: 1, noun: accountNames,
		run: func(ctx context.Context, args []string) error {
			changes := map[string]any{"quota": quota.patch(cmd)}
			return changeEach(ctx, a, args, a.accounts(), func(ref string) call {
				return call{method: "PATCH", path: accountPath(ref), in: changes}
			})
		},
	})
	quota.register(cmd)
	cmd.MarkFlagsOneRequired("vms", "cpu", "memory", "disk", "addresses")
	return cmd
}

func (a *App) accountSuspend() *cobra.Command {
	var reason string
	cmd := a.verb(verb{
		use:   "suspend NAME...",
		short: "Stop an account's virtual machines and let it make nothing new (admins only)",
		long: "Stop an account's virtual machines and let it make nothing new (admins only). Nothing is deleted,\n" +
			"and they keep their addresses; orchd account resume lets them go on as they were wanted.",
		example: `orchd account suspend co-op --reason "no payment since May"`,
		min:     1, max: many, noun: accountNames,
		run: func(ctx context.Context, args []string) error {
			return changeEach(ctx, a, args, a.accounts(), func(ref string) call {
				return call{method: "POST", path: accountPath(ref) + "/suspend", in: map[string]string{"reason": reason}}
			})
		},
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why; its users see it")
	return cmd
}

func (a *App) accountResume() *cobra.Command {
	return a.verb(verb{
		use:     "resume NAME...",
		short:   "Let a suspended account's virtual machines go on as they were wanted (admins only)",
		example: "orchd account resume co-op",
		min:     1, max: many, noun: accountNames,
		run: func(ctx context.Context, args []string) error {
			return changeEach(ctx, a, args, a.accounts(), func(ref string) call {
				return call{method: "POST", path: accountPath(ref) + "/resume"}
			})
		},
	})
}

func (a *App) accountDelete() *cobra.Command {
	cmd := a.verb(verb{
		use:     "delete NAME...",
		short:   "Delete accounts that hold nothing any more (admins only)",
		example: "orchd account delete co-op",
		min:     1, max: many, noun: accountNames,
		run: func(ctx context.Context, args []string) error {
			return a.remove(ctx, "/v1/accounts/", "account", args)
		},
	})
	cmd.Aliases = []string{"rm"}
	return cmd
}

func (a *App) accountUsage() *cobra.Command {
	var month string
	cmd := a.verb(verb{
		use:   "usage [NAME]",
		short: "How long accounts have had how much, month by month",
		long: "How long accounts have had how much, month by month (UTC): an hour of a virtual machine with 4 CPUs is one\n" +
			"VM-hour and four VCPU-hours, running or not. csv and json count seconds.",
		example: `
orchd account usage
orchd account usage co-op
orchd account usage --month 2026-11 -o csv`,
		max: 1, noun: accountNames,
		run: func(ctx context.Context, args []string) error {
			q := url.Values{}
			if len(args) > 0 {
				q.Set("account", args[0])
			}
			if month != "" {
				q.Set("month", month)
			}
			items, err := list[api.Usage](ctx, a, "/v1/usage", q)
			if err != nil {
				return err
			}
			return usages().all(a, items)
		},
	})
	cmd.Flags().StringVar(&month, "month", "", "only this month, as 2026-11")
	return cmd
}

func usages() listing[api.Usage] {
	type U = api.Usage
	hours := func(head, key string, seconds func(U) int64, per int64) column[U] {
		return column[U]{head: head, text: func(u U) string { return hours(seconds(u) / per) }, key: key, raw: func(u U) string { return number(seconds(u)) }}
	}
	return listing[U]{
		name: func(u U) string { return u.Account + "/" + u.Month },
		columns: []column[U]{
			{head: "ACCOUNT", text: func(u U) string { return u.Account }},
			{head: "MONTH", text: func(u U) string { return u.Month }},
			hours("VM-HOURS", "vm_seconds", func(u U) int64 { return u.VMSeconds }, 1),
			hours("VCPU-HOURS", "vcpu_seconds", func(u U) int64 { return u.VCPUSeconds }, 1),
			hours("GIB-HOURS", "memory_mib_seconds", func(u U) int64 { return u.MemoryMiBSeconds }, 1024),
			hours("DISK-GIB-HOURS", "disk_gib_seconds", func(u U) int64 { return u.DiskGiBSeconds }, 1),
			hours("ADDRESS-HOURS", "address_seconds", func(u U) int64 { return u.AddressSeconds }, 1),
			{head: "COUNTED-UNTIL", wide: true, text: func(u U) string { return moment(u.CountedUntil) }},
		},
	}
}

// hours writes seconds as hours with one decimal, rounded down.
func hours(seconds int64) string {
	tenths := seconds / 360
	return number(tenths/10) + "." + number(tenths%10)
}
