package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) raft() *cobra.Command {
	return a.group("raft", "Who leads and who votes; hand leadership over", `
orchd raft peers
orchd raft transfer-leader
orchd raft transfer-leader h2`,
		a.raftPeers(), a.raftTransfer())
}

func (a *App) raftPeers() *cobra.Command {
	return a.verb(verb{
		use:     "peers",
		short:   "List who leads, who votes, and how far each has come in the log",
		example: "orchd raft peers\norchd raft peers --local      # also without quorum",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.PeerView](ctx, a, "/v1/peers", nil)
			if err != nil {
				return err
			}
			l := a.peers()
			l.columns = slices.DeleteFunc(l.columns, func(c column[api.PeerView]) bool {
				return !slices.Contains([]string{"NAME", "ROLE", "HEALTH", "INDEX", "HEARD", "ID"}, c.head)
			})
			for i := range l.columns {
				l.columns[i].wide = l.columns[i].head == "ID"
			}
			return l.all(a, items)
		},
	})
}

func (a *App) raftTransfer() *cobra.Command {
	return a.verb(verb{
		use:   "transfer-leader [PEER]",
		short: "Have another voter lead: the one furthest ahead, or PEER (admins only)",
		long: `Have another voter lead the cluster: PEER or, without one, the voter that is furthest
ahead. It takes well under a second; writes wait that long, and none is lost. Any peer
may be asked. Use it before work on the leader's host; a peer that is stopped in good
order hands over by itself. A peer that does not vote, does not answer or leads already
is refused, and leadership stays where it is.`,
		example: "orchd raft transfer-leader\norchd raft transfer-leader h2",
		max:     1, noun: voterNames,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var in api.LeaderTransfer
			if len(args) > 0 {
				in.Peer = args[0]
			}
			var now api.Leadership
			if err := c.do(ctx, call{method: "POST", path: "/v1/raft/transfer-leader", in: in, out: &now}); err != nil {
				return err
			}
			l := listing[api.Leadership]{
				name: func(l api.Leadership) string { return l.Leader },
				columns: []column[api.Leadership]{
					{head: "LEADER", text: func(l api.Leadership) string { return l.Leader }},
					{head: "WAS", text: func(l api.Leadership) string { return l.Was }},
					{head: "TERM", text: func(l api.Leadership) string { return number(l.Term) }},
				},
			}
			return l.result(a, now)
		},
	})
}

// voterNames are the peers that could lead.
func voterNames(ctx context.Context, a *App) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	items, err := list[api.PeerView](ctx, a, "/v1/peers", nil)
	var names []string
	for _, p := range items {
		if p.Voter && !p.Leader {
			names = append(names, p.Name)
		}
	}
	return names, err
}
