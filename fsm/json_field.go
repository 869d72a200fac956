package fsm

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// This file changes a field of a JSON object inside apply. It reads JSON by the letter
// of RFC 8259 and by itself: what a library takes for JSON may differ from one release
// to the next, and two peers of different releases must not differ about a command.

// maxJSONDepth is how deep values may lie in each other.
const maxJSONDepth = 200

// withField is a JSON object with a field set to a value, which is JSON, or without the
// field when the value is empty. The other fields stay as they are written.
func withField(object, field, value string) (text string, ok bool) {
	members, ok := membersOf(object)
	if !ok {
		return "", false
	}
	var out []string
	placed := value == ""
	for _, m := range members {
		if m.name != field {
			out = append(out, m.text)
		} else if !placed {
			out, placed = append(out, quoted(field)+":"+value), true
		}
	}
	if !placed {
		out = append(out, quoted(field)+":"+value)
	}
	return "{" + strings.Join(out, ",") + "}", true
}

func validJSON(text string) bool {
	s := jsonScan{text: text}
	return s.value(0) && s.end()
}

// jsonMember is a field of an object as it is written.
type jsonMember struct{ name, text string }

func membersOf(object string) (all []jsonMember, ok bool) {
	s := jsonScan{text: object}
	ok = s.object(0, func(name, text string) { all = append(all, jsonMember{name, text}) })
	return all, ok && s.end()
}

// quoted is a text as a JSON string.
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ':
			b.WriteString(`\u00` + string("0123456789abcdef"[r>>4]) + string("0123456789abcdef"[r&15]))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// jsonScan walks over JSON text. Its methods tell whether what they expect was there.
type jsonScan struct {
	text string
	at   int
}

func (s *jsonScan) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

func (s *jsonScan) end() bool {
	s.space()
	return s.at == len(s.text)
}

// take steps over a character, behind white space.
func (s *jsonScan) take(c byte) bool {
	s.space()
	if s.at == len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *jsonScan) value(depth int) bool {
	s.space()
	if s.at == len(s.text) || depth > maxJSONDepth {
		return false
	}
	switch c := s.text[s.at]; c {
	case '{':
		return s.object(depth, func(string, string) {})
	case '[':
		return s.list(depth)
	case '"':
		_, ok := s.str()
		return ok
	default:
		for _, word := range []string{"true", "false", "null"} {
			if strings.HasPrefix(s.text[s.at:], word) {
				s.at += len(word)
				return true
			}
		}
	}
	return s.number()
}

// object gives each member to found: its name, and the whole as it is written without
// the white space between its parts.
func (s *jsonScan) object(depth int, found func(name, text string)) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	for {
		s.space()
		from := s.at
		name, ok := s.str()
		key := s.text[from:s.at]
		if !ok || !s.take(':') {
			return false
		}
		s.space()
		from = s.at
		if !s.value(depth + 1) {
			return false
		}
		found(name, key+":"+s.text[from:s.at])
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *jsonScan) list(depth int) bool {
	s.take('[')
	if s.take(']') {
		return true
	}
	for {
		if !s.value(depth + 1) {
			return false
		}
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// str reads a string, and gives what it means.
func (s *jsonScan) str() (text string, ok bool) {
	if s.at == len(s.text) || s.text[s.at] != '"' {
		return "", false
	}
	var b strings.Builder
	for s.at++; s.at < len(s.text); {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return b.String(), true
		case c < ' ':
			return "", false
		case c == '\\':
			r, ok := s.escape()
			if !ok {
				return "", false
			}
			b.WriteRune(r)
		default:
			b.WriteByte(c)
			s.at++
		}
	}
	return "", false
}

// escape reads what stands behind a backslash.
func (s *jsonScan) escape() (rune, bool) {
	if s.at+1 >= len(s.text) {
		return 0, false
	}
	c := s.text[s.at+1]
	if c == 'u' {
		return s.unicode()
	}
	s.at += 2
	at := strings.IndexByte(`"\/bfnrt`, c)
	if at < 0 {
		return 0, false
	}
	return rune("\"\\/\b\f\n\r\t"[at]), true
}

// unicode reads \uXXXX, or two of them that are one character.
func (s *jsonScan) unicode() (rune, bool) {
	r, ok := s.hex()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	before := s.at
	if strings.HasPrefix(s.text[s.at:], `\u`) {
		low, ok := s.hex()
		if !ok {
			return 0, false
		}
		if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
			return both, true
		}
		s.at = before // a character of its own
	}
	return utf8.RuneError, true
}

func (s *jsonScan) hex() (rune, bool) {
	if s.at+6 > len(s.text) {
		return 0, false
	}
	digits := s.text[s.at+2 : s.at+6]
	if strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 16)
	s.at += 6
	return rune(n), err == nil
}

func (s *jsonScan) number() bool {
	digits := func() bool {
		from := s.at
		for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
			s.at++
		}
		return s.at > from
	}
	has := func(of string) bool {
		if s.at < len(s.text) && strings.IndexByte(of, s.text[s.at]) >= 0 {
			s.at++
			return true
		}
		return false
	}
	has("-")
	if !has("0") && !digits() { // 0 stands alone
		return false
	}
	if has(".") && !digits() {
		return false
	}
	if has("eE") {
		has("+-")
		return digits()
	}
	return true
}
