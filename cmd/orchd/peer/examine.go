package peer

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// Examined is what a stopped peer's data folder holds.
type Examined struct {
	cluster.Rebuilt
	Identity cluster.Identity
	Machine  *fsm.Machine       // the state, with all of the log
	Marked   []snapshot.Found   // marked snapshots, damaged ones too
	Skipped  []snapshot.Skipped // raft's own snapshots that are newer than the one begun with, and damaged
	Changes  *snapshot.History  // to be closed
}

// Examine opens a stopped peer's data folder as Open does, but for ports, raft and
// all that runs: it reads identity, snapshots and changes, and applies the log. What
// a crash left half done is put right.
func Examine(dataDir string, log *slog.Logger) (e Examined, err error) {
	cfg, log := Config{DataDir: dataDir}.withDefaults(), quiet(log)
	if e.Identity, err = cluster.LoadIdentity(dataDir); err != nil {
		return e, &api.Error{Kind: api.NotFound, Msg: err.Error(), Err: err}
	}
	if err := wantMember(dataDir); err != nil {
		return e, err
	}
	if err := makeFolders(dataDir); err != nil {
		return e, err
	}
	snapshots, err := snapshot.OpenStore(cfg.raftSnapshots(), log)
	if err != nil {
		return e, err
	}
	if _, e.Skipped, err = snapshots.Usable(); err != nil {
		return e, err
	}
	marks, err := snapshot.OpenMarks(cfg.markedDir(), log)
	if err != nil {
		return e, err
	}
	if e.Marked, err = marks.List(); err != nil {
		return e, err
	}
	if e.Changes, err = snapshot.OpenHistory(cfg.changesDir(), log); err != nil {
		return e, err
	}
	e.Machine = fsm.New()
	c := cluster.DefaultConfig()
	c.Identity, c.DataDir, c.Snapshots = e.Identity, dataDir, verified{snapshots}
	e.Rebuilt, err = cluster.Rebuild(c, e.Machine, log)
	if err == nil {
		err = ownWrapKey(e.Machine, e.Identity, dataDir)
	}
	if err != nil {
		return e, errors.Join(err, e.Changes.Close())
	}
	return e, nil
}

// ownWrapKey tells whether the key that the cluster's keys are wrapped for is still the
// one that this peer has: with another it would find out when it needs them.
func ownWrapKey(m *fsm.Machine, identity cluster.Identity, dataDir string) error {
	me, known := m.Read().Peer(identity.PeerID)
	if !known || len(me.WrapKey) == 0 || bytes.Equal(me.WrapKey, identity.WrapKey.Public()) {
		return nil
	}
	return fmt.Errorf("%s is not the key that this peer was enrolled with: the disk or the memory altered it, or another file took its place. "+
		"Restore it from a copy, or move the data folder aside and join the cluster again with a new token", filepath.Join(dataDir, "tls", "wrap.key"))
}
