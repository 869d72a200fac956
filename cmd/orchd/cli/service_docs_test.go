package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandsOfTheServicePage: each command of the page is one, with flags that it has
// and as many names as it takes.
func TestCommandsOfTheServicePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "reference", "services.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, block := range shellBlock.FindAllStringSubmatch(string(page), -1) {
		for _, line := range strings.Split(block[1], "\n") {
			if line, ours := strings.CutPrefix(line, "orchd "); ours {
				understood(t, line)
				shown[strings.Join(strings.Fields(line)[:2], " ")] = true
			}
		}
	}
	for _, noun := range []string{"service", "package", "registry", "trust", "spell", "deal"} {
		cmd, _, err := (&App{}).root().Find([]string{noun})
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range cmd.Commands() {
			if !shown[noun+" "+verb.Name()] {
				t.Errorf("orchd %s %s is not on the page", noun, verb.Name())
			}
		}
	}
}
