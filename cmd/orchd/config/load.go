package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Sources are where a configuration comes from, besides the defaults.
type Sources struct {
	File    string            // as --config named it; empty: ORCHD_CONFIG, else DefaultFile if it is there
	Environ []string          // os.Environ()
	Flags   map[string]string // flags that were given, by their name without dashes
}

// Loaded is the configuration in force.
type Loaded struct {
	Config
	File    string            // the file that was read; empty: none
	origins map[string]string // by path, where it is not the default
}

// layer is the keys that one source sets.
type layer struct {
	values  map[string]any    // by path
	origins map[string]string // by path: "/etc/orchd/orchd.toml:3", "ORCHD_NAME", "--name"
}

func newLayer() layer { return layer{map[string]any{}, map[string]string{}} }

// Load reads all sources, the later ones winning: file, environment, flags.
// Its error tells everything that is wrong with them at once, one a line.
func Load(src Sources) (Loaded, error) {
	file, mustExist := src.file()
	fromFile, found, fileErr := readFile(file, mustExist)
	fromEnv, envErr := readEnviron(src.Environ)
	fromFlags, flagErr := readFlags(src.Flags)
	clock, clockErr := testClock(src.Environ)
	if err := errors.Join(fileErr, envErr, flagErr, clockErr); err != nil {
		return Loaded{}, err
	}
	l, err := merge(fromFile, fromEnv, fromFlags)
	if err != nil {
		return Loaded{}, err
	}
	if found {
		l.File = file
	}
	l.Clock = clock
	l.Given = map[string]bool{}
	for path := range l.origins {
		l.Given[path] = true
	}
	return l, l.placed(l.Validate())
}

func (src Sources) file() (path string, mustExist bool) {
	named := cmp.Or(src.File, lookup(src.Environ, envPrefix+"CONFIG"))
	return cmp.Or(named, DefaultFile), named != ""
}

// merge lays the layers over the defaults.
func merge(layers ...layer) (Loaded, error) {
	l := Loaded{Config: Default(), origins: map[string]string{}}
	k := koanf.New(".")
	for _, over := range layers {
		if err := k.Load(confmap.Provider(over.values, "."), nil); err != nil {
			return Loaded{}, err
		}
		maps.Copy(l.origins, over.origins)
	}
	if err := k.Unmarshal("", &l.Config); err != nil {
		return Loaded{}, fmt.Errorf("configuration: %w", err)
	}
	l.SystemServices.Settings = packageSettings(layers)
	return l, nil
}

func readFlags(given map[string]string) (layer, error) {
	l := newLayer()
	var errs []error
	for _, k := range keys {
		if v, ok := given[k.flag]; ok && k.flag != "" {
			errs = append(errs, l.set(k, v, "--"+k.flag))
		}
	}
	return l, errors.Join(errs...)
}

// set parses v as the value of k that stands at origin.
func (l layer) set(k key, v any, origin string) error {
	parsed, err := k.parse(v)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", origin, k.path, err)
	}
	l.values[k.path] = parsed
	l.origins[k.path] = origin
	return nil
}

// placed puts in front of each line of a validation error where its value came from.
func (l Loaded) placed(err error) error {
	if err == nil {
		return nil
	}
	var errs []error
	for _, line := range strings.Split(err.Error(), "\n") {
		path, _, _ := strings.Cut(line, ":")
		if origin := l.Origin(path); origin != fromDefault {
			line = origin + ": " + line
		}
		errs = append(errs, errors.New(line))
	}
	return errors.Join(errs...)
}

const fromDefault = "default"

// Origin says where the value of path came from: the file and line, the
// environment variable, the flag, or "default".
func (l Loaded) Origin(path string) string { return cmp.Or(l.origins[path], fromDefault) }

// Entry is one key in force.
type Entry struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

// Entries is every key, its value in force and where it came from.
func (l Loaded) Entries() []Entry {
	all := make([]Entry, len(keys))
	for i, k := range keys {
		all[i] = Entry{k.path, plain(k.value(&l.Config)), l.Origin(k.path)}
	}
	for _, path := range slices.Sorted(maps.Keys(l.origins)) {
		if k, own := ownPackage(path); own {
			all = append(all, Entry{path, plain(k.value(&l.Config)), l.Origin(path)})
		}
	}
	return all
}

// plain is a value as it would be written in the file.
func plain(v any) any {
	if s, ok := v.(fmt.Stringer); ok {
		return s.String()
	}
	return v
}

// lookup finds a variable in an environment; the last one wins, as in a shell.
func lookup(environ []string, name string) string {
	for _, pair := range slices.Backward(environ) {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v
		}
	}
	return ""
}

// DataDir is the data folder that the file names, for clients that look for
// the peer's socket; DefaultDataDir when the file says nothing or cannot be read.
func DataDir(src Sources) string {
	file, _ := src.file()
	l, _, err := readFile(file, true)
	if dir, ok := l.values["data_dir"].(string); ok && err == nil {
		return dir
	}
	return DefaultDataDir
}
