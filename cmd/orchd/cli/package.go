package cli

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) pkg() *cobra.Command {
	return a.group("package", "What services and spells come in, and what became of it", `
orchd package list --state failed -o wide
orchd package new hello
orchd package check hello`,
		a.packageList(), a.packageCheck(), a.packageNew())
}

func (a *App) deployments() listing[api.Deployment] {
	type D = api.Deployment
	return listing[D]{
		name: func(d D) string { return d.Package },
		order: func(x, y D) int {
			return cmp.Or(strings.Compare(x.Package, y.Package), strings.Compare(x.Peer, y.Peer))
		},
		columns: []column[D]{
			{head: "PACKAGE", text: func(d D) string { return d.Package }},
			{head: "VERSION", text: func(d D) string { return d.Version }},
			{head: "PEER", text: func(d D) string { return d.Peer }},
			{head: "SCOPE", text: scopeOfDeployment},
			{head: "STATE", text: func(d D) string { return string(d.State) }},
			{head: "ENABLED", text: func(d D) string { return yesNo(d.Enabled) }},
			{head: "AGE", text: func(d D) string { return a.age(d.At) }, key: "at", raw: func(d D) string { return moment(d.At) }},
			{head: "DETAIL", text: func(d D) string { return oneLine(cmp.Or(d.Error, d.Note)) }, key: "error", raw: func(d D) string { return d.Error }},
			{head: "NOTE", wide: true, text: func(d D) string { return oneLine(d.Note) }, raw: func(d D) string { return d.Note }},
			{head: "ATTEMPTS", wide: true, text: func(d D) string { return number(d.Attempts) }},
			{head: "DIGEST", wide: true, text: func(d D) string { return d.Digest }},
		},
	}
}

// scopeOfDeployment is "peer" for what each peer has of its own.
func scopeOfDeployment(d api.Deployment) string {
	if d.Scope == d.Peer {
		return "peer"
	}
	return d.Scope
}

// oneLine is a text for a cell of a table: nothing in it moves the cursor.
func oneLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text))
}

var packageStates = []string{string(api.PackageCreated), string(api.PackageExisting), string(api.PackageUpdated), string(api.PackageRemoved), string(api.PackageFailed)}

func (a *App) packageList() *cobra.Command {
	var peer, state string
	cmd := a.verb(verb{
		use:     "list",
		short:   "List what became of packages, peer by peer",
		example: "orchd package list\norchd package list --state failed -o wide\norchd package list --peer h1 -o json",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Deployment](ctx, a, "/v1/packages", filters("peer", peer, "state", state))
			if err != nil {
				return err
			}
			a.nameParties(ctx, items)
			return a.deployments().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	cmd.Flags().StringVar(&peer, "peer", "", "only on this peer")
	a.choice(cmd, &state, "state", packageStates, "only in this state: "+alternatives(packageStates))
	a.completeFlag(cmd, "peer", peerNames)
	return cmd
}

// nameParties puts names in the place of ids of peers where a person reads them; where
// they cannot be learned, ids do.
func (a *App) nameParties(ctx context.Context, items []api.Deployment) {
	if len(items) == 0 || a.flags.output == "json" || a.flags.output == "yaml" {
		return
	}
	names := a.peersByID(ctx)
	for i := range items {
		d := &items[i]
		if name := names[d.Peer]; name != "" {
			if d.Scope == d.Peer {
				d.Scope = name
			}
			d.Peer = name
		}
	}
}

// peersByID are the names of the peers; none where they cannot be learned.
func (a *App) peersByID(ctx context.Context) map[string]string {
	names := map[string]string{}
	peers, err := list[api.PeerView](ctx, a, "/v1/peers", nil)
	if err == nil {
		for _, p := range peers {
			names[p.ID] = p.Name
		}
	}
	return names
}
