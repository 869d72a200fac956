package check

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/orchd/orchd/sysvc/pack"
)

func TestBuiltinPackages(t *testing.T) {
	for _, dir := range []string{"../builtin/registry", "../builtin/trust-graph", "../builtin/aqua-ipfs", "../builtin/decider", "../../docs/examples/hello"} {
		p, err := pack.LoadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		all, err := Package(p)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		for alias, names := range all {
			if len(names) == 0 {
				t.Errorf("%s: service %s has no function", dir, alias)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	p, err := pack.Load(fstest.MapFS{
		"package.toml": {Data: []byte(`
name = "bad"
version = "1.0.0"
[[services]]
alias = "one"
modules = [{ name = "one", file = "one.star" }]
viewer = ["look"]
[[services]]
alias = "two"
modules = [{ name = "two", file = "two.star" }]
[[spells]]
alias = "three"
file = "three.star"
[[init]]
service = "two"
function = "begin"
`)},
		"one.star":   {Data: []byte("def see():\n    pass\n")},
		"two.star":   {Data: []byte("def start():\n    pass\n")},
		"three.star": {Data: []byte("def run():\n    unknown()\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	all, err := Package(p)
	if err == nil {
		t.Fatal("nothing is wrong with it")
	}
	for _, want := range []string{
		"service one: viewer and admin name look",
		"init 1: service two does not define begin",
		"spell three: three.star:2:5: undefined: unknown",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant %q in it", err, want)
		}
	}
	if !slices.Equal(all["two"], []string{"start"}) {
		t.Errorf("service two has %v", all["two"])
	}
}
