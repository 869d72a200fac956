package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"time"
	"unicode/utf8"
)

// The major types of CBOR (RFC 8949, section 3.1), in the upper three bits of a head.
const (
	majorUint  = 0 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5
	majorMap   = 5 << 5
)

// Simple values of CBOR (RFC 8949, section 3.3).
const (
	simpleFalse = 0xf4
	simpleTrue  = 0xf5
	simpleNull  = 0xf6
)

// appendHead is a major type with its argument, in the fewest bytes.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// AppendUint appends a whole number that is not negative.
func AppendUint(b []byte, n uint64) []byte { return appendHead(b, majorUint, n) }

// AppendArray begins an array of n elements.
func AppendArray(b []byte, n int) []byte { return appendHead(b, majorArray, uint64(n)) }

// AppendMap begins a map of n pairs.
func AppendMap(b []byte, n int) []byte { return appendHead(b, majorMap, uint64(n)) }

// AppendNull appends null.
func AppendNull(b []byte) []byte { return append(b, simpleNull) }

// AppendText appends a text.
func AppendText[T ~string](b []byte, s T) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// AppendBytes appends a string of bytes; nil is null.
func AppendBytes(b, s []byte) []byte {
	if s == nil {
		return AppendNull(b)
	}
	return append(appendHead(b, majorBytes, uint64(len(s))), s...)
}

// AppendBool appends true or false.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, simpleTrue)
	}
	return append(b, simpleFalse)
}

// AppendTime appends a time as RFC 3339 text in UTC; the zero time is null.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return AppendNull(b)
	}
	var room [len(time.RFC3339Nano)]byte
	text := t.UTC().AppendFormat(room[:0], time.RFC3339Nano)
	return append(appendHead(b, majorText, uint64(len(text))), text...)
}

// Comma appends a comma where something stands already in the object that is being written.
func Comma(b []byte) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return b
}

// AppendJSONText appends a text as a JSON string.
func AppendJSONText[T ~string](b []byte, s T) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(b, string(s))
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendEscaped leaves what needs escaping, or may, to encoding/json.
func appendEscaped(b []byte, s string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("wire: a string does not encode: " + err.Error())
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// AppendJSONBytes appends bytes as a JSON string in base64; nil is null.
func AppendJSONBytes(b, s []byte) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, s)
	return append(b, '"')
}

// AppendJSONTime appends a time as a JSON string; false where RFC 3339 has none for it.
func AppendJSONTime(b []byte, t time.Time) ([]byte, bool) {
	b = append(b, '"')
	b, err := t.AppendText(b)
	return append(b, '"'), err == nil
}
