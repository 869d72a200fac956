package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"

	"github.com/orchd/orchd/api/planted"
)

// sum is a hash of a set of rows that can be kept while rows come and go: the
// sum, modulo 2^64 in each half, of the rows' own hashes (an AdHash after
// Bellare and Micciancio, 1997). It finds replicas that differ by mistake; it is
// no defence against someone who chooses the rows.
type sum struct{ hi, lo uint64 }

func (s sum) plus(o sum) sum  { return sum{s.hi + o.hi, s.lo + o.lo} }
func (s sum) minus(o sum) sum { return sum{s.hi - o.hi, s.lo - o.lo} }

// String is the sum as 32 hexadecimal digits.
func (s sum) String() string {
	b := binary.BigEndian.AppendUint64(nil, s.hi)
	return hex.EncodeToString(binary.BigEndian.AppendUint64(b, s.lo))
}

// rowSum hashes one canonical row of a table.
func rowSum(table string, row any) sum {
	s, _ := hashedRow(table, row)
	return s
}

// hashedRow is rowSum, and tells how many bytes were hashed.
func hashedRow(table string, row any) (sum, int) {
	b := rowBuffers.Get().(*bytes.Buffer)
	defer rowBuffers.Put(b)
	b.Reset()
	b.WriteString(table)
	b.WriteByte(0)
	encode := marshalTo
	if planted.Is(planted.MapOrderHash) { // equal rows have different hashes
		encode = func(b *bytes.Buffer, row any) error { return unorderedEncoding().MarshalToBuffer(row, b) }
	}
	if err := encode(b, row); err != nil {
		panic("fsm: a row of " + table + " does not encode: " + err.Error())
	}
	d := sha256.Sum256(b.Bytes())
	return sum{binary.BigEndian.Uint64(d[:]), binary.BigEndian.Uint64(d[8:])}, b.Len()
}

// rowBuffers are reused, for every row that is stored is encoded once to be hashed.
var rowBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
