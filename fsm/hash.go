package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
	b, err := encoding.Marshal(row)
	if err != nil {
		panic("fsm: a row of " + table + " does not encode: " + err.Error())
	}
	h := sha256.New()
	h.Write([]byte(table))
	h.Write([]byte{0})
	h.Write(b)
	d := h.Sum(nil)
	return sum{binary.BigEndian.Uint64(d), binary.BigEndian.Uint64(d[8:])}
}
