package builtin_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/sysvc/builtin"
	"github.com/orchd/orchd/sysvc/pack"
)

// TestAll: each package that comes with orchd loads, under the name of its folder.
func TestAll(t *testing.T) {
	all, err := builtin.All()
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob("*/package.toml")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no packages here: %v", err)
	}
	for _, f := range folders {
		if name := filepath.Dir(f); all[name].Name != name {
			t.Errorf("package %s: got %q", name, all[name].Name)
		}
	}
	if len(all) != len(folders) {
		t.Errorf("%d packages, want %d", len(all), len(folders))
	}
}

func names(packages []pack.Package) (all []string) {
	for _, p := range packages {
		all = append(all, p.Name)
	}
	return all
}

func TestEnabled(t *testing.T) {
	all := map[string]pack.Package{"decider": {Name: "decider"}, "registry": {Name: "registry"}, "aqua-ipfs": {Name: "aqua-ipfs"}}
	for _, c := range []struct {
		list, want []string
		err        string
	}{
		{list: []string{"all"}, want: []string{"aqua-ipfs", "decider", "registry"}},
		{list: []string{"none"}},
		{},
		{list: []string{"registry", "decider", "registry"}, want: []string{"decider", "registry"}},
		{list: []string{"registry", "aqua_ipfs"}, err: `there is no package "aqua_ipfs"; did you mean aqua-ipfs?`},
		{list: []string{"xyzzy"}, err: "there are: aqua-ipfs, decider, registry"},
		{list: []string{"al"}, err: "did you mean all?"},
		{list: []string{"all", "registry"}, err: `"all" stands alone`},
		{list: []string{"decidre", "registri"}, err: "did you mean registry?"},
	} {
		got, err := builtin.Enabled(c.list, all)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: got %v, want %q", c.list, err, c.err)
			}
			continue
		}
		if err != nil || !slices.Equal(names(got), c.want) {
			t.Errorf("%q: got %q, %v, want %q", c.list, names(got), err, c.want)
		}
	}
}

// write makes a package's folder.
func write(t *testing.T, dir, name, manifest string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name, "package.toml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLayered: operators add packages of their own, and put theirs in the place of built-in ones.
func TestLayered(t *testing.T) {
	all, err := builtin.All()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "mine", "name = \"mine\"\nversion = \"0.1.0\"\n")
	write(t, dir, "other-names", "name = \"registry\"\nversion = \"99.0.0\"\n")
	write(t, dir, ".git", "name = 5")
	if err := os.WriteFile(filepath.Join(dir, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	layered, err := builtin.Layered(dir)
	if err != nil {
		t.Fatal(err)
	}
	all["mine"], all["registry"] = pack.Package{}, pack.Package{}
	if len(layered) != len(all) || layered["mine"].Version != "0.1.0" || layered["registry"].Version != "99.0.0" {
		t.Errorf("got %d packages, mine %q, registry %q", len(layered), layered["mine"].Version, layered["registry"].Version)
	}
	for _, none := range []string{"", filepath.Join(dir, "nowhere")} {
		if _, err := builtin.Layered(none); err != nil {
			t.Errorf("packages_dir %q: %v", none, err)
		}
	}
	write(t, dir, "broken", "nmae = \"x\"\n")
	write(t, dir, "twice", "name = \"mine\"\nversion = \"1.0.0\"\n")
	write(t, dir, "registry", "")
	layered, err = builtin.Layered(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"broken": dir + "/broken/package.toml:1: nmae is an unknown key", "mine": "are both packages named mine",
		"registry": "are both packages named registry"} {
		if fault := layered[name].Fault; fault == nil || !strings.Contains(fault.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, fault, want)
		}
	}
	if layered["decider"].Fault != nil {
		t.Errorf("one folder is broken, and decider has the fault %v", layered["decider"].Fault)
	}
}
