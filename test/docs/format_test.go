// Package docs compares pages of the documentation with the code they speak of.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

const formatPage = "docs/format.md"

// line is what the page says of a column or field in one line of a table; line[0] is its name.
type line []string

// page is the tables of a markdown page, without their heads, by the heading above them.
func page(t *testing.T, path string) map[string][]line {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return tablesIn(string(text))
}

func tablesIn(text string) map[string][]line {
	tables := map[string][]line{}
	heading, body := "", false // body: behind the line of dashes
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "#"):
			heading, body = strings.Trim(l, "# "), false
		case !strings.HasPrefix(l, "|"):
			body = false
		case strings.HasPrefix(l, "|--"):
			body = true
		case body:
			tables[heading] = append(tables[heading], cells(l))
		}
	}
	return tables
}

// cells are the texts between the bars of a line.
func cells(l string) line {
	var out line
	for cell := range strings.SplitSeq(strings.Trim(l, "|"), "|") {
		out = append(out, strings.TrimSpace(cell))
	}
	out[0] = strings.Trim(out[0], "`")
	return out
}

// said is what stands under a heading, and an error of the page where a line
// is cut short or says nothing at its end.
func said(under string, lines []line, width int) (wrong []string) {
	for _, l := range lines {
		if len(l) != width || slices.Contains(l, "") || strings.Contains(l[len(l)-1], toWrite) {
			wrong = append(wrong, fmt.Sprintf("%s, line of %s: want %d cells, none of them empty: %q", under, l[0], width, l))
		}
	}
	return wrong
}

const toWrite = "WHAT IT MEANS"

// compare says how lines differ from what the code has, and what to write. The last cell of
// each, which is for people, is not compared.
func compare(under string, got, want []line) (wrong []string) {
	for _, w := range want {
		at := slices.IndexFunc(got, func(l line) bool { return l[0] == w[0] })
		switch {
		case at < 0:
			wrong = append(wrong, fmt.Sprintf("%s: %s is missing; add\n%s", under, w[0], w.markdown(toWrite)))
		case len(got[at]) > len(w) && !slices.Equal(got[at][:len(w)], w):
			wrong = append(wrong, fmt.Sprintf("%s: %s is otherwise; make it\n%s", under, w[0], w.markdown(got[at][len(w)])))
		}
	}
	for _, l := range got {
		if !slices.ContainsFunc(want, func(w line) bool { return w[0] == l[0] }) {
			wrong = append(wrong, fmt.Sprintf("%s: the code has no %s; take its line out", under, l[0]))
		}
	}
	if wrong = append(wrong, said(under, got, len(want[0])+1)...); len(wrong) > 0 {
		return wrong
	}
	for i, w := range want {
		if got[i][0] != w[0] {
			return []string{fmt.Sprintf("%s: %s stands where the files have %s", under, got[i][0], w[0])}
		}
	}
	return nil
}

// markdown is the line as the page has it.
func (l line) markdown(meaning string) string {
	return "| `" + l[0] + "` | " + strings.Join(append(slices.Clone(l[1:]), meaning), " | ") + " |"
}

// columnLines are what the page has to say of columns; types maps parquet's spelling to the page's.
func columnLines(columns []snapshot.Column, types map[string]string) []line {
	var out []line
	for _, c := range columns {
		null := "no"
		switch {
		case c.Secret:
			null = "secret"
		case c.Optional:
			null = "yes"
		}
		word := types[c.Type]
		if word == "" {
			word = c.Type + " (the page's table of types has no word for this)"
		}
		out = append(out, line{c.Name, word, null})
	}
	return out
}

// typeWords are the page's own words for types, by parquet's spelling.
func typeWords(lines []line) map[string]string {
	words := map[string]string{}
	for _, l := range lines {
		words[strings.ReplaceAll(l[1], "`", "")] = l[0]
	}
	return words
}

// fileOf is where the rows of a table lie in a snapshot.
func fileOf(l fsm.Layout) string {
	if l.Parts {
		return l.Table + "/part-NNNN.parquet"
	}
	return l.Table + ".parquet"
}

