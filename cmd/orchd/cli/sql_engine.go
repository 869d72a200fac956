package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// engine is the program that runs SQL.
type engine struct {
	path   string
	duckdb bool // DuckDB's own shell, which knows nothing of orchd
}

// findEngine looks for orchd-sql beside orchd and on the PATH, then for a duckdb.
func findEngine(named string) (engine, error) {
	if named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return engine{}, usagef("--engine: %v", err)
		}
		return engine{path, strings.HasPrefix(filepath.Base(path), "duckdb")}, nil
	}
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), "orchd-sql")); err == nil {
			return engine{path, false}, nil
		}
	}
	if path, err := exec.LookPath("orchd-sql"); err == nil {
		return engine{path, false}, nil
	}
	if path, err := exec.LookPath("duckdb"); err == nil {
		return engine{path, true}, nil
	}
	return engine{}, &failure{exitFailed, "there is no SQL engine on this host: no orchd-sql beside orchd or on the PATH, and no duckdb",
		"put orchd-sql beside orchd (make sql builds it), or install duckdb; --engine names one that is elsewhere"}
}

// takes refuses a format that the engine does not write.
func (e engine) takes(format string) error {
	if e.duckdb && format == "parquet" {
		return usagef("-o parquet needs orchd-sql, and only %s was found", e.path)
	}
	return nil
}

// runEngine runs the statements over what lies in the folder. The engine has said
// what went wrong; its exit code is ours.
func (a *App) runEngine(ctx context.Context, e engine, folder, text string, interactive bool) error {
	if !interactive {
		if err := os.WriteFile(filepath.Join(folder, "statement.sql"), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	args, err := a.engineArgs(e, folder, text, interactive)
	if err != nil {
		return err
	}
	run := ctx
	if interactive { // ctrl-C ends a statement there, not the session
		run = context.WithoutCancel(ctx)
	}
	cmd := exec.CommandContext(run, e.path, args...)
	cmd.Dir, cmd.Env = folder, a.engineEnviron()
	cmd.Stdout, cmd.Stderr = a.Stdout, a.Stderr
	if interactive {
		cmd.Stdin = a.Stdin
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = engineEnds
	err = runPassing(cmd)
	if ctx.Err() != nil && !interactive {
		return ctx.Err()
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return &failure{exit.ExitCode(), "", ""}
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", e.path, err)
	}
	return nil
}

// engineEnds is how long the engine has to end once it is told to.
const engineEnds = 10 * time.Second

// runPassing keeps ctrl-C, which the terminal sends to the engine too, from ending
// orchd before it has cleared up, and passes on what only orchd was sent.
func runPassing(cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			if s == syscall.SIGTERM {
				_ = cmd.Process.Signal(s) // it may have ended just now
			}
		}
	}
}

func (a *App) engineArgs(e engine, folder, text string, interactive bool) ([]string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	if e.duckdb {
		return a.duckdbArgs(folder, text, interactive), nil
	}
	args := []string{"--prelude", filepath.Join(folder, "prelude.sql"), "-o", a.flags.output}
	if a.flags.noHeaders {
		args = append(args, "--no-headers")
	}
	if interactive {
		return append(args, "--history", a.historyPath()), nil
	}
	return append(args, "-f", filepath.Join(folder, "statement.sql")), nil
}

// duckdbArgs makes DuckDB's own shell see the folder and, as far as it lets itself be told, nothing else.
func (a *App) duckdbArgs(folder, text string, interactive bool) []string {
	lock := "SET TimeZone = 'UTC'; SET allowed_directories = [" + sqlText(folder+"/") + "]; SET enable_external_access = false; SET lock_configuration = true;"
	args := []string{"-init", filepath.Join(folder, "prelude.sql"), "-cmd", lock}
	switch a.flags.output {
	case "csv":
		args = append(args, "-csv")
	case "json":
		args = append(args, "-json")
	}
	if a.flags.noHeaders {
		args = append(args, "-noheader")
	}
	if !interactive {
		args = append(args, "-c", text)
	}
	return args
}

// engineEnviron is the little of the environment that an engine needs: no token, no address.
func (a *App) engineEnviron() (env []string) {
	for _, name := range []string{"HOME", "PATH", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "TMPDIR"} {
		if v := a.env(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// historyPath is where interactive sessions remember what was typed.
func (a *App) historyPath() string {
	state := cmp.Or(a.env("XDG_STATE_HOME"), filepath.Join(a.env("HOME"), ".local", "state"))
	return filepath.Join(state, "orchd", "sql_history")
}
