package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPackageCheck(t *testing.T) {
	hello := filepath.Join("..", "..", "..", "docs", "examples", "hello")
	got := run(t.Context(), App{}, "package", "check", hello)
	if got.code != 0 || !strings.Contains(got.stdout, "greet greeted") || !strings.Contains(got.stdout, "hello-tick") {
		t.Errorf("got %d, %q and %q", got.code, got.stdout, got.stderr)
	}
	broken := t.TempDir()
	if err := os.CopyFS(broken, os.DirFS(hello)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "tick.star"), []byte("def run():\n    greet()\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got = run(t.Context(), App{}, "package", "check", broken)
	if got.code != exitUsage || !strings.Contains(got.stderr, "hello-tick.star:2:5: undefined: greet") {
		t.Errorf("got %d and %q", got.code, got.stderr)
	}
	got = run(t.Context(), App{}, "package", "check", t.TempDir())
	if got.code != exitUsage || !strings.Contains(got.stderr, "package.toml") {
		t.Errorf("got %d and %q", got.code, got.stderr)
	}
}
