package inventory

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsText tells whether s may stand in a field: valid UTF-8 without control
// characters but tab and line ends.
func IsText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !IsTextRune(r) })
}

// IsTextRune tells whether a text may hold r. Decoders of JSON put U+FFFD in place of
// invalid UTF-8 and of half a surrogate pair, so that U+FFFD is the sign of both.
func IsTextRune(r rune) bool {
	return r != utf8.RuneError && (!unicode.IsControl(r) || r == '\t' || r == '\n' || r == '\r')
}
