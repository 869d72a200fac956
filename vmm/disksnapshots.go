package vmm

import (
	"context"
	"time"

	"github.com/orchd/orchd/api"
)

// workOnSnapshot keeps, goes back to or forgets a disk snapshot and tells what
// became of it. When that is unknown nothing is told: the same is asked again,
// which is no error.
func (l *Loop) workOnSnapshot(ctx context.Context, w Wanted, s step) error {
	began := time.Now()
	told := api.DiskSnapshotReport{ID: s.snapshot, VM: s.vm, Epoch: s.epoch, Error: s.reason}
	if s.do != refuse {
		err := l.onDisk(ctx, w, s)
		if err != nil && unknownOutcome(err) {
			return err
		}
		if err != nil {
			l.log.Warn("disk snapshot failed", "vm", s.vm, "snapshot", s.snapshot, "step", s.do.String(), "err", err)
			told.Error = bounded(err.Error())
		}
		told.Took = api.OpStep{Name: s.do.String(), TookMs: time.Since(began).Milliseconds()}
	}
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	return l.records.Snapshotted(ctx, told)
}

func (l *Loop) onDisk(ctx context.Context, w Wanted, s step) error {
	row, _ := w.Row(s.vm)
	b, err := l.me().build(w, row)
	if err != nil {
		return err
	}
	switch s.do {
	case keep:
		return l.hv.SnapshotDisk(ctx, b, s.snapshot)
	case revert:
		return l.hv.RevertDisk(ctx, b, s.snapshot)
	}
	err = l.hv.DropSnapshot(ctx, b, s.snapshot)
	if api.IsKind(err, api.NotFound) {
		return nil // with its disk
	}
	return err
}
