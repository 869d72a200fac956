package pack

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a TOML file: what it says, and on which line each key stands. Paths are
// as in services[0].modules[1].file.
type document struct {
	file  string
	tree  map[string]any
	lines map[string]int
}

func parse(file string, text []byte) (document, error) {
	d := document{file: file, lines: map[string]int{}}
	if err := toml.Unmarshal(text, &d.tree); err != nil {
		if e, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, column := e.Position()
			return d, fmt.Errorf("%s:%d:%d: %s", file, line, column, strings.TrimPrefix(e.Error(), "toml: "))
		}
		return d, fmt.Errorf("%s: %w", file, err)
	}
	d.mark(text)
	return d, nil
}

// at says where a path stands: file and line; of one that is not there, those of what it would be in.
func (d document) at(path string) string {
	for path != "" {
		if line, known := d.lines[path]; known {
			return fmt.Sprintf("%s:%d", d.file, line)
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return d.file
}

// mark notes the lines. The decoder keeps no positions, so the document is walked once more.
func (d document) mark(text []byte) {
	w := walk{lines: d.lines, count: map[string]int{}}
	w.parser.Reset(text)
	table := ""
	for w.parser.NextExpression() {
		switch e := w.parser.Expression(); e.Kind {
		case unstable.Table:
			table = w.name("", e.Key(), false)
		case unstable.ArrayTable:
			table = w.name("", e.Key(), true)
		case unstable.KeyValue:
			w.keyValue(table, e)
		}
	}
}

type walk struct {
	parser unstable.Parser
	lines  map[string]int
	count  map[string]int // elements of arrays of tables so far
}

func (w *walk) keyValue(table string, e *unstable.Node) {
	w.value(w.name(table, e.Key(), false), e.Value())
}

func (w *walk) value(path string, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		for inner := v.Children(); inner.Next(); {
			w.keyValue(path, inner.Node())
		}
	case unstable.Array:
		i := 0
		for inner := v.Children(); inner.Next(); i++ {
			w.value(path+"["+strconv.Itoa(i)+"]", inner.Node())
		}
	}
}

// name joins the parts of a dotted key and notes the line of each prefix that is new. A
// part that is an array of tables means its newest element; element begins another one.
func (w *walk) name(path string, parts unstable.Iterator, element bool) string {
	for parts.Next() {
		path = strings.TrimPrefix(path+"."+string(parts.Node().Data), ".")
		last := parts.IsLast()
		if last && element {
			w.count[path]++
		}
		line := w.parser.Shape(parts.Node().Raw).Start.Line
		w.note(path, line)
		if n := w.count[path]; n > 0 {
			path += "[" + strconv.Itoa(n-1) + "]"
			w.note(path, line)
		}
	}
	return path
}

func (w *walk) note(path string, line int) {
	if _, known := w.lines[path]; !known {
		w.lines[path] = line
	}
}
