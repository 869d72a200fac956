package cli

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"gopkg.in/yaml.v3"
)

// formats are what -o takes. table is for people and may change; the others are for programs.
var formats = []string{"table", "wide", "json", "yaml", "name", "csv"}

// column is one fact about a T.
type column[T any] struct {
	head string
	wide bool // shown by wide, csv and show only
	text func(T) string
	key  string         // its name in csv; empty: head in lower case
	raw  func(T) string // its value in csv, where a program wants more than text says; nil: text
}

// listing is how resources of one kind are printed.
type listing[T any] struct {
	name    func(T) string // what -o name prints
	order   func(T, T) int // nil: by name
	columns []column[T]
}

// all prints a list, in its order.
func (l listing[T]) all(a *App, items []T) error {
	slices.SortStableFunc(items, l.compare)
	switch format := a.flags.output; format {
	case "json", "yaml":
		return printObject(a.Stdout, format, notNil(items))
	case "name":
		return printNames(a.Stdout, items, l.name)
	case "csv":
		return l.csv(a, items)
	default:
		if len(items) == 0 {
			a.say("nothing to list")
			return nil
		}
		return l.table(a, items)
	}
}

func (l listing[T]) compare(x, y T) int {
	if l.order != nil {
		return l.order(x, y)
	}
	return strings.Compare(l.name(x), l.name(y))
}

// one prints a single resource: as a row of its own, or every fact on a line.
func (l listing[T]) one(a *App, item T) error {
	switch format := a.flags.output; format {
	case "json", "yaml":
		return printObject(a.Stdout, format, item)
	case "table", "wide":
		return l.facts(a.Stdout, item)
	default:
		return l.all(a, []T{item})
	}
}

// result prints what a command made or changed: one row of its listing.
func (l listing[T]) result(a *App, item T) error {
	if a.flags.output == "table" || a.flags.output == "wide" {
		return l.all(a, []T{item})
	}
	return l.one(a, item)
}

func (l listing[T]) table(a *App, items []T) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 8, 3, ' ', 0)
	if !a.flags.noHeaders {
		fmt.Fprintln(w, strings.Join(l.row(a, func(c column[T]) string { return c.head }), "\t"))
	}
	for _, item := range items {
		fmt.Fprintln(w, strings.Join(l.row(a, func(c column[T]) string { return dash(c.text(item)) }), "\t"))
	}
	return w.Flush()
}

func (l listing[T]) row(a *App, cell func(column[T]) string) []string {
	var cells []string
	for _, c := range l.columns {
		if !c.wide || a.flags.output == "wide" {
			cells = append(cells, cell(c))
		}
	}
	return cells
}

func (l listing[T]) facts(out io.Writer, item T) error {
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	for _, c := range l.columns {
		if v := c.text(item); v != "" {
			fmt.Fprintf(w, "%s\t%s\n", strings.ToLower(c.head), v)
		}
	}
	return w.Flush()
}

func (l listing[T]) csv(a *App, items []T) error {
	w := csv.NewWriter(a.Stdout)
	var row []string
	for _, c := range l.columns {
		row = append(row, cmp.Or(c.key, strings.ToLower(c.head)))
	}
	if !a.flags.noHeaders {
		w.Write(row)
	}
	for _, item := range items {
		for i, c := range l.columns {
			row[i] = c.value(item)
		}
		w.Write(row)
	}
	w.Flush()
	return w.Error()
}

func (c column[T]) value(item T) string {
	if c.raw != nil {
		return c.raw(item)
	}
	return c.text(item)
}

// dash stands for nothing in a table, so that its columns can be cut by their number.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// notNil is the list itself, empty rather than null in JSON.
func notNil[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

func printNames[T any](w io.Writer, items []T, name func(T) string) error {
	for _, item := range items {
		if _, err := fmt.Fprintln(w, name(item)); err != nil {
			return err
		}
	}
	return nil
}

// object prints what is no listing: as JSON or YAML, else as human writes it.
func (a *App) object(v any, human func(io.Writer) error) error {
	if err := a.suitsObject(); err != nil {
		return err
	}
	if format := a.flags.output; format == "json" || format == "yaml" {
		return printObject(a.Stdout, format, v)
	}
	return human(a.Stdout)
}

// suitsObject refuses an output format that object does not know. A command asks first
// whose work cannot be shown later.
func (a *App) suitsObject() error {
	switch a.flags.output {
	case "json", "yaml", "table", "wide":
		return nil
	}
	return usagef("-o %s does not suit this command; use table, json or yaml", a.flags.output)
}

func printObject(w io.Writer, format string, v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	if format == "yaml" {
		return printYAML(w, text.Bytes())
	}
	_, err := w.Write(text.Bytes())
	return err
}

// printLine writes JSON on one line.
func printLine(w io.Writer, raw json.RawMessage) error {
	var text bytes.Buffer
	if err := json.Compact(&text, raw); err != nil {
		return err
	}
	text.WriteByte('\n')
	_, err := w.Write(text.Bytes())
	return err
}

// printDocument writes JSON as a YAML document, one of several.
func printDocument(w io.Writer, raw json.RawMessage) error {
	if _, err := io.WriteString(w, "---\n"); err != nil {
		return err
	}
	return printObject(w, "yaml", raw)
}

// printYAML writes JSON as YAML, with its names and their order. JSON is YAML
// already; only the way it is written changes.
func printYAML(w io.Writer, jsonText []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(jsonText, &doc); err != nil {
		return err
	}
	block(&doc)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return err
	}
	return e.Close()
}

func block(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		block(c)
	}
}

// say writes a line of progress, warning or hint to stderr; --quiet silences it.
func (a *App) say(format string, args ...any) {
	if !a.flags.quiet {
		fmt.Fprintf(a.Stderr, format+"\n", args...)
	}
}
