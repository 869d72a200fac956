package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// fileOf reads the file that an argument @FILE names; @- is stdin. The shell
// leaves a ~ behind the @ alone, so it is made the home folder here.
func (a *App) fileOf(arg string) (path string, text []byte, err error) {
	path, isFile := strings.CutPrefix(arg, "@")
	switch {
	case arg == "-" || path == "-":
		text, err = io.ReadAll(a.Stdin)
		return "stdin", text, err
	case !isFile || path == "":
		return "", nil, usagef("want @FILE, got %q", arg)
	}
	path = a.home(path)
	text, err = os.ReadFile(path)
	if err != nil {
		return path, nil, usagef("read @FILE: %v", err)
	}
	return path, text, nil
}

// home is the path with a ~ at its beginning made the home folder.
func (a *App) home(path string) string {
	rest, under := strings.CutPrefix(path, "~/")
	if dir := a.env("HOME"); under && dir != "" {
		return filepath.Join(dir, rest)
	}
	return path
}

// named makes a name of any text: what may not be in a name becomes a dash.
func named(text string) string {
	fit := func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}
	name := strings.Trim(strings.Map(fit, text), "-")
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	return strings.TrimRight(name[:min(len(name), 48)], "-")
}

// tooLong is nil for a text of at most limit bytes.
func tooLong(what string, text []byte, limit int) error {
	if len(text) <= limit {
		return nil
	}
	return usagef("%s has %s; at most %s are taken", what, about(int64(len(text))), fmt.Sprint(about(int64(limit))))
}
