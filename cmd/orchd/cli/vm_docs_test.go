package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var shellBlock = regexp.MustCompile("(?s)\n```sh\n(.*?)```")

// TestCommandsOfTheDocs: each command of the page is one, with flags that it has and
// as many names as it takes.
func TestCommandsOfTheDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "how-to", "virtual-machines.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, block := range shellBlock.FindAllStringSubmatch(string(page), -1) {
		for _, line := range strings.Split(strings.ReplaceAll(block[1], "\\\n", " "), "\n") {
			line, _, _ = strings.Cut(line, "  #")
			line, _, _ = strings.Cut(line, " >> ")
			if _, command, piped := strings.Cut(line, " | "); piped {
				line = command
			}
			line, ours := strings.CutPrefix(strings.TrimSpace(line), "orchd ")
			if !ours {
				continue
			}
			commands++
			understood(t, line)
		}
	}
	if commands < 60 {
		t.Errorf("the page has %d commands: are its blocks still found?", commands)
	}
}

// understood tells whether a command line, without the program's name, can be run.
func understood(t *testing.T, line string) {
	t.Helper()
	cmd, args, err := (&App{}).root().Find(split(strings.ReplaceAll(line, `"`, "'")))
	switch {
	case err != nil || cmd.HasSubCommands():
		t.Errorf("orchd %s: names no command (%v)", line, err)
		return
	case cmd.ParseFlags(args) != nil:
		t.Errorf("orchd %s: %v", line, cmd.ParseFlags(args))
	case cmd.ValidateArgs(cmd.Flags().Args()) != nil:
		t.Errorf("orchd %s: %v", line, cmd.ValidateArgs(cmd.Flags().Args()))
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		t.Errorf("orchd %s: %v", line, err)
	}
	if err := cmd.ValidateFlagGroups(); err != nil {
		t.Errorf("orchd %s: %v", line, err)
	}
}
