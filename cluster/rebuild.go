package cluster

import (
	"errors"
	"fmt"
	"log/slog"
)

// Rebuilt is what a stopped peer's disk gives.
type Rebuilt struct {
	Base      uint64 // index of the snapshot that it began with; 0: none
	Committed uint64 // what the disk knows to be committed
	Last      uint64 // of the log; all of it has been applied
}

// Rebuild fills a new machine from a stopped peer's disk as Open would, without ports
// and without raft, and with the whole log: entries at its end that were never
// committed, too. For looking at a data folder.
func Rebuild(cfg Config, machine Machine, log *slog.Logger) (r Rebuilt, err error) {
	s, err := openStores(cfg, func(error) {})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if r.Base, err = s.preflight(cfg.DataDir); err != nil {
		return r, err
	}
	if r.Committed, err = s.logs.committed(); err != nil {
		return r, err
	}
	last, err := s.logs.LastIndex()
	if err != nil {
		return r, fmt.Errorf("read the log's last index: %w", err)
	}
	r.Last = max(r.Base, last)
	halted := error(nil)
	rep := &replica{machine: machine, log: log, fail: func(err error) { halted = err }}
	if r.Base > 0 {
		if err := s.restore(rep); err != nil {
			return r, err
		}
	}
	if err := rep.replay(s.logs, r.Base+1, last); err != nil {
		return r, errors.Join(halted, fmt.Errorf("replay the log: %w", err))
	}
	return r, nil
}

// restore fills the machine from the newest snapshot.
func (s *stores) restore(rep *replica) error {
	found, err := s.snapshots.List()
	if err != nil || len(found) == 0 {
		return errors.Join(errors.New("the snapshot that was there a moment ago is gone"), err)
	}
	_, from, err := s.snapshots.Open(found[0].ID)
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	return errors.Join(rep.Restore(from), from.Close())
}
