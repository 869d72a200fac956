package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// reference is the document that describes every key.
const reference = "../../../docs/reference/configuration.md"

// documented is a row of its table.
type documented struct{ path, value, flag, meaning string }

func readReference(t *testing.T) (rows []documented) {
	t.Helper()
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || !strings.HasPrefix(line, "| `") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, documented{bare(cells[1]), cells[2], bare(cells[3]), cells[4]})
	}
	return rows
}

// bare is a cell without the marks of code around it.
func bare(cell string) string { return strings.Trim(cell, "`") }

// TestReferenceHasEveryKey compares the document with the table of keys: the
// same keys in the same order, with the flags and the defaults that they have.
func TestReferenceHasEveryKey(t *testing.T) {
	rows := readReference(t)
	var listed []string
	for _, row := range rows {
		listed = append(listed, row.path)
	}
	if got, want := strings.Join(listed, "\n"), strings.Join(paths(), "\n"); got != want {
		t.Fatalf("%s lists these keys:\n%s\n\nwant these:\n%s", reference, got, want)
	}
	defaults := Default()
	for i, row := range rows {
		k := keys[i]
		if got := strings.TrimPrefix(row.flag, "--"); got != k.flag {
			t.Errorf("%s: the document has the flag %q, want %q", k.path, got, k.flag)
		}
		if len(row.meaning) < len("which libvirt") {
			t.Errorf("%s: the document does not say what it means: %q", k.path, row.meaning)
		}
		if want := show(k.value(&defaults)); !ofTheHost[k.path] && documentedDefault(t, k, row.value) != want {
			t.Errorf("%s: the document has the default %s, want %s", k.path, row.value, want)
		}
	}
}

// ofTheHost are the keys whose default is found out from the host.
var ofTheHost = map[string]bool{"name": true, "advertise": true}

// documentedDefault is a default as the document has it, in the form of show.
func documentedDefault(t *testing.T, k key, cell string) string {
	t.Helper()
	if cell == "`{}`" {
		return fmt.Sprint(map[string]string(nil))
	}
	v, err := k.parse(strings.Trim(bare(cell), `"`))
	if err != nil {
		t.Errorf("%s: the document has the default %s: %v", k.path, cell, err)
	}
	return show(v)
}
