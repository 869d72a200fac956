package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// LogRange is the first and the last index in a stopped peer's log; 0 and 0 when it is empty.
func LogRange(dataDir string) (first, last uint64, err error) {
	files, err := openFiles(dataDir, nil)
	if err != nil {
		return 0, 0, fmt.Errorf("read log: %w", err)
	}
	defer func() { err = errors.Join(err, files.close()) }()
	return rangeOf(files.logs)
}

func rangeOf(logs raft.LogStore) (first, last uint64, err error) {
	if first, err = logs.FirstIndex(); err == nil {
		last, err = logs.LastIndex()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read log: %w", err)
	}
	return first, last, nil
}

// ReadLog walks through the commands in a stopped peer's log, oldest first: for
// looking into what happened. Entries that were never committed may stand at its end.
func ReadLog(dataDir string, each func(index uint64, n int, at time.Time, command []byte) error) (err error) {
	files, err := openFiles(dataDir, nil)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer func() { err = errors.Join(err, files.close()) }()
	first, last, err := rangeOf(files.logs)
	if err != nil {
		return err
	}
	for index := first; index <= last && index > 0; index++ {
		if err := readEntry(files.logs, index, each); err != nil {
			return fmt.Errorf("read log entry %d: %w", index, err)
		}
	}
	return nil
}

func readEntry(logs raft.LogStore, index uint64, each func(index uint64, n int, at time.Time, command []byte) error) error {
	var l raft.Log
	if err := logs.GetLog(index, &l); err != nil || l.Type != raft.LogCommand {
		return err
	}
	at, commands, err := decodeFrame(l.Data)
	if err != nil {
		return err
	}
	for n, c := range commands {
		if err := each(index, n, at, c); err != nil {
			return err
		}
	}
	return nil
}

// TermOf is the term of the entry at index; 0 when the log here has it no more.
func (n *Node) TermOf(index uint64) uint64 {
	var l raft.Log
	if err := n.stores.logs.GetLog(index, &l); err != nil {
		return 0
	}
	return l.Term
}
