package server

import (
	"context"
	"net/http"

	"github.com/orchd/orchd/api"
)

type transferLeaderInput struct {
	Body *api.LeaderTransfer
}

// transferLeader has another voter lead. The peer is looked for in this peer's own
// tables, so that the leader need not be able to confirm a read: it may be wanted out of
// the way for that very reason.
func (s *Server) transferLeader(ctx context.Context, in *transferLeaderInput) (*Reply[api.Leadership], error) {
	to := ""
	if in.Body != nil && in.Body.Peer != "" {
		v, err := s.backend.View(ctx, api.Local)
		if err != nil {
			return nil, err
		}
		peer, err := findPeer(v, in.Body.Peer)
		if err != nil {
			return nil, err
		}
		to = peer.ID
	}
	now, err := s.backend.TransferLeadership(ctx, to)
	if err != nil {
		return nil, err
	}
	return &Reply[api.Leadership]{Status: http.StatusOK, Body: now}, nil
}
