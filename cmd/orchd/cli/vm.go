package cli

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) vm() *cobra.Command {
	return a.group("vm", "Virtual machines", `
orchd vm create web1 --size f1-s --image debian-12 --network lan --ssh-key @~/.ssh/id_ed25519.pub
orchd vm ssh web1 --user debian
orchd vm delete web1 --force`,
		a.vmCreate(), a.vmList(), a.vmShow(), a.vmWhy(),
		a.vmAction("start", "Start a virtual machine", "orchd vm start web1\norchd vm start web1 web2 --no-wait"),
		a.vmStop("stop", "Ask the guest to shut down; after --timeout its power is taken away", "orchd vm stop web1\norchd vm stop web1 --timeout 2m"),
		a.vmAction("force-stop", "Take the power away from a guest at once", "orchd vm force-stop web1"),
		a.vmStop("restart", "Stop a virtual machine as orchd vm stop does, and start it", "orchd vm restart web1\norchd vm restart web1 web2 --timeout 10s"),
		a.vmAction("pause", "Let a guest stand still, in memory", "orchd vm pause web1"),
		a.vmAction("resume", "Let a guest that stands still go on", "orchd vm resume web1"),
		a.vmResize(), a.vmRename(), a.vmProtect(), a.vmSet(), a.vmLabel(), a.vmDelete(), a.vmWait(),
		a.vmConsole(), a.vmConsoleLog(), a.vmScreenshot(), a.vmSSH(), a.vmKnownHosts(),
		a.vmSnapshot(), a.vmExport(), a.vmAdopt())
}

func (a *App) vms() listing[api.VM] {
	return listing[api.VM]{
		name: func(v api.VM) string { return v.Name },
		columns: []column[api.VM]{
			{head: "NAME", text: func(v api.VM) string { return v.Name }},
			{head: "STATE", text: func(v api.VM) string { return string(v.Status.State) }},
			{head: "OWNER", text: func(v api.VM) string { return v.Status.Owner }},
			{head: "VCPUS", text: func(v api.VM) string { return number(v.Spec.VCPUs) }},
			{head: "MEMORY", text: func(v api.VM) string { return mib(v.Spec.MemoryMiB) }, key: "memory_mib", raw: func(v api.VM) string { return number(v.Spec.MemoryMiB) }},
			{head: "DISK", text: func(v api.VM) string { return gib(v.Spec.DiskGiB) }, key: "disk_gib", raw: func(v api.VM) string { return number(v.Spec.DiskGiB) }},
			{head: "IMAGE", text: func(v api.VM) string { return v.Spec.Image }},
			{head: "ADDRESS", text: func(v api.VM) string { return strings.Join(addresses(v), " ") }, key: "addresses"},
			{head: "AGE", text: func(v api.VM) string { return a.age(v.CreatedAt) }, key: "created_at", raw: func(v api.VM) string { return moment(v.CreatedAt) }},
			{head: "ACCOUNT", wide: true, text: func(v api.VM) string { return v.Account }},
			{head: "DESIRED", wide: true, text: func(v api.VM) string { return string(v.Status.Desired) }},
			{head: "EPOCH", wide: true, text: func(v api.VM) string { return number(v.Status.Epoch) }},
			{head: "LABELS", wide: true, text: func(v api.VM) string { return pairs(v.Labels) }},
			{head: "ID", wide: true, text: func(v api.VM) string { return v.ID }},
			{head: "SIZE", wide: true, text: func(v api.VM) string { return v.Spec.Size }},
			{head: "NETWORK", wide: true, text: func(v api.VM) string { return v.Spec.Network }},
			{head: "RESTART", wide: true, text: func(v api.VM) string { return string(v.Spec.Restart) }},
			{head: "PROTECTED", wide: true, text: func(v api.VM) string { return yesNo(v.Protected) }},
			{head: "FLAGS", wide: true, text: func(v api.VM) string { return strings.Join(v.Status.Flags, " ") }},
			{head: "HOST-KEYS", wide: true, text: func(v api.VM) string { return fingerprints(v.Status.SSHHostKeys) }},
			{head: "REASON", wide: true, text: func(v api.VM) string { return v.Status.Reason }},
		},
	}
}

func (a *App) vmList() *cobra.Command {
	filters := map[string]*string{}
	var labels map[string]string
	var follow *bool
	cmd := a.verb(verb{
		use:   "list",
		short: "List the virtual machines",
		example: `
orchd vm list
orchd vm list --peer h1 --state running -o wide
orchd vm list -l tier=web --watch -o json`,
		run: func(ctx context.Context, _ []string) error {
			q := url.Values{}
			for name, value := range filters {
				if *value != "" {
					q.Set(name, *value)
				}
			}
			for k, v := range labels {
				q.Add("label", k+"="+v)
			}
			if *follow {
				return a.watch(ctx, a.watchedVMs(q, labels))
			}
			items, err := list[api.VM](ctx, a, "/v1/vms", q)
			if err != nil {
				return err
			}
			return a.vms().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	follow = watchFlag(cmd)
	filters["peer"] = cmd.Flags().String("peer", "", "only those that this peer owns")
	filters["state"] = cmd.Flags().String("state", "", "only those in this state")
	filters["account"] = cmd.Flags().String("account", "", "only those of this account")
	cmd.Flags().VarP((*labelFlag)(&labels), "label", "l", "only those with this label, KEY=VALUE; may be repeated")
	a.completeFlag(cmd, "peer", peerNames)
	a.completeFlag(cmd, "account", accountNames)
	a.completeFlag(cmd, "state", vmStates)
	return cmd
}

// watchedVMs is the list of the virtual machines that q asks for.
func (a *App) watchedVMs(q url.Values, labels map[string]string) watched {
	either := func(wanted string, values ...string) bool { return wanted == "" || slices.Contains(values, wanted) }
	keep := func(v api.VM) bool {
		for key, value := range labels {
			if v.Labels[key] != value {
				return false
			}
		}
		return either(q.Get("peer"), v.Status.Owner, v.Status.OwnerID) && either(q.Get("state"), string(v.Status.State)) && either(q.Get("account"), v.Account)
	}
	return watched{path: "/v1/vms", table: "vms", query: q, printer: typed[api.VM]{a.vms()}, sorted: true, again: below("/v1/vms", keep)}
}

func (a *App) vmShow() *cobra.Command {
	return a.verb(verb{
		use:     "show NAME",
		short:   "Show all that is known of a virtual machine",
		example: "orchd vm show web1\norchd vm show web1 -o yaml\norchd vm show ACCOUNT/web1",
		min:     1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			_, vm, err := a.findVM(ctx, args[0])
			if err != nil {
				return err
			}
			return a.vms().one(a, vm)
		},
	})
}

// findVM finds a VM by id, NAME or ACCOUNT/NAME.
func (a *App) findVM(ctx context.Context, ref string) (client, api.VM, error) {
	c, err := a.client()
	if err != nil {
		return c, api.VM{}, err
	}
	var vm api.VM
	path, q := vmPath(ref)
	err = c.get(ctx, path, q, &vm)
	return c, vm, err
}
