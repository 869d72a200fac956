package fsm

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/fsm/wire"
)

// Rows and commands are brought into their canonical form, encoded and decoded by
// what their types say, at run time. For the types of which an array of nodes is made
// wire_code.go has code of its own that does the same, several times faster; what that
// code does not provide for is left to the ordinary way.
type (
	canonicalCoded interface{ canonicalize() }
	cborCoded      interface{ appendCBOR(b []byte) []byte }
	cborRead       interface{ readCBOR(*wire.Reader) }
	// jsonCoded gives false for a row that plain JSON does not hold.
	jsonCoded interface {
		appendJSON(b []byte) (_ []byte, ok bool)
	}
)

// marshalTo encodes v into b.
func marshalTo(b *bytes.Buffer, v any) error {
	if coded, ok := v.(cborCoded); ok {
		b.Write(coded.appendCBOR(b.AvailableBuffer()))
		return nil
	}
	return encodingTo.MarshalToBuffer(v, b)
}

// marshal encodes v.
func marshal(v any) ([]byte, error) {
	if coded, ok := v.(cborCoded); ok {
		return coded.appendCBOR(nil), nil
	}
	return encoding.Marshal(v)
}

// unmarshal decodes into what v points to, which is a zero value.
func unmarshal[T any](b []byte, v *T) error {
	if coded, ok := any(v).(cborRead); ok {
		r := wire.NewReader(b)
		if coded.readCBOR(r); r.Done() {
			return nil
		}
		*v = *new(T)
	}
	return decoding.Unmarshal(b, v)
}

// appendObject appends a piece of JSON as it stands; false where it is none, or would
// come back as another.
func appendObject(b []byte, o inventory.Object) (_ []byte, ok bool) {
	if o == "" {
		return append(b, "null"...), true
	}
	return append(b, o...), o != "null" && !isOddRaw(json.RawMessage(o))
}

func canonicalTextIn[T ~string](at *T) {
	if !utf8.ValidString(string(*at)) {
		*at = T(strings.ToValidUTF8(string(*at), "\uFFFD"))
	}
}

func canonicalTimeIn(at *time.Time) {
	if is := canonicalTime(*at); is != *at { // to the last bit: the same moment elsewhere is another value
		*at = is
	}
}

func canonicalSliceIn[T any](at *[]T) {
	if *at != nil && len(*at) == 0 {
		*at = nil
	}
}
