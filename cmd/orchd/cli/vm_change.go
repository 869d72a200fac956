package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// vmPath is where a VM stands: NAME or id, or ACCOUNT/NAME where several accounts hold the name.
func vmPath(ref string) (string, url.Values) {
	account, name, both := strings.Cut(ref, "/")
	if !both {
		return "/v1/vms/" + url.PathEscape(ref), nil
	}
	return "/v1/vms/" + url.PathEscape(name), url.Values{"account": {account}}
}

func (a *App) vmDelete() *cobra.Command {
	var w waiting
	var force bool
	cmd := a.verb(verb{
		use:   "delete NAME...",
		short: "Delete virtual machines with their disks; there is no way back",
		example: `
orchd vm delete web1
orchd vm delete web1 web2 --force      # running ones too`,
		min: 1, max: many, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var ops []api.Operation
			failed := each(ctx, args, func(ref string) error {
				op, err := a.deleteVM(ctx, c, ref, force)
				if err == nil {
					ops = append(ops, op)
				}
				return err
			})
			return together(failed, a.settle(ctx, c, ops, w))
		},
	})
	cmd.Aliases = []string{"rm"}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also if it is running")
	w.register(cmd)
	return cmd
}

// deleteVM names what it destroys and asks for it. Without force the VM must
// still be what was looked at, so that none is destroyed that has just been started.
func (a *App) deleteVM(ctx context.Context, c client, ref string, force bool) (op api.Operation, err error) {
	for tries := 0; ; tries++ {
		_, vm, err := a.findVM(ctx, ref)
		if err == nil {
			err = mayGo(vm, ref, force)
		}
		if err != nil {
			return op, err
		}
		a.say("deleting %s/%s (%s): its guest on %s and its disk of %s", vm.Account, vm.Name, vm.ID, vm.Status.Owner, gib(vm.Spec.DiskGiB))
		remove := call{method: "DELETE", path: "/v1/vms/" + vm.ID, query: url.Values{"wait": {"0s"}}, out: &op}
		if !force {
			remove.ifMatch = vm.Version
		}
		err = c.do(ctx, remove)
		if !api.IsKind(err, api.Precondition) || tries == 3 {
			return op, err
		}
	}
}

// mayGo is nil for a VM that can be deleted without losing what somebody wants to keep.
func mayGo(vm api.VM, ref string, force bool) error {
	switch {
	case vm.Protected:
		return &failure{exitConflict, vm.Name + " is protected", "if it is to go: orchd vm protect " + ref + " --off"}
	case !force && maybeRuns(vm.Status.State):
		return &failure{exitConflict, fmt.Sprintf("%s is %s on %s", vm.Name, vm.Status.State, vm.Status.Owner),
			"stop it first (orchd vm stop " + ref + "), or destroy it as it is with --force"}
	}
	return nil
}

// maybeRuns tells whether a guest in that state may be at work.
func maybeRuns(s api.VMState) bool {
	return slices.Contains([]api.VMState{api.VMRunning, api.VMPaused, api.VMUnknown}, s)
}

func (a *App) vmWait() *cobra.Command {
	var goal string
	var timeout time.Duration
	cmd := a.verb(verb{
		use:     "wait NAME",
		short:   "Wait until a virtual machine is in a state",
		example: "orchd vm wait web1\norchd vm wait web1 --for stopped --timeout 2m\norchd vm wait web1 --for deleted",
		min:     1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			if goal != deleted && !slices.Contains(waitable, goal) {
				return unknownWord("state", goal, append(waitable, deleted))
			}
			return a.waitFor(ctx, args[0], goal, timeout)
		},
	})
	cmd.Flags().StringVar(&goal, "for", string(api.VMRunning), strings.Join(append(waitable, deleted), ", "))
	patience(cmd, &timeout, "timeout", 5*time.Minute, "how long to wait")
	a.completeFlag(cmd, "for", words(append(waitable, deleted)))
	return cmd
}

// deleted is the state of a VM that is no longer there.
const deleted = "deleted"

// waitable is the states that a VM comes to by itself or on request.
var waitable = []string{string(api.VMRunning), string(api.VMStopped), string(api.VMPaused), string(api.VMCrashed), string(api.VMFailed)}

func (a *App) waitFor(ctx context.Context, ref, goal string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	seen := ""
	for {
		_, vm, err := a.findVM(ctx, ref)
		switch {
		case goal == deleted && api.IsKind(err, api.NotFound):
			return nil
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return &failure{exitUnreachable, fmt.Sprintf("%s is not %s after %s but %s", ref, goal, timeout, seen), "look at it: orchd vm show " + ref}
		case err != nil && !api.IsKind(err, api.Unavailable):
			return err
		case err == nil && string(vm.Status.State) == goal:
			return a.vms().result(a, vm)
		case err == nil && vm.Status.State == api.VMFailed:
			return &failure{exitFailed, fmt.Sprintf("%s failed: %s", vm.Name, vm.Status.Reason), ""}
		case err == nil && string(vm.Status.State) != seen:
			seen = string(vm.Status.State)
			a.say("%s is %s", vm.Name, seen)
		}
		if err := pause(ctx, lookEvery); err != nil && errors.Is(err, context.Canceled) {
			return err
		}
	}
}

func (a *App) vmLabel() *cobra.Command {
	return a.verb(verb{
		use:   "label NAME KEY=VALUE... KEY-...",
		short: "Put your own words on a virtual machine, or take them off",
		example: `
orchd vm label web1 tier=web owner=anna
orchd vm label web1 tier-               # takes the label tier off`,
		min: 2, max: many, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			labels, err := labelPatch(args[1:])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var vm api.VM
			path, q := vmPath(args[0])
			if err := c.do(ctx, call{method: "PATCH", path: path, query: q, in: map[string]any{"labels": labels}, out: &vm}); err != nil {
				return err
			}
			return a.vms().result(a, vm)
		},
	})
}

// labelPatch is a merge patch (RFC 7396): KEY=VALUE puts a label on, KEY- takes it off.
func labelPatch(words []string) (map[string]*string, error) {
	patch := map[string]*string{}
	for _, word := range words {
		k, v, set := strings.Cut(word, "=")
		off, unset := strings.CutSuffix(word, "-")
		switch {
		case set && k != "":
			patch[k] = &v
		case !set && unset && off != "":
			patch[off] = nil
		default:
			return nil, usagef("%q is neither KEY=VALUE nor KEY-", word)
		}
	}
	return patch, nil
}
