package peer

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// rereadSnapshots reads this peer's snapshots again from its disk, once a day, and
// has what rotted written anew, until ctx ends.
func (p *Peer) rereadSnapshots(ctx context.Context) error {
	for {
		jitter := time.Duration(rand.Int64N(int64(p.cfg.RereadEvery)/10 + 1)) // so that the peers do not all read at once
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.cfg.RereadEvery + jitter):
		}
		p.reread(ctx)
	}
}

// reread looks once, and says what it found. Damaged files of changes become gaps,
// which are filled like any other.
func (p *Peer) reread(ctx context.Context) {
	if damaged, err := p.chronicle.files.Verify(ctx); err != nil && ctx.Err() == nil {
		p.log.Warn("the changes were not all read again; tried again at the next time", "err", err)
	} else if len(damaged) > 0 {
		p.log.Warn("files of changes were damaged and are fetched from another peer; look at the disk", "ranges", damaged)
	}
	found, err := p.marks.files.Reread(ctx, snapshot.Mending{
		State: func(uint64) (snapshot.Content, bool) { return p.machine.Read().Content(), true },
		Fetch: p.fetchSnapshotFile,
	})
	for _, bad := range found {
		log := p.log.With("snapshot", bad.ID, "file", bad.Path, "err", bad.Err)
		if bad.Why != nil {
			log.Error("a file of a snapshot is bad and could not be mended; tried again at the next reading", "why", bad.Why)
		} else {
			log.Warn("a file of a snapshot was bad and was written anew; look at the disk", "from", bad.Source)
		}
	}
	if err != nil && ctx.Err() == nil {
		p.log.Warn("the snapshots were not all read again; tried again at the next time", "err", err)
	}
}

// fetchSnapshotFile opens a file of a snapshot as the first other peer that has it gives it.
func (p *Peer) fetchSnapshotFile(ctx context.Context, index uint64, path string) (io.ReadCloser, error) {
	err := fmt.Errorf("no other peer is there to ask")
	for id := range p.node.Contacts() {
		var file io.ReadCloser
		if file, err = p.downloadSnapshotFile(ctx, id, index, path); err == nil {
			return file, nil
		}
	}
	return nil, err
}

// downloadSnapshotFile opens a file of a snapshot as a peer has it.
func (p *Peer) downloadSnapshotFile(ctx context.Context, id string, index uint64, path string) (io.ReadCloser, error) {
	resp, err := p.download(ctx, id, "/peer/snapshots/"+strconv.FormatUint(index, 10)+"?file="+url.QueryEscape(path))
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// serveSnapshotFile gives a file of a marked snapshot as it lies there: who asks compares its sum.
func (p *Peer) serveSnapshotFile(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	dir := p.marks.files.Path(id)
	if dir == "" {
		answerPeer(w, nil, api.Errorf(api.NotFound, "snapshot", "no snapshot %q", id))
		return
	}
	f, err := os.OpenInRoot(dir, r.URL.Query().Get("file"))
	if err != nil {
		answerPeer(w, nil, api.Errorf(api.NotFound, "snapshot", "snapshot %s here: %w", id, err))
		return
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		p.log.Debug("a file of a snapshot was not sent whole", "err", err)
	}
}
