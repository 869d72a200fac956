package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"time"
)

// A newcomer fetches the marked snapshots of the others, to answer for the past as they do.
// A file tells that it has not got all of them yet, so that it goes on after whatever
// interrupts it; once it has, what somebody deletes here does not come back.

const incompleteText = "This peer has not fetched all snapshots of the other peers yet. It goes on by itself, and removes this file.\n"

// incompleteHeader is in the answer of a peer that has not got all snapshots itself.
const incompleteHeader = "Orchd-Incomplete"

// noteLacking writes that file where there are no snapshots at all.
func (c Config) noteLacking(newest uint64) error {
	if newest != 0 {
		return nil
	}
	return writeFile(c.lackingFile(), []byte(incompleteText), 0o600)
}

// lacksSnapshots tells whether there may be snapshots that this peer has not fetched yet.
func (p *Peer) lacksSnapshots() bool {
	_, err := os.Lstat(p.cfg.lackingFile())
	return !errors.Is(err, fs.ErrNotExist)
}

// takeOverSnapshots fetches what is lacking, until it is all there.
func (p *Peer) takeOverSnapshots(ctx context.Context) error {
	told := map[string]string{} // of a peer, what went wrong last
	for p.lacksSnapshots() {
		if p.takeOverFromAll(ctx, told) {
			if err := os.Remove(p.cfg.lackingFile()); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.cfg.HistoryLook):
		}
	}
	return nil
}

// takeOverFromAll asks one peer after the other, and tells whether there is nothing more to
// fetch: one that has all there are gave them, or everybody gave what there is.
func (p *Peer) takeOverFromAll(ctx context.Context, told map[string]string) bool {
	contacts := p.node.Contacts()
	failed := 0
	for id := range contacts {
		n, all, err := p.takeOverFrom(ctx, id)
		if n > 0 {
			p.log.Info("snapshots taken over", "peer", id, "count", n)
		}
		if err == nil && all {
			return true
		}
		if err != nil {
			failed++
		}
		if err != nil && ctx.Err() == nil && told[id] != err.Error() {
			told[id] = err.Error()
			p.log.Info("snapshots of a peer were not taken over; another is asked, or the same again", "peer", id, "err", err)
		}
	}
	return len(contacts) > 0 && failed == 0
}

// takeOverFrom fetches a peer's snapshots, newest first, so that the first is of use at once.
// It tells how many came, and whether that peer has all there are.
func (p *Peer) takeOverFrom(ctx context.Context, id string) (n int, all bool, err error) {
	resp, err := p.download(ctx, id, "/peer/snapshots")
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	var indexes []uint64
	if err := json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&indexes); err != nil {
		return 0, false, fmt.Errorf("read its list of snapshots: %w", err)
	}
	here, err := p.wholeSnapshots()
	if err != nil {
		return 0, false, err
	}
	fetch := func(ctx context.Context, index uint64, path string) (io.ReadCloser, error) {
		return p.downloadSnapshotFile(ctx, id, index, path)
	}
	for _, index := range indexes {
		if slices.Contains(here, index) {
			continue
		}
		if err := p.marks.files.Import(ctx, index, fetch); err != nil {
			return n, false, err
		}
		n++
	}
	return n, resp.Header.Get(incompleteHeader) == "", nil
}

// wholeSnapshots are the indexes of those that this peer has whole, newest first.
func (p *Peer) wholeSnapshots() ([]uint64, error) {
	found, err := p.marks.files.List()
	indexes := []uint64{}
	for _, f := range found {
		if f.Err == nil {
			indexes = append(indexes, f.Index)
		}
	}
	return indexes, err
}

// serveSnapshots lists the whole snapshots of this peer, newest first.
func (p *Peer) serveSnapshots(w http.ResponseWriter, _ *http.Request) {
	if p.lacksSnapshots() {
		w.Header().Set(incompleteHeader, "true")
	}
	indexes, err := p.wholeSnapshots()
	answerPeer(w, indexes, err)
}
