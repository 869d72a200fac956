package server

import (
	"context"

	"github.com/orchd/orchd/api"
)

// listLeases lists the addresses that virtual machines hold.
func (s *Server) listLeases(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Lease]], error) {
	return listing(ctx, s, *in, View.Leases, api.Lease.Key, all[api.Lease])
}
