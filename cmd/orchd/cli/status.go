package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) status() *cobra.Command {
	return a.verb(verb{
		use:   "status",
		short: "Is the cluster well, who is missing, and what to do about it",
		long:  "Is the cluster well, who is missing, and what to do about it. Exits 0 when all is well and 1 with warnings.",
		example: `
orchd status
orchd status --addr h2:7700              # as another peer sees it
orchd status -o json | jq .warnings`,
		run: func(ctx context.Context, _ []string) error {
			s, err := show[api.Status](ctx, a, "/v1/status")
			if err != nil {
				return err
			}
			if err := a.object(s, func(w io.Writer) error { return a.screen(w, s) }); err != nil {
				return err
			}
			if len(s.Warnings) > 0 {
				return &failure{code: exitFailed}
			}
			return nil
		},
	})
}

// screen writes the status for people, on one screen.
func (a *App) screen(w io.Writer, s api.Status) error {
	fmt.Fprintf(w, "cluster  %s, as %s sees it (orchd %s)\n", s.ClusterID, s.Peer, s.Software)
	fmt.Fprintf(w, "quorum   %s\n", quorum(s))
	fmt.Fprintf(w, "state    index %d of %d, %s, hash %s\n", s.AppliedIndex, s.CommitIndex, freshness(s), s.StateHash)
	fmt.Fprintf(w, "level    %s\n", levels(s))
	fmt.Fprintf(w, "vms      %s\n\n", vmCounts(s.VMs))
	if err := a.peers().table(a, s.Peers); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if len(s.Warnings) == 0 {
		fmt.Fprintln(w, "all is well")
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "! %s%s\n  do: %s\n", subject(warning), warning.Detail, warning.Action)
	}
	return nil
}

func quorum(s api.Status) string {
	if s.Leader == "" {
		return fmt.Sprintf("no leader in sight; %d of %d wanted voters", s.Voters, s.VotersWanted)
	}
	return fmt.Sprintf("leader %s in term %d; %d of %d wanted voters; %s", s.Leader, s.Term, s.Voters, s.VotersWanted, tolerance(s.Tolerates))
}

func tolerance(n int) string {
	switch n {
	case 0:
		return "none may fail"
	case 1:
		return "one may fail"
	default:
		return fmt.Sprintf("%d may fail", n)
	}
}

func freshness(s api.Status) string {
	if s.AgeMs < 1000 {
		return "current"
	}
	return (time.Duration(s.AgeMs) * time.Millisecond).Round(time.Second).String() + " old"
}

// levels says which behaviour level is in force, and what the next one waits for.
func levels(s api.Status) string {
	switch {
	case s.NextLevel == 0:
		return fmt.Sprintf("%d in force", s.Level)
	case len(s.NextLevelAwaits) == 0:
		return fmt.Sprintf("%d in force, %d in a moment", s.Level, s.NextLevel)
	}
	return fmt.Sprintf("%d in force, %d awaits %s", s.Level, s.NextLevel, strings.Join(s.NextLevelAwaits, ", "))
}

func vmCounts(in map[string]int) string {
	var all []string
	for _, state := range slices.Sorted(maps.Keys(in)) {
		if in[state] > 0 {
			all = append(all, fmt.Sprintf("%d %s", in[state], state))
		}
	}
	return cmp.Or(strings.Join(all, ", "), "none")
}

func subject(w api.Warning) string {
	if about := cmp.Or(w.Peer, w.VM); about != "" {
		return about + ": "
	}
	return ""
}
