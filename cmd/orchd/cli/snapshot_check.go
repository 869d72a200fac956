package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) snapshotVerify() *cobra.Command {
	return a.verb(verb{
		use:   "verify ID",
		short: "Read a snapshot of the asked peer whole and compare it with its own sums",
		long: "Read a snapshot of the asked peer whole into a scratch machine, and compare rows, sums and the state hash\n" +
			"with what its manifest says. Each peer has files of its own: ask another with --addr.",
		example: "orchd snapshot verify 12345\norchd snapshot verify 12345 --addr h2:7700",
		min:     1, max: 1, noun: snapshotIDs,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			check, err := heard(ctx, c, func(o api.CallOption) (api.SnapshotCheck, error) {
				return c.api.VerifySnapshot(ctx, args[0], o)
			})
			if err != nil {
				return err
			}
			if err := a.checks().one(a, check); err != nil {
				return err
			}
			return verdict(check)
		},
	})
}

func (a *App) checks() listing[api.SnapshotCheck] {
	type C = api.SnapshotCheck
	return listing[C]{
		name: func(c C) string { return c.ID },
		columns: []column[C]{
			{head: "ID", text: func(c C) string { return c.ID }},
			{head: "OK", text: func(c C) string { return yesNo(c.OK) }},
			{head: "ROWS", text: func(c C) string { return number(sum(c.Rows)) }},
			{head: "STATE-HASH", text: func(c C) string { return c.StateHash }},
			{head: "PROBLEMS", text: func(c C) string { return number(len(c.Problems)) }, raw: func(c C) string { return strings.Join(c.Problems, "; ") }},
		},
	}
}

// verdict is nil for a snapshot with which nothing is wrong.
func verdict(check api.SnapshotCheck) error {
	if check.OK {
		return nil
	}
	return &failure{exitFailed, fmt.Sprintf("snapshot %s is damaged: %s", check.ID, strings.Join(check.Problems, "; ")),
		"the peer mends what it can within a day; the other peers have files of their own: ask one with --addr"}
}
