package cli

import (
	"regexp"
	"slices"
	"strings"

	"github.com/orchd/orchd/fsm"
)

// historySchema is where the versions of a table are, under the table's name.
const historySchema = "history"

// changesName is the table of all changes.
const changesName = "changes"

// wanted is what must be fetched for a statement.
type wanted struct {
	tables  []string // as they are at the moment that is asked about
	history []string // tables of which all versions are
	changes bool
}

// sqlNames are all names that a statement can use.
func sqlNames() []string {
	names := append(fsm.RecordedTables(), changesName)
	for _, t := range fsm.RecordedTables() {
		names = append(names, historySchema+"."+t)
	}
	for _, v := range readyViews {
		names = append(names, v.name)
	}
	return names
}

// wantedIn is what a statement needs, beside what was asked for by name: in an
// interactive session, where nobody knows it yet, all that there is.
func wantedIn(text string, named []string, interactive bool) (wanted, error) {
	var w wanted
	for _, name := range named {
		if !slices.Contains(sqlNames(), name) {
			return w, unknownWord("table", name, sqlNames())
		}
		w.add(name)
	}
	if interactive && len(named) == 0 {
		named = sqlNames()
	}
	if interactive {
		text = strings.Join(named, " ")
	}
	w.scan(text)
	return w, nil
}

var (
	sqlWord = regexp.MustCompile(`[a-z_][a-z0-9_]*`)
	version = regexp.MustCompile(`"?\bhistory"?\s*\.\s*"?([a-z_][a-z0-9_]*)`)
)

// scan finds names wherever they stand as words, also in comments and strings:
// to fetch too much costs time, to fetch too little would cost the answer.
func (w *wanted) scan(text string) {
	text = strings.ToLower(text)
	text = version.ReplaceAllStringFunc(text, func(m string) string {
		w.add(historySchema + "." + version.FindStringSubmatch(m)[1])
		return " "
	})
	found := sqlWord.FindAllString(text, -1)
	for _, word := range found {
		w.add(word)
		if slices.Contains(found, historySchema) { // with something between it and the table
			w.add(historySchema + "." + word)
		}
	}
}

// add notes a name, and what a view of that name stands on; an unknown one is nothing.
func (w *wanted) add(name string) {
	for _, v := range readyViews {
		if v.name == name {
			for _, need := range v.needs {
				w.add(need)
			}
			return
		}
	}
	table, versions := strings.CutPrefix(name, historySchema+".")
	switch {
	case name == changesName:
		w.changes = true
	case !slices.Contains(fsm.RecordedTables(), table):
	case versions:
		w.history = withOne(w.history, table)
	default:
		w.tables = withOne(w.tables, table)
	}
}

func withOne(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// has tells whether a name is among what was fetched.
func (w wanted) has(name string) bool {
	if table, versions := strings.CutPrefix(name, historySchema+"."); versions {
		return slices.Contains(w.history, table)
	}
	return slices.Contains(w.tables, name) || name == changesName && w.changes
}
