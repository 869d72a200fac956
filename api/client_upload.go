package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// storeTime is how long a peer may take over an upload once all of it has been sent.
const storeTime = 10 * time.Minute

// Upload sends content to a path with PUT, as that of an image, without holding it in
// memory. size is how many bytes r has, -1 when nobody knows. A peer that cannot take
// it says so before anything is sent. When a connection breaks and r is an
// io.Seeker, the whole is sent again, to the same peer or another; else the upload has
// failed. progress may be nil; it is told how many bytes have been sent.
func (c *Client) Upload(ctx context.Context, path string, r io.Reader, size int64, progress func(done, total int64), opts ...CallOption) (Answer, error) {
	k, err := newCall(http.MethodPut, path, nil, opts)
	if err != nil {
		return Answer{}, err
	}
	k.header.Set("Expect", "100-continue")
	k.header.Set("Content-Type", "application/octet-stream")
	up := &upload{client: c, r: r, size: size, progress: progress}
	if up.seeker, _ = r.(io.Seeker); up.seeker != nil {
		if up.start, err = up.seeker.Seek(0, io.SeekCurrent); err != nil {
			up.seeker = nil // a pipe
		}
	}
	answer, err := c.persistWith(ctx, k, up.try)
	if k.answer != nil {
		*k.answer = answer
	}
	return answer, err
}

// upload is content on its way out.
type upload struct {
	client   *Client
	r        io.Reader
	seeker   io.Seeker // nil: what has been read cannot be read again
	start    int64
	size     int64
	progress func(done, total int64)
	read     atomic.Int64 // bytes that any try has read
}

// errNotAgain is behind the failure of an upload that was under way and cannot be repeated.
var errNotAgain = errors.New("what was to be sent cannot be read a second time")

// try sends all of it to one address.
func (u *upload) try(ctx context.Context, to address, k *call) attempt {
	if err := u.rewind(); err != nil {
		return attempt{err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body := &sending{upload: u, silence: time.AfterFunc(u.client.cfg.Attempt, func() { cancel(errSilent) })}
	defer body.stop()
	req, err := u.client.request(ctx, to, k)
	if err != nil {
		return attempt{err: Errorf(Invalid, "client", "make the request: %w", err)}
	}
	if req.Body, req.ContentLength, req.GetBody = io.NopCloser(body), u.size, nil; u.size == 0 {
		req.Body = http.NoBody
	}
	res, err := to.http.Do(req)
	if err != nil {
		return u.lost(body, lostBy(ctx, err))
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return u.lost(body, lostBy(ctx, err))
	}
	answer := answerOf(res, text)
	a := attempt{answer, answer.failure()}
	if IsKind(a.err, Unavailable) && u.read.Load() > 0 && u.seeker == nil {
		a.err = Errorf(Conflict, "client", "%s, and %w", strings.TrimSuffix(a.err.Error(), "."), errNotAgain)
	}
	return a
}

// rewind goes back to where the content begins.
func (u *upload) rewind() error {
	if u.read.Load() == 0 || u.seeker == nil {
		return nil
	}
	if _, err := u.seeker.Seek(u.start, io.SeekStart); err != nil {
		return Errorf(Invalid, "client", "read again what is to be uploaded: %w", err)
	}
	return nil
}

// lost is what came of a try without an answer.
func (u *upload) lost(body *sending, err error) attempt {
	switch {
	case body.failure.Load() != nil:
		return attempt{err: Errorf(Invalid, "client", "read what is to be uploaded: %w", *body.failure.Load())}
	case u.read.Load() > 0 && u.seeker == nil:
		return attempt{err: Errorf(Conflict, "client", "the upload broke off (%v), and %w", err, errNotAgain)}
	}
	return attempt{err: err}
}

// sending is the content in one try. The transport may go on reading after the try
// has its answer, so that the next try waits for it.
type sending struct {
	*upload
	silence *time.Timer
	failure atomic.Pointer[error] // why it could not be read

	reading sync.Mutex
	done    int64
	over    atomic.Bool
}

// errOver ends the reading of a try that has its answer.
var errOver = errors.New("the peer has answered")

// stop ends reading. What cannot be read again nobody will, so that a pipe which gives
// nothing is not waited for.
func (s *sending) stop() {
	s.silence.Stop()
	s.over.Store(true)
	if s.seeker != nil {
		s.reading.Lock()
		defer s.reading.Unlock()
	}
}

// Read gives the next piece; while pieces are asked for, the peer is there.
func (s *sending) Read(b []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.over.Load() {
		return 0, errOver
	}
	s.silence.Reset(s.client.cfg.Attempt)
	n, err := s.r.Read(b)
	s.done += int64(n)
	s.read.Add(int64(n))
	if s.progress != nil && n > 0 {
		s.progress(s.done, s.size)
	}
	if errors.Is(err, io.EOF) || s.done == s.size {
		s.silence.Reset(storeTime)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.failure.Store(&err)
	}
	return n, err
}
