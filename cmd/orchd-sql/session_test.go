package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/peterh/liner"
)

// typist is a person who types fixed lines; "^C" is the key.
type typist struct {
	lines, history, prompts []string
}

func (p *typist) Prompt(prompt string) (string, error) {
	p.prompts = append(p.prompts, prompt)
	if len(p.lines) == 0 {
		return "", io.EOF
	}
	line := p.lines[0]
	p.lines = p.lines[1:]
	if line == "^C" {
		return "", liner.ErrPromptAborted
	}
	return line, nil
}

func (p *typist) AppendHistory(item string) { p.history = append(p.history, item) }

// converse gives what the program prints when these lines are typed.
func converse(t *testing.T, lines ...string) (out, notes string, p *typist) {
	t.Helper()
	e := opened(t, folder(t))
	var result, said bytes.Buffer
	p = &typist{lines: lines}
	s := newSession(e, printer{format: "table", headers: true, out: &result}, &said)
	if err := s.talk(t.Context(), p); err != nil {
		t.Errorf("talk: %v", err)
	}
	return result.String(), said.String(), p
}

func TestSession(t *testing.T) {
	out, notes, p := converse(t, "select name,", "  free from hosts", "limit 1; select 7 as", "seven;", "", "selec 2;", "select 3", "^C", `\q`, "select 4;")
	if want := "name   free\nh1     3\nseven\n7\n"; out != want {
		t.Errorf("printed %q, want %q", out, want)
	}
	for _, want := range []string{"(1 rows", `syntax error at or near "selec"`} {
		if !strings.Contains(notes, want) {
			t.Errorf("noted %q, want %q in it", notes, want)
		}
	}
	if want := []string{"select name, free from hosts limit 1;", "select 7 as seven;", "selec 2;", `\q`}; !slices.Equal(p.history, want) {
		t.Errorf("history %q, want %q", p.history, want)
	}
	if len(p.lines) != 1 || p.prompts[0] != "orchd> " || p.prompts[1] != "   ... " {
		t.Errorf("%q was not read, prompts %q", p.lines, p.prompts)
	}
}

func TestSessionCommands(t *testing.T) {
	out, notes, _ := converse(t, `\d`, `\d history.hosts`, `\nonsense`, "create temp table t as select 1;", `\d t`)
	for _, want := range []string{"those we have", "history.hosts", "TIMESTAMP WITH TIME ZONE", "INTEGER"} {
		if !strings.Contains(out, want) {
			t.Errorf("printed %q, want %q in it; noted %q", out, want, notes)
		}
	}
	if !strings.Contains(notes, `\d NAME`) {
		t.Errorf("noted %q, want help", notes)
	}
}

func TestCompletion(t *testing.T) {
	e := opened(t, folder(t))
	w, err := e.words(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"select na|":            "select |name|",
		"select|":               "|select|",
		"select h.fr| from h":   "select h.|free| from h",
		"from history.|":        "from |history.hosts|",
		"from h|":               "from |hosts history.hosts having|",
		"sele":                  "",
		`\d|`:                   `|\d|`,
		"from ü, HO| x":         "from ü, |hosts| x",
		"select xyzzy|":         "select ||",
		"select count(fr|)":     "select count(|free from|)",
		"select since from ho|": "select since from |hosts|",
	} {
		before, after, ok := strings.Cut(line, "|")
		if !ok {
			continue
		}
		head, got, tail := w.complete(before+after, len([]rune(before)))
		if got := head + "|" + strings.Join(got, " ") + "|" + tail; got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}
