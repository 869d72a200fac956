package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// What a peer lacks of the change history, because its state came out of a
// snapshot or a file was damaged, it fetches from those who have it, file by file.

// fetchTime bounds one such exchange with another peer.
const fetchTime = 2 * time.Minute

// kept is a stretch of changes that a peer keeps, on the wire between peers.
type kept struct {
	From  uint64    `json:"from"`
	To    uint64    `json:"to"`
	Until time.Time `json:"until"` // of the last change in it; zero when there is none
}

// keptRanges are the files of changes that this peer has.
func (p *Peer) keptRanges() []kept {
	all := []kept{}
	for _, f := range p.chronicle.files.Files() {
		all = append(all, kept{f.From, f.To, f.Until})
	}
	return all
}

// backfill fetches what others have and this peer does not, newest first. The error tells
// which of them could not be asked, or did not give all that they have.
func (p *Peer) backfill(ctx context.Context) error {
	var errs []error
	oldest := p.oldestWanted()
	for id := range p.node.Contacts() {
		if err := p.backfillFrom(ctx, id, oldest); err != nil {
			errs = append(errs, fmt.Errorf("from peer %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// CompleteSince fetches what this peer does not keep of the changes since a time.
// Unavailable when not every other peer could be asked.
func (p *Peer) CompleteSince(ctx context.Context, t time.Time) error {
	files := p.chronicle.files.Files()
	if len(files) > 0 && (files[0].From == 1 || !files[0].Since.IsZero() && !files[0].Since.After(t)) || p.nothingOlder() {
		return nil
	}
	if err := p.backfill(ctx); err != nil {
		return api.Errorf(api.Unavailable, "events", "the changes since %s are not all kept on this peer, and not every other peer could be asked: try again, or ask another peer: %w", t.Format(time.RFC3339), err)
	}
	return nil
}

// nothingOlder tells that nobody keeps older changes than this peer: its oldest file
// reaches back beyond what is kept.
func (p *Peer) nothingOlder() bool {
	files := p.chronicle.files.Files()
	return len(files) > 0 && !files[0].Since.IsZero() && !files[0].Since.After(p.oldestWanted())
}

func (p *Peer) backfillFrom(ctx context.Context, id string, oldest time.Time) error {
	there, err := p.askKept(ctx, id)
	if err != nil {
		return err
	}
	for _, k := range slices.Backward(there) {
		if !k.Until.IsZero() && k.Until.Before(oldest) {
			continue
		}
		for _, r := range p.lacking(snapshot.Range{From: k.From, To: k.To}) {
			if err := p.fetchChanges(ctx, id, r); err != nil {
				return err
			}
			p.log.Info("missing changes fetched", "from", r.From, "to", r.To, "peer", id)
		}
	}
	return nil
}

// lacking is what of a range this peer does not have. What lies behind the end
// of its own files comes with the log.
func (p *Peer) lacking(r snapshot.Range) (out []snapshot.Range) {
	own := p.chronicle.files.Files()
	r.To = min(r.To, p.chronicle.files.Durable())
	for _, f := range own {
		if f.To < r.From || f.From > r.To {
			continue
		}
		if f.From > r.From {
			out = append(out, snapshot.Range{From: r.From, To: f.From - 1})
		}
		r.From = f.To + 1
	}
	if r.From <= r.To {
		out = append(out, r)
	}
	return out
}

// askKept asks a peer what it keeps.
func (p *Peer) askKept(ctx context.Context, id string) ([]kept, error) {
	resp, err := p.download(ctx, id, "/peer/changes")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var all []kept
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&all); err != nil {
		return nil, fmt.Errorf("read its list of changes: %w", err)
	}
	return all, nil
}

// fetchChanges brings a stretch of changes from a peer that has all of it.
func (p *Peer) fetchChanges(ctx context.Context, id string, r snapshot.Range) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	resp, err := p.download(ctx, id, fmt.Sprintf("/peer/changes/%d-%d", r.From, r.To))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := p.exports.scratch()
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := io.Copy(f, resp.Body)
	if err != nil {
		return fmt.Errorf("fetch changes %v: %w", r, err)
	}
	return p.chronicle.files.Import(r, snapshot.ReadChanges(f, size))
}

// download asks a peer for what it serves below /peer/; the answer is a good one.
func (p *Peer) download(ctx context.Context, id, path string) (*http.Response, error) {
	return p.request(ctx, id, http.MethodGet, path, nil)
}

// request sends a request to a peer and gives its answer when that is a good one;
// an error of the other side comes back as it was.
func (p *Peer) request(ctx context.Context, id, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "https://"+id+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := p.node.Client().Do(r)
	if err != nil {
		return nil, api.Errorf(api.Unavailable, "peer", "ask peer %s: %w", id, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &api.Error{}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(e); err != nil || e.Msg == "" {
		return nil, fmt.Errorf("%s: answered %s", path, resp.Status)
	}
	return nil, e
}

// serveKept and serveChanges are the other side of it.
func (p *Peer) serveKept(w http.ResponseWriter, _ *http.Request) {
	answerPeer(w, p.keptRanges(), nil)
}

func (p *Peer) serveChanges(w http.ResponseWriter, r *http.Request) {
	f, size, err := p.changesBetween(r.PathValue("range"), func(*snapshot.Change) (bool, error) { return true, nil })
	if err != nil {
		answerPeer(w, nil, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if _, err := io.Copy(w, f); err != nil {
		p.log.Debug("changes were not sent whole", "err", err)
	}
}

// changesBetween writes the changes of a stretch, FROM-TO, those that edit keeps as
// edit leaves them, into a scratch file, whose length it gives. NotFound when any is missing.
func (p *Peer) changesBetween(name string, edit func(*snapshot.Change) (keep bool, err error)) (*scratch, int64, error) {
	r, ok := parseRange(name)
	if !ok {
		return nil, 0, api.Errorf(api.NotFound, "changes", "a stretch of changes is named FROM-TO, two log indexes, the first from 1 and not after the second")
	}
	if end := p.chronicle.files.End(); r.To > end {
		return nil, 0, api.Errorf(api.NotFound, "changes", "changes are known up to index %d here", end)
	}
	f, err := p.exports.scratch()
	if err != nil {
		return nil, 0, err
	}
	edited := func(yield func(*snapshot.Change, error) bool) {
		for c, err := range p.chronicle.files.Changes(api.After(r.From-1), r.To) {
			keep := true
			if err == nil {
				own := *c
				c = &own
				keep, err = edit(c)
			}
			if (keep || err != nil) && !yield(c, err) {
				return
			}
		}
	}
	if _, err = snapshot.WriteChanges(f, edited); err != nil {
		f.Close()
		if missing, is := errors.AsType[snapshot.ErrMissing](err); is {
			err = api.Errorf(api.NotFound, "changes", "%w", missing)
		}
		return nil, 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

// parseRange reads FROM-TO.
func parseRange(name string) (r snapshot.Range, ok bool) {
	if n, err := fmt.Sscanf(name, "%d-%d", &r.From, &r.To); err != nil || n != 2 {
		return r, false
	}
	return r, r.From >= 1 && r.From <= r.To && name == fmt.Sprintf("%d-%d", r.From, r.To)
}
