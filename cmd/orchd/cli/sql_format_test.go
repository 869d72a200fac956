package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// tryFormatPage runs the queries of docs/format.md in the folder of a peer, so that none
// speaks of files or columns that are not there.
func tryFormatPage(t *testing.T, dir string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "format.md"))
	if err != nil {
		t.Fatal(err)
	}
	queries := sqlBlock.FindAllStringSubmatch(string(page), -1)
	if len(queries) == 0 {
		t.Error("docs/format.md has no queries")
	}
	for _, q := range queries {
		overFiles(t, dir, q[1])
	}
}
