package peer

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/snapshot"
)

// verified is raft's snapshot store in cluster's words: before raft starts, it
// asks which snapshot is whole, and which newer ones are not.
type verified struct{ *snapshot.Store }

var _ cluster.Verified = verified{}

// Usable gives the newest whole snapshot, and a sentence for each newer one that is damaged.
func (v verified) Usable() (good []*raft.SnapshotMeta, bad []string, err error) {
	newest, skipped, err := v.Store.Usable()
	if err != nil {
		return nil, nil, err
	}
	if newest.ID != "" {
		good = append(good, &newest)
	}
	for _, s := range skipped {
		bad = append(bad, fmt.Sprintf("%s is damaged: %v", s.Path, s.Reason))
	}
	return good, bad, nil
}
