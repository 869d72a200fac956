package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// takeOverSnapshots fetches the marked snapshots of another peer when there is none
// here: a newcomer can then answer for the past as everyone else. One that has
// any has them by itself, and what somebody deleted here does not come back.
func (p *Peer) takeOverSnapshots(ctx context.Context) error {
	for {
		if found, err := p.marks.files.List(); err == nil && len(found) > 0 {
			return nil
		}
		for id := range p.node.Contacts() {
			switch n, err := p.takeOverFrom(ctx, id); {
			case err != nil && ctx.Err() == nil:
				p.log.Info("snapshots of a peer were not taken over; another is asked, or the same again", "peer", id, "err", err)
			case err == nil:
				if n > 0 {
					p.log.Info("snapshots taken over", "peer", id, "count", n)
				}
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.cfg.HistoryLook):
		}
	}
}

// takeOverFrom fetches a peer's snapshots, newest first, so that the first is of use at once.
func (p *Peer) takeOverFrom(ctx context.Context, id string) (n int, err error) {
	resp, err := p.download(ctx, id, "/peer/snapshots")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var indexes []uint64
	if err := json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&indexes); err != nil {
		return 0, fmt.Errorf("read its list of snapshots: %w", err)
	}
	fetch := func(ctx context.Context, index uint64, path string) (io.ReadCloser, error) {
		return p.downloadSnapshotFile(ctx, id, index, path)
	}
	for _, index := range indexes {
		if err := p.marks.files.Import(ctx, index, fetch); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// serveSnapshots lists the whole snapshots of this peer, newest first.
func (p *Peer) serveSnapshots(w http.ResponseWriter, _ *http.Request) {
	found, err := p.marks.files.List()
	indexes := []uint64{}
	for _, f := range found {
		if f.Err == nil {
			indexes = append(indexes, f.Index)
		}
	}
	answerPeer(w, slices.Clip(indexes), err)
}
