package server

import (
	"context"
	"regexp"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

type listUsageInput struct {
	ListInput
	Account string `query:"account" maxLength:"63" doc:"Only that of this account"`
	Month   string `query:"month" maxLength:"7" doc:"Only that of this month, as 2026-11"`
}

var monthForm = regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])$`)

// Resolve reads the month and the cursor.
func (in *listUsageInput) Resolve(ctx huma.Context) []error {
	if in.Month != "" && !monthForm.MatchString(in.Month) {
		return []error{&huma.ErrorDetail{Location: "query.month", Message: "expected YEAR-MONTH, as 2026-11"}}
	}
	return in.Paging.Resolve(ctx)
}

// listUsage tells what accounts have had, each month; who is bound to one sees its own.
func (s *Server) listUsage(ctx context.Context, in *listUsageInput) (*Reply[api.Page[api.Usage]], error) {
	return listing(ctx, s, in.ListInput, View.Usages, func(u api.Usage) string { return u.Account + "/" + u.Month }, func(u api.Usage) bool {
		return (in.Account == "" || in.Account == u.Account) && (in.Month == "" || in.Month == u.Month) && maySee(ctx, "usage", u.Account)
	})
}
