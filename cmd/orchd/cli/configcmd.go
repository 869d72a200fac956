package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/orchd/orchd/cmd/orchd/config"
)

func (a *App) config() *cobra.Command {
	return a.group("config", "What this host's peer is told", "orchd config show --origin\norchd config check --config ./orchd.toml",
		a.configShow(), a.configCheck())
}

// load reads the configuration with the flags that cmd was given.
func (a *App) load(cmd *cobra.Command) (config.Loaded, error) {
	given := map[string]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
	if dir := a.flags.dataDir; dir != "" { // from where the user stands
		abs, err := filepath.Abs(dir)
		if err != nil {
			return config.Loaded{}, err
		}
		given["data-dir"] = abs
	}
	l, err := config.Load(config.Sources{File: a.flags.config, Environ: a.Environ, Flags: given})
	if err != nil {
		return l, wrongConfig(err)
	}
	return l, nil
}

// wrongConfig shows every line of what is wrong.
func wrongConfig(err error) error {
	return &failure{exitUsage, strings.ReplaceAll("the configuration is wrong\n"+err.Error(), "\n", "\n  "), "what is in force otherwise: orchd config show"}
}

func (a *App) configShow() *cobra.Command {
	var origin bool
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:     "show",
		short:   "Show the configuration in force, and where each value came from",
		example: "orchd config show --origin\norchd config show --config ./orchd.toml -o json",
		run: func(context.Context, []string) error {
			l, err := a.load(cmd)
			if err != nil {
				return err
			}
			entries := l.Entries()
			return a.object(entries, func(w io.Writer) error { return printEntries(w, entries, origin) })
		},
	})
	cmd.Flags().BoolVar(&origin, "origin", false, "say where each value came from")
	return cmd
}

// printEntries writes the keys as a file could hold them.
func printEntries(out io.Writer, entries []config.Entry, origin bool) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, e := range entries {
		line := e.Key + " = " + tomlValue(e.Value)
		if origin {
			line += "\t# " + e.Origin
		}
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

func tomlValue(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case map[string]string:
		var all []string
		for _, pair := range strings.Split(pairs(v), ",") {
			if key, value, ok := strings.Cut(pair, "="); ok {
				all = append(all, fmt.Sprintf("%q = %q", key, value))
			}
		}
		return "{" + strings.Join(all, ", ") + "}"
	case []string:
		quoted := make([]string, len(v))
		for i, text := range v {
			quoted[i] = strconv.Quote(text)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	default:
		return fmt.Sprint(v)
	}
}

func (a *App) configCheck() *cobra.Command {
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:     "check",
		short:   "Say everything that is wrong with the configuration; exits 2 if anything is",
		example: "orchd config check\norchd config check --config ./orchd.toml",
		run: func(context.Context, []string) error {
			l, err := a.load(cmd)
			if err != nil {
				return err
			}
			files, err := l.AuthFiles()
			if err != nil {
				return wrongConfig(err)
			}
			for _, w := range files.Warnings {
				a.say("%s", w)
			}
			wanted, err := packages(l.Config, slog.New(slog.DiscardHandler))
			for _, p := range wanted {
				err = errors.Join(err, p.Fault)
			}
			if err != nil {
				return wrongConfig(err)
			}
			if l.File == "" {
				a.say("there is no %s; the defaults hold", config.DefaultFile)
			}
			a.say("the configuration is good")
			return nil
		},
	})
	return cmd
}
