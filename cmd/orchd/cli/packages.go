package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/nearest"
	"github.com/orchd/orchd/cmd/orchd/config"
	"github.com/orchd/orchd/sysvc/builtin"
	"github.com/orchd/orchd/sysvc/pack"
)

// packages are those that the configuration enables, with the settings that it gives
// them. A folder that is no package keeps no peer from starting: where it is enabled, the
// package is faulty and will be told as failed; where not, it is worth a warning.
func packages(c config.Config, log *slog.Logger) ([]pack.Package, error) {
	s := c.SystemServices
	all, err := builtin.Layered(s.PackagesDir)
	if err != nil {
		return nil, wrongPackages(fmt.Errorf("system_services.packages_dir: %w", err))
	}
	var errs []error
	for _, table := range slices.Sorted(maps.Keys(s.Settings)) {
		name := packageOf(table)
		if _, known := all[name]; !known {
			errs = append(errs, fmt.Errorf("system_services.%s: no package %s%s: take the settings out, or put its folder into %s", table, name, meantPackage(name, all), s.PackagesDir))
		}
	}
	wanted, err := builtin.Enabled(s.Enable, all)
	if err != nil {
		errs = append(errs, fmt.Errorf("system_services.enable: %w", err))
	}
	for i, p := range wanted {
		with, err := p.With(s.Settings[tableOf(p.Name)])
		if err != nil {
			errs = append(errs, fmt.Errorf("system_services.%s: %w", tableOf(p.Name), err))
			continue
		}
		wanted[i] = with
		delete(all, p.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if fault := all[name].Fault; fault != nil {
			log.Warn("a folder that is no package, and is not enabled", "package", name, "fault", fault)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, wrongPackages(err)
	}
	return wanted, nil
}

func wrongPackages(err error) error { return &api.Error{Kind: api.Invalid, Msg: err.Error()} }

// The table of a package in the configuration has _ where its name has -.
func tableOf(name string) string    { return strings.ReplaceAll(name, "-", "_") }
func packageOf(table string) string { return strings.ReplaceAll(table, "_", "-") }

// meantPackage says which package an unknown one was probably meant to be.
func meantPackage(name string, all map[string]pack.Package) string {
	if near := nearest.Of(name, slices.Collect(maps.Keys(all))); near != "" {
		return ", did you mean " + near + "?"
	}
	return ""
}
