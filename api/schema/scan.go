package schema

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/orchd/orchd/api/inventory"
)

// maxDepth bounds how deep arrays and objects may nest.
const maxDepth = 32

// scanner reads JSON (RFC 8259) as strictly as every reader would: UTF-8, no key
// twice, no control characters, numbers that a float64 holds. Each method reads
// one thing and tells whether it was there; after a no the scanner is of no use.
// Strings that need no unescaping share the memory of the text.
type scanner struct {
	text  string
	at    int
	depth int
}

// next is the next byte that is no white space, 0 at the end; it is not taken.
func (s *scanner) next() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// take takes the next byte if it is c.
func (s *scanner) take(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

// ended tells whether nothing follows.
func (s *scanner) ended() bool {
	return s.next() == 0 && s.at == len(s.text)
}

// string reads a string.
func (s *scanner) string() (string, bool) {
	if !s.take('"') {
		return "", false
	}
	begin := s.at
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[begin : s.at-1], true
		case c == '\\':
			return s.escaped(begin)
		case c < ' ' || c == 0x7f:
			return "", false
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, size := utf8.DecodeRuneInString(s.text[s.at:])
			if !inventory.IsTextRune(r) {
				return "", false
			}
			s.at += size
		}
	}
	return "", false
}

// escaped reads a string with escapes, whose text begins at begin.
func (s *scanner) escaped(begin int) (string, bool) {
	for s.at < len(s.text) && s.text[s.at] != '"' {
		if s.text[s.at] == '\\' {
			s.at++
		}
		s.at++
	}
	if s.at >= len(s.text) {
		return "", false
	}
	s.at++
	var plain string
	if json.Unmarshal([]byte(s.text[begin-1:s.at]), &plain) != nil {
		return "", false
	}
	return plain, inventory.IsText(plain)
}

// object reads an object; member reads the value of a key.
func (s *scanner) object(member func(key string) bool) bool {
	if !s.take('{') || !s.deeper() {
		return false
	}
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return false
		}
		key, ok := s.string()
		if !ok || !s.take(':') || !member(key) {
			return false
		}
	}
	s.depth--
	return true
}

// array reads an array; item reads one of its values.
func (s *scanner) array(item func() bool) bool {
	if !s.take('[') || !s.deeper() {
		return false
	}
	for first := true; !s.take(']'); first = false {
		if !first && !s.take(',') || !item() {
			return false
		}
	}
	s.depth--
	return true
}

func (s *scanner) deeper() bool {
	s.depth++
	return s.depth <= maxDepth
}

// value reads any value and keeps nothing of it.
func (s *scanner) value() bool {
	switch s.next() {
	case '{':
		keys := map[string]bool{}
		return s.object(func(key string) bool {
			twice := keys[key]
			keys[key] = true
			return !twice && s.value()
		})
	case '[':
		return s.array(s.value)
	case '"':
		_, ok := s.string()
		return ok
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		_, ok := s.number()
		return ok
	}
}

func (s *scanner) word(w string) bool {
	s.next()
	if !strings.HasPrefix(s.text[s.at:], w) {
		return false
	}
	s.at += len(w)
	return true
}

// number reads a number and gives its text.
func (s *scanner) number() (string, bool) {
	s.next()
	begin := s.at
	s.skip("-")
	switch { // no leading zeros
	case s.skip("0") == 1:
		if s.at < len(s.text) && isDigit(s.text[s.at]) {
			return "", false
		}
	case s.digits() == 0:
		return "", false
	}
	if s.skip(".") == 1 && s.digits() == 0 {
		return "", false
	}
	if s.skip("eE") == 1 {
		s.skip("+-")
		if s.digits() == 0 {
			return "", false
		}
	}
	text := s.text[begin:s.at]
	_, err := strconv.ParseFloat(text, 64)
	return text, err == nil
}

// skip takes one byte if it is one of set, and says how many it took.
func (s *scanner) skip(set string) int {
	if s.at < len(s.text) && strings.IndexByte(set, s.text[s.at]) >= 0 {
		s.at++
		return 1
	}
	return 0
}

// digits takes digits and says how many.
func (s *scanner) digits() int {
	begin := s.at
	for s.at < len(s.text) && isDigit(s.text[s.at]) {
		s.at++
	}
	return s.at - begin
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// maxVersion is the largest version that every reader of JSON holds exactly.
const maxVersion = 1<<53 - 1

// version reads a version: a whole number from 0 to maxVersion, written in any way.
func (s *scanner) version() (uint64, bool) {
	text, ok := s.number()
	if !ok {
		return 0, false
	}
	f, _ := strconv.ParseFloat(text, 64)
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n, n <= maxVersion
	}
	return uint64(f), f >= 0 && f <= maxVersion && f == math.Trunc(f)
}

// bool reads a truth value.
func (s *scanner) bool() (value, ok bool) {
	if s.next() == 't' {
		return true, s.word("true")
	}
	return false, s.word("false")
}

// time reads an RFC 3339 time.
func (s *scanner) time() (time.Time, bool) {
	text, ok := s.string()
	var t time.Time
	return t, ok && t.UnmarshalText([]byte(text)) == nil
}

// piece reads a value that begins with one of first and keeps its text.
func (s *scanner) piece(first string) (inventory.Object, bool) {
	c := s.next()
	begin := s.at
	if strings.IndexByte(first, c) < 0 || !s.value() {
		return "", false
	}
	var o inventory.Object
	return o, o.UnmarshalJSON([]byte(s.text[begin:s.at])) == nil
}
