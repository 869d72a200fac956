package server

import (
	"context"
	"net/http"

	"github.com/orchd/orchd/api"
)

func (s *Server) listAccounts(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Account]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, v.Accounts(in.after), func(a api.Account) string { return a.Name },
		func(a api.Account) bool { return maySee(ctx, "account", a.Name) })
	return &Reply[api.Page[api.Account]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}
