package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api/schema"
)

func (a *App) schemas() *cobra.Command {
	var dir string
	cmd := a.verb(verb{
		use:   "schemas [--dir DIR]",
		short: "Write the JSON Schemas of the inventory, one file a kind; without a folder, list them",
		example: `
orchd schemas --dir schemas
orchd schemas
orchd schemas --dir schemas && orchd create node --file nodes.json --schema-dir schemas --dry-run`,
		run: func(context.Context, []string) error {
			if dir == "" {
				for _, kind := range schema.Kinds() {
					fmt.Fprintln(a.Stdout, kind)
				}
				return nil
			}
			return a.writeSchemas(dir)
		},
	})
	cmd.Flags().StringVar(&dir, "dir", "", "folder to write to; made if it is not there")
	_ = cmd.MarkFlagDirname("dir") // it is there: see above
	return cmd
}

// writeSchemas writes each file whole or not at all.
func (a *App) writeSchemas(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	for _, kind := range schema.Kinds() {
		doc, _ := schema.Of(kind)
		path := filepath.Join(dir, kind+".json")
		if err := renameio.WriteFile(path, doc, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	a.say("%d schemas are in %s", len(schema.Kinds()), dir)
	return nil
}
