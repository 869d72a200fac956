package starlark

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	sljson "go.starlark.net/lib/json"
	sl "go.starlark.net/starlark"
)

// Bounds of JSON that is made of values of scripts, and the other way round.
const (
	maxNested = 200     // lists and dicts within each other
	maxText   = 4 << 20 // bytes; results and what hosts are given may be far smaller
)

var (
	errNested = fmt.Errorf("lists and dicts may be nested %d deep", maxNested)
	errText   = fmt.Errorf("it would be more than %d bytes of JSON", maxText)
)

// FromJSON makes the value that JSON stands for: dicts keep the order of the text, whole
// numbers are exact ints, however long, and all others are floats.
func FromJSON(text []byte) (sl.Value, error) {
	if err := checkNesting(text); err != nil {
		return nil, err
	}
	var thread sl.Thread
	return sljson.Module.Members["decode"].(*sl.Builtin).CallInternal(&thread, sl.Tuple{sl.String(text)}, nil)
}

// checkNesting finds JSON that nests too deeply to be read by recursion.
func checkNesting[T string | []byte](text T) error {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > maxNested {
				return errNested
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

// ToJSON is the value as JSON: dicts must have strings as keys, and keep their order;
// lists, tuples and sets are arrays; structs are objects.
func ToJSON(v sl.Value) (json.RawMessage, error) {
	return appendValue(nil, v, 0)
}

// field is a field of an object.
type field struct {
	name  string
	value sl.Value
}

func objectToJSON(fields []field) (json.RawMessage, error) { return appendFields(nil, fields, 0) }

func appendValue(to []byte, v sl.Value, depth int) ([]byte, error) {
	switch {
	case depth > maxNested:
		return nil, errNested
	case len(to) > maxText:
		return nil, errText
	}
	switch v := v.(type) {
	case sl.NoneType:
		return append(to, "null"...), nil
	case sl.Bool:
		return fmt.Appendf(to, "%t", bool(v)), nil
	case sl.Int:
		return appendInt(to, v)
	case sl.Float:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("%s is not a number that JSON has", v)
		}
		return append(to, v.String()...), nil // always with a point or an exponent: it stays a float
	case sl.String:
		return appendString(to, string(v))
	case sl.Bytes:
		return nil, errors.New("bytes have no place in JSON: use base64.encode or hex.encode")
	case sl.IterableMapping:
		return appendDict(to, v, depth)
	case sl.Iterable:
		return appendList(to, v, depth)
	case sl.HasAttrs:
		return appendStruct(to, v, depth)
	}
	return nil, fmt.Errorf("a %s has no place in JSON", v.Type())
}

// maxDigits bounds ints: to write one down takes more than linear time.
const maxDigits = 10_000

func appendInt(to []byte, v sl.Int) ([]byte, error) {
	if small, is := v.Int64(); is {
		return fmt.Appendf(to, "%d", small), nil
	}
	if big := v.BigInt(); big.BitLen() > maxDigits*3 {
		return nil, fmt.Errorf("an int of %d bits is too long for JSON", big.BitLen())
	}
	return append(to, v.String()...), nil
}

func appendDict(to []byte, dict sl.IterableMapping, depth int) ([]byte, error) {
	items := dict.Items()
	fields := make([]field, 0, len(items))
	for _, item := range items {
		key, is := item[0].(sl.String)
		if !is {
			return nil, fmt.Errorf("a dict has the %s %s as a key; keys in JSON are strings", item[0].Type(), item[0])
		}
		fields = append(fields, field{string(key), item[1]})
	}
	return appendFields(to, fields, depth)
}

func appendStruct(to []byte, v sl.HasAttrs, depth int) ([]byte, error) {
	var fields []field
	for _, name := range v.AttrNames() {
		value, err := v.Attr(name)
		if err != nil {
			return nil, err
		}
		if value == nil {
			return nil, fmt.Errorf("a %s has no place in JSON", v.Type())
		}
		fields = append(fields, field{name, value})
	}
	return appendFields(to, fields, depth)
}

func appendFields(to []byte, fields []field, depth int) (_ []byte, err error) {
	to = append(to, '{')
	for i, f := range fields {
		if i > 0 {
			to = append(to, ',')
		}
		if to, err = appendString(to, f.name); err != nil {
			return nil, err
		}
		if to, err = appendValue(append(to, ':'), f.value, depth+1); err != nil {
			return nil, err
		}
	}
	return append(to, '}'), nil
}

func appendList(to []byte, list sl.Iterable, depth int) (_ []byte, err error) {
	to = append(to, '[')
	elements := list.Iterate()
	defer elements.Done()
	var element sl.Value
	for i := 0; elements.Next(&element); i++ {
		if i > 0 {
			to = append(to, ',')
		}
		if to, err = appendValue(to, element, depth+1); err != nil {
			return nil, err
		}
	}
	return append(to, ']'), nil
}

// appendString writes a string; what is not UTF-8 becomes the replacement character.
func appendString(to []byte, s string) ([]byte, error) {
	if len(to)+len(s) > maxText {
		return nil, errText
	}
	plain := func(c byte) bool { return c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' }
	to = append(slices.Grow(to, len(s)+2), '"')
	for i := 0; i < len(s); {
		if plain(s[i]) {
			to = append(to, s[i])
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		to = appendRune(to, r)
		i += n
	}
	return append(to, '"'), nil
}

func appendRune(to []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(to, '\\', byte(r))
	case '\n':
		return append(to, `\n`...)
	case '\t':
		return append(to, `\t`...)
	}
	if r < ' ' {
		return fmt.Appendf(to, `\u%04x`, r)
	}
	return utf8.AppendRune(to, r)
}

// arguments are those of a call: an object gives them by name, an array in order.
func arguments(text json.RawMessage) (sl.Tuple, []sl.Tuple, error) {
	if len(text) == 0 {
		return nil, nil, nil
	}
	value, err := FromJSON(text)
	if err != nil {
		return nil, nil, fmt.Errorf("the arguments: %w", err)
	}
	switch value := value.(type) {
	case sl.NoneType:
		return nil, nil, nil
	case *sl.List:
		args := make(sl.Tuple, value.Len())
		for i := range args {
			args[i] = value.Index(i)
		}
		return args, nil, nil
	case *sl.Dict:
		return nil, value.Items(), nil
	}
	return nil, nil, fmt.Errorf("the arguments are a JSON %s: they must be an object, by name, or an array, in order", value.Type())
}
