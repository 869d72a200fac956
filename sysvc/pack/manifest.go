package pack

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
)

// manifest is package.toml.
type manifest struct {
	Name        string         `json:"name"`
	Version     string         `json:"version"`
	Scope       string         `json:"scope"`
	Account     string         `json:"account"`
	Description string         `json:"description"`
	Grants      api.Grants     `json:"grants"`
	Settings    map[string]any `json:"settings"`
	Services    []serviceDecl  `json:"services"`
	Spells      []spellDecl    `json:"spells"`
	Init        []initDecl     `json:"init"`
}

type serviceDecl struct {
	Alias   string       `json:"alias"`
	CallTTL int64        `json:"call_ttl"`
	Modules []moduleDecl `json:"modules"`
	Viewer  []string     `json:"viewer"`
	Admin   []string     `json:"admin"`
}

type moduleDecl struct {
	Name     string         `json:"name"`
	File     string         `json:"file"`
	Settings map[string]any `json:"settings"`
}

type spellDecl struct {
	Alias   string                     `json:"alias"`
	File    string                     `json:"file"`
	CallTTL int64                      `json:"call_ttl"`
	KV      map[string]json.RawMessage `json:"kv"`
	Trigger api.Trigger                `json:"trigger"`
}

type initDecl struct {
	Service  string          `json:"service"`
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args"`
}

// settings are those that package.toml gives.
func (d document) settings() map[string]any {
	settings, _ := d.tree["settings"].(map[string]any)
	if settings == nil {
		return map[string]any{}
	}
	return settings
}

// names are the files that package.toml names.
func (d document) names() (names []string) {
	for _, service := range tables(d.tree["services"]) {
		for _, module := range tables(service["modules"]) {
			names = append(names, text(module["file"]))
		}
	}
	for _, spell := range tables(d.tree["spells"]) {
		names = append(names, text(spell["file"]))
	}
	return names
}

func tables(v any) (all []map[string]any) {
	list, _ := v.([]any)
	for _, e := range list {
		table, _ := e.(map[string]any)
		all = append(all, table)
	}
	return all
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// fillable are the parts of package.toml in which texts can stand for settings.
var fillable = []string{"grants.http", "services.modules.settings", "spells.kv", "spells.trigger", "init.args"}

// filled is package.toml with the settings in it.
func (d document) filled(settings map[string]any) (map[string]any, error) {
	f := filler{settings: settings, at: d.at}
	tree, _ := f.reach(d.tree, "", "").(map[string]any)
	return tree, errors.Join(f.errs...)
}

// reach fills what is fillable in v; kind is path without numbers.
func (f *filler) reach(v any, path, kind string) any {
	if slices.Contains(fillable, kind) {
		return f.fill(path, v)
	}
	switch v := v.(type) {
	case map[string]any:
		all := make(map[string]any, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all[name] = f.reach(v[name], strings.TrimPrefix(path+"."+name, "."), strings.TrimPrefix(kind+"."+name, "."))
		}
		return all
	case []any:
		all := make([]any, len(v))
		for i, e := range v {
			all[i] = f.reach(e, fmt.Sprintf("%s[%d]", path, i), kind)
		}
		return all
	}
	return v
}

// decode makes the manifest of a document. The error lists every key that is unknown
// and every value of a wrong sort.
func (d document) decode(tree map[string]any) (m manifest, err error) {
	s := shape{at: d.at}
	s.check("", tree, reflect.TypeFor[manifest]())
	if err := errors.Join(s.errs...); err != nil {
		return m, err
	}
	raw, err := json.Marshal(tree)
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		return m, fmt.Errorf("%s: %w", d.file, err)
	}
	return m, nil
}

// shape compares what a file has with the types that it is read into.
type shape struct {
	at   func(path string) string
	errs []error
}

func (s *shape) wrong(path, format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf("%s: %s%s", s.at(path), path, fmt.Sprintf(format, args...)))
}

// sorts says what is wanted of values of a kind.
var sorts = map[reflect.Kind]string{
	reflect.String: "a text in quotes", reflect.Bool: "true or false", reflect.Int64: "a whole number",
	reflect.Slice: "a list in [ ]", reflect.Struct: "a table", reflect.Map: "a table",
}

func (s *shape) check(path string, v any, want reflect.Type) {
	switch {
	case v == nil: // a text that names no setting: that was said
		return
	case want == reflect.TypeFor[json.RawMessage]() || want.Kind() == reflect.Interface:
		return
	case !fits(reflect.TypeOf(v).Kind(), want.Kind()):
		s.wrong(path, ": want %s, got %v", sorts[want.Kind()], v)
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			s.key(path, name, v[name], want)
		}
	case []any:
		for i, e := range v {
			s.check(fmt.Sprintf("%s[%d]", path, i), e, want.Elem())
		}
	}
}

func fits(got, want reflect.Kind) bool {
	return got == want || got == reflect.Map && want == reflect.Struct
}

// key checks one key of a table.
func (s *shape) key(path, name string, v any, want reflect.Type) {
	inner := strings.TrimPrefix(path+"."+name, ".")
	if want.Kind() == reflect.Map {
		s.check(inner, v, want.Elem())
		return
	}
	known := fields(want)
	if field, is := known[name]; is {
		s.check(inner, v, field)
		return
	}
	if err := refused(want, name); err != nil {
		s.wrong(inner, ": %v", err)
		return
	}
	s.wrong(inner, " is an unknown key; %s", meant(name, slices.Sorted(maps.Keys(known))))
}

// refused says why a key that is no field is refused by its name, as a blockchain trigger is.
func refused(want reflect.Type, name string) error {
	if want != reflect.TypeFor[api.Trigger]() || name != "blockchain" {
		return nil
	}
	return new(api.Trigger).UnmarshalJSON([]byte(`{"blockchain":{}}`))
}

// fields are the types of the fields of a struct, by their JSON names.
func fields(t reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		all[name] = t.Field(i).Type
	}
	return all
}
