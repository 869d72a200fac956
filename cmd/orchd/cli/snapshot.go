package cli

import (
	"cmp"
	"context"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
)

func (a *App) snapshot() *cobra.Command {
	return a.group("snapshot", "The whole state of a moment, as parquet files on every peer", `
orchd snapshot take
orchd snapshot list
orchd snapshot show 000000012345`,
		a.snapshotTake(), a.snapshotList(), a.snapshotShow())
}

func (a *App) snapshots() listing[api.Snapshot] {
	type S = api.Snapshot
	columns := []column[S]{
		{head: "ID", text: func(s S) string { return s.ID }},
		{head: "AGE", text: func(s S) string { return a.age(s.CreatedAt) }, key: "created_at", raw: func(s S) string { return moment(s.CreatedAt) }},
		{head: "ROWS", text: func(s S) string { return number(rows(s)) }},
		{head: "BYTES", text: func(s S) string { return about(s.Bytes) }, raw: func(s S) string { return number(s.Bytes) }},
		{head: "PATH", text: func(s S) string { return s.Path }},
		{head: "TERM", wide: true, text: func(s S) string { return number(s.Term) }},
		{head: "STATE-HASH", wide: true, text: func(s S) string { return s.StateHash }},
	}
	return listing[S]{name: func(s S) string { return s.ID }, order: func(x, y S) int { return cmp.Compare(x.Index, y.Index) }, columns: columns}
}

func rows(s api.Snapshot) int64 {
	var sum int64
	for _, n := range s.Rows {
		sum += n
	}
	return sum
}

// about is a number of bytes in the largest unit of which there is at least one, rounded up.
func about(n int64) string {
	for _, unit := range []config.Size{config.GiB, config.MiB, 1 << 10} {
		if config.Size(n) >= unit {
			return ((config.Size(n) + unit - 1) / unit * unit).String()
		}
	}
	return config.Size(n).String()
}

func (a *App) snapshotTake() *cobra.Command {
	return a.verb(verb{
		use:     "take",
		short:   "Write the state of now on every peer; comes back when the asked peer's files are in place",
		example: "orchd snapshot take\nduckdb -c \"select name, status.owner from '$(orchd snapshot take -o json | jq -r .path)/vms.parquet'\"",
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var s api.Snapshot
			if err := c.do(ctx, call{method: "POST", path: "/v1/snapshots", out: &s}); err != nil {
				return err
			}
			return a.snapshots().result(a, s)
		},
	})
}

func (a *App) snapshotList() *cobra.Command {
	return a.verb(verb{
		use:     "list",
		short:   "List the snapshots that the asked peer has",
		example: "orchd snapshot list\norchd snapshot list -o name",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Snapshot](ctx, a, "/v1/snapshots", nil)
			if err != nil {
				return err
			}
			return a.snapshots().all(a, items)
		},
	})
}

func (a *App) snapshotShow() *cobra.Command {
	return a.verb(verb{
		use:     "show ID",
		short:   "Show a snapshot",
		example: "orchd snapshot show 000000012345 -o json",
		min:     1, max: 1, noun: snapshotIDs,
		run: func(ctx context.Context, args []string) error {
			s, err := show[api.Snapshot](ctx, a, "/v1/snapshots/"+url.PathEscape(args[0]))
			if err != nil {
				return err
			}
			return a.snapshots().one(a, s)
		},
	})
}
