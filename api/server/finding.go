package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/orchd/orchd/api"
)

type listFindingsInput struct {
	Paging
}

// listFindings tells in what hosts and records disagree. Its cursor is a count: who
// turns the page may miss what has come or gone meanwhile.
func (s *Server) listFindings(ctx context.Context, in *listFindingsInput) (*Reply[api.Page[api.Finding]], error) {
	found, err := s.backend.Findings(ctx)
	if err != nil {
		return nil, err
	}
	from := 0
	if in.after != "" {
		if from, err = strconv.Atoi(in.after); err != nil || from < 0 {
			return nil, &api.Error{Kind: api.Malformed, Op: "finding.list", Msg: "the cursor is not one of this list"}
		}
	}
	n := min(from, len(found))
	count := func(api.Finding) string { return strconv.Itoa(min(from+in.Limit, len(found))) }
	page := pageOf(in.Paging, slices.Values(found[n:]), count, all[api.Finding])
	return &Reply[api.Page[api.Finding]]{Status: http.StatusOK, Body: page}, nil
}
