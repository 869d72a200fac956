package peer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/orchd/orchd/api"
)

// RemovePeer takes a peer out for good: its row says so, then raft drops it. A
// peer that takes out itself stops serving once that is done.
func (p *Peer) RemovePeer(ctx context.Context, id string) error {
	if err := p.mayLose(id); err != nil {
		return err
	}
	if err := p.writer.RemovePeer(ctx, id); err != nil {
		return err
	}
	if err := p.dropped(ctx, id); err != nil {
		return api.Errorf(api.Unavailable, "peer.remove", "the peer has left, but raft still counts it; the leader goes on trying to drop it: %w", err)
	}
	if id == p.identity.PeerID {
		p.leaving.Do(func() { close(p.left) })
	}
	return nil
}

// mayLose refuses to take out a voter without whom too few would answer: raft
// could not even finish the removal, nor anything after it.
func (p *Peer) mayLose(id string) error {
	contacts := p.node.Contacts()
	voters, answering := 0, 0
	for _, s := range p.node.Servers() {
		if !s.Voter || s.ID == id {
			continue
		}
		voters++
		if s.ID == p.identity.PeerID || contacts[s.ID].Reachable {
			answering++
		}
	}
	if voters > 0 && answering <= voters/2 { // with none left, apply knows the sentence
		return api.Errorf(api.Conflict, "peer.remove", "without this peer only %d of %d voters answer, which is no majority: bring a silent one back, or add a peer, first", answering, voters)
	}
	return nil
}

// dropped returns when raft counts a peer no more. This peer itself may not hear
// of that: who has left is let in no more, and to be refused is the proof.
func (p *Peer) dropped(ctx context.Context, id string) error {
	if id != p.identity.PeerID {
		return p.node.RemovePeer(ctx, id)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make(chan error, 1)
	go func() { asked <- p.node.RemovePeer(ctx, id) }()
	tick := time.NewTicker(refusalLook)
	defer tick.Stop()
	for {
		select {
		case err := <-asked:
			if api.IsKind(err, api.Forbidden) {
				return nil
			}
			return err
		case <-tick.C:
			if p.isRefused() {
				return nil
			}
		}
	}
}

// refusalLook is how often a leaving peer looks whether the others refuse it.
const refusalLook = 100 * time.Millisecond

// isRefused tells whether most of the other voters are there and do not let this peer in.
func (p *Peer) isRefused() bool {
	contacts := p.node.Contacts()
	voters, refuse := 0, 0
	for _, s := range p.node.Servers() {
		if !s.Voter || s.ID == p.identity.PeerID {
			continue
		}
		voters++
		if contacts[s.ID].Refused {
			refuse++
		}
	}
	return refuse > voters/2
}

// errLeft ends a peer that does not belong to its cluster any more.
var errLeft = errors.New("this peer has left its cluster")

// dropPause is how long a peer that has left waits before it asks again to be dropped.
const dropPause = 2 * time.Second

// awaitLeave ends the peer when it has left and raft counts it no more: because
// it was asked to leave, or because its own tables say that it has left. Until
// then its vote is needed.
func (p *Peer) awaitLeave(ctx context.Context) error {
	for {
		now := p.machine.Read()
		me, _ := now.Peer(p.identity.PeerID)
		if me.State == api.PeerLeft {
			if p.dropped(ctx, me.ID) == nil {
				return p.farewell()
			}
		}
		var again <-chan time.Time
		if me.State == api.PeerLeft {
			again = time.After(dropPause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.left:
			return p.farewell() // the server still answers the request that asked for this
		case <-now.PeersChanged():
		case <-again:
		}
	}
}

// farewell leaves a note in the data folder, so that nobody starts it again by mistake.
func (p *Peer) farewell() error {
	p.log.Info("this peer has left its cluster; its data folder may be deleted", "data_dir", p.cfg.DataDir)
	if err := writeFile(leftNote(p.cfg.DataDir), []byte(p.identity.ClusterID+"\n"), 0o600); err != nil {
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
