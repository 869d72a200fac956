package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/fsm"
)

// sqlFormats are what -o takes where an engine answers.
var sqlFormats = []string{"table", "csv", "json", "parquet"}

// sqlFlags are the flags of orchd sql.
type sqlFlags struct {
	at, snapshot string
	file         string // of statements; "-" for stdin
	engine       string // path
	keep         string // folder
	tables       []string
}

func (a *App) sql() *cobra.Command {
	var flags sqlFlags
	cmd := a.verb(verb{
		use:   "sql [SQL]",
		short: "Ask with SQL: the state of now or of any moment, and all that ever changed",
		long: `Ask with SQL: the state of now or of any moment, and all that ever changed.
Without SQL it is interactive. The engine, DuckDB, runs on this host and sees only what
was fetched for the statement.

Tables: ` + wrapped(fsm.RecordedTables()) + `
  changes          every change of a row, with who asked for it
  history.TABLE    every version of a table's rows, with valid_from and valid_to
Views:
` + describeViews(),
		example: `
orchd sql 'select name, status.owner from vms' --at 2026-11-01T03:12:00Z
orchd sql 'from usage_by_month' -o csv
orchd sql                                     # interactive`,
		max: 1,
		run: func(ctx context.Context, args []string) error {
			return a.ask(ctx, args, flags)
		},
	})
	f := cmd.Flags()
	f.StringVar(&flags.at, "at", "", "the state of a moment: 2026-11-01T03:12:00Z, 90m (ago), or a log index")
	f.StringVar(&flags.snapshot, "snapshot", "", "the state of a marked snapshot")
	f.StringVarP(&flags.file, "file", "f", "", "file of statements, - for stdin")
	f.StringVar(&flags.engine, "engine", "", "path of orchd-sql or of a duckdb (default: beside orchd, then on the PATH)")
	f.StringVar(&flags.keep, "keep", "", "keep what was fetched, with its prelude.sql, in this new folder")
	f.StringSliceVar(&flags.tables, "tables", nil, "fetch these, whatever the statement names; an interactive session has all\nunless it is told: vms,history.vms,changes")
	a.completeFlag(cmd, "snapshot", snapshotIDs)
	a.completeFlag(cmd, "tables", words(sqlNames()))
	return cmd
}

// ask answers a statement, or talks with a person.
func (a *App) ask(ctx context.Context, args []string, flags sqlFlags) error {
	text, interactive, err := a.statement(args, flags.file)
	if err == nil {
		err = a.checkSQL(flags, interactive)
	}
	if err != nil {
		return err
	}
	wanted, err := wantedIn(text, flags.tables, interactive)
	if err != nil {
		return err
	}
	engine, err := findEngine(flags.engine)
	if err == nil {
		err = engine.takes(a.flags.output)
	}
	if err != nil {
		return err
	}
	folder, remove, err := workFolder(flags.keep)
	if err != nil {
		return err
	}
	defer remove()
	if err := a.fetchInto(ctx, folder, wanted, flags); err != nil {
		return err
	}
	if flags.keep != "" {
		a.say("kept in %s; ask again with: orchd-sql --prelude %[1]s/prelude.sql", flags.keep)
	}
	return a.runEngine(ctx, engine, folder, text, interactive)
}

// checkSQL finds what does not go together before anything is fetched.
func (a *App) checkSQL(flags sqlFlags, interactive bool) error {
	switch {
	case !slices.Contains(sqlFormats, a.flags.output):
		return usagef("-o %s does not suit this command; use %s", a.flags.output, strings.Join(sqlFormats, ", "))
	case flags.at != "" && flags.snapshot != "":
		return usagef("--at and --snapshot name two moments; give one")
	case a.flags.output == "parquet" && interactive:
		return usagef("-o parquet is for one statement, not for an interactive session")
	case a.flags.output == "parquet" && isTerminal(a.Stdout):
		return usagef("-o parquet is not for a terminal; send it to a file: orchd sql ... -o parquet > FILE")
	}
	return nil
}

// statement is what to run: the argument, a file, or what stdin has where nobody types.
func (a *App) statement(args []string, file string) (text string, interactive bool, err error) {
	var read []byte
	in, isFile := a.Stdin.(*os.File)
	switch {
	case len(args) == 1 && file != "":
		return "", false, usagef("give the SQL as an argument or with --file, not both")
	case len(args) == 1:
		read = []byte(args[0])
	case file == "-" || file == "" && !(isFile && isTerminal(in)):
		if a.Stdin == nil {
			return "", false, usagef("there is nothing to run")
		}
		read, err = io.ReadAll(a.Stdin)
	case file != "":
		read, err = os.ReadFile(file)
	default:
		return "", true, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read the statements: %w", err)
	}
	if text = strings.TrimSpace(string(read)); text == "" {
		return "", false, usagef("there is nothing to run")
	}
	return text, false, nil
}

// workFolder is a new folder that only this user can read; remove takes it away, unless it was named.
func workFolder(named string) (path string, remove func(), err error) {
	if named == "" {
		path, err = os.MkdirTemp("", "orchd-sql-")
		return path, func() { os.RemoveAll(path) }, err
	}
	if err := os.Mkdir(named, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return "", nil, usagef("%s exists; --keep wants the name of a new folder", named)
		}
		return "", nil, err
	}
	return named, func() {}, nil
}
