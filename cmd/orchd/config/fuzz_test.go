package config

import (
	"strings"
	"testing"
)

// FuzzFile: a configuration file is refused with its name and a line, or what is in
// force can be told key by key.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"name = \"h1\"\nvoters = 3\n", "[api]\nlisten = \":7700\"\n", "api.listen = 7\n", "[snapshot]\nretain = 9223372036854775808\n", "nane = 1\n",
		"name = \"a\"\nname = \"b\"\n", "[vmm.overcommit]\ndisk_percent = -1\n", "name = '''\n\x00'''", "\xff\xfe", "[a]\n[[a]]\n", "vmm.memory = \"4GiB\"\n", "[package.decider]\nx = 1\n", strings.Repeat("[", 100)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const file = "/etc/orchd/orchd.toml"
		l, err := parseFile(file, text)
		if err != nil {
			if !strings.Contains(err.Error(), file) {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		loaded, err := merge(l)
		if err != nil {
			return
		}
		loaded.Config.Validate()
		for _, e := range loaded.Entries() {
			loaded.Origin(e.Key)
		}
	})
}

// FuzzEnvironment: variables, sizes, and the bent clock of tests.
func FuzzEnvironment(f *testing.F) {
	for _, seed := range []string{"ORCHD_API__LISTEN=:1", "ORCHD_VOTERS=three", "ORCHD_NAME", "ORCHD_=", "ORCHD_A__B__C=1", "ORCHD_TEST_CLOCK=90s,1.01", "ORCHD_TEST_CLOCK=1e400,NaN", "ORCHD_TEST_CLOCK=,", "4GiB", "18446744073709551616MiB", "1.5TiB", "-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pair string) {
		if l, err := readEnviron([]string{pair}); err == nil {
			merge(l)
		}
		testClock([]string{pair})
		if size, err := ParseSize(pair); err == nil && size < 0 {
			t.Errorf("%q is %v", pair, size)
		}
	})
}
