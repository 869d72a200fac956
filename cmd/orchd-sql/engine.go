package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/duckdb/duckdb-go/v2"
)

// engine is a DuckDB in memory that sees one folder.
type engine struct {
	db     *sql.DB
	conn   *sql.Conn // the only one, so that a temporary table is there for the next statement
	folder string    // absolute, without symbolic links
}

// open starts the engine in the folder of the prelude, which becomes the working
// directory of the process, locks it down and runs the prelude.
func open(ctx context.Context, o options) (_ *engine, err error) {
	prelude, err := os.ReadFile(o.prelude)
	if err != nil {
		return nil, fmt.Errorf("read the prelude: %w", err)
	}
	folder, err := folderOf(o.prelude)
	if err != nil {
		return nil, err
	}
	if err := os.Chdir(folder); err != nil {
		return nil, err
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	e := &engine{db: db, folder: folder}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if e.conn, err = db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	for _, s := range lock(folder, o) {
		if err := e.exec(ctx, s); err != nil {
			return nil, fmt.Errorf("set up the engine: %w", err)
		}
	}
	if err := e.exec(ctx, string(prelude)); err != nil {
		return nil, fmt.Errorf("run %s: %w", o.prelude, err)
	}
	return e, nil
}

// folderOf is the folder of the prelude. What is no plain file or folder in it
// is refused: a symbolic link would lead out of it.
func folderOf(prelude string) (string, error) {
	folder, err := filepath.Abs(filepath.Dir(prelude))
	if err != nil {
		return "", err
	}
	if folder, err = filepath.EvalSymlinks(folder); err != nil {
		return "", err
	}
	return folder, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !d.Type().IsRegular() {
			err = fmt.Errorf("%s is no plain file; the folder of the prelude may hold nothing else", path)
		}
		return err
	})
}

// absolute is a path as it is from everywhere; empty stays empty.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// Close ends the engine.
func (e *engine) Close() error {
	var err error
	if e.conn != nil {
		err = e.conn.Close()
	}
	return errors.Join(err, e.db.Close())
}

// exec runs SQL of the engine's own.
func (e *engine) exec(ctx context.Context, text string) error {
	_, err := e.conn.ExecContext(ctx, text)
	return interrupted(ctx, err)
}

// interrupted is an error, but for one that comes of the end of ctx.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// runAll runs statements in turn until one fails.
func (e *engine) runAll(ctx context.Context, text string, p printer) error {
	statements, rest := split(text)
	if rest != "" {
		statements = append(statements, rest) // the last one needs no semicolon
	}
	if p.file != "" && len(statements) != 1 {
		return fmt.Errorf("%w: --out takes the result of one statement, not of %d", errUsage, len(statements))
	}
	for _, s := range statements {
		if _, err := e.run(ctx, s, p); err != nil {
			return err
		}
	}
	return nil
}

// run runs one statement and prints its result; rows is how many it printed, -1
// when the statement has none.
func (e *engine) run(ctx context.Context, text string, p printer) (rows int64, err error) {
	kind, err := e.kindOf(text)
	if err != nil {
		return -1, err
	}
	switch kind {
	case result:
		rows, err = p.result(ctx, e, text)
	case plan:
		rows, err = p.plan(ctx, e, text)
	default:
		rows, err = -1, e.exec(ctx, text)
	}
	return rows, interrupted(ctx, err)
}

// prepared runs f over a statement that DuckDB has understood and not run. More
// than one statement is an error: nothing of it runs.
func (e *engine) prepared(text string, f func(*duckdb.Stmt) error) error {
	return e.conn.Raw(func(driver any) error {
		s, err := driver.(*duckdb.Conn).Prepare(text)
		if err != nil {
			return err
		}
		defer s.Close()
		return f(s.(*duckdb.Stmt))
	})
}
