package server

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/orchd/orchd/api"
)

const maxLabelValue = 255 // characters

var labelKey = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,63}$`)

// labelErrors checks labels: keys of 1 to 63 of A-Z a-z 0-9 . _ / -, values of
// up to 255 characters that can be shown.
func labelErrors(at string, labels map[string]string) []api.FieldError {
	var bad []api.FieldError
	for key, value := range labels {
		here := at + "/" + escapePointer(key)
		if !labelKey.MatchString(key) {
			bad = append(bad, api.FieldError{Pointer: here, Detail: "a label's key is 1 to 63 of A-Z a-z 0-9 . _ / -"})
		}
		if !showable(value, maxLabelValue) {
			bad = append(bad, api.FieldError{Pointer: here, Detail: "a label's value is at most 255 printable characters"})
		}
	}
	return bad
}

// showable tells whether s is valid UTF-8 that prints on one line, of at most limit characters.
func showable(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// nameErrors checks a new name; a UUID would be taken for an id.
func nameErrors(at, name string) []api.FieldError {
	if api.ValidName(name) {
		return nil
	}
	return []api.FieldError{{Pointer: at, Detail: "a name is 1 to 63 of a-z 0-9 -, does not begin with -, and is no UUID"}}
}

// sortFields gives errors the same order each time.
func sortFields(fields []api.FieldError) {
	slices.SortStableFunc(fields, func(a, b api.FieldError) int { return strings.Compare(a.Pointer, b.Pointer) })
}
