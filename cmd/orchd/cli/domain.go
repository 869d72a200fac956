package cli

import (
	"context"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) domain() *cobra.Command {
	return a.group("domain", "Domains on the peers' hypervisors that are none of this cluster's virtual machines", `
orchd domain list
orchd vm adopt mail --peer h2          # makes one a virtual machine, without a restart`,
		a.domainList())
}

func (a *App) domains() listing[api.ForeignDomain] {
	type D = api.ForeignDomain
	return listing[D]{
		name:  func(d D) string { return d.Name },
		order: func(x, y D) int { return strings.Compare(x.Peer+"/"+x.Name, y.Peer+"/"+y.Name) },
		columns: []column[D]{
			{head: "PEER", text: func(d D) string { return d.Peer }},
			{head: "NAME", text: func(d D) string { return d.Name }},
			{head: "STATE", text: func(d D) string { return string(d.State) }},
			{head: "VCPUS", text: func(d D) string { return number(d.VCPUs) }},
			{head: "MEMORY", text: func(d D) string { return mib(d.MemoryMiB) }, key: "memory_mib", raw: func(d D) string { return number(d.MemoryMiB) }},
			{head: "DISK", text: func(d D) string { return gib(d.DiskGiB) }, key: "disk_gib", raw: func(d D) string { return number(d.DiskGiB) }},
			{head: "MARK", text: mark},
			{head: "FLAGS", text: func(d D) string { return strings.Join(d.Flags, " ") }},
			{head: "UUID", wide: true, text: func(d D) string { return d.UUID }},
			{head: "MACS", wide: true, text: func(d D) string { return strings.Join(d.MACs, " ") }},
			{head: "DISKS", wide: true, text: func(d D) string { return strings.Join(d.Disks, " ") }},
		},
	}
}

// mark is what orchd has written on the domain, if it did.
func mark(d api.ForeignDomain) string {
	switch {
	case d.Record != nil:
		return "lost record of " + d.Record.Account + "/" + d.Record.Name
	case d.Cluster != "":
		return "of cluster " + d.Cluster
	}
	return ""
}

func domainNames(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/domains", func(d api.ForeignDomain) string { return d.Name })
}

func (a *App) domainList() *cobra.Command {
	var peer string
	cmd := a.verb(verb{
		use:   "list",
		short: "List the domains that are none of this cluster's virtual machines (admins only)",
		long: "List the domains that are none of this cluster's virtual machines (admins only). orchd never touches them;\n" +
			"orchd vm adopt makes one a virtual machine.",
		example: "orchd domain list\norchd domain list --peer h2 -o wide",
		run: func(ctx context.Context, _ []string) error {
			items, err := a.foreignDomains(ctx, peer)
			if err != nil {
				return err
			}
			return a.domains().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	cmd.Flags().StringVar(&peer, "peer", "", "only those of this peer")
	a.completeFlag(cmd, "peer", peerNames)
	return cmd
}

// foreignDomains asks a peer, or all of them, what else they run.
func (a *App) foreignDomains(ctx context.Context, peer string) ([]api.ForeignDomain, error) {
	q := url.Values{}
	if peer != "" {
		q.Set("peer", peer)
	}
	return list[api.ForeignDomain](ctx, a, "/v1/domains", q)
}
