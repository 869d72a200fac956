package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/orchd/orchd/api"
)

// maxDepth bounds how deep arrays and objects may nest.
const maxDepth = 32

// checkJSON takes a body only if it is one JSON object (RFC 8259) that every
// reader understands alike: UTF-8, no key twice, whole numbers of 64 bits, no
// control characters. What is no JSON object at all is Malformed, a bad value
// in one is Invalid with a pointer to it. encoding/json forgives all of these.
func checkJSON(body []byte, verbatim string) error {
	_, fields, err := parseVerbatim(body, verbatim)
	if err != nil {
		return err
	}
	return invalid("body", fields)
}

// parseJSON gives the tree of a body as huma's validation wants it, with keys
// escaped (see escapeKey), and every field that no reader should take.
func parseJSON(body []byte) (map[string]any, []api.FieldError, error) {
	return parseVerbatim(body, "")
}

// parseVerbatim is parseJSON where numbers below one pointer may be any.
func parseVerbatim(body []byte, verbatim string) (map[string]any, []api.FieldError, error) {
	p := parser{dec: json.NewDecoder(bytes.NewReader(body)), verbatim: verbatim}
	p.dec.UseNumber()
	first, err := p.dec.Token()
	if err != nil || first != json.Delim('{') {
		return nil, nil, malformed("the body must be a JSON object")
	}
	tree, err := p.object("", 1)
	if err != nil {
		return nil, nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, malformed("something follows the JSON object")
	}
	return tree, p.bad, nil
}

func malformed(detail string) error {
	return &api.Error{Kind: api.Malformed, Op: "body", Msg: detail, Fields: []api.FieldError{{Pointer: "", Detail: detail}}}
}

type parser struct {
	dec *json.Decoder
	bad []api.FieldError
	// verbatim is where values begin that are handed on as they stand: numbers there
	// need not be whole. Empty: nowhere.
	verbatim string
}

// everywhere is the beginning of each pointer within a body.
const everywhere = "/"

func (p *parser) refuse(pointer, detail string) {
	p.bad = append(p.bad, api.FieldError{Pointer: pointer, Detail: detail})
}

// object reads up to the closing brace.
func (p *parser) object(at string, depth int) (map[string]any, error) {
	tree := map[string]any{}
	for p.dec.More() {
		token, err := p.dec.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return nil, malformed("the body is not valid JSON")
		}
		here := at + "/" + escapePointer(key)
		p.text(here, key)
		value, err := p.value(here, depth)
		if err != nil {
			return nil, err
		}
		if _, twice := tree[escapeKey(key)]; twice {
			p.refuse(here, "this key is there twice")
		}
		tree[escapeKey(key)] = value
	}
	return tree, p.end()
}

// array reads up to the closing bracket.
func (p *parser) array(at string, depth int) ([]any, error) {
	list := []any{}
	for p.dec.More() {
		value, err := p.value(at+"/"+strconv.Itoa(len(list)), depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, p.end()
}

func (p *parser) end() error {
	if _, err := p.dec.Token(); err != nil {
		return malformed("the body is not valid JSON")
	}
	return nil
}

func (p *parser) value(at string, depth int) (any, error) {
	token, err := p.dec.Token()
	if err != nil {
		return nil, malformed("the body is not valid JSON")
	}
	switch t := token.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, malformed("the body nests too deep")
		}
		if t == '{' {
			return p.object(at, depth+1)
		}
		return p.array(at, depth+1)
	case string:
		p.text(at, t)
	case json.Number:
		n, err := strconv.ParseInt(t.String(), 10, 64)
		if err != nil && (p.verbatim == "" || !strings.HasPrefix(at, p.verbatim)) {
			p.refuse(at, "expected a whole number of at most 64 bits, written in digits")
		}
		return n, nil
	}
	return token, nil
}

// text refuses what a string must not hold. The decoder puts U+FFFD in place of
// invalid UTF-8 and of half a surrogate pair, so that U+FFFD is the sign of both.
func (p *parser) text(at, s string) {
	switch {
	case strings.ContainsRune(s, unicode.ReplacementChar):
		p.refuse(strings.ToValidUTF8(at, ""), "expected valid UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) }):
		p.refuse(at, "control characters are not allowed")
	}
}

// escapePointer makes one key a token of a JSON pointer (RFC 6901).
func escapePointer(key string) string { return pointerEscaper.Replace(key) }

var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

// huma writes where it found an error as body.labels.KEY, items as [N], and so
// cannot tell a dot in a key from one between keys. Its tree therefore gets
// control characters for them, which no key holds that came through checkJSON.
var (
	keyEscaper   = strings.NewReplacer(".", "\x01", "[", "\x02", "]", "\x03")
	keyUnescaper = strings.NewReplacer("\x01", ".", "\x02", "[", "\x03", "]", "~", "~0", "/", "~1")
	indexAsStep  = strings.NewReplacer("[", ".", "]", "")
)

func escapeKey(key string) string { return keyEscaper.Replace(key) }

// pointerTo is the JSON pointer for one of huma's locations: body.spec.vcpus is
// /spec/vcpus, query.limit is /query/limit.
func pointerTo(location string) string {
	steps := strings.Split(indexAsStep.Replace(location), ".")
	if steps[0] == "body" {
		steps = steps[1:]
	}
	pointer := ""
	for _, step := range steps {
		pointer += "/" + keyUnescaper.Replace(step)
	}
	return pointer
}
