package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) snapshotDownload() *cobra.Command {
	var want wantedFiles
	cmd := a.verb(verb{
		use:   "download ID",
		short: "Copy the tables of a snapshot, or of now, to this host as parquet files",
		long: "Copy the tables of a snapshot, or of now, to this host as parquet files, without secrets.\n" +
			"A connection that breaks is taken up again where it broke, at the next peer if that has the same file.",
		example: `
orchd snapshot download 12345                          # all tables, into the folder snapshot-12345
orchd snapshot download now --table vms --table peers --dir /srv/orchd
orchd snapshot download 12345 --tar 12345.tar`,
		min: 1, max: 1, noun: stateIDs,
		run: func(ctx context.Context, args []string) error {
			return a.downloadSnapshot(ctx, args[0], want)
		},
	})
	cmd.Flags().StringSliceVar(&want.tables, "table", nil, "only this table; may be repeated")
	cmd.Flags().StringVar(&want.dir, "dir", "", "folder for the files (default snapshot-ID)")
	cmd.Flags().StringVar(&want.tar, "tar", "", "one tar file with all tables and a list of them")
	cmd.MarkFlagsMutuallyExclusive("tar", "table")
	cmd.MarkFlagsMutuallyExclusive("tar", "dir")
	a.completeTables(cmd)
	return cmd
}

// stateIDs are the ids of what can be downloaded.
func stateIDs(ctx context.Context, a *App) ([]string, error) {
	ids, err := snapshotIDs(ctx, a)
	return append(ids, "now"), err
}

// completeTables completes --table with the tables of the snapshot that the command names.
func (a *App) completeTables(cmd *cobra.Command) {
	err := cmd.RegisterFlagCompletionFunc("table", func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		return a.completeArgs(tablesOf(cmp.Or(slices.Concat(args, []string{"now"})...)), 1)(cmd, nil, typed)
	})
	if err != nil {
		panic(err) // there is no such flag: a slip in this package
	}
}

// tablesOf lists the tables of a snapshot.
func tablesOf(id string) noun {
	return func(ctx context.Context, a *App) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, nameTime)
		defer cancel()
		s, err := show[api.Snapshot](ctx, a, snapshotPath(id))
		return slices.Sorted(maps.Keys(s.Rows)), err
	}
}

func snapshotPath(id string, file ...string) string {
	path := "/v1/snapshots/" + url.PathEscape(id)
	for _, f := range file {
		path += "/" + url.PathEscape(f)
	}
	return path
}

// wantedFiles is what to download, and where to.
type wantedFiles struct {
	tables   []string // empty: all
	dir, tar string
}

// aFile is a file that was downloaded.
type aFile struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

func (a *App) files() listing[aFile] {
	return listing[aFile]{
		name:  func(f aFile) string { return f.File },
		order: func(aFile, aFile) int { return 0 },
		columns: []column[aFile]{
			{head: "FILE", text: func(f aFile) string { return f.File }},
			{head: "BYTES", text: func(f aFile) string { return about(f.Bytes) }, raw: func(f aFile) string { return number(f.Bytes) }},
		},
	}
}

func (a *App) downloadSnapshot(ctx context.Context, id string, want wantedFiles) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var s api.Snapshot
	if err := c.get(ctx, snapshotPath(id), nil, &s); err != nil {
		return err
	}
	if want.tar != "" {
		f, err := a.download(ctx, c, snapshotPath(s.ID, "all.tar"), want.tar)
		if err != nil {
			return err
		}
		return a.files().result(a, f)
	}
	got, err := a.downloadTables(ctx, c, s, want)
	if err != nil && len(got) == 0 {
		return err
	}
	return errors.Join(err, a.files().all(a, got))
}

// downloadTables gives the files that are there, also when not all are.
func (a *App) downloadTables(ctx context.Context, c client, s api.Snapshot, want wantedFiles) (got []aFile, err error) {
	tables := slices.Sorted(maps.Keys(s.Rows))
	for _, t := range want.tables {
		if !slices.Contains(tables, t) {
			return nil, unknownWord("table", t, tables)
		}
	}
	if len(want.tables) > 0 {
		tables = want.tables
	}
	dir := cmp.Or(want.dir, "snapshot-"+s.ID)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	for _, t := range tables {
		f, err := a.download(ctx, c, snapshotPath(s.ID, t+".parquet"), filepath.Join(dir, t+".parquet"))
		switch {
		case api.IsKind(err, api.NotFound) && len(want.tables) == 0:
			continue // the cluster's own bookkeeping, which no peer gives away
		case err != nil:
			return got, err
		}
		got = append(got, f)
	}
	if len(got) < len(tables) { // or the snapshot has gone meanwhile
		err = c.get(ctx, snapshotPath(s.ID), nil, nil)
	}
	return got, err
}

// download copies one file. It has its name only once it is whole.
func (a *App) download(ctx context.Context, c client, path, to string) (done aFile, err error) {
	part := to + ".part"
	out, err := os.Create(part)
	if err != nil {
		return done, err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(part)
		}
	}()
	m := meter{app: a, name: filepath.Base(to)}
	err = c.api.Download(ctx, path, out, func(n, total int64) {
		done = aFile{to, n}
		m.tell(n, total)
	})
	m.end()
	if err != nil {
		return done, c.failed(ctx, api.Answer{}, err)
	}
	if err := out.Close(); err != nil {
		return done, fmt.Errorf("close %s: %w", part, err)
	}
	return done, os.Rename(part, to)
}
