package cluster

import "context"

// A newcomer gets raft's last snapshot and the entries behind it, or where none were ever
// taken out of the log, all of them. Where the last snapshot is long ago that is the long
// way, and a trap: with the next one entries leave the log that the newcomer is still at,
// and it begins anew with another snapshot, its state of the first in memory beside it. So
// a peer is admitted to a log that has just been shortened.

// shortenLog takes a snapshot unless the last one is recent, as far as ctx allows. A
// failure is no reason to admit nobody.
func (n *Node) shortenLog(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.ProposeTimeout/2) // the rest is for the change itself
	defer cancel()
	last, err := n.lastSnapshot()
	if err == nil && n.raft.AppliedIndex() <= last+n.cfg.TrailingLogs/2 {
		return
	}
	if err == nil {
		err = n.Snapshot(ctx)
	}
	if err != nil {
		n.log.Info("the log was not shortened for a newcomer, which may have to begin more than once", "err", err)
	}
}

// lastSnapshot is the index of raft's newest snapshot here, 0 without one.
func (n *Node) lastSnapshot() (uint64, error) {
	all, err := n.stores.snapshots.List()
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[0].Index, nil
}
