package main

import (
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
		rest string
	}{
		{"", nil, ""},
		{"select 1", nil, "select 1"},
		{"select 1;", []string{"select 1"}, ""},
		{" select 1 ; select\n2;\n", []string{"select 1", "select\n2"}, ""},
		{";;", nil, ""},
		{"select ';'; select 2", []string{"select ';'"}, "select 2"},
		{"select 'it''s;'; x", []string{"select 'it''s;'"}, "x"},
		{`select "a;b" from t;`, []string{`select "a;b" from t`}, ""},
		{`select e'\';' ; x`, []string{`select e'\';'`}, "x"},
		{`select like'\'; x`, []string{`select like'\'`}, "x"},
		{"select $$;$$; x", []string{"select $$;$$"}, "x"},
		{"select $a$;$$;$a$; x", []string{"select $a$;$$;$a$"}, "x"},
		{"select $1; x", []string{"select $1"}, "x"},
		{"-- one; two\nselect 1; -- the end;", []string{"-- one; two\nselect 1"}, ""},
		{"/* a; /* b; */ c; */ select 1;", []string{"/* a; /* b; */ c; */ select 1"}, ""},
		{"select 'open; ", nil, "select 'open;"},
		{"select /* open; ", nil, "select /* open;"},
		{"/* open; ", nil, ""},
		{"select 'ü;' ä;", []string{"select 'ü;' ä"}, ""},
	} {
		got, rest := split(c.text)
		if !slices.Equal(got, c.want) || rest != c.rest {
			t.Errorf("split(%q) = %q, %q; want %q, %q", c.text, got, rest, c.want, c.rest)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, text := range []string{"select 1; 'a''b'; $$x$$; /* /* */ */ -- y\n; e'\\'", "/*/", "'", "$", "e'\\"} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) { split(text) }) // it ends, and never reads beyond the text
}
