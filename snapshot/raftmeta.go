package snapshot

import (
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// raftVersion is the version of raft's snapshot metadata that is written: the
// one that carries the configuration.
const raftVersion = raft.SnapshotVersionMax

// raftMeta is what raft says about a snapshot. It is raft.json, and stays on the
// peer that wrote it: the receiver of a stream has raft's word for its own.
// Index may be above the manifest's, which counts commands and no barriers.
type raftMeta struct {
	ID                 string               `json:"id"`
	Index              uint64               `json:"index"`
	Term               uint64               `json:"term"`
	Version            raft.SnapshotVersion `json:"version"`
	Configuration      raft.Configuration   `json:"configuration"`
	ConfigurationIndex uint64               `json:"configuration_index"`
	Manifest           string               `json:"manifest"` // the manifest's sum: the two belong together
	Sum                string               `json:"sum"`      // SHA-256 of this document whose sum is ""
}

func (m *raftMeta) seal() *string { return &m.Sum }

func (m raftMeta) meta() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{Version: m.Version, ID: m.ID, Index: m.Index, Term: m.Term,
		Configuration: m.Configuration, ConfigurationIndex: m.ConfigurationIndex}
}

// readRaftMeta reads the raft.json of a folder.
func readRaftMeta(folder string) (raftMeta, error) {
	data, err := readSmall(filepath.Join(folder, raftName))
	if err != nil {
		return raftMeta{}, err
	}
	var m raftMeta
	if err := decodeSealed(data, &m); err != nil {
		return raftMeta{}, fmt.Errorf("%s: %w", raftName, err)
	}
	if m.Version != raftVersion {
		return raftMeta{}, fmt.Errorf("%s: version %d is not known, only %d", raftName, m.Version, raftVersion)
	}
	return m, nil
}
