package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) vmSnapshot() *cobra.Command {
	return a.group("snapshot", "Moments of a virtual machine's disk, to go back to", `
orchd vm snapshot create web1 before-upgrade
orchd vm snapshot list web1
orchd vm snapshot restore web1 before-upgrade`,
		a.vmSnapshotCreate(), a.vmSnapshotList(), a.vmSnapshotShow(), a.vmSnapshotRestore(), a.vmSnapshotDelete())
}

func (a *App) diskSnapshots() listing[api.DiskSnapshot] {
	type S = api.DiskSnapshot
	return listing[S]{
		name:  func(s S) string { return s.Name },
		order: func(x, y S) int { return x.CreatedAt.Compare(y.CreatedAt) },
		columns: []column[S]{
			{head: "NAME", text: func(s S) string { return s.Name }},
			{head: "STATE", text: func(s S) string { return string(s.State) }},
			{head: "AGE", text: func(s S) string { return a.age(s.CreatedAt) }, key: "created_at", raw: func(s S) string { return moment(s.CreatedAt) }},
			{head: "REASON", text: func(s S) string { return s.Reason }},
			{head: "ID", wide: true, text: func(s S) string { return s.ID }},
			{head: "VM", wide: true, text: func(s S) string { return s.VM }},
			{head: "OPERATION", wide: true, text: func(s S) string { return s.Operation }},
		},
	}
}

// completeSnapshots completes a VM, and then up to max of its snapshots.
func (a *App) completeSnapshots(max int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.completeArgs(vmNames, 1)(cmd, args, typed)
		}
		names := func(ctx context.Context, a *App) ([]string, error) {
			path, q := vmPath(args[0])
			ctx, cancel := context.WithTimeout(ctx, nameTime)
			defer cancel()
			items, err := list[api.DiskSnapshot](ctx, a, path+"/snapshots", q)
			var all []string
			for _, s := range items {
				all = append(all, s.Name)
			}
			return all, err
		}
		return a.completeArgs(names, max)(cmd, args[1:], typed)
	}
}

func (a *App) vmSnapshotCreate() *cobra.Command {
	var w waiting
	cmd := a.verb(verb{
		use:   "create VM NAME",
		short: "Keep the disk of a virtual machine as it is now, on or off",
		long: "Keep the disk of a virtual machine as it is now, on or off. Of a running one it is what its disk would be after\n" +
			"a power cut: stop it first where that is not enough. It is kept inside the disk and goes with it.",
		example: "orchd vm snapshot create web1 before-upgrade",
		min:     2, max: 2, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var made api.DiskSnapshot
			k := vmCall("POST", args[0], "snapshots")
			k.in, k.out = api.DiskSnapshotCreate{Name: args[1]}, &made
			if err := c.do(ctx, k); err != nil {
				return err
			}
			if !w.no {
				if err := a.finish(ctx, c, made.Operation, w.timeout); err != nil {
					return err
				}
				k := vmCall("GET", args[0], "snapshots", made.ID)
				k.out = &made
				if err := c.do(ctx, k); err != nil {
					return err
				}
			}
			return a.diskSnapshots().result(a, made)
		},
	})
	cmd.ValidArgsFunction = a.completeArgs(vmNames, 1)
	w.register(cmd)
	return cmd
}

func (a *App) vmSnapshotList() *cobra.Command {
	cmd := a.verb(verb{
		use:     "list VM",
		short:   "List the snapshots of a virtual machine's disk",
		example: "orchd vm snapshot list web1\norchd vm snapshot list web1 -o json",
		min:     1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			path, q := vmPath(args[0])
			items, err := list[api.DiskSnapshot](ctx, a, path+"/snapshots", q)
			if err != nil {
				return err
			}
			return a.diskSnapshots().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	return cmd
}

func (a *App) vmSnapshotShow() *cobra.Command {
	cmd := a.verb(verb{
		use:     "show VM NAME",
		short:   "Show a snapshot of a virtual machine's disk",
		example: "orchd vm snapshot show web1 before-upgrade",
		min:     2, max: 2, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			_, s, err := a.diskSnapshot(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			return a.diskSnapshots().one(a, s)
		},
	})
	cmd.ValidArgsFunction = a.completeSnapshots(1)
	return cmd
}

// diskSnapshot finds a snapshot of a VM's disk.
func (a *App) diskSnapshot(ctx context.Context, vm, name string) (client, api.DiskSnapshot, error) {
	var s api.DiskSnapshot
	c, err := a.client()
	if err != nil {
		return c, s, err
	}
	k := vmCall("GET", vm, "snapshots", name)
	k.out = &s
	err = c.do(ctx, k)
	return c, s, err
}

func (a *App) vmSnapshotRestore() *cobra.Command {
	var w waiting
	var yes bool
	cmd := a.verb(verb{
		use:   "restore VM NAME",
		short: "Take the disk of a stopped virtual machine back to a snapshot; what came after is lost",
		example: `
orchd vm snapshot restore web1 before-upgrade
orchd vm stop web1 && orchd vm snapshot restore web1 before-upgrade --yes && orchd vm start web1`,
		min: 2, max: 2, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			_, s, err := a.diskSnapshot(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			what := fmt.Sprintf("the disk of %s goes back to %s of %s; all that was written since is lost", args[0], s.Name, moment(s.CreatedAt))
			if !yes {
				if err := a.confirm(what + ". Go on?"); err != nil {
					return err
				}
			}
			a.say("%s", what)
			return a.operate(ctx, args[:1], w, func(ref string) call { return vmCall("POST", ref, "snapshots", s.ID, "restore") })
		},
	})
	cmd.ValidArgsFunction = a.completeSnapshots(1)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	w.register(cmd)
	return cmd
}

func (a *App) vmSnapshotDelete() *cobra.Command {
	var w waiting
	cmd := a.verb(verb{
		use:     "delete VM NAME...",
		short:   "Delete snapshots of a virtual machine's disk; the disk itself stays as it is",
		example: "orchd vm snapshot delete web1 before-upgrade",
		min:     2, max: many, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			return a.operate(ctx, args[1:], w, func(name string) call { return vmCall("DELETE", args[0], "snapshots", name) })
		},
	})
	cmd.Aliases = []string{"rm"}
	cmd.ValidArgsFunction = a.completeSnapshots(many)
	w.register(cmd)
	return cmd
}
