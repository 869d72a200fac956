// Package check looks at a package as far as that can be done without a peer: it compiles
// the scripts, runs nothing, and sees whether every function that package.toml names is there.
package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/pack"
	"github.com/orchd/orchd/sysvc/worker/starlark"
)

// Functions are what can be called of a service, by its alias. Of one whose last module
// is WebAssembly nothing is known without running it.
type Functions map[string][]string

// Package checks what a package brings. The error lists everything that is wrong.
func Package(p pack.Package) (Functions, error) {
	engine, all, errs := starlark.New(), Functions{}, []error(nil)
	for _, s := range p.Services {
		names, err := functions(engine, p, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", s.Alias, err))
			continue
		}
		all[s.Alias] = names
	}
	errs = append(errs, calls(p, all)...)
	for _, s := range p.Spells {
		if err := spell(engine, s); err != nil {
			errs = append(errs, fmt.Errorf("spell %s: %w", s.Alias, err))
		}
	}
	return all, errors.Join(errs...)
}

// functions compiles the modules of a service and names the functions of the last one;
// nil: they are not known.
func functions(engine *starlark.Engine, p pack.Package, s pack.Service) (names []string, err error) {
	for _, m := range s.Modules {
		names = nil
		if m.Kind != api.ModuleStarlark {
			continue
		}
		names, err = engine.Functions(starlark.Module{Name: m.Name, Digest: m.Digest}, func(digest string) ([]byte, error) { return p.Files[digest], nil })
		if err != nil {
			return nil, placed(err)
		}
		names = append([]string{}, names...)
	}
	for _, named := range slices.Concat(s.Access.Viewer, s.Access.Admin) {
		if names != nil && !slices.Contains(names, named) {
			return nil, fmt.Errorf("viewer and admin name %s, which its last module does not define", named)
		}
	}
	return names, nil
}

// calls are the faults of [[init]].
func calls(p pack.Package, all Functions) (errs []error) {
	for n, c := range p.Init {
		if names := all[c.Service]; names != nil && !slices.Contains(names, c.Function) {
			errs = append(errs, fmt.Errorf("init %d: service %s does not define %s", n+1, c.Service, c.Function))
		}
	}
	return errs
}

func spell(engine *starlark.Engine, s pack.Spell) error {
	names, err := engine.Functions(starlark.Module{Name: strings.TrimSuffix(s.File, ".star"), Digest: s.Script}, func(string) ([]byte, error) { return []byte(s.Script), nil })
	switch {
	case err != nil:
		return placed(err)
	case !slices.Contains(names, "run"):
		return errors.New("its script does not define run(), which is called when the trigger fires")
	}
	return nil
}

// placed is an error of a script with where it is.
func placed(err error) error {
	if fault, is := errors.AsType[*starlark.Error](err); is && fault.At != "" {
		return fmt.Errorf("%s: %s", fault.At, fault.Msg)
	}
	return err
}
