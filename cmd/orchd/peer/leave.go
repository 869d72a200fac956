package peer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/orchd/orchd/api"
)

// RemovePeer takes a peer out for good: its row says so, then raft drops it. A
// peer that takes out itself stops serving once that is done.
func (p *Peer) RemovePeer(ctx context.Context, id string) error {
	if err := p.writer.RemovePeer(ctx, id); err != nil {
		return err
	}
	err := p.node.RemovePeer(ctx, id)
	if id == p.identity.PeerID {
		if err != nil { // who has left is listened to no more; the leader drops it by itself
			p.log.Info("raft drops this peer on its own time", "err", err)
		}
		p.leaving.Do(func() { close(p.left) })
		return nil
	}
	if err != nil {
		return api.Errorf(api.Unavailable, "peer.remove", "the peer has left, but raft still counts it; the leader goes on trying to drop it: %w", err)
	}
	return nil
}

// errLeft ends a peer that does not belong to its cluster any more.
var errLeft = errors.New("this peer has left its cluster")

// awaitLeave ends the peer when it has left: because it was asked to, or
// because its own tables say so.
func (p *Peer) awaitLeave(ctx context.Context) error {
	for {
		now := p.machine.Read()
		if me, _ := now.Peer(p.identity.PeerID); me.State == api.PeerLeft {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.left:
			return p.farewell() // the server still answers the request that asked for this
		case <-now.PeersChanged():
		}
	}
	return p.farewell()
}

// farewell leaves a note in the data folder, so that nobody starts it again by mistake.
func (p *Peer) farewell() error {
	p.log.Info("this peer has left its cluster; its data folder may be deleted", "data_dir", p.cfg.DataDir)
	if err := renameio.WriteFile(leftNote(p.cfg.DataDir), []byte(p.identity.ClusterID+"\n"), 0o600); err != nil {
		return fmt.Errorf("note that this peer has left: %w", err)
	}
	return errLeft
}

func leftNote(dataDir string) string { return filepath.Join(dataDir, "raft", "left") }

// wantMember refuses the data folder of a peer that has left.
func wantMember(dataDir string) error {
	clusterID, err := os.ReadFile(leftNote(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read data folder: %w", err)
	}
	return api.Errorf(api.Conflict, "", "the peer in %s has left its cluster %.36s and is never admitted again; to join anew, move the folder away and run: orchd join", dataDir, clusterID)
}
