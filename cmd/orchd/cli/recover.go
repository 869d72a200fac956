package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) recovery() *cobra.Command {
	var fromHosts, dryRun, yes bool
	cmd := a.verb(verb{
		use:   "recover --from-hosts",
		short: "After a total loss of the state: make the records of virtual machines again (admins only)",
		long: "After a total loss of the state: make the records of virtual machines again, out of what their domains carry\n" +
			"(admins only). Make a new cluster with init and join on the same hosts, then run this: it shows what the peers'\n" +
			"domains say that they are, asks, and takes each in without a restart. Those that it fails for stay as they are\n" +
			"and can be tried again. Passwords and user-data are not on the hosts and do not come back.",
		example: `
orchd recover --from-hosts --dry-run     # what would come back
orchd recover --from-hosts
orchd recover --from-hosts --yes -o json`,
		run: func(ctx context.Context, _ []string) error {
			domains, err := a.foreignDomains(ctx, "")
			if err != nil {
				return err
			}
			domains = slices.DeleteFunc(domains, func(d api.ForeignDomain) bool { return d.Record == nil })
			slices.SortStableFunc(domains, a.recoverables().compare)
			if len(domains) == 0 {
				a.say("no domain carries the record of a virtual machine that is lost")
			}
			if dryRun || len(domains) == 0 {
				return a.recoverables().all(a, domains)
			}
			return a.recoverVMs(ctx, domains, yes)
		},
	})
	cmd.Flags().BoolVar(&fromHosts, "from-hosts", false, "out of the domains' own marks; there is no other way yet")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what would come back")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.MarkFlagRequired("from-hosts")
	return cmd
}

// recoverables prints domains as the VMs that they say they are.
func (a *App) recoverables() listing[api.ForeignDomain] {
	type D = api.ForeignDomain
	return listing[D]{
		name: func(d D) string { return d.Record.Account + "/" + d.Record.Name },
		columns: []column[D]{
			{head: "ACCOUNT", text: func(d D) string { return d.Record.Account }},
			{head: "NAME", text: func(d D) string { return d.Record.Name }},
			{head: "PEER", text: func(d D) string { return d.Peer }},
			{head: "STATE", text: func(d D) string { return string(d.State) }},
			{head: "VCPUS", text: func(d D) string { return number(d.VCPUs) }},
			{head: "MEMORY", text: func(d D) string { return mib(d.MemoryMiB) }, key: "memory_mib", raw: func(d D) string { return number(d.MemoryMiB) }},
			{head: "DOMAIN", text: func(d D) string { return d.Name }},
			{head: "ID", wide: true, text: func(d D) string { return d.Record.ID }},
		},
	}
}

// recoverVMs takes domains in, one after the other, also after one that it failed for.
func (a *App) recoverVMs(ctx context.Context, domains []api.ForeignDomain, yes bool) error {
	if !yes {
		if err := a.confirmRecovery(domains); err != nil {
			return err
		}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var back []api.VM
	n := 0
	failed := each(ctx, places(domains), func(string) error {
		d := domains[n]
		n++
		vm, err := c.adopt(ctx, api.VMAdopt{Peer: d.Peer, Domain: d.UUID, Recover: true})
		if err != nil {
			a.say("%d of %d: %s on %s: %s", n, len(domains), d.Name, d.Peer, message(err))
			return err
		}
		a.say("%d of %d: %s/%s is back, %s on %s", n, len(domains), vm.Account, vm.Name, vm.Status.State, d.Peer)
		a.sayFlags(vm)
		back = append(back, vm)
		return nil
	})
	return together(a.vms().all(a, back), a.sumUp(len(back), len(domains), failed))
}

// places names domains for errors.
func places(domains []api.ForeignDomain) []string {
	var all []string
	for _, d := range domains {
		all = append(all, d.Name+" on "+d.Peer)
	}
	return all
}

// confirmRecovery shows a person what would come back, beside the data that others read.
func (a *App) confirmRecovery(domains []api.ForeignDomain) error {
	aside := *a
	aside.Stdout, aside.flags.output = a.Stderr, "table"
	if err := aside.recoverables().all(&aside, domains); err != nil {
		return err
	}
	return a.confirm("take in " + counted(len(domains), "virtual machine") + "?")
}

// sumUp is one failure for all that did not come back: each has been said already.
func (a *App) sumUp(back, of int, failed error) error {
	if failed == nil {
		a.say("all %s are back", counted(of, "virtual machine"))
		return nil
	}
	return &failure{exitCode(failed), fmt.Sprintf("%d of %s are back", back, counted(of, "virtual machine")),
		"mend what is told above and run it again: it goes on with the rest"}
}
