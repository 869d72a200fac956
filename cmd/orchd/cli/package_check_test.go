package cli

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/cmd/orchd/config"
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
	if got.code != exitUsage || !strings.Contains(got.stderr, " tick.star:2:5: undefined: greet") {
		t.Errorf("got %d and %q", got.code, got.stderr)
	}
	got = run(t.Context(), App{}, "package", "check", t.TempDir())
	if got.code != exitUsage || !strings.Contains(got.stderr, "package.toml") {
		t.Errorf("got %d and %q", got.code, got.stderr)
	}
}

// TestConfiguredPackages: what is wrong with packages is found by config check. A folder that
// is broken keeps no peer from starting: enabled it is a package that fails, else a warning.
func TestConfiguredPackages(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "packages")
	for name, manifest := range map[string]string{
		"good":  "name = \"good\"\nversion = \"1.0.0\"\n[settings]\nlimit = 5\n",
		"draft": "nam = \"draft\"\n",
		"empty": "",
	} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if manifest != "" {
			if err := os.WriteFile(filepath.Join(folder, name, "package.toml"), []byte(manifest), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		config string
		wrong  []string // empty: config check is content
		failed []string // packages that will be told as failed
		starts bool
	}{
		"good":             {config: `enable = ["good"]`, starts: true},
		"a draft":          {config: `enable = ["good", "draft"]`, wrong: []string{"draft/package.toml:1: nam is an unknown key"}, failed: []string{"draft"}, starts: true},
		"an empty folder":  {config: `enable = ["empty"]`, wrong: []string{"no file package.toml"}, failed: []string{"empty"}, starts: true},
		"no such package":  {config: `enable = ["goood"]`, wrong: []string{`no package "goood"; did you mean good?`}},
		"unknown settings": {config: "enable = [\"good\"]\ngood.limmit = 4\nhello.greeting = \"hi\"", wrong: []string{"unknown setting limmit; did you mean limit?", "system_services.hello: no package hello", "take the settings out"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "orchd.toml")
			text := fmt.Sprintf("[system_services]\npackages_dir = %q\n%s\n", folder, c.config)
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			got := run(t.Context(), App{}, "config", "check", "--config", file)
			if (got.code == 0) != (len(c.wrong) == 0) {
				t.Errorf("config check: exit %d, %q", got.code, got.stderr)
			}
			for _, want := range c.wrong {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("config check says %q, want %q", got.stderr, want)
				}
			}
			l, err := config.Load(config.Sources{File: file})
			if err != nil {
				t.Fatal(err)
			}
			enabled, err := packages(l.Config, slog.New(slog.DiscardHandler))
			if (err == nil) != c.starts {
				t.Errorf("to start gives %v", err)
			}
			var failed []string
			for _, p := range enabled {
				if p.Fault != nil {
					failed = append(failed, p.Name)
				}
			}
			if !slices.Equal(failed, c.failed) {
				t.Errorf("faulty: %q, want %q", failed, c.failed)
			}
		})
	}
}
