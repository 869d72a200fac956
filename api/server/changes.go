package server

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

func (s *Server) listChanges(ctx context.Context, in *ListInput) (*Reply[api.Page[api.ChangeRange]], error) {
	all, err := s.backend.ChangeRanges(ctx)
	if err != nil {
		return nil, err
	}
	var after uint64
	if in.after != "" {
		if after, err = strconv.ParseUint(in.after, 10, 64); err != nil {
			return nil, &api.Error{Kind: api.Malformed, Op: "changes.list", Msg: "the cursor is not one of this list"}
		}
	}
	page := pageOf(in.Paging, slices.Values(all), func(c api.ChangeRange) string { return strconv.FormatUint(c.To, 10) },
		func(c api.ChangeRange) bool { return c.To > after }) // oldest first
	return &Reply[api.Page[api.ChangeRange]]{Status: http.StatusOK, Body: page}, nil
}

func describeChangesFile(_ huma.API, op *huma.Operation) {
	op.Parameters = []*huma.Param{pathParameter("file", "FROM-TO.parquet: one of /v1/changes, or any stretch of log indexes that is kept")}
	describeFile(op, typeParquet)
}

// changesName is what a file of changes is called.
var changesName = regexp.MustCompile(`^[0-9]{1,20}-[0-9]{1,20}\.parquet$`)

// changesFile answers with the changes of a stretch of the log.
func (s *Server) changesFile(w http.ResponseWriter, r *http.Request) error {
	file := r.PathValue("file")
	if !changesName.MatchString(file) {
		return &api.Error{Kind: api.NotFound, Op: "changes.download",
			Msg: "there is no such file; GET /v1/changes lists those that there are, and FROM-TO.parquet may be any two log indexes between which all is kept"}
	}
	leave, err := s.downloads.enter(actorOf(r.Context()).ID)
	if err != nil {
		return err
	}
	defer leave()
	doc, err := s.backend.ChangesFile(r.Context(), file)
	return s.sendFile(w, r, doc, typeParquet, err)
}
