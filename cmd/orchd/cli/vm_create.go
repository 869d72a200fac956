package cli

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// newVM is what the flags of create ask for.
type newVM struct {
	want         api.VMCreate
	memory, disk sizeFlag
	keys         []string // NAME or @FILE
	cloudInit    string   // @FILE
	wait         waiting
}

func (a *App) vmCreate() *cobra.Command {
	n := newVM{want: api.VMCreate{Spec: api.VMSpec{VCPUs: 1}}, memory: sizeFlag{bytes: 512 << 20, unit: 1 << 20}, disk: sizeFlag{unit: 1 << 30}}
	cmd := a.verb(verb{
		use:   "create NAME",
		short: "Create a virtual machine; one host that has room owns it",
		example: `
orchd vm create web1 --size f1-s --image debian-12 --network lan --ssh-key @~/.ssh/id_ed25519.pub
orchd vm create web2 --cpu 2 --memory 4GiB --group web --spread peer --label tier=web
orchd vm create test1 --memory 64MiB --no-wait`,
		min: 1, max: 1,
		run: func(ctx context.Context, args []string) error { return a.createVM(ctx, args[0], n) },
	})
	a.sizeFlags(cmd, &n)
	a.accessFlags(cmd, &n)
	a.placementFlags(cmd, &n.want.Spec.Placement)
	f := cmd.Flags()
	f.Var((*labelFlag)(&n.want.Labels), "label", "your own words on it, KEY=VALUE; may be repeated")
	f.StringVar(&n.want.Account, "account", "", "account it belongs to (default: the token's)")
	f.BoolVar(&n.want.Protected, "protect", false, "it cannot be deleted until orchd vm protect --off")
	a.choice(cmd, (*string)(&n.want.Spec.Restart), "restart", restartPolicies, "when its guest ends by itself: "+alternatives(restartPolicies)+" (default on-failure)")
	n.wait.register(cmd)
	a.completeFlag(cmd, "account", accountNames)
	return cmd
}

// sizeFlags say how large it is and what it boots.
func (a *App) sizeFlags(cmd *cobra.Command, n *newVM) {
	f := cmd.Flags()
	f.StringVar(&n.want.Spec.Size, "size", "", "a size, instead of --cpu, --memory and --disk")
	f.Int64Var(&n.want.Spec.VCPUs, "cpu", 1, "virtual CPUs")
	f.Var(&n.memory, "memory", "memory, as 512MiB or 4GiB")
	f.Var(&n.disk, "disk", "disk, as 20GiB; 0 for none or the image's own size; beside --size: a larger one")
	f.StringVar(&n.want.Spec.Image, "image", "", "image to boot; without one the disk is empty")
	f.StringVar(&n.want.Spec.Network, "network", "", "network that it is on; without one it is on none")
	cmd.MarkFlagsMutuallyExclusive("size", "cpu")
	cmd.MarkFlagsMutuallyExclusive("size", "memory")
	a.completeFlag(cmd, "size", sizeNames)
	a.completeFlag(cmd, "image", imageNames)
	a.completeFlag(cmd, "network", networkNames)
}

// accessFlags say who may log in, and what the guest does first.
func (a *App) accessFlags(cmd *cobra.Command, n *newVM) {
	cmd.Flags().StringArrayVar(&n.keys, "ssh-key", nil, "who may log in: an SSH key's NAME, or @FILE to upload it first; may be repeated")
	cmd.Flags().StringVar(&n.cloudInit, "cloud-init", "", "cloud-init user-data for its first start: @FILE, or - for stdin")
	a.completeFlag(cmd, "ssh-key", sshKeyNames)
}

// placementFlags say where it may and should be.
func (a *App) placementFlags(cmd *cobra.Command, p *api.Placement) {
	f := cmd.Flags()
	f.StringVar(&p.Peer, "peer", "", "only on this peer")
	f.Var((*labelFlag)(&p.Labels), "require-label", "only on peers with this label, KEY=VALUE; may be repeated")
	f.StringVar(&p.Group, "group", "", "the group of virtual machines that it belongs to")
	f.Var(&spreadFlag{p}, "spread", "keep its group apart by peer, chassis, cabinet or label:KEY, as far as there is room")
	f.StringVar(&p.With, "with", "", "only on a peer that has one of this group")
	f.StringVar(&p.ApartFrom, "apart-from", "", "never on a peer that has one of this group")
	a.completeFlag(cmd, "peer", peerNames)
	a.completeFlag(cmd, "spread", words([]string{api.SpreadPeer, api.SpreadChassis, api.SpreadCabinet, api.SpreadLabel + ":"}))
}

// restartPolicies are what --restart takes.
var restartPolicies = []string{string(api.RestartAlways), string(api.RestartOnFailure), string(api.RestartNever)}

// spreadFlag is --spread: peer, chassis, cabinet or label:KEY.
type spreadFlag struct{ p *api.Placement }

func (f *spreadFlag) Type() string { return "string" }

func (f *spreadFlag) String() string {
	if f.p == nil || f.p.SpreadLabel == "" {
		return ""
	}
	return f.p.Spread + ":" + f.p.SpreadLabel
}

func (f *spreadFlag) Set(text string) error {
	by, label, _ := strings.Cut(text, ":")
	switch {
	case by == api.SpreadLabel && label == "":
		return fmt.Errorf("want label:KEY, such as label:rack")
	case by == api.SpreadLabel:
	case label != "" || by != api.SpreadPeer && by != api.SpreadChassis && by != api.SpreadCabinet:
		return fmt.Errorf("want peer, chassis, cabinet or label:KEY")
	}
	f.p.Spread, f.p.SpreadLabel = by, label
	return nil
}

// maxUserData is how large cloud-init data may be.
const maxUserData = 256 << 10

// request is the create that the flags ask for, but for keys that are in files.
func (n newVM) request(a *App, name string) (api.VMCreate, error) {
	want := n.want
	want.Name, want.Spec.MemoryMiB, want.Spec.DiskGiB = name, n.memory.units(), n.disk.units()
	if want.Spec.Size != "" {
		want.Spec.VCPUs, want.Spec.MemoryMiB = 0, 0 // those of the size
	}
	if n.cloudInit == "" {
		return want, nil
	}
	path, text, err := a.fileOf(n.cloudInit)
	switch {
	case err != nil:
		return want, fmt.Errorf("--cloud-init: %w", err)
	case !utf8.Valid(text):
		return want, usagef("--cloud-init: %s is no text; what is packed cannot be taken", path)
	}
	want.Spec.UserData = string(text)
	return want, tooLong("--cloud-init: "+path, text, maxUserData)
}

func (a *App) createVM(ctx context.Context, name string, n newVM) error {
	want, err := n.request(a, name)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if want.Spec.SSHKeys, err = a.keysNamed(ctx, c, want.Account, n.keys); err != nil {
		return err
	}
	var vm api.VM
	if err := c.do(ctx, call{method: "POST", path: "/v1/vms", in: want, out: &vm}); err != nil {
		return err
	}
	a.say("%s is recorded and owned by %s", vm.Name, vm.Status.Owner)
	if !n.wait.no {
		if err := a.finish(ctx, c, vm.Status.Operation, n.wait.timeout); err != nil {
			return err
		}
		if err := c.get(ctx, "/v1/vms/"+vm.ID, nil, &vm); err != nil {
			return err
		}
	}
	if len(vm.Status.Addresses) > 0 && len(want.Spec.SSHKeys) > 0 {
		a.say("log in with: orchd vm ssh %s --user USER", vm.Name)
	}
	return a.vms().result(a, vm)
}
