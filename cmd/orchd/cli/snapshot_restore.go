package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) snapshotRestore() *cobra.Command {
	var dryRun, yes bool
	cmd := a.verb(verb{
		use:   "restore ID",
		short: "Roll the inventory and the catalogues back to a snapshot",
		long: "Roll the inventory and the catalogues back to a snapshot, all at once or not at all.\n" +
			"Guests, addresses, operations, tokens, accounts, peers and settings stay as they are. It shows what it would\n" +
			"change and asks; it is refused, and nothing is changed, when somebody changed one of the rows meanwhile, or\n" +
			"another that it would then change, too.",
		example: `
orchd snapshot restore 12345 --dry-run      # what would change, and nothing more
orchd snapshot restore 12345
orchd snapshot restore 12345 --yes -o json`,
		min: 1, max: 1, noun: snapshotIDs,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.restoreSnapshot(ctx, c, args[0], dryRun, yes)
		},
	})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what would change")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *App) restoreSnapshot(ctx context.Context, c client, id string, dryRun, yes bool) error {
	var shown string
	if dryRun || !yes {
		would, err := restore(ctx, c, id, api.RestoreCreate{DryRun: true})
		switch {
		case err != nil:
			return err
		case dryRun || len(would.Tables) == 0:
			return a.printRestore(would)
		}
		if err := a.confirmRestore(would); err != nil {
			return err
		}
		shown = would.Digest
	}
	done, err := restore(ctx, c, id, api.RestoreCreate{Digest: shown})
	if err != nil {
		return err
	}
	return a.printRestore(done)
}

func restore(ctx context.Context, c client, id string, want api.RestoreCreate) (api.Restore, error) {
	return heard(ctx, c, func(o api.CallOption) (api.Restore, error) { return c.api.RestoreSnapshot(ctx, id, want, o) })
}

// confirmRestore shows a person what would change, beside the data that others read.
func (a *App) confirmRestore(would api.Restore) error {
	aside := *a
	aside.Stdout, aside.flags.output = a.Stderr, "table"
	if err := aside.printChanges(would); err != nil {
		return err
	}
	return a.confirm("roll back to snapshot " + would.ID + "?")
}

// printRestore prints what a rollback has changed, or would.
func (a *App) printRestore(r api.Restore) error {
	switch {
	case len(r.Tables) == 0 && r.Applied != 0:
		a.say("rolled back to snapshot %s at log index %d; what that changed was told to the first request, whose answer did not come through", r.ID, r.Applied)
	case len(r.Tables) == 0:
		a.say("nothing differs from snapshot %s", r.ID)
	case r.DryRun:
		a.say("nothing is changed yet")
	default:
		a.say("rolled back to snapshot %s at log index %d", r.ID, r.Applied)
	}
	if format := a.flags.output; format == "json" || format == "yaml" {
		return printObject(a.Stdout, format, r)
	}
	return a.printChanges(r)
}

// printChanges prints the counts by table and, for people, which guests do not come back.
func (a *App) printChanges(r api.Restore) error {
	if len(r.Tables) > 0 {
		if err := tableDifferences().all(a, r.Tables); err != nil {
			return err
		}
	}
	if len(r.MissingVMs) == 0 {
		return nil
	}
	a.say("gone since then: %s. A rollback makes no guests; these commands make them again, empty:", counted(len(r.MissingVMs), "virtual machine"))
	if format := a.flags.output; format != "table" && format != "wide" {
		for _, vm := range r.MissingVMs {
			a.say("%s", vm.Command)
		}
		return nil
	}
	if len(r.Tables) > 0 {
		fmt.Fprintln(a.Stdout)
	}
	return missingVMs().all(a, r.MissingVMs)
}

func tableDifferences() listing[api.TableDifference] {
	type D = api.TableDifference
	return listing[D]{
		name: func(d D) string { return d.Table },
		columns: []column[D]{
			{head: "TABLE", text: func(d D) string { return d.Table }},
			{head: "CREATE", text: func(d D) string { return number(d.Create) }},
			{head: "UPDATE", text: func(d D) string { return number(d.Update) }},
			{head: "DELETE", text: func(d D) string { return number(d.Delete) }},
		},
	}
}

func missingVMs() listing[api.MissingVM] {
	type M = api.MissingVM
	return listing[M]{
		name: func(m M) string { return m.Account + "/" + m.Name },
		columns: []column[M]{
			{head: "ACCOUNT", text: func(m M) string { return m.Account }},
			{head: "NAME", text: func(m M) string { return m.Name }},
			{head: "COMMAND", text: func(m M) string { return m.Command }},
		},
	}
}
