package pack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/orchd/orchd/api"
)

// Names of the files of a package that are no code.
const (
	manifestFile = "package.toml"
	settingsFile = "config.toml"
)

// source is a folder as it was read: With makes the package of it anew.
type source struct {
	manifest document
	settings map[string]any // of the folder: package.toml's under config.toml's
	files    map[string]file
}

// file is a file of the folder that package.toml names.
type file struct {
	content []byte
	err     error
}

// LoadDir reads the package in the folder dir. Nothing outside of it is read, whatever
// links there are in it.
func LoadDir(dir string) (p Package, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Package{}, fmt.Errorf("read package: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return load(root.FS(), dir+string(os.PathSeparator))
}

// Load reads the package in the root of a file system.
func Load(folder fs.FS) (Package, error) { return load(folder, "") }

// load reads a package; place stands before the names of files in errors.
func load(folder fs.FS, place string) (Package, error) {
	src, err := read(folder, place)
	if err != nil {
		return Package{}, err
	}
	return src.make(src.settings)
}

// read takes in the folder. What it finds wrong with the settings file is put with what
// is wrong with the package under the folder's own settings, so that all is said at once.
func read(folder fs.FS, place string) (*source, error) {
	text, err := readFile(folder, manifestFile, api.MaxScript)
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", place, manifestFile, err)
	}
	manifest, err := parse(place+manifestFile, text)
	if err != nil {
		return nil, err
	}
	src := &source{manifest: manifest, settings: manifest.settings(), files: map[string]file{}}
	own, err := src.overlay(folder, place+settingsFile)
	if err != nil {
		_, also := src.named(folder).make(src.settings)
		return nil, errors.Join(err, also)
	}
	src.settings = own
	return src.named(folder), nil
}

// named reads the files that package.toml names.
func (s *source) named(folder fs.FS) *source {
	for _, name := range s.manifest.names() {
		content, err := readFile(folder, name, api.MaxModule)
		s.files[name] = file{content, err}
	}
	return s
}

// overlay is the settings of package.toml with those of config.toml, if there is one, in their place.
func (s *source) overlay(folder fs.FS, place string) (map[string]any, error) {
	text, err := readFile(folder, settingsFile, api.MaxScript)
	if errors.Is(err, fs.ErrNotExist) {
		return s.settings, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	own, err := parse(place, text)
	if err != nil {
		return nil, err
	}
	return override(s.settings, own.tree, own.at)
}

// readFile reads a file of at most limit bytes.
func readFile(folder fs.FS, name string, limit int64) (content []byte, err error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%q is no path inside the package such as lib/a.star", name)
	}
	f, err := folder.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no file %s in the package: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	content, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return content, err
}

// With is the package with other settings: those given take the place of its own, key
// by key. Texts are taken for what the setting is: 60 for a number, a,b for a list.
func (p Package) With(settings map[string]any) (Package, error) {
	if len(settings) == 0 || p.Fault != nil {
		return p, nil
	}
	own, err := override(p.Settings, settings, func(path string) string { return "settings of package " + p.Name })
	if err != nil {
		return Package{}, err
	}
	return p.source.make(own)
}
