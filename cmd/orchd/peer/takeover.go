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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/orchd/orchd/api"
)

// A newcomer fetches the marked snapshots of the others, to answer for the past as they do.
// A file tells that it has not got all of them yet, so that it goes on after whatever
// interrupts it; once it has, what somebody deletes here does not come back.

const incompleteText = "This peer has not fetched all snapshots of the other peers yet. It goes on by itself, and removes this file.\n"

// deletedMark begins a line of that file which names a snapshot that was deleted here.
const deletedMark = "deleted "

// incompleteHeader is in the answer of a peer that has not got all snapshots itself.
const incompleteHeader = "Orchd-Incomplete"

// maxPauses bounds the time between two rounds: what fails may be large, and fail again.
const maxPauses = 20

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
	for pause := p.cfg.HistoryLook; p.lacksSnapshots(); pause = min(2*pause, maxPauses*p.cfg.HistoryLook) {
		if p.takeOverFromAll(ctx, told) {
			if err := os.Remove(p.cfg.lackingFile()); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
	return nil
}

// takeOverFromAll asks one peer after the other, and tells whether there is nothing more to
// fetch: one that has all there are gave them, or everybody gave what there is.
func (p *Peer) takeOverFromAll(ctx context.Context, told map[string]string) bool {
	others, failed := 0, 0
	for other := range p.machine.Read().Members() {
		id := other.ID
		if id == p.identity.PeerID {
			continue
		}
		others++
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
	return others > 0 && failed == 0
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
	found, err := p.marks.files.List()
	if err != nil {
		return 0, false, err
	}
	here := make([]uint64, len(found)) // what is damaged is mended by whoever reads it again
	for i, f := range found {
		here[i] = f.Index
	}
	fetch := func(ctx context.Context, index uint64, path string) (io.ReadCloser, error) {
		return p.downloadSnapshotFile(ctx, id, index, path)
	}
	deleted := p.deletedMeanwhile()
	for _, index := range indexes {
		if slices.Contains(here, index) || slices.Contains(deleted, strconv.FormatUint(index, 10)) {
			continue
		}
		if e := p.marks.files.Import(ctx, index, fetch); e != nil { // the others may be whole
			if err = errors.Join(err, e); ctx.Err() != nil || api.IsKind(e, api.Unavailable) || errors.Is(e, syscall.ENOSPC) {
				break
			}
			continue
		}
		n++
	}
	return n, err == nil && resp.Header.Get(incompleteHeader) == "", err
}

// noteDeleted notes that somebody deleted a snapshot here while others are still fetched.
func (p *Peer) noteDeleted(id string) error {
	text, err := os.ReadFile(p.cfg.lackingFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return writeFile(p.cfg.lackingFile(), append(text, deletedMark+id+"\n"...), 0o600)
}

// deletedMeanwhile are the ids of those.
func (p *Peer) deletedMeanwhile() (ids []string) {
	text, _ := os.ReadFile(p.cfg.lackingFile())
	for line := range strings.Lines(string(text)) {
		if id, is := strings.CutPrefix(strings.TrimSpace(line), deletedMark); is {
			ids = append(ids, id)
		}
	}
	return ids
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
