package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/check"
	"github.com/orchd/orchd/sysvc/pack"
)

// piece is what a package brings: a service or a spell.
type piece struct {
	Alias string `json:"alias"`
	Kind  string `json:"kind"` // service or spell
	What  string `json:"what"` // functions, or when it runs
}

func pieces() listing[piece] {
	return listing[piece]{
		name: func(p piece) string { return p.Alias },
		columns: []column[piece]{
			{head: "ALIAS", text: func(p piece) string { return p.Alias }},
			{head: "KIND", text: func(p piece) string { return p.Kind }},
			{head: "WHAT", text: func(p piece) string { return p.What }},
		},
	}
}

func (a *App) packageCheck() *cobra.Command {
	return a.verb(verb{
		use:     "check DIR",
		short:   "Read a package as a peer would, compile its scripts, and say what it brings",
		long:    "Read a package as a peer would, compile its scripts, and say what it brings. It asks no peer, and runs nothing.",
		example: "orchd package check /etc/orchd/packages/hello\norchd package check hello -o json",
		min:     1, max: 1,
		run: func(_ context.Context, args []string) error {
			p, err := pack.LoadDir(a.home(args[0]))
			if err != nil {
				return &failure{exitUsage, err.Error(), "what a package is made of: docs/system-services.md in orchd's sources; one that works: orchd package new DIR"}
			}
			found, err := examined(p)
			if err != nil {
				return &failure{exitUsage, err.Error(), "mend that and check again"}
			}
			a.say("%s %s is a good package, of the scope %s", p.Name, p.Version, p.Scope)
			return pieces().all(a, found)
		},
	})
}

// examined checks a package, and lists what it brings.
func examined(p pack.Package) (all []piece, err error) {
	functions, err := check.Package(p)
	for _, s := range p.Services {
		what := "WASM"
		if names := functions[s.Alias]; names != nil {
			what = strings.Join(names, " ")
		}
		all = append(all, piece{s.Alias, "service", what})
	}
	for _, s := range p.Spells {
		all = append(all, piece{s.Alias, "spell", triggerText(s.Trigger)})
	}
	return all, err
}

// skeleton is a small package that works, by file.
var skeleton = map[string]string{
	"package.toml": `name = "NAME"
version = "0.1.0"
scope = "peer"                  # or "cluster"
description = "Greets, and beats every period_sec seconds"

[grants]
kv = true

[settings]
greeting = "hello"
period_sec = 60

[[services]]
alias = "NAME"
modules = [{ name = "NAME", file = "NAME.star" }]
viewer = ["greet"]

[[spells]]
alias = "NAME-beat"
file = "beat.star"
trigger = { clock = { start_sec = 1, period_sec = "$period_sec" } }
`,
	"NAME.star": `# What can be called: orchd service call NAME greet name=anna

def greet(name = "world"):
    return "%s, %s" % (settings["greeting"], name)
`,
	"beat.star": `# Runs every period_sec seconds: orchd spell log NAME-beat

def run():
    log("beat", kv.add_u32("beats", 1))
`,
}

func (a *App) packageNew() *cobra.Command {
	return a.verb(verb{
		use:     "new DIR",
		short:   "Write a small package that works, to make one's own of",
		example: "orchd package new hello\norchd package new /etc/orchd/packages/hello",
		min:     1, max: 1,
		run: func(_ context.Context, args []string) error {
			dir := a.home(args[0])
			name := filepath.Base(filepath.Clean(dir))
			if !api.ValidName(name) {
				return usagef("the last part of DIR is the name of the package: 1 to 63 of a-z, 0-9 and -; got %q", name)
			}
			if err := emptyFolder(dir); err != nil {
				return err
			}
			for file, text := range skeleton {
				path := filepath.Join(dir, strings.ReplaceAll(file, "NAME", name))
				if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "NAME", name)), 0o644); err != nil {
					return err
				}
			}
			a.say("see whether it is good: orchd package check %s", args[0])
			a.say("then put it into system_services.packages_dir, name it in system_services.enable, and start the peer again")
			return nil
		},
	})
}

// emptyFolder makes a folder unless it is there, with nothing in it.
func emptyFolder(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return usagef("make the folder: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil {
		return usagef("%v", err)
	} else if len(entries) > 0 {
		return usagef("%s has something in it already: name a folder that is not there yet, or is empty", dir)
	}
	return nil
}
