package cli

import (
	"context"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// vmCall is a request about a VM, or about what is below it.
func vmCall(method, ref string, below ...string) call {
	path, q := vmPath(ref)
	for _, word := range below {
		path += "/" + url.PathEscape(word)
	}
	return call{method: method, path: path, query: q}
}

// vmAction is start, force-stop, pause and resume: an operation each.
func (a *App) vmAction(action, short, example string) *cobra.Command {
	var w waiting
	cmd := a.verb(verb{
		use: action + " NAME...", short: short, example: example, min: 1, max: many, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			return a.operate(ctx, args, w, func(ref string) call { return vmCall("POST", ref, action) })
		},
	})
	w.register(cmd)
	return cmd
}

// operate begins an operation for each name, waits for them as the flags say, and prints them.
func (a *App) operate(ctx context.Context, refs []string, w waiting, ask func(ref string) call) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var ops []api.Operation
	failed := each(ctx, refs, func(ref string) error {
		var op api.Operation
		k := ask(ref)
		k.out = &op
		if err := c.do(ctx, k); err != nil {
			return err
		}
		ops = append(ops, op)
		return nil
	})
	return together(failed, a.settle(ctx, c, ops, w))
}

// settle waits for operations as the flags say and prints them.
func (a *App) settle(ctx context.Context, c client, ops []api.Operation, w waiting) error {
	if len(ops) == 0 {
		return nil
	}
	var failed error
	for i := range ops {
		if w.no || ops[i].State.Done() {
			continue
		}
		failed = together(failed, a.finish(ctx, c, ops[i].ID, w.timeout))
		if ctx.Err() == nil {
			failed = together(failed, c.get(ctx, operationPath(ops[i].ID), nil, &ops[i]))
		}
	}
	return together(failed, a.operations().all(a, ops))
}

// vmStop is stop and restart, which are patient with the guest for a time.
func (a *App) vmStop(action, short, example string) *cobra.Command {
	var w waiting
	var guest time.Duration
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use: action + " NAME...", short: short, example: example, min: 1, max: many, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			var body any
			if cmd.Flags().Changed("timeout") {
				body = api.VMStop{Timeout: guest.String()}
			}
			w.timeout = guest + stopWait
			return a.operate(ctx, args, w, func(ref string) call {
				k := vmCall("POST", ref, action)
				k.in = body
				return k
			})
		},
	})
	patience(cmd, &guest, "timeout", 30*time.Second, "how long the guest may take before its power is taken away, at most 1h")
	w.registerBare(cmd)
	return cmd
}

// stopWait is how long one waits for a stop beside the time that the guest has.
const stopWait = 5 * time.Minute

func (a *App) vmResize() *cobra.Command {
	var want api.VMResize
	var w waiting
	memory, disk := sizeFlag{unit: 1 << 20}, sizeFlag{unit: 1 << 30}
	cmd := a.verb(verb{
		use:   "resize NAME",
		short: "Give a virtual machine more or less; what is left out stays",
		long: "Give a virtual machine more or less; what is left out stays. A stopped one can have anything but a smaller\n" +
			"disk; a running one more CPUs and memory, where its guest can take them.",
		example: `
orchd vm resize web1 --memory 8GiB
orchd vm stop web1 && orchd vm resize web1 --size f1-m && orchd vm start web1
orchd vm resize web1 --disk 40GiB --no-wait`,
		min: 1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			want.MemoryMiB, want.DiskGiB = memory.units(), disk.units()
			return a.operate(ctx, args, w, func(ref string) call {
				k := vmCall("POST", ref, "resize")
				k.in = want
				return k
			})
		},
	})
	f := cmd.Flags()
	f.StringVar(&want.Size, "size", "", "a size, instead of the other three")
	f.Int64Var(&want.VCPUs, "cpu", 0, "virtual CPUs")
	f.Var(&memory, "memory", "memory, as 512MiB or 4GiB")
	f.Var(&disk, "disk", "disk, as 20GiB; disks only grow")
	cmd.MarkFlagsOneRequired("size", "cpu", "memory", "disk")
	cmd.MarkFlagsMutuallyExclusive("size", "cpu")
	cmd.MarkFlagsMutuallyExclusive("size", "memory")
	a.completeFlag(cmd, "size", sizeNames)
	w.register(cmd)
	return cmd
}

// patchVM changes what a user may set of virtual machines, and prints them.
func (a *App) patchVM(ctx context.Context, refs []string, patch map[string]any) error {
	return changeEach(ctx, a, refs, a.vms(), func(ref string) call {
		k := vmCall("PATCH", ref)
		k.in = patch
		return k
	})
}

func (a *App) vmRename() *cobra.Command {
	cmd := a.verb(verb{
		use:     "rename OLD NEW",
		short:   "Give a virtual machine another name; its domain takes it at its next start",
		example: "orchd vm rename web1 www1",
		min:     2, max: 2, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			return a.patchVM(ctx, args[:1], map[string]any{"name": args[1]})
		},
	})
	cmd.ValidArgsFunction = a.completeArgs(vmNames, 1)
	return cmd
}

func (a *App) vmProtect() *cobra.Command {
	var off bool
	cmd := a.verb(verb{
		use:     "protect NAME...",
		short:   "Keep a virtual machine from being deleted, until this is taken off",
		example: "orchd vm protect db1\norchd vm protect db1 --off",
		min:     1, max: many, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			return a.patchVM(ctx, args, map[string]any{"protected": !off})
		},
	})
	cmd.Flags().BoolVar(&off, "off", false, "let it be deleted again")
	return cmd
}

func (a *App) vmSet() *cobra.Command {
	var restart string
	cmd := a.verb(verb{
		use:   "set NAME...",
		short: "Say what becomes of a guest that ends without being asked to",
		long: "Say what becomes of a guest that ends without being asked to: always starts it again, on-failure only when it\n" +
			"crashed or its QEMU was killed, never leaves it as it ended.",
		example: "orchd vm set web1 --restart always\norchd vm set test1 test2 --restart never",
		min:     1, max: many, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			return a.patchVM(ctx, args, map[string]any{"restart": restart})
		},
	})
	a.choice(cmd, &restart, "restart", restartPolicies, alternatives(restartPolicies))
	cmd.MarkFlagRequired("restart")
	return cmd
}