// TestFormatPage compares docs/format.md with the columns that the code writes. A
// failure says which line to add, to change or to take out.
func TestFormatPage(t *testing.T) {
	tables := page(t, formatPage)
	types := typeWords(tables["Types"])
	report := func(wrong []string) {
		for _, w := range wrong {
			t.Error(w)
		}
	}
	var overview []line
	for _, l := range fsm.Layouts() {
		public := "no"
		if l.Offered {
			public = "yes"
		}
		overview = append(overview, line{l.Table, "`" + fileOf(l) + "`", public})
		report(compare(l.Table, tables["`"+l.Table+"`"], columnLines(l.Columns, types)))
	}
	report(compare("The tables", tables["The tables"], overview))
	report(compare("changes", tables["`changes`"], columnLines(snapshot.MustCodec[snapshot.Change]().Columns(), types)))
	report(compare("manifest.json", tables["`manifest.json`"], fieldLines(reflect.TypeFor[snapshot.Manifest](), "")))
}

// TestFormatPageHasNoOthers finds tables that the page describes and the code does not have.
func TestFormatPageHasNoOthers(t *testing.T) {
	known := map[string]bool{"changes": true, "manifest.json": true, "snapshot.json": true}
	for _, l := range fsm.Layouts() {
		known[l.Table] = true
	}
	for heading := range page(t, formatPage) {
		if _, of := strings.CutPrefix(heading, "`"); of && !known[strings.Trim(heading, "`")] {
			t.Errorf("%s describes %s, which the code does not have; take it out", formatPage, heading)
		}
	}
}

// fieldLines are the fields of a JSON document; those of an element of a list behind NAME[].
func fieldLines(t reflect.Type, path string) []line {
	var out []line
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, line{path + name})
		if f.Type.Kind() == reflect.Slice {
			out = append(out, fieldLines(f.Type.Elem(), path+name+"[].")...)
		}
	}
	return out
}

// TestCompare breaks a page in each way that must be noticed.
func TestCompare(t *testing.T) {
	columns := []snapshot.Column{{Name: "id", Type: "BYTE_ARRAY STRING"}, {Name: "at", Type: "INT64", Optional: true}, {Name: "key", Type: "BYTE_ARRAY", Optional: true, Secret: true}}
	types := map[string]string{"BYTE_ARRAY STRING": "text", "INT64": "int64", "BYTE_ARRAY": "bytes"}
	const whole = "### `t`\n| column | type | null | meaning |\n|---|---|---|---|\n| `id` | text | no | its id |\n| `at` | int64 | yes | when |\n| `key` | bytes | secret | sealed |\n"
	for name, c := range map[string]struct{ old, new, want string }{
		"as it is":        {"", "", ""},
		"missing":         {"| `at` | int64 | yes | when |\n", "", "t: at is missing; add\n| `at` | int64 | yes | WHAT IT MEANS |"},
		"superfluous":     {"| `key`", "| `old` | text | no | gone |\n| `key`", "t: the code has no old"},
		"another type":    {"at` | int64", "at` | time", "t: at is otherwise; make it\n| `at` | int64 | yes | when |"},
		"not optional":    {"int64 | yes", "int64 | no", "t: at is otherwise"},
		"not secret":      {"bytes | secret", "bytes | yes", "t: key is otherwise"},
		"no meaning":      {"| its id |", "| |", "t, line of id: want 4 cells"},
		"nobody wrote it": {"when", toWrite, "t, line of at"},
		"cut short":       {"| no | its id |", "| no |", "t, line of id: want 4 cells"},
		"another order":   {"| `id` | text | no | its id |\n| `at` | int64 | yes | when |\n", "| `at` | int64 | yes | when |\n| `id` | text | no | its id |\n", "t: at stands where the files have id"},
		"no table":        {whole, "", "t: id is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			tables := tablesIn(strings.Replace(whole, c.old, c.new, 1))
			wrong := compare("t", tables["`t`"], columnLines(columns, types))
			if c.want == "" && len(wrong) > 0 {
				t.Errorf("got %q, want nothing", wrong)
			}
			if c.want != "" && !slices.ContainsFunc(wrong, func(w string) bool { return strings.HasPrefix(w, c.want) }) {
				t.Errorf("got %q, want one that begins %q", wrong, c.want)
			}
		})
	}
}
