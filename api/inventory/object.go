package inventory

import (
	"bytes"
	"encoding/json"
)

// Object is a piece of JSON that orchd keeps and does not look into: compact
// JSON text, empty for none. In a request and an answer it stands as it is.
type Object string

// MarshalJSON gives the text itself.
func (o Object) MarshalJSON() ([]byte, error) {
	if o == "" {
		return []byte("null"), nil
	}
	return []byte(o), nil
}

// UnmarshalJSON keeps the text, compacted; null is none.
func (o *Object) UnmarshalJSON(b []byte) error {
	*o = ""
	if string(b) != "null" {
		*o = compact(b)
	}
	return nil
}

// compact is b without white space between its tokens.
func compact(b []byte) Object {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return Object(b) // encoding/json has checked it before it calls UnmarshalJSON
	}
	return Object(out.String())
}

// Secret is the text as a secret is written: nil when nothing is given, empty
// for an empty text or object, which takes the secret away.
func (o Object) Secret() *string {
	text := string(o)
	switch o {
	case "":
		return nil
	case `""`, `{}`:
		text = ""
	}
	return &text
}
