package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/orchd/orchd/api/nearest"
)

// readFile reads a configuration file. A file that is not there is an empty one unless it must exist.
func readFile(path string, mustExist bool) (l layer, found bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !mustExist {
		return newLayer(), false, nil
	}
	if err != nil {
		return newLayer(), false, fmt.Errorf("read configuration: %w", err)
	}
	l, err = parseFile(path, data)
	return l, true, err
}

func parseFile(path string, data []byte) (layer, error) {
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		return newLayer(), syntaxError(path, err)
	}
	l := newLayer()
	return l, l.take(path, "", tree, lines(data))
}

// take sets every key of a table and of the tables in it, from the top of the file down.
func (l layer) take(file, prefix string, table map[string]any, line map[string]int) error {
	names := slices.SortedFunc(maps.Keys(table), func(a, b string) int { return line[prefix+a] - line[prefix+b] })
	var errs []error
	for _, name := range names {
		path := prefix + name
		origin := fmt.Sprintf("%s:%d", file, line[path])
		k, known := keyAt(path)
		inner, isTable := table[name].(map[string]any)
		switch {
		case known:
			errs = append(errs, l.set(k, table[name], origin))
		case isTable && (slices.Contains(tables(), path) || isOwnPackage(path)):
			errs = append(errs, l.take(file, path+".", inner, line))
		case slices.Contains(tables(), path):
			errs = append(errs, fmt.Errorf("%s: %s is a table; write [%s] and its keys below", origin, path, path))
		default:
			errs = append(errs, fmt.Errorf("%s: unknown key %s; %s", origin, path, meant(path)))
		}
	}
	return errors.Join(errs...)
}

// tables is every table of the file: "api", "vmm", "vmm.capacity", ...
func tables() []string {
	var all []string
	for _, path := range paths() {
		for i := range path {
			if path[i] == '.' && !slices.Contains(all, path[:i]) {
				all = append(all, path[:i])
			}
		}
	}
	return all
}

// meant says which key an unknown one was probably meant to be: one with nearly
// this name, or one of exactly this name in another table.
func meant(path string) string {
	if near := nearest.Of(path, append(paths(), tables()...)); near != "" {
		return "did you mean " + near + "?"
	}
	last := path[strings.LastIndex(path, ".")+1:]
	for _, p := range paths() {
		if strings.HasSuffix(p, "."+last) {
			return "did you mean " + p + "?"
		}
	}
	return "`orchd config show` lists all keys"
}

func syntaxError(path string, err error) error {
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := e.Position()
		return fmt.Errorf("%s:%d:%d: %s", path, line, column, strings.TrimPrefix(e.Error(), "toml: "))
	}
	return fmt.Errorf("%s: %w", path, err)
}

// lines says on which line each key and each table of a valid document first
// stands. The decoder folds the case of names and keeps no positions of the
// keys that it knows, so the document is walked once more.
func lines(data []byte) map[string]int {
	w := walk{lines: map[string]int{}}
	w.parser.Reset(data)
	table := ""
	for w.parser.NextExpression() {
		switch e := w.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = w.name("", e.Key()) + "."
		case unstable.KeyValue:
			w.keyValue(table, e)
		}
	}
	return w.lines
}

type walk struct {
	parser unstable.Parser
	lines  map[string]int
}

func (w *walk) keyValue(prefix string, e *unstable.Node) {
	path := w.name(prefix, e.Key())
	if v := e.Value(); v.Kind == unstable.InlineTable {
		for inner := v.Children(); inner.Next(); {
			w.keyValue(path+".", inner.Node())
		}
	}
}

// name joins the parts of a dotted key and notes the line of each prefix that is new.
func (w *walk) name(prefix string, parts unstable.Iterator) string {
	path := strings.TrimSuffix(prefix, ".")
	for parts.Next() {
		path = strings.TrimPrefix(path+"."+string(parts.Node().Data), ".")
		if w.lines[path] == 0 {
			w.lines[path] = w.parser.Shape(parts.Node().Raw).Start.Line
		}
	}
	return path
}
