package fsm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	"github.com/orchd/orchd/api/inventory"
)

// A row in a change is JSON in the words of the table's columns. A piece of JSON
// inside it stands as it is. Where that does not give the row back to the byte
// (text that passes for JSON and is none, which only a faulty peer can have sent)
// the value is an object with the one member "$row": the row as CBOR, in base64.
type binaryRow struct {
	Row []byte `json:"$row"`
}

var binaryRowStart = []byte(`{"$row":`)

// encoded is the row as JSON. The same row gives the same bytes.
func (t *table[T]) encoded(row any) []byte {
	if coded, ok := row.(jsonCoded); ok {
		if b, ok := codedJSON(coded); ok {
			return b
		}
	}
	return t.encodedByType(row)
}

// encodedByType is encoded by what the types of the row say.
func (t *table[T]) encodedByType(row any) []byte {
	if t.hasJSON && hasOddJSON(reflect.ValueOf(row).Elem()) {
		return asBinary(t.name, row)
	}
	b, err := plainJSON(row)
	if err != nil {
		return asBinary(t.name, row)
	}
	return b
}

// codedJSON is the JSON of a row by its own code.
func codedJSON(row jsonCoded) ([]byte, bool) {
	b := rowBuffers.Get().(*bytes.Buffer)
	defer rowBuffers.Put(b)
	b.Reset()
	text, ok := row.appendJSON(b.AvailableBuffer())
	b.Write(text) // so that the room that it took is kept
	return bytes.Clone(b.Bytes()), ok
}

// plainJSON is the JSON of v, with < and > as they are: they would not be the same text inside an Object.
func plainJSON(v any) ([]byte, error) {
	b := rowBuffers.Get().(*bytes.Buffer)
	defer rowBuffers.Put(b)
	b.Reset()
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// asBinary is a row that plain JSON does not hold.
func asBinary(table string, row any) []byte {
	b, err := encoding.Marshal(row)
	if err == nil {
		b, err = plainJSON(binaryRow{b})
	}
	if err != nil {
		panic("fsm: a row of " + table + " does not encode: " + err.Error()) // it was encoded to be hashed
	}
	return b
}

// decoded is the row that encoded wrote.
func (t *table[T]) decoded(value []byte) (*T, error) {
	row := new(T)
	if err := decodeRow(value, row); err != nil {
		return nil, fmt.Errorf("table %s: a row does not decode: %w", t.name, err)
	}
	canonicalize(row)
	return row, nil
}

func decodeRow(value []byte, row any) error {
	if !bytes.HasPrefix(value, binaryRowStart) {
		return strictJSON(value, row)
	}
	var b binaryRow
	if err := strictJSON(value, &b); err != nil {
		return err
	}
	return decoding.Unmarshal(b.Row, row)
}

// strictJSON refuses what plainJSON of v never writes.
func strictJSON(value []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("something comes behind the row")
	}
	return nil
}

var (
	objectType  = reflect.TypeFor[inventory.Object]()
	rawJSONType = reflect.TypeFor[json.RawMessage]()
)

// typeHolds tells whether a t may have an inner somewhere inside.
func typeHolds(t, inner reflect.Type) bool {
	switch {
	case t == inner:
		return true
	case t == timeType:
		return false
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if typeHolds(t.Field(i).Type, inner) {
				return true
			}
		}
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return typeHolds(t.Elem(), inner)
	}
	return false
}

// hasOddJSON tells whether a piece of JSON in v would come back as another text.
func hasOddJSON(v reflect.Value) bool {
	switch v.Type() {
	case objectType:
		return isOdd(inventory.Object(v.String()))
	case rawJSONType:
		return isOddRaw(v.Bytes())
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == timeType {
			return false
		}
		for i := range v.NumField() {
			if hasOddJSON(v.Field(i)) {
				return true
			}
		}
	case reflect.Pointer:
		return !v.IsNil() && hasOddJSON(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return false
		}
		for i := range v.Len() {
			if hasOddJSON(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if hasOddJSON(it.Value()) {
				return true
			}
		}
	}
	return false
}

func isOddRaw(text json.RawMessage) bool {
	var compact bytes.Buffer
	return len(text) > 0 && (json.Compact(&compact, text) != nil || !bytes.Equal(compact.Bytes(), text))
}

func isOdd(o inventory.Object) bool {
	var back inventory.Object
	return back.UnmarshalJSON([]byte(o)) != nil || back != o
}
