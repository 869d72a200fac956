package main

import (
	"regexp"
	"strings"
)

// split cuts text into statements at the semicolons that are outside of strings,
// names and comments. rest is what no semicolon ends; empty when that is only
// space and comments. It decides where a line ends, and never what may run.
func split(text string) (statements []string, rest string) {
	from, empty := 0, true
	for at := 0; at < len(text); {
		n, kind := token(text[at:])
		switch kind {
		case ends:
			if !empty {
				statements = append(statements, strings.TrimSpace(text[from:at]))
			}
			from, empty = at+n, true
		case word:
			empty = false
		}
		at += n
	}
	if !empty {
		rest = strings.TrimSpace(text[from:])
	}
	return statements, rest
}

// tokenKind is what a piece of SQL is to split.
type tokenKind int

const (
	blank tokenKind = iota // space and comments
	word                   // whatever else
	ends                   // a semicolon
)

var dollar = regexp.MustCompile(`^\$([A-Za-z_][A-Za-z_0-9]*)?\$`)

// token is the length of the first piece of text, which is not empty.
func token(text string) (int, tokenKind) {
	switch c := text[0]; {
	case c == ';':
		return 1, ends
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		return 1, blank
	case strings.HasPrefix(text, "--"):
		return through(text, 2, "\n"), blank
	case strings.HasPrefix(text, "/*"):
		return comment(text), blank
	case c == '\'' || c == '"':
		return through(text, 1, string(c)), word // a doubled quote begins the next string
	case (c == 'e' || c == 'E') && strings.HasPrefix(text[1:], "'"):
		return escaped(text), word
	case c == '$':
		if tag := dollar.FindString(text); tag != "" {
			return through(text, len(tag), tag), word
		}
		return 1, word
	default:
		return name(text), word
	}
}

// through is the length of text up to the end of the first end behind from.
func through(text string, from int, end string) int {
	if i := strings.Index(text[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(text)
}

// comment is the length of a comment that may hold others.
func comment(text string) int {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(text)
}

// escaped is the length of a string in which a backslash hides what follows.
func escaped(text string) int {
	for i := 2; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '\'':
			return i + 1
		}
	}
	return len(text)
}

// name is the length of a word, whole, so that the e of "like'..." begins no string; else 1.
func name(text string) int {
	n := 0
	for n < len(text) && (text[n] == '_' || text[n] >= '0' && text[n] <= '9' || text[n]|0x20 >= 'a' && text[n]|0x20 <= 'z' || text[n] >= 0x80) {
		n++
	}
	return max(n, 1)
}
