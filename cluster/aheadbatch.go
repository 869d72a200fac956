package cluster

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api/planted"
)

// A batch is what one StoreLogs wrote, big endian:
//
//	CRC32C 4 bytes | length of the entries 4 bytes | round 8 bytes | salt 8 bytes | n x entry
//
// and an entry
//
//	index 8 | term 8 | type 1 | appended at: Unix seconds 8, nanoseconds 4 | length 4, data | length 4, extensions
//
// The checksum is over everything behind it. Behind a batch without entries, in the
// same page, stands up to where bolt holds the log:
//
//	mark 8 | index 8 | CRC32C of the two 4
const (
	batchHeader = 4 + 4 + 8 + 8
	entryHeader = 8 + 8 + 1 + 8 + 4 + 4 + 4
)

// stamp tells a file's batches from what it held before. Each time that a file
// is begun it gets a higher round, and each time that both forget a new salt.
// Batches of one salt are therefore never contradicted by bolt: between them
// nothing was taken out of it. The salt is random, because whoever writes
// commands could guess the round, and make bytes that look like a batch.
type stamp struct{ round, salt uint64 }

func newSalt() uint64 {
	var salt [8]byte
	rand.Read(salt[:])
	return binary.BigEndian.Uint64(salt[:])
}

func roundUp(size int) int { return (size + aheadPage - 1) / aheadPage * aheadPage }

// encodeBatch lays out entries as one batch, padded to whole pages.
func encodeBatch(of stamp, logs []*raft.Log) []byte {
	size := batchSize(logs)
	b := make([]byte, 4, roundUp(size))
	b = binary.BigEndian.AppendUint32(b, uint32(size-batchHeader))
	b = binary.BigEndian.AppendUint64(b, of.round)
	b = binary.BigEndian.AppendUint64(b, of.salt)
	for _, l := range logs {
		b = binary.BigEndian.AppendUint64(b, l.Index)
		b = binary.BigEndian.AppendUint64(b, l.Term)
		b = append(b, byte(l.Type))
		b = binary.BigEndian.AppendUint64(b, uint64(l.AppendedAt.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(l.AppendedAt.Nanosecond()))
		b = binary.BigEndian.AppendUint32(b, uint32(len(l.Data)))
		b = append(b, l.Data...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(l.Extensions)))
		b = append(b, l.Extensions...)
	}
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b[:cap(b)]
}

func batchSize(logs []*raft.Log) int {
	size := batchHeader
	for _, l := range logs {
		size += entryHeader + len(l.Data) + len(l.Extensions)
	}
	return size
}

// endMark begins what stands behind a batch without entries, and endSize is how long it is.
var endMark = []byte("orchd/e1")

const endSize = 8 + 8 + 4

// encodeEmpty lays out a batch without entries, with the index of the newest entry in
// bolt. Damaged pages of bolt's may hide entries at the log's end, and nothing else
// tells that there were any.
func encodeEmpty(of stamp, end uint64) []byte {
	b := encodeBatch(of, nil)
	mark := binary.BigEndian.AppendUint64(append(b[:batchHeader:batchHeader], endMark...), end)
	mark = binary.BigEndian.AppendUint32(mark, crc32.Checksum(mark[batchHeader:], castagnoli))
	copy(b, mark)
	return b
}

// decodeEnd reads what stands behind an empty batch; 0 where an older version wrote it.
func decodeEnd(b []byte) uint64 {
	if len(b) < endSize || !bytes.HasPrefix(b, endMark) || binary.BigEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], castagnoli) {
		return 0
	}
	return binary.BigEndian.Uint64(b[8:])
}

// decodeBatch reads the batch at the beginning of b; false when there is no
// whole one. The entries are copies.
func decodeBatch(b []byte) (of stamp, logs []*raft.Log, size int, ok bool) {
	if len(b) < batchHeader {
		return of, nil, 0, false
	}
	length := binary.BigEndian.Uint32(b[4:])
	if uint64(length) > uint64(len(b)-batchHeader) {
		return of, nil, 0, false
	}
	size = batchHeader + int(length)
	if crc32.Checksum(b[4:size], castagnoli) != binary.BigEndian.Uint32(b) && !planted.Is(planted.ChecksumSkipped) {
		return of, nil, 0, false
	}
	for rest := b[batchHeader:size]; len(rest) > 0; {
		l := new(raft.Log)
		if rest, ok = decodeEntry(rest, l); !ok {
			return of, nil, 0, false
		}
		logs = append(logs, l)
	}
	return stamp{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, logs, size, true
}

func decodeEntry(b []byte, l *raft.Log) (rest []byte, ok bool) {
	const fixed = 8 + 8 + 1 + 8 + 4
	if len(b) < fixed {
		return nil, false
	}
	l.Index, l.Term, l.Type = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), raft.LogType(b[16])
	l.AppendedAt = time.Unix(int64(binary.BigEndian.Uint64(b[17:])), int64(binary.BigEndian.Uint32(b[25:]))).UTC()
	b = b[fixed:]
	for _, part := range []*[]byte{&l.Data, &l.Extensions} {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return nil, false
		}
		end := 4 + int(binary.BigEndian.Uint32(b))
		if end > 4 {
			*part = slices.Clone(b[4:end])
		}
		b = b[end:]
	}
	return b, true
}
