package cli

import (
	"cmp"
	"context"
	"log/slog"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
)

func (a *App) vmAdopt() *cobra.Command {
	var want api.VMAdopt
	cmd := a.verb(verb{
		use:   "adopt DOMAIN",
		short: "Make a virtual machine of a libvirt domain that is there, without a restart (admins only)",
		long: "Make a virtual machine of a libvirt domain that is there, without a restart (admins only). What orchd cannot\n" +
			"manage of it is shown as flags. orchd domain list shows what can be adopted.",
		example: `
orchd vm adopt mail --peer h2
orchd vm adopt 5ad1a9fc-8d3e-4c57-9a0e-3f1b5d0e6f7a --peer h2 --name mail1 --account co-op
orchd vm adopt web1-0b9f2d1e --peer h2 --recover      # its record out of its own mark`,
		min: 1, max: 1, noun: domainNames,
		run: func(ctx context.Context, args []string) error {
			want.Domain = args[0]
			c, err := a.client()
			if err != nil {
				return err
			}
			vm, err := c.adopt(ctx, want)
			if err != nil {
				return err
			}
			a.sayFlags(vm)
			return a.vms().result(a, vm)
		},
	})
	f := cmd.Flags()
	f.StringVar(&want.Peer, "peer", "", "the peer that has it")
	f.StringVar(&want.Name, "name", "", "what to call it (default: the domain's name, made to fit)")
	f.StringVar(&want.Account, "account", "", "account that it belongs to (default: "+api.DefaultAccount+")")
	f.Var((*labelFlag)(&want.Labels), "label", "your own words on it, KEY=VALUE; may be repeated")
	f.BoolVar(&want.Recover, "recover", false, "after a total loss of the state: take all that was known of it from its mark")
	cmd.MarkFlagRequired("peer")
	cmd.MarkFlagsMutuallyExclusive("recover", "name")
	cmd.MarkFlagsMutuallyExclusive("recover", "account")
	cmd.MarkFlagsMutuallyExclusive("recover", "label")
	a.completeFlag(cmd, "peer", peerNames)
	a.completeFlag(cmd, "account", accountNames)
	return cmd
}

// adopt makes a VM of a domain.
func (c client) adopt(ctx context.Context, want api.VMAdopt) (api.VM, error) {
	var vm api.VM
	err := c.do(ctx, call{method: "POST", path: "/v1/vms/adopt", in: want, out: &vm})
	return vm, err
}

// sayFlags says what cannot be managed of a VM that was a domain.
func (a *App) sayFlags(vm api.VM) {
	for _, flag := range vm.Status.Flags {
		a.say("%s: %s", vm.Name, cmp.Or(flagMeaning[flag], flag))
	}
}

// flagMeaning is what a flag of an adopted domain means for who runs it.
var flagMeaning = map[string]string{
	"disk-not-in-pool": "its disk is not in orchd's own folder: it cannot be resized, snapshotted or exported, and stays when the virtual machine is deleted",
	"no-cloud-init":    "it was made without cloud-init: keys and user-data do not reach it",
	"address-unknown":  "its addresses are not known: orchd has not allotted them, so it cannot keep others off them",
}

// adoptAll makes virtual machines of all running domains of this host that carry no
// cluster's mark, once the peer can serve. One that fails is logged and left as it is.
func (a *App) adoptAll(ctx context.Context, l config.Loaded, log *slog.Logger) {
	if err := a.untilReady(ctx, l.DataDir); err != nil {
		return
	}
	c, err := a.connect(a.socketIn(l.DataDir, "the peer on this host"))
	if err != nil {
		log.Error("no domain adopted", "err", err)
		return
	}
	defer c.api.Close()
	var there api.Page[api.ForeignDomain]
	if err := c.get(ctx, "/v1/domains", url.Values{"peer": {l.Name}, "limit": {"1000"}}, &there); err != nil {
		log.Error("no domain adopted: they could not be listed; see orchd domain list", "err", err)
		return
	}
	for _, d := range there.Items {
		if d.State != api.VMRunning || d.Cluster != "" || d.Record != nil {
			log.Info("domain left alone", "domain", d.Name, "state", d.State, "mark", mark(d))
			continue
		}
		vm, err := c.adopt(ctx, api.VMAdopt{Peer: d.Peer, Domain: d.UUID})
		if err != nil {
			log.Warn("domain not adopted; try again with orchd vm adopt", "domain", d.Name, "err", message(err))
			continue
		}
		log.Info("domain adopted", "domain", d.Name, "vm", vm.Name, "flags", vm.Status.Flags)
	}
}
