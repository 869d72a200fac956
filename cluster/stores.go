package cluster

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/raft"
)

// stores is where raft keeps what it must not forget.
type stores struct {
	logs      *journal
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	disk      *disk
	ballast   *ballast
	close     func() error
}

// openStores opens the stores of the configuration, or those in the data folder.
// fail is called when a write has failed for good.
func openStores(cfg Config, fail func(error)) (*stores, error) {
	logs, stable, closeBoth, ballast := cfg.Logs, cfg.Stable, func() error { return nil }, newBallast("", 0)
	if logs == nil {
		ballast = newBallast(cfg.DataDir, cfg.Ballast)
		files, err := openFiles(cfg.DataDir, fail)
		if errors.Is(err, syscall.ENOSPC) && ballast.found() && ballast.drop() {
			files, err = openFiles(cfg.DataDir, fail)
		}
		if err != nil {
			return nil, err
		}
		logs, stable, closeBoth = files.logs, files.values, files.close
	}
	d := &disk{LogStore: logs, stable: stable, fail: fail, ballast: ballast}
	cache := &logCache{LogStore: d}
	safe := vault{stable, d}
	// The journal must be outermost: raft looks for commit tracking on the store that it is given.
	return &stores{&journal{LogStore: cache, stable: safe}, safe, cfg.Snapshots, d, ballast, closeBoth}, nil
}

// files are the log and the stable values in a data folder: bolt and its
// write-ahead files, with checksums.
type files struct {
	logs   checkedLog
	values checkedValues
	close  func() error
}

// openFiles opens them. fail is told of a write that failed when nobody waits for it.
func openFiles(dataDir string, fail func(error)) (f files, err error) {
	path := boltPath(dataDir)
	bolt, err := openBolt(path)
	if err != nil {
		return f, err
	}
	ahead, err := openAhead(filepath.Dir(path), bolt)
	if err != nil {
		return f, err
	}
	ahead.fail, f.close = fail, ahead.Close
	if f.logs, f.values, err = withChecksums(path, ahead, bolt); err != nil {
		return f, errors.Join(err, ahead.Close())
	}
	return f, nil
}

// Verified may be implemented by a snapshot store: the snapshots whose
// content has been checked, newest first, and a sentence for each that was left out.
type Verified interface {
	Usable() (good []*raft.SnapshotMeta, bad []string, err error)
}

// preflight checks that a snapshot and the log join up before raft is
// started, for where an entry is missing between them raft panics, at every start
// again; and that nothing is missing at the end that was once applied here. base is the newest snapshot's index, 0 without one.
func (s *stores) preflight(dataDir string) (base uint64, err error) {
	good, bad, err := s.usable()
	if err != nil {
		return 0, fmt.Errorf("list snapshots: %w", err)
	}
	if len(good) > 0 {
		base = good[0].Index
	}
	first, err := s.logs.FirstIndex()
	if err != nil {
		return 0, fmt.Errorf("read the log's first index: %w", err)
	}
	last, err := s.logs.LastIndex()
	if err != nil {
		return 0, fmt.Errorf("read the log's last index: %w", err)
	}
	missing, err := s.firstGap(base, first, last)
	if err != nil {
		return 0, err
	}
	if last == 0 && len(good) == 0 && len(bad) > 0 {
		missing = 1
	}
	// What was applied here had been stored here, or came out of a snapshot that was.
	if applied, err := s.logs.appliedOnce(); err != nil {
		return 0, err
	} else if end := max(base, last); missing == 0 && applied > end {
		missing = end + 1
	}
	if missing != 0 {
		return 0, disjoint(dataDir, missing, base, first, last, bad)
	}
	return base, nil
}

func (s *stores) usable() (good []*raft.SnapshotMeta, bad []string, err error) {
	if v, ok := s.snapshots.(Verified); ok {
		return v.Usable()
	}
	good, err = s.snapshots.List()
	return good, nil, err
}

// firstGap is the first index after base that the log should hold and does not; 0 when it is whole.
func (s *stores) firstGap(base, first, last uint64) (uint64, error) {
	if last <= base {
		return 0, nil
	}
	if first > base+1 {
		return base + 1, nil
	}
	var l raft.Log
	for index := base + 1; index <= last; index++ {
		if err := s.logs.GetLog(index, &l); errors.Is(err, raft.ErrLogNotFound) {
			return index, nil
		} else if err != nil {
			return 0, fmt.Errorf("read log entry %d: %w", index, err)
		}
	}
	return 0, nil
}

func disjoint(dataDir string, missing, base, first, last uint64, bad []string) error {
	have := fmt.Sprintf("the newest usable snapshot ends at entry %d", base)
	if base == 0 {
		have = "there is no usable snapshot"
	}
	log := fmt.Sprintf("the log holds entries %d to %d", first, last)
	if last == 0 {
		log = "the log is empty"
	}
	damaged := ""
	for _, sentence := range bad {
		damaged += "; " + sentence
	}
	return fmt.Errorf("this peer cannot rebuild its state: entry %d is missing. In %s %s%s, and in %s %s. "+
		"Move %s aside and join the cluster again with a new token; the other peers have everything. "+
		"If this is the only peer, restore the folder from a backup",
		missing, filepath.Join(dataDir, "raft", "snapshots"), have, damaged, boltPath(dataDir), log, dataDir)
}
