package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api/planted"
)

// checkedLog puts a CRC32C to every log entry on its way to the disk, and compares
// it on the way back: bolt has no checksums but on its two first pages, and what a
// disk alters would be applied here and nowhere else.
//
// It lies in the entry's Extensions, in front of what was there:
//
//	mark 8 bytes | CRC32C 4 bytes, big endian | extensions
//
// over index, term, type and length of the data, 8 bytes each, the data and those
// extensions. Raft sees the entry as it was.
type checkedLog struct {
	raft.LogStore
	path  string // of the file, for people
	since uint64 // entries from this index on have a checksum; before, from an older version, perhaps not
}

// checkMark begins the extensions of an entry, and a stable value, that has a checksum.
var checkMark = []byte("orchd/k1")

// checkSize is how much is put in front.
const checkSize = 8 + 4

// StoreLog appends one entry.
func (c checkedLog) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries. It marks copies: raft goes on to use those that it handed in.
func (c checkedLog) StoreLogs(logs []*raft.Log) error {
	copies, marked := make([]raft.Log, len(logs)), make([]*raft.Log, len(logs))
	for i, l := range logs {
		copies[i] = *l
		copies[i].Extensions = putSum(entrySum(l, l.Extensions), l.Extensions)
		marked[i] = &copies[i]
	}
	return c.LogStore.StoreLogs(marked)
}

// GetLog reads an entry.
func (c checkedLog) GetLog(index uint64, l *raft.Log) error {
	err := c.LogStore.GetLog(index, l)
	switch {
	case errors.Is(err, raft.ErrLogNotFound):
		return err
	case err != nil:
		return altered(c.path, fmt.Sprintf("log entry %d cannot be read: %v", index, err))
	case l.Index != index:
		return altered(c.path, fmt.Sprintf("in the place of log entry %d there is entry %d", index, l.Index))
	}
	sum, rest, has := takeSum(l.Extensions)
	switch {
	case !has && index < c.since && (len(l.Extensions) == 0 || bytes.HasPrefix(l.Extensions, commitMark)):
		return nil
	case !has:
		return altered(c.path, fmt.Sprintf("log entry %d has no checksum", index))
	case sum != entrySum(l, rest) && !planted.Is(planted.ChecksumSkipped): // what the disk altered reaches raft
		return altered(c.path, fmt.Sprintf("log entry %d does not match its checksum", index))
	}
	l.Extensions = rest
	return nil
}

// entrySum is the checksum of an entry with those extensions.
func entrySum(l *raft.Log, extensions []byte) uint32 {
	var head [32]byte
	binary.BigEndian.PutUint64(head[:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	binary.BigEndian.PutUint64(head[16:], uint64(l.Type))
	binary.BigEndian.PutUint64(head[24:], uint64(len(l.Data)))
	sum := crc32.Checksum(head[:], castagnoli)
	return crc32.Update(crc32.Update(sum, castagnoli, l.Data), castagnoli, extensions)
}

// putSum puts a checksum in front.
func putSum(sum uint32, value []byte) []byte {
	b := make([]byte, 0, checkSize+len(value))
	return append(binary.BigEndian.AppendUint32(append(b, checkMark...), sum), value...)
}

// takeSum takes a checksum off; false when there is none. The rest is nil when it is empty.
func takeSum(b []byte) (sum uint32, rest []byte, ok bool) {
	if len(b) < checkSize || !bytes.HasPrefix(b, checkMark) {
		return 0, b, false
	}
	if len(b) > checkSize {
		rest = b[checkSize:]
	}
	return binary.BigEndian.Uint32(b[8:]), rest, true
}

// altered is the sentence for what the disk, or the memory, has changed behind our back.
func altered(path, what string) error {
	return fmt.Errorf("%s is damaged: %s. The disk or the memory altered it. Move the data folder aside and join the cluster again with a new token; "+
		"the other peers have everything. If this is the only peer, restore the folder from a backup", path, what)
}

// checkedValues is the same for the stable store: term, vote, commit index. The
// checksum is over key and value.
type checkedValues struct {
	raft.StableStore
	path string
}

func (c checkedValues) Set(key, value []byte) error {
	return c.StableStore.Set(key, putSum(valueSum(key, value), value))
}

func (c checkedValues) SetUint64(key []byte, value uint64) error {
	return c.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

func (c checkedValues) Get(key []byte) ([]byte, error) {
	b, err := c.StableStore.Get(key)
	if err != nil {
		return nil, err
	}
	sum, value, has := takeSum(b)
	if !has || sum != valueSum(key, value) {
		return nil, altered(c.path, fmt.Sprintf("what it holds as %q does not match its checksum", key))
	}
	return value, nil
}

func (c checkedValues) GetUint64(key []byte) (uint64, error) {
	b, err := c.Get(key)
	switch {
	case err != nil:
		return 0, err
	case len(b) != 8:
		return 0, altered(c.path, fmt.Sprintf("what it holds as %q is no number", key))
	}
	return binary.BigEndian.Uint64(b), nil
}

func valueSum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// checkedKey holds the first index from which on every entry has a checksum. Where it
// is missing an older version wrote the values, plainly, and the entries.
var checkedKey = []byte("orchd/checked")

// stableKeys are all that the stable store may hold: raft's own, and ours.
var stableKeys = [][]byte{[]byte("CurrentTerm"), []byte("LastVoteTerm"), []byte("LastVoteCand"), commitKey, checkedKey}

// withChecksums puts the checksums around a log and a stable store that live in one
// file. What an older version left gets them now.
func withChecksums(path string, logs raft.LogStore, stable raft.StableStore) (checkedLog, checkedValues, error) {
	values := checkedValues{stable, path}
	since, err := values.GetUint64(checkedKey)
	if isNotFound(err) {
		since, err = upgrade(logs, values)
	}
	return checkedLog{logs, path, since}, values, err
}

// upgrade gives checksums to the values that an older version wrote, and notes which
// entries have none. A crash in between leaves some with and some without.
func upgrade(logs raft.LogStore, values checkedValues) (since uint64, err error) {
	for _, key := range stableKeys {
		b, err := values.StableStore.Get(key)
		if isNotFound(err) {
			continue
		}
		if _, _, has := takeSum(b); err == nil && !has {
			err = values.Set(key, b)
		}
		if err != nil {
			return 0, fmt.Errorf("put checksums into %s: %w", values.path, err)
		}
	}
	last, err := logs.LastIndex()
	if err != nil {
		return 0, fmt.Errorf("read the log's last index: %w", err)
	}
	if err := values.SetUint64(checkedKey, last+1); err != nil {
		return 0, fmt.Errorf("put checksums into %s: %w", values.path, err)
	}
	return last + 1, nil
}

// isNotFound knows raft's convention for stable stores.
func isNotFound(err error) bool { return err != nil && err.Error() == "not found" }

// raftLogs is the log as it is given to raft, whose goroutines panic where an entry
// that should be there cannot be read. Once they run, such an error ends the node, and
// of raft only the goroutine that met it.
type raftLogs struct {
	*journal
	fail    func(error)
	running atomic.Bool
}

// GetLog reads an entry.
func (r *raftLogs) GetLog(index uint64, l *raft.Log) error {
	err := r.journal.GetLog(index, l)
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) && r.running.Load() {
		r.fail(err)
		runtime.Goexit()
	}
	return err
}
