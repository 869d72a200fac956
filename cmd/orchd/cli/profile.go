package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/orchd/orchd/api/nearest"
	"github.com/orchd/orchd/cmd/orchd/config"
)

// profileFile is the user's own list of clusters, ~/.config/orchd/config.toml.
type profileFile struct {
	Current  string                  `toml:"current"` // name of the context in use
	Contexts map[string]contextEntry `toml:"contexts"`
}

// contextEntry is one cluster and how to reach it.
type contextEntry struct {
	Addr       string `toml:"addr"` // as --addr takes it
	TokenFile  string `toml:"token_file,omitempty"`
	CACert     string `toml:"cacert,omitempty"`
	ClientCert string `toml:"client_cert,omitempty"`
	ClientKey  string `toml:"client_key,omitempty"`
}

// profilePath is empty when this process has no home.
func (a *App) profilePath() string {
	dir := a.env("XDG_CONFIG_HOME")
	if dir == "" && a.env("HOME") != "" {
		dir = filepath.Join(a.env("HOME"), ".config")
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "orchd", "config.toml")
}

// profile is the target that the user's profile names; found is false when there is none.
func (a *App) profile() (t target, found bool, err error) {
	want := cmp.Or(a.flags.context, a.env("ORCHD_CONTEXT"))
	path := a.profilePath()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && want == "" {
		return target{}, false, nil
	}
	if err != nil {
		return target{}, false, fmt.Errorf("read profile: %w", err)
	}
	p, err := parseProfile(path, text)
	if err != nil {
		return target{}, false, err
	}
	entry, err := p.context(path, cmp.Or(want, p.Current))
	if err != nil {
		return target{}, false, err
	}
	token, err := tokenIn(entry.TokenFile)
	return target{
		addrs: strings.Split(entry.Addr, ","), token: token, cacert: entry.CACert,
		clientCert: entry.ClientCert, key: entry.ClientKey, from: path,
	}, true, err
}

func parseProfile(path string, text []byte) (profileFile, error) {
	var p profileFile
	err := toml.NewDecoder(strings.NewReader(string(text))).DisallowUnknownFields().Decode(&p)
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		line, _ := strict.Errors[0].Position()
		return p, fmt.Errorf("%s:%d: unknown key %s", path, line, strings.Join(strict.Errors[0].Key(), "."))
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := bad.Position()
		return p, fmt.Errorf("%s:%d: %s", path, line, strings.TrimPrefix(bad.Error(), "toml: "))
	}
	return p, err
}

func (p profileFile) context(path, name string) (contextEntry, error) {
	entry, ok := p.Contexts[name]
	if !ok {
		f := &failure{exitUsage, fmt.Sprintf("%s has no context %q", path, name), ""}
		if near := nearest.Of(name, slices.Sorted(maps.Keys(p.Contexts))); near != "" {
			f.hint = "did you mean " + near + "?"
		}
		return entry, f
	}
	if entry.Addr == "" {
		return entry, usagef("%s: context %s has no addr", path, name)
	}
	return entry, nil
}

// writeProfile notes how to reach the cluster that was just made on this host,
// unless the user has a profile already: that one may be of another cluster.
func (a *App) writeProfile(dataDir string) error {
	path := a.profilePath()
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	text, err := toml.Marshal(profileFile{"default", map[string]contextEntry{"default": {Addr: "unix://" + config.SocketPath(dataDir)}}})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
