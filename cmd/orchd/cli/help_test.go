package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// walk visits every command.
func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, child := range c.Commands() {
		walk(child, visit)
	}
}

// TestHelp: every command says what it is for in a line, gives one to three
// examples that begin with its own name, and fits a screen.
func TestHelp(t *testing.T) {
	root := (&App{}).root()
	walk(root, func(c *cobra.Command) {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || len(c.Short) > 90 {
			t.Errorf("%s: its line is %q", path, c.Short)
		}
		examples := strings.Split(strings.TrimSpace(c.Example), "\n")
		if len(examples) > 3 || !strings.Contains(c.Example, path) {
			t.Errorf("%s: examples:\n%s", path, c.Example)
		}
		if r := run(t.Context(), App{}, append(strings.Fields(path)[1:], "--help")...); r.code != 0 || !strings.Contains(r.stdout, c.Example) || strings.Count(r.stdout, "\n") > 50 {
			t.Errorf("%s --help: exit %d, %d lines:\n%s", path, r.code, strings.Count(r.stdout, "\n"), r.stdout)
		}
	})
}

// TestExamplesParse: what the help shows must at least be understood.
func TestExamplesParse(t *testing.T) {
	walk((&App{}).root(), func(c *cobra.Command) {
		for _, line := range strings.Split(c.Example, "\n") {
			line, _, _ = strings.Cut(line, "#")
			for _, end := range []string{" | ", " > ", " && ", "<(", "$(", "--data '"} {
				line, _, _ = strings.Cut(line, end)
			}
			_, line, found := strings.Cut(line, "orchd ")
			if !found || strings.TrimSpace(line) == "" {
				continue
			}
			cmd, args, err := (&App{}).root().Find(strings.Fields(line))
			if err == nil && len(args) > 0 && cmd.HasSubCommands() {
				t.Errorf("%s: %q names no command", c.CommandPath(), line)
			} else if err := cmd.ParseFlags(args); err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), line, err)
			}
		}
	})
}

func TestNounsWithoutAVerbShowHelp(t *testing.T) {
	for _, line := range []string{"", "vm", "peer", "token", "config"} {
		if r := run(t.Context(), App{}, strings.Fields(line)...); r.code != 0 || !strings.Contains(r.stdout, "Examples:") {
			t.Errorf("orchd %s: exit %d, %q %q", line, r.code, r.stdout, r.stderr)
		}
	}
}
