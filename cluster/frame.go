package cluster

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// MaxEntry is the size of the largest log entry in bytes, frame included:
// larger ones hold up heartbeats behind them. What does not fit travels in chunks.
const MaxEntry = 512 << 10

// A frame is what a log entry holds, big endian:
//
//	format 1 byte | leader's time 8 bytes, Unix microseconds | CRC32C 4 bytes | n x {length 4 bytes, command}
//
// The checksum is over everything else: bolt has none for its data pages, and a
// flipped bit must stop a peer instead of becoming part of its state. The time
// is put in by the leader when it proposes, so that all peers see the same one.
const (
	frameFormat = 1
	frameHeader = 1 + 8 + 4
	lengthSize  = 4
)

// castagnoli is the polynomial of CRC32C (RFC 3720, B.4); CPUs have it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameSize is what commands take together in one entry, in bytes.
func frameSize(commands ...[]byte) int {
	size := frameHeader
	for _, c := range commands {
		size += lengthSize + len(c)
	}
	return size
}

// fits refuses what is too large for one entry.
func fits(commands ...[]byte) error {
	if size := frameSize(commands...); size > MaxEntry {
		return api.Errorf(api.TooLarge, "cluster.propose", "the change takes %d bytes of the log, at most %d fit into one entry", size, MaxEntry)
	}
	return nil
}

// encodeFrame puts commands into one entry, stamped with the leader's time.
func encodeFrame(at time.Time, commands ...[]byte) ([]byte, error) {
	if err := fits(commands...); err != nil {
		return nil, err
	}
	frame := make([]byte, frameHeader, frameSize(commands...))
	frame[0] = frameFormat
	binary.BigEndian.PutUint64(frame[1:], uint64(at.UnixMicro()))
	for _, c := range commands {
		frame = binary.BigEndian.AppendUint32(frame, uint32(len(c)))
		frame = append(frame, c...)
	}
	binary.BigEndian.PutUint32(frame[9:], frameSum(frame))
	return frame, nil
}

// decodeFrame takes an entry apart. The commands are parts of frame.
func decodeFrame(frame []byte) (at time.Time, commands [][]byte, err error) {
	if len(frame) < frameHeader {
		return at, nil, fmt.Errorf("it has %d bytes, a frame has at least %d", len(frame), frameHeader)
	}
	if frame[0] != frameFormat {
		return at, nil, fmt.Errorf("its format is %d, this version of orchd reads %d", frame[0], frameFormat)
	}
	if got, want := frameSum(frame), binary.BigEndian.Uint32(frame[9:]); got != want && !planted.Is(planted.ChecksumSkipped) { // what the disk altered is applied
		return at, nil, fmt.Errorf("its checksum is %08x and should be %08x: the disk or the memory altered it", got, want)
	}
	at = time.UnixMicro(int64(binary.BigEndian.Uint64(frame[1:]))).UTC()
	for rest := frame[frameHeader:]; len(rest) > 0; {
		if len(rest) < lengthSize || uint64(len(rest)-lengthSize) < uint64(binary.BigEndian.Uint32(rest)) {
			return at, nil, fmt.Errorf("its command %d runs past its end", len(commands))
		}
		end := lengthSize + int(binary.BigEndian.Uint32(rest))
		commands = append(commands, rest[lengthSize:end:end])
		rest = rest[end:]
	}
	if len(commands) == 0 {
		return at, nil, fmt.Errorf("there is no command in it")
	}
	return at, commands, nil
}

// frameSum is the checksum of a frame without the checksum's own four bytes.
func frameSum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:9], castagnoli), castagnoli, frame[frameHeader:])
}
