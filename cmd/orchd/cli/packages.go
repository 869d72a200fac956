package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/orchd/orchd/api/nearest"
	"github.com/orchd/orchd/cmd/orchd/config"
	"github.com/orchd/orchd/sysvc/builtin"
	"github.com/orchd/orchd/sysvc/pack"
)

// packages are those that the configuration enables, with the settings that it gives them.
func packages(c config.Config) ([]pack.Package, error) {
	s := c.SystemServices
	all, err := builtin.Layered(s.PackagesDir)
	if err != nil {
		return nil, fmt.Errorf("system_services.packages_dir: %w", err)
	}
	for table := range s.Settings {
		name := strings.ReplaceAll(table, "_", "-")
		if _, known := all[name]; !known {
			return nil, fmt.Errorf("system_services.%s: no package %s%s", table, name, meantPackage(name, all))
		}
	}
	wanted, err := builtin.Enabled(s.Enable, all)
	if err != nil {
		return nil, fmt.Errorf("system_services.enable: %w", err)
	}
	for i, p := range wanted {
		if wanted[i], err = p.With(s.Settings[strings.ReplaceAll(p.Name, "-", "_")]); err != nil {
			return nil, fmt.Errorf("system_services.%s: %w", strings.ReplaceAll(p.Name, "-", "_"), err)
		}
	}
	return wanted, nil
}

// meantPackage says which package an unknown one was probably meant to be.
func meantPackage(name string, all map[string]pack.Package) string {
	if near := nearest.Of(name, slices.Collect(maps.Keys(all))); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}
