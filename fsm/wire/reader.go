package wire

import (
	"encoding/binary"
	"math"
	"time"
	"unicode/utf8"
)

// Reader reads CBOR in the form in which Append* writes it. At the first thing that
// is not in it, or not what is asked for, it is lost: from then on it gives nothing
// but zero values.
type Reader struct {
	rest []byte
	lost bool
}

// NewReader reads b, which it does not keep: texts and bytes are copies.
func NewReader(b []byte) *Reader { return &Reader{rest: b} }

// Done tells whether everything was read, and as it was asked for.
func (r *Reader) Done() bool { return !r.lost && len(r.rest) == 0 }

// Lose is for who is told something that it does not know.
func (r *Reader) Lose() { r.rest, r.lost = nil, true }

// head is the argument of the next head, which must be of that major type.
func (r *Reader) head(major byte) uint64 {
	if len(r.rest) == 0 || r.rest[0]&0xe0 != major {
		r.Lose()
		return 0
	}
	short := r.rest[0] & 0x1f
	r.rest = r.rest[1:]
	if short < 24 {
		return uint64(short)
	}
	size, least := 1<<(short-24), uint64(24)
	if short > 27 || len(r.rest) < size {
		r.Lose()
		return 0
	}
	var n uint64
	switch size {
	case 1:
		n = uint64(r.rest[0])
	case 2:
		n, least = uint64(binary.BigEndian.Uint16(r.rest)), math.MaxUint8+1
	case 4:
		n, least = uint64(binary.BigEndian.Uint32(r.rest)), math.MaxUint16+1
	case 8:
		n, least = binary.BigEndian.Uint64(r.rest), math.MaxUint32+1
	}
	if n < least { // fewer bytes would do
		r.Lose()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// Uint reads a whole number that is not negative.
func (r *Reader) Uint() uint64 { return r.head(majorUint) }

// count is a head that counts things of which each takes a byte at least.
func (r *Reader) count(major byte) int {
	n := r.head(major)
	if n > uint64(len(r.rest)) {
		r.Lose()
		return 0
	}
	return int(n)
}

// MaxElements is how many elements an array may have.
const MaxElements = 1 << 20

// Array begins an array and tells how many elements follow.
func (r *Reader) Array() int {
	n := r.count(majorArray)
	if n > MaxElements {
		r.Lose()
		return 0
	}
	return n
}

// Map begins a map and tells how many pairs follow.
func (r *Reader) Map() int { return r.count(majorMap) }

// Key reads a key of a map whose keys are whole numbers, which must come behind the last.
func (r *Reader) Key(last uint64) uint64 {
	key := r.Uint()
	if key <= last {
		r.Lose()
	}
	return key
}

// raw is what the next head counts, not copied.
func (r *Reader) raw(major byte) []byte {
	n := r.count(major)
	raw := r.rest[:n]
	r.rest = r.rest[n:]
	return raw
}

// Text reads a text.
func (r *Reader) Text() string {
	raw := r.raw(majorText)
	if !utf8.Valid(raw) {
		r.Lose()
		return ""
	}
	return string(raw)
}

// Bytes reads a string of bytes. An empty one is not nil.
func (r *Reader) Bytes() []byte {
	raw := r.raw(majorBytes)
	if r.lost {
		return nil
	}
	return append(make([]byte, 0, len(raw)), raw...)
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	if len(r.rest) == 0 || r.rest[0] != simpleTrue && r.rest[0] != simpleFalse {
		r.Lose()
		return false
	}
	v := r.rest[0] == simpleTrue
	r.rest = r.rest[1:]
	return v
}

// Null tells whether null comes next, and reads it if so.
func (r *Reader) Null() bool {
	if len(r.rest) == 0 || r.rest[0] != simpleNull {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// Time reads a time.
func (r *Reader) Time() time.Time {
	if r.Null() {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, string(r.raw(majorText)))
	if err != nil {
		r.Lose()
		return time.Time{}
	}
	return t
}
