package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) snapshotDelete() *cobra.Command {
	var yes bool
	cmd := a.verb(verb{
		use:   "delete ID...",
		short: "Delete the asked peer's files of snapshots; never its newest whole one",
		long: "Delete the asked peer's files of snapshots; never its newest whole one. The other peers keep theirs.\n" +
			"Old snapshots go by themselves, as the settings below snapshot say.",
		example: "orchd snapshot delete 12345\norchd snapshot delete 12345 12346 --yes --addr h2:7700",
		min:     1, max: many, noun: snapshotIDs,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return each(ctx, args, func(id string) error { return a.deleteSnapshot(ctx, c, id, yes) })
		},
	})
	cmd.Aliases = []string{"rm"}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// deleteSnapshot names what it destroys and asks for it.
func (a *App) deleteSnapshot(ctx context.Context, c client, id string, yes bool) error {
	var from api.Answer
	s, err := c.api.Snapshot(ctx, id, api.WithAnswer(&from))
	if err != nil {
		return c.failed(ctx, from, err)
	}
	what := fmt.Sprintf("snapshot %s of %s on %s: %s", s.ID, moment(s.CreatedAt), from.Peer, about(s.Bytes))
	if !yes {
		if err := a.confirm("delete " + what + "?"); err != nil {
			return err
		}
	}
	a.say("deleting %s", what)
	err = c.api.DeleteSnapshot(ctx, s.ID, api.WithQuery("peer", from.Peer), api.WithAnswer(&from))
	return c.failed(ctx, from, err)
}

// confirm lets a person say yes to what cannot be undone. Where nobody is there to
// be asked, it is a failure that names the flag which says yes in advance.
func (a *App) confirm(question string) error {
	in, readable := a.Stdin.(io.Writer) // a terminal can be written to as well
	if !readable || !isTerminal(in) || !isTerminal(a.Stderr) {
		return &failure{exitUsage, question + " There is nobody to ask: this is no terminal", "say yes in advance with --yes"}
	}
	fmt.Fprint(a.Stderr, question+" [y/N] ")
	answer, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &failure{exitFailed, "not done: the answer was not yes", ""}
}
