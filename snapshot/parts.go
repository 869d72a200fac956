package snapshot

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Bounds of a part, in rows. Only the last part of a table may hold fewer; the
// mean is in the middle.
const (
	minPart = 4_096
	maxPart = 12_288
)

// part is a range of a large table's keys.
type part struct {
	first   string // key of its first row
	rows    int
	content string // as in File
	sum     Hash   // of the rows' hashes, as in Moment
}

// partPath is where a table's n-th part lies below a folder.
func partPath(table string, n int) string { return fmt.Sprintf("%s/part-%04d.parquet", table, n) }

// window is a run of rows that is still to be cut into parts.
type window []windowRow

type windowRow struct {
	key  string
	rank uint64 // of the key
	hash Hash
}

// plan cuts a table into parts: at least one, which is empty if the table is. It gives
// each as soon as it is known where it ends, while the rows behind it are still unread.
//
// A part ends before the row whose key has the lowest rank of those between the
// bounds. So where parts end follows from the keys alone, not from what was
// written before: every peer makes the same parts of the same rows, and rows
// that come, change or go alter the part that they are in. They move the end of
// it only where they are that row or take its place, about once in 2,500 times,
// and a few parts later the old ends are met again.
//
// Where an older plan of the table is known, only those parts are read in which
// something was touched since.
func (l *large) plan(yield func(part) bool) {
	if old, touched := l.lineage.since(l.moment.At); old != nil {
		if parts, ok := l.recut(old, touched); ok {
			l.lineage.learn(l.moment.At, parts)
			slices.Values(parts)(yield)
			return
		}
	}
	var all []part
	whole := true
	l.cut("", func(p part, _ string) bool {
		all = append(all, p)
		whole = yield(p)
		return whole
	})
	if whole && l.moment.matches(all) {
		l.lineage.learn(l.moment.At, all)
	}
}

// cut gives the parts of the rows from a key on, one at least, each with the key that the
// next begins with, which is empty behind the last.
func (l *large) cut(from string, yield func(p part, behind string) bool) {
	var w window // grows with the table: many of the large ones have few rows, or none
	first, stopped := true, false
	l.keys(from, func(key string, hash Hash) bool {
		w = append(w, windowRow{key, rank(key), hash})
		if len(w) > maxPart {
			n := w.cut()
			stopped = !yield(w[:n].part(l.layout), w[n].key)
			w, first = w[:copy(w, w[n:])], false
		}
		return !stopped
	})
	if !stopped && (len(w) > 0 || first) {
		yield(w.part(l.layout), "")
	}
}

// cut is how many rows of a full window are its first part.
func (w window) cut() int {
	at := minPart
	for i := minPart; i <= maxPart; i++ {
		if w[i].rank < w[at].rank {
			at = i
		}
	}
	return at
}

// part is all of w as one part.
func (w window) part(layout string) part {
	content := make([]byte, 0, len(layout)+16*len(w))
	content = append(content, layout...)
	var total Hash
	for i := range w {
		total = total.plus(w[i].hash)
		content = binary.BigEndian.AppendUint64(content, w[i].hash.Hi)
		content = binary.BigEndian.AppendUint64(content, w[i].hash.Lo)
	}
	sum := sha256.Sum256(content)
	p := part{rows: len(w), content: hex.EncodeToString(sum[:]), sum: total}
	if len(w) > 0 {
		p.first = w[0].key
	}
	return p
}

// rank puts keys into an order that has nothing to do with theirs. It is no part of the
// format; with another one the parts of the next snapshot are new.
func rank(key string) uint64 { return xxhash.Sum64String(key) }
