package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/duckdb/duckdb-go/v2"
)

// formats are what -o takes.
var formats = []string{"table", "csv", "json", "parquet"}

// printer brings results to people and programs.
type printer struct {
	format  string
	headers bool
	out     io.Writer
	file    string // takes the result in place of out; absolute
}

// rfc3339 is how programs read times, all of them in UTC.
const rfc3339 = "%Y-%m-%dT%H:%M:%S.%fZ"

// result prints the rows of a statement and tells how many they are.
func (p printer) result(ctx context.Context, e *engine, text string) (rows int64, err error) {
	if p.format == "table" {
		return p.table(ctx, e, text)
	}
	copied, err := p.copied(e, text)
	if err != nil {
		return 0, err
	}
	part := filepath.Join(e.folder, ".result")
	defer os.Remove(part)
	if err := e.conn.QueryRowContext(ctx, "COPY ("+copied+") TO "+quoted(part)+" "+p.options()).Scan(&rows); err != nil {
		return 0, err
	}
	return rows, p.deliver(part)
}

// copied is a statement, any that has rows, as COPY takes it.
func (p printer) copied(e *engine, text string) (string, error) {
	all := "SELECT * FROM (" + text + "\n)" // a new line, for a comment may end the text
	if p.format != "json" {
		return all, nil
	}
	moments, err := e.moments(all)
	if err != nil || len(moments) == 0 {
		return all, err
	}
	for i, name := range moments { // else JSON has them in DuckDB's words
		moments[i] = fmt.Sprintf("timezone('UTC', %s) AS %[1]s", identifier(name))
	}
	return "SELECT * REPLACE (" + strings.Join(moments, ", ") + ") FROM (" + text + "\n)", nil
}

// moments are the columns of a statement that are points in time, if each column has a name of its own.
func (e *engine) moments(text string) (names []string, err error) {
	err = e.prepared(text, func(s *duckdb.Stmt) error {
		n, err := s.ColumnCount()
		seen := map[string]bool{}
		for i := range n {
			name, nameErr := s.ColumnName(i)
			t, typeErr := s.ColumnType(i)
			if err = errors.Join(err, nameErr, typeErr); err == nil && t == duckdb.TYPE_TIMESTAMP_TZ {
				names = append(names, name)
			}
			if seen[strings.ToLower(name)] {
				names = nil
				return err
			}
			seen[strings.ToLower(name)] = true
		}
		return err
	})
	return names, err
}

// identifier is a name as SQL writes it.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func (p printer) options() string {
	switch p.format {
	case "csv":
		return fmt.Sprintf("(FORMAT csv, HEADER %t, TIMESTAMPFORMAT %s)", p.headers, quoted(rfc3339))
	case "json":
		return "(FORMAT json, ARRAY true, TIMESTAMPFORMAT " + quoted(rfc3339) + ")"
	default:
		return "(FORMAT parquet)"
	}
}

// deliver brings a finished file to where it should go. Whoever reads the result
// never has half of it, for it comes when all of it is there.
func (p printer) deliver(part string) (err error) {
	from, err := os.Open(part)
	if err != nil {
		return err
	}
	defer from.Close()
	if p.file == "" {
		_, err = io.Copy(p.out, from)
		return err
	}
	return replace(p.file, from)
}

// replace puts a file in place of what has its name, if all of it could be written.
func replace(path string, from io.Reader) (err error) {
	to, err := os.CreateTemp(filepath.Dir(path), ".orchd-sql-*")
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the result: %w", err)
			os.Remove(to.Name())
		}
	}()
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	return os.Rename(to.Name(), path)
}

// table prints columns for people.
func (p printer) table(ctx context.Context, e *engine, text string) (int64, error) {
	rows, err := e.conn.QueryContext(ctx, "SELECT COLUMNS(*)::VARCHAR FROM ("+text+"\n)")
	if isSyntax(err) { // PRAGMA gives rows and cannot stand in a FROM
		rows, err = e.conn.QueryContext(ctx, text)
	}
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	if p.file == "" {
		return p.columns(rows, p.out)
	}
	var all strings.Builder
	n, err := p.columns(rows, &all)
	if err != nil {
		return n, err
	}
	return n, replace(p.file, strings.NewReader(all.String()))
}

func isSyntax(err error) bool {
	e, ok := errors.AsType[*duckdb.Error](err)
	return ok && e.Type == duckdb.ErrorTypeParser
}

// columns lays rows out.
func (p printer) columns(rows *sql.Rows, out io.Writer) (n int64, err error) {
	names, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.StripEscape)
	if p.headers {
		fmt.Fprintln(w, strings.Join(mapped(names, visible), "\t"))
	}
	values := make([]any, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		if _, err := fmt.Fprintln(w, strings.Join(mapped(values, cell), "\t")); err != nil {
			return n, err
		}
	}
	return n, errors.Join(rows.Err(), w.Flush())
}

// cell is a value as a table shows it; a dash stands for null.
func cell(v any) string {
	if v == nil {
		return "-"
	}
	return visible(fmt.Sprint(v))
}

// visible is a text on one line, without what a terminal would obey.
func visible(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

func mapped[A, B any](from []A, f func(A) B) []B {
	to := make([]B, 0, len(from))
	for v := range slices.Values(from) {
		to = append(to, f(v))
	}
	return to
}

// plan prints what EXPLAIN says, whatever the format: it is made for reading.
func (p printer) plan(ctx context.Context, e *engine, text string) (int64, error) {
	rows, err := e.conn.QueryContext(ctx, text)
	if err != nil {
		return -1, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, drawing string
		if err := rows.Scan(&name, &drawing); err != nil {
			return -1, err
		}
		if _, err := fmt.Fprintln(p.out, strings.TrimRight(drawing, "\n")); err != nil {
			return -1, err
		}
	}
	return -1, rows.Err()
}
