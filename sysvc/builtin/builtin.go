// Package builtin holds the packages that come with orchd, each in a folder of its own,
// and lays the operator's packages over them. They are short, and also meant as
// examples: docs/system-services.md begins with one.
package builtin

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/orchd/orchd/api/nearest"
	"github.com/orchd/orchd/sysvc/pack"
)

//go:embed */*.toml */*.star
var folders embed.FS

// All are the packages that come with orchd, by name.
func All() (map[string]pack.Package, error) {
	manifests, err := fs.Glob(folders, "*/package.toml")
	if err != nil {
		return nil, err
	}
	all := map[string]pack.Package{}
	for _, manifest := range manifests {
		name := path.Dir(manifest)
		folder, err := fs.Sub(folders, name)
		if err != nil {
			return nil, err
		}
		p, err := pack.Load(folder)
		if err != nil {
			return nil, fmt.Errorf("built-in package %s: %w", name, err)
		}
		all[p.Name] = p
	}
	return all, nil
}

// Layered are the packages that come with orchd and those in the folders of dir, which
// take the place of built-in ones of the same name. dir need not exist, and may be
// empty.
func Layered(dir string) (map[string]pack.Package, error) {
	all, err := All()
	if err != nil || dir == "" {
		return all, err
	}
	own, err := Folders(dir)
	maps.Copy(all, own)
	return all, err
}

// Folders are the packages in the folders of dir. What is no folder, and what begins
// with a dot, is none. A folder that cannot be read as a package is a faulty one named
// like the folder, and what two folders are named is faulty, too: whether that matters
// depends on whether it is enabled.
func Folders(dir string) (map[string]pack.Package, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read packages: %w", err)
	}
	all, in := map[string]pack.Package{}, map[string]string{}
	for _, e := range entries {
		folder := filepath.Join(dir, e.Name())
		if info, err := os.Stat(folder); err != nil || !info.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		p, err := pack.LoadDir(folder)
		if err != nil {
			p = pack.Faulty(e.Name(), err)
		}
		if in[p.Name] != "" {
			p = pack.Faulty(p.Name, fmt.Errorf("%s and %s are both packages named %s: rename one, or move it away", in[p.Name], folder, p.Name))
		}
		all[p.Name], in[p.Name] = p, folder
	}
	return all, nil
}

// Words that stand for all packages, and for none, in a list of those to enable.
const (
	everything = "all"
	nothing    = "none"
)

// Enabled are the packages of all that a list names, in the order of their names.
// The list may be "all" or "none", alone. A name that is none is an error.
func Enabled(list []string, all map[string]pack.Package) ([]pack.Package, error) {
	names := slices.Sorted(maps.Keys(all))
	var errs []error
	chosen := map[string]bool{}
	for _, name := range list {
		_, known := all[name]
		switch {
		case (name == everything || name == nothing) && len(list) > 1:
			errs = append(errs, fmt.Errorf("%q stands alone in a list of packages, or not at all", name))
		case name == everything:
			for _, n := range names {
				chosen[n] = true
			}
		case known:
			chosen[name] = true
		case name != nothing:
			errs = append(errs, fmt.Errorf("there is no package %q; %s", name, meant(name, names)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	enabled := []pack.Package{}
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		enabled = append(enabled, all[name])
	}
	return enabled, nil
}

func meant(name string, names []string) string {
	if near := nearest.Of(name, append(slices.Clone(names), everything, nothing)); near != "" {
		return "did you mean " + near + "?"
	}
	return "there are: " + strings.Join(names, ", ")
}
