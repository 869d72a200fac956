package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// leave always asks the peer on this host, whatever address the environment or
// a profile names: it must not take another host out.
func (a *App) leave() *cobra.Command {
	return a.verb(verb{
		use:   "leave",
		short: "Take this host out of its cluster for good; it must own no virtual machine",
		example: `
orchd leave
orchd leave --data-dir /srv/orchd`,
		run: func(ctx context.Context, _ []string) error {
			c, err := a.connect(a.socketIn(a.dataDir(), "the peer on this host"))
			if err != nil {
				return err
			}
			var s api.Status
			if err := c.get(ctx, "/v1/status", nil, &s); err != nil {
				return err
			}
			if err := c.do(ctx, call{method: "DELETE", path: peerPath(s.Peer)}); err != nil {
				return err
			}
			a.say("%s has left cluster %s; its id is never admitted again, and its data folder may be deleted", s.Peer, s.ClusterID)
			return nil
		},
	})
}
