package cli

import (
	"context"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) peer() *cobra.Command {
	return a.group("peer", "The hosts of the cluster", `
orchd peer list
orchd peer cordon h2            # nothing new is placed there
orchd peer remove h2            # takes it out of the cluster for good`,
		a.peerList(), a.peerShow(),
		a.peerSchedule("cordon", "Place nothing new on a peer; what runs there goes on"),
		a.peerSchedule("uncordon", "Place virtual machines on a peer again"),
		a.peerRemove(), a.peerLost())
}

func (a *App) peers() listing[api.PeerView] {
	type P = api.PeerView
	return listing[P]{
		name: func(p P) string { return p.Name },
		columns: []column[P]{
			{head: "NAME", text: func(p P) string { return p.Name }},
			{head: "HEALTH", text: func(p P) string { return p.Health }},
			{head: "ROLE", text: peerRole},
			{head: "SCHEDULABLE", text: func(p P) string { return yesNo(p.Schedulable) }},
			{head: "VMS", text: func(p P) string { return number(p.VMs) }},
			{head: "VCPUS", text: func(p P) string { return used(p.Reserved.VCPUs, p.Room().VCPUs, number[int64]) }},
			{head: "MEMORY", text: func(p P) string { return used(p.Reserved.MemoryMiB, p.Room().MemoryMiB, mib) }},
			{head: "DISK", text: func(p P) string { return used(p.Reserved.DiskGiB, p.Room().DiskGiB, gib) }},
			{head: "ADDRESS", text: func(p P) string { return p.Addresses.API }},
			{head: "DRIVER", wide: true, text: func(p P) string { return p.Driver }},
			{head: "SOFTWARE", wide: true, text: func(p P) string { return p.Software }},
			{head: "LABELS", wide: true, text: func(p P) string { return pairs(p.Labels) }},
			{head: "HEARD", wide: true, text: func(p P) string { return a.age(p.HeardAt) }, key: "heard_at", raw: func(p P) string { return moment(p.HeardAt) }},
			{head: "INDEX", wide: true, text: func(p P) string { return number(p.AppliedIndex) }},
			{head: "ID", wide: true, text: func(p P) string { return p.ID }},
			{head: "PROBLEM", wide: true, text: func(p P) string { return p.Problem }},
		},
	}
}

func peerRole(p api.PeerView) string {
	switch {
	case p.Leader:
		return "leader"
	case p.Voter:
		return "voter"
	default:
		return "non-voter"
	}
}

func (a *App) peerList() *cobra.Command {
	var follow *bool
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the peers, what each has, and what of it is promised",
		example: "orchd peer list\norchd peer list --watch\norchd peer list --local      # also without quorum",
		run: func(ctx context.Context, _ []string) error {
			if *follow {
				return a.watchPeers(ctx)
			}
			items, err := list[api.PeerView](ctx, a, "/v1/peers", nil)
			if err != nil {
				return err
			}
			return a.peers().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	follow = watchFlag(cmd)
	return cmd
}

func peerPath(ref string) string { return "/v1/peers/" + url.PathEscape(ref) }

func (a *App) peerShow() *cobra.Command {
	return a.verb(verb{
		use:     "show NAME",
		short:   "Show all that is known of a peer",
		example: "orchd peer show h1\norchd peer show h1 -o json",
		min:     1, max: 1, noun: peerNames,
		run: func(ctx context.Context, args []string) error {
			p, err := show[api.PeerView](ctx, a, peerPath(args[0]))
			if err != nil {
				return err
			}
			return a.peers().one(a, p)
		},
	})
}

func (a *App) peerSchedule(action, short string) *cobra.Command {
	return a.verb(verb{
		use: action + " NAME", short: short, example: "orchd peer " + action + " h2", min: 1, max: 1, noun: peerNames,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var p api.PeerView
			if err := c.do(ctx, call{method: "POST", path: peerPath(args[0]) + "/" + action, out: &p}); err != nil {
				return err
			}
			return a.peers().result(a, p)
		},
	})
}

func (a *App) peerRemove() *cobra.Command {
	cmd := a.verb(verb{
		use:     "remove NAME",
		short:   "Take a peer out of the cluster for good; it must own no virtual machine",
		example: "orchd peer remove h2",
		min:     1, max: 1, noun: peerNames,
		run: func(ctx context.Context, args []string) error {
			return a.removePeer(ctx, args[0])
		},
	})
	cmd.Aliases = []string{"rm"}
	return cmd
}

func (a *App) removePeer(ctx context.Context, ref string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var p api.PeerView
	if err := c.get(ctx, peerPath(ref), nil, &p); err != nil {
		return err
	}
	a.say("removing %s (%s): this id is never admitted again", p.Name, p.ID)
	return c.do(ctx, call{method: "DELETE", path: peerPath(p.ID)})
}
