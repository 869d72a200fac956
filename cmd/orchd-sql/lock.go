package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// lock is what closes the engine, in this order: after the last line nothing of
// it can be changed. DuckDB resolves symbolic links and ".." before it compares a
// path with the allowed folder.
func lock(folder string, o options) []string {
	inside := folder + string(filepath.Separator)
	return []string{
		"SET memory_limit = " + quoted(o.memory),
		fmt.Sprintf("SET threads = %d", o.threads),
		"SET TimeZone = 'UTC'",
		"SET temp_directory = " + quoted(inside+spill),
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET allow_community_extensions = false",
		"SET allow_persistent_secrets = false",
		"SET allowed_directories = [" + quoted(inside) + "]",
		"SET enable_external_access = false", // but for the allowed folder
		"SET lock_configuration = true",
	}
}

// spill is the folder for what does not fit into memory, inside the engine's own.
const spill = ".spill"

// quoted is a text as SQL writes it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// kind is what a statement does.
type kind int

const (
	change kind = iota // of tables and views in memory
	result             // it has rows
	plan               // it explains one that has
)

// errRefused is behind the error of a statement that is not for this engine.
var errRefused = errors.New("refused")

// logs is a function that writes files from within a SELECT, whatever is locked.
var logs = regexp.MustCompile(`(?i)\benable_(logging|profiling|profile)\b`)

// kindOf is what a statement does, and refuses those that touch more than
// memory. DuckDB itself says what it is, so that nothing hides behind a comment.
func (e *engine) kindOf(text string) (kind, error) {
	if logs.MatchString(text) {
		return 0, fmt.Errorf("%w: the engine writes no logs here", errRefused)
	}
	var t duckdb.StmtType
	err := e.prepared(text, func(s *duckdb.Stmt) (err error) {
		t, err = s.StatementType()
		return err
	})
	switch {
	case err != nil && strings.Contains(err.Error(), "multi-statement"): // the driver's own error has no type
		return 0, fmt.Errorf("%w: this is more than one statement; a PIVOT needs its values: PIVOT ... ON column IN (...)", errRefused)
	case err != nil:
		return 0, err
	}
	switch t {
	case duckdb.STATEMENT_TYPE_SELECT:
		return result, nil
	case duckdb.STATEMENT_TYPE_EXPLAIN:
		return plan, e.explains(text)
	case duckdb.STATEMENT_TYPE_CREATE, duckdb.STATEMENT_TYPE_DROP, duckdb.STATEMENT_TYPE_INSERT,
		duckdb.STATEMENT_TYPE_UPDATE, duckdb.STATEMENT_TYPE_DELETE:
		return change, nil
	}
	return 0, fmt.Errorf("%w: only SELECT and what makes tables and views in memory runs here; the files of the cluster are read, never written", errRefused)
}

var explainForm = regexp.MustCompile(`(?is)^explain(\s+analyze)?(\s*\([^)]*\))?\s`)

// explains refuses to explain what would not be run: EXPLAIN ANALYZE runs it.
func (e *engine) explains(text string) error {
	for n, kind := token(text); kind == blank; n, kind = token(text) {
		text = text[n:]
	}
	refusal := fmt.Errorf("%w: only a SELECT can be explained here", errRefused)
	head := explainForm.FindString(text)
	if head == "" {
		return refusal
	}
	inner, err := e.kindOf(text[len(head):])
	if err == nil && inner != result {
		return refusal
	}
	return err
}
