package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// prepareFactor is how many times ClientConfig.Attempt a peer may be silent before
// a file begins: it may have to be written first.
const prepareFactor = 8

var (
	errSilent    = errors.New("the peer went silent")
	errCutShort  = errors.New("the file ended early")
	errOtherFile = errors.New("the peer has no such file, or another one")
)

// Download fetches a file, as those below /v1/snapshots/ID and /v1/changes, into to,
// from offset 0. A connection that breaks is taken up again where it broke, at the
// same peer or at another that has the same file: one of the same ETag. It gives up
// when nothing has come for ClientConfig.Timeout. progress may be nil; it is told how
// many bytes are there and how many there will be, -1 while nobody has said.
func (c *Client) Download(ctx context.Context, path string, to io.WriterAt, progress func(done, total int64)) error {
	if u, err := url.Parse(path); err != nil || u.Host != "" || !strings.HasPrefix(path, "/") {
		return Errorf(Invalid, "client", "%q is no path", path)
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	d := download{client: c, path: path, to: to, progress: progress, total: -1}
	return d.run(ctx)
}

// download is a file on its way in.
type download struct {
	client      *Client
	path        string
	to          io.WriterAt
	progress    func(done, total int64)
	etag        string // of the file that was begun; empty: there is none to go on with
	done, total int64  // bytes
}

// run goes round the addresses until all is there. It is patient once something
// was under way, for a peer that restarts is back soon.
func (d *download) run(ctx context.Context) error {
	pause, deadline := firstPause, time.Now().Add(d.client.cfg.Timeout)
	for {
		before := d.done
		end := d.round(ctx)
		switch {
		case end.over:
			return end.err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.done > before:
			pause, deadline = firstPause, time.Now().Add(d.client.cfg.Timeout)
		case d.etag == "" && !end.underway, time.Now().Add(pause).After(deadline):
			return d.giveUp(end.err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// rounded is what came of asking each address once.
type rounded struct {
	err      error // of the attempt that says most; nil: all is there
	over     bool  // no other try would do better
	underway bool  // somebody was there
}

// round asks the addresses, beginning with the one that answered last.
func (d *download) round(ctx context.Context) rounded {
	c, all := d.client, rounded{over: true}
	first := int(c.newest.Load())
	for i := range c.peers {
		n := (first + i) % len(c.peers)
		err := d.try(ctx, c.peers[n])
		if err == nil || !errors.Is(err, errOtherFile) && (attempt{err: err}).final() {
			c.newest.Store(int64(n))
			return rounded{err: err, over: true}
		}
		if !errors.Is(err, errOtherFile) {
			all.over = false
		}
		if all.err == nil || IsKind(err, Unavailable) {
			all.err = err
		}
		all.underway = all.underway || mayHaveArrived(err)
	}
	if all.over {
		all.err = Errorf(Conflict, "client", "%s is no longer the file that was begun, on any peer: download it again", d.path)
	}
	return all
}

// giveUp is the error of a download that got no further.
func (d *download) giveUp(err error) error {
	var lost *lostError
	switch {
	case d.etag != "":
		return &Error{Kind: Unavailable, Op: "client", Err: err,
			Msg: fmt.Sprintf("%s broke off after %d of %d bytes, and no peer could go on with it", d.path, d.done, d.total)}
	case errors.As(err, &lost):
		return d.client.unreachable(err)
	}
	return err
}

// try asks one address for what is missing.
func (d *download) try(ctx context.Context, from address) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(prepareFactor*d.client.cfg.Attempt, func() { cancel(errSilent) })
	defer silence.Stop()
	req, err := d.request(ctx, from)
	if err != nil {
		return Errorf(Invalid, "client", "make the request: %w", err)
	}
	res, err := from.http.Do(req)
	if err != nil {
		return lostBy(ctx, err)
	}
	defer res.Body.Close()
	if err := d.begin(res); err != nil {
		return err
	}
	return d.receive(ctx, res.Body, silence)
}

// lostBy is the failure of a connection, by its cause when we broke it off.
func lostBy(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		err = errSilent
	}
	return &lostError{err}
}

func (d *download) request(ctx context.Context, from address) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.base+d.path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity") // the bytes that the range and the length are about
	if token := d.client.cfg.Token; token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if d.etag != "" && d.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.done))
		req.Header.Set("If-Range", d.etag)
	}
	return req, nil
}

// begin reads the head of an answer: whether this is the file, and from where on.
func (d *download) begin(res *http.Response) error {
	etag := res.Header.Get("ETag")
	switch {
	case res.StatusCode == http.StatusPartialContent && d.goesOn(res.Header):
	case res.StatusCode == http.StatusOK && (d.etag == "" || d.etag == etag):
		d.done, d.total, d.etag = 0, res.ContentLength, etag
		if strings.HasPrefix(etag, "W/") {
			d.etag = "" // the same meaning is not the same bytes
		}
		d.moved(res.Header.Get("Content-Location"))
	case res.StatusCode < 300 && d.etag == "":
		return Errorf(Internal, "client", "%s was asked for whole, and the answer is %s", d.path, res.Status)
	case res.StatusCode < 300:
		return errOtherFile
	default:
		return d.refused(res)
	}
	d.progress(d.done, d.total)
	return nil
}

// goesOn tells whether a 206 is the rest of the file that was begun.
func (d *download) goesOn(h http.Header) bool {
	var first, last, total int64
	n, _ := fmt.Sscanf(h.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total)
	return n == 3 && h.Get("ETag") == d.etag && first == d.done && last == total-1 && total == d.total
}

// moved notes where the very file stands when the path means another one each time,
// as /v1/snapshots/now.
func (d *download) moved(location string) {
	if u, err := url.Parse(location); err == nil && u.Host == "" && strings.HasPrefix(location, "/") {
		d.path = location
	}
}

// refused is what a peer says instead of the file. Once it was begun elsewhere, one
// that does not have it is no reason to stop.
func (d *download) refused(res *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return &lostError{err}
	}
	err = answerOf(res, body).failure()
	if d.etag != "" && (IsKind(err, NotFound) || res.StatusCode == http.StatusRequestedRangeNotSatisfiable) {
		return errOtherFile
	}
	return err
}

// receive takes the body, for as long as something comes.
func (d *download) receive(ctx context.Context, body io.Reader, silence *time.Timer) error {
	buf := make([]byte, 256<<10)
	for {
		silence.Reset(d.client.cfg.Attempt)
		n, err := body.Read(buf)
		if n > 0 {
			if err := d.write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return d.complete()
		case err != nil:
			return lostBy(ctx, err)
		}
	}
}

func (d *download) write(b []byte) error {
	if _, err := d.to.WriteAt(b, d.done); err != nil {
		return fmt.Errorf("write what was downloaded: %w", err)
	}
	d.done += int64(len(b))
	d.progress(d.done, d.total)
	return nil
}

// complete is nil when as much has come as was announced.
func (d *download) complete() error {
	switch {
	case d.total < 0 || d.done == d.total:
		return nil
	case d.done < d.total:
		return &lostError{errCutShort}
	}
	return Errorf(Internal, "client", "%s is longer than the %d bytes that the peer announced", d.path, d.total)
}
