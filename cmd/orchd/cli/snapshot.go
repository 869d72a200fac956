package cli

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
)

func (a *App) snapshot() *cobra.Command {
	return a.group("snapshot", "The whole state of a moment, as parquet files on every peer", `
orchd snapshot take
orchd snapshot download now --table vms         # for any program that reads parquet
orchd snapshot restore 12345 --dry-run          # what a rollback would change`,
		a.snapshotTake(), a.snapshotList(), a.snapshotShow(), a.snapshotDownload(), a.snapshotVerify(), a.snapshotRestore(), a.snapshotDelete())
}

func (a *App) snapshots() listing[api.Snapshot] {
	type S = api.Snapshot
	columns := []column[S]{
		{head: "ID", text: func(s S) string { return s.ID }},
		{head: "AGE", text: func(s S) string { return a.age(s.CreatedAt) }, key: "created_at", raw: func(s S) string { return moment(s.CreatedAt) }},
		{head: "ROWS", text: func(s S) string { return number(sum(s.Rows)) }},
		{head: "BYTES", text: func(s S) string { return about(s.Bytes) }, raw: func(s S) string { return number(s.Bytes) }},
		{head: "PATH", text: func(s S) string { return s.Path }},
		{head: "TERM", wide: true, text: func(s S) string { return number(s.Term) }},
		{head: "STATE-HASH", wide: true, text: func(s S) string { return s.StateHash }},
		{head: "TABLES", wide: true, text: func(s S) string { return pairs(tableRows(s.Rows)) }},
	}
	return listing[S]{name: func(s S) string { return s.ID }, order: func(x, y S) int { return cmp.Compare(x.Index, y.Index) }, columns: columns}
}

func sum(rows map[string]int64) int64 {
	var all int64
	for _, n := range rows {
		all += n
	}
	return all
}

// tableRows is how many rows each table has, as text.
func tableRows(rows map[string]int64) map[string]string {
	text := map[string]string{}
	for table, n := range rows {
		text[table] = number(n)
	}
	return text
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

// snapshotTime is how long a peer may take to write its files: longer than it does itself.
const snapshotTime = 3 * time.Minute

// heard makes a call of the API's client and explains its failure.
func heard[T any](ctx context.Context, c client, do func(api.CallOption) (T, error)) (T, error) {
	var answer api.Answer
	v, err := do(api.WithAnswer(&answer))
	return v, c.failed(ctx, answer, err)
}

// failed is err in the words of the command line; nil for none.
func (c client) failed(ctx context.Context, answer api.Answer, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return c.explained(answer, err)
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
			s, err := heard(ctx, c, func(o api.CallOption) (api.Snapshot, error) {
				return c.api.TakeSnapshot(ctx, o, api.WithPatience(snapshotTime))
			})
			if err != nil {
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
		example: "orchd snapshot show 12345\norchd snapshot show now -o json",
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
