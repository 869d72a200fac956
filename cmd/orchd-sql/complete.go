package main

import (
	"context"
	"slices"
	"strings"
)

// tablesQuery lists what a person can ask for.
const tablesQuery = `SELECT CASE schema_name WHEN 'main' THEN '' ELSE schema_name || '.' END || name AS "table", columns, comment FROM (
	SELECT schema_name, view_name AS name, column_count AS columns, comment FROM duckdb_views() WHERE NOT internal
	UNION ALL SELECT schema_name, table_name, column_count, comment FROM duckdb_tables() WHERE NOT internal)
	ORDER BY schema_name <> 'main', name`

const columnsQuery = `SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal ORDER BY ALL`

// keywords are those of SQL that are worth a tab.
var keywords = strings.Fields(`select from where group by order limit offset having join left inner using on as and or not
	null is in between like ilike distinct count sum avg min max case when then else end with union all desc asc interval
	describe summarize explain exists unnest coalesce date_trunc now timestamptz`)

// words are what the tab key knows.
type words struct{ tables, columns []string }

// words reads the names of tables and columns.
func (e *engine) words(ctx context.Context) (w words, err error) {
	if w.tables, err = e.texts(ctx, `SELECT "table" FROM (`+tablesQuery+`)`); err != nil {
		return w, err
	}
	w.columns, err = e.texts(ctx, columnsQuery)
	return w, err
}

// texts reads the only column of a statement.
func (e *engine) texts(ctx context.Context, text string) (all []string, err error) {
	rows, err := e.conn.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// complete is what the word that ends at pos may become. Behind a dot, as in
// v.name, comes a column, or the table of a schema.
func (w words) complete(line string, pos int) (head string, completions []string, tail string) {
	begin := []rune(line)[:pos] // liner counts characters
	from := len(begin)
	for from > 0 && (isNameRune(begin[from-1]) || begin[from-1] == '\\') {
		from--
	}
	head, tail = string(begin[:from]), string([]rune(line)[pos:])
	typed := strings.ToLower(string(begin[from:]))
	candidates := slices.Concat(w.tables, w.columns, keywords, []string{`\d`, `\q`})
	if dot := strings.LastIndexByte(typed, '.'); dot >= 0 && !slices.ContainsFunc(w.tables, func(t string) bool { return strings.HasPrefix(t, typed[:dot+1]) }) {
		head += string(begin[from : from+len([]rune(typed[:dot+1]))])
		typed, candidates = typed[dot+1:], w.columns
	}
	for _, c := range candidates {
		if strings.HasPrefix(strings.ToLower(c), typed) && !slices.Contains(completions, c) {
			completions = append(completions, c)
		}
	}
	return head, completions, tail
}

func isNameRune(r rune) bool {
	return r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
