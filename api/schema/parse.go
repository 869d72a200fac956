package schema

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// parser makes a tree of JSON and notes what no reader should take, with a
// pointer to it. It stands on encoding/json, which forgives all of that.
type parser struct {
	dec    *json.Decoder
	bad    []api.FieldError
	values int // read so far
}

// maxValues bounds the tree: a body of nothing but wrong values would otherwise
// take a hundred times its size, for each has an error of its own.
const maxValues = 1 << 20

func newParser(body []byte) *parser {
	p := &parser{dec: json.NewDecoder(bytes.NewReader(body))}
	p.dec.UseNumber()
	return p
}

func (p *parser) refuse(at, detail string) {
	if len(p.bad) < maxFaults {
		p.bad = append(p.bad, api.FieldError{Pointer: strings.ToValidUTF8(at, ""), Detail: detail})
	}
}

// value reads one value, below depth arrays and objects.
func (p *parser) value(at string, depth int) (any, error) {
	token, err := p.dec.Token()
	if err != nil {
		return nil, malformed(notJSON)
	}
	if p.values++; p.values > maxValues {
		return nil, malformed("the body holds too many values")
	}
	switch t := token.(type) {
	case json.Delim:
		if depth++; depth > maxDepth {
			return nil, malformed("the body nests too deep")
		}
		if t == '{' {
			return p.object(at, depth)
		}
		return p.array(at, depth)
	case string:
		p.text(at, t)
	case json.Number:
		n, err := strconv.ParseFloat(t.String(), 64)
		if err != nil {
			p.refuse(at, "this number is too large")
		}
		return n, nil
	}
	return token, nil
}

func (p *parser) object(at string, depth int) (any, error) {
	tree := map[string]any{}
	for p.dec.More() {
		token, err := p.dec.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return nil, malformed(notJSON)
		}
		here := at + "/" + escape(key)
		p.text(here, key)
		value, err := p.value(here, depth)
		if err != nil {
			return nil, err
		}
		if _, twice := tree[key]; twice {
			p.refuse(here, "this key is there twice")
		}
		tree[key] = value
	}
	_, err := p.dec.Token()
	return tree, err
}

func (p *parser) array(at string, depth int) (any, error) {
	list := []any{}
	for p.dec.More() {
		value, err := p.value(at+"/"+strconv.Itoa(len(list)), depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := p.dec.Token()
	return list, err
}

// text refuses what a string must not hold; see inventory.IsText.
func (p *parser) text(at, s string) {
	switch {
	case strings.ContainsRune(s, '\uFFFD'):
		p.refuse(at, "expected valid UTF-8")
	case !inventory.IsText(s):
		p.refuse(at, "control characters are not allowed")
	}
}

// escape makes one key a token of a JSON pointer (RFC 6901).
func escape(key string) string { return escaper.Replace(key) }

var escaper = strings.NewReplacer("~", "~0", "/", "~1")
