package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
)

const (
	maxBodies    = 512 << 20 // bytes of request bodies in memory at once
	maxStrangers = 32 << 20  // of those whose sender shows no credential
	firstRead    = 1 << 10   // bytes that a body gets at first
)

// bodies counts the bytes of request bodies that are in memory. Without a bound in
// total, a few clients with large bodies take the memory of the peer.
type bodies struct {
	mu   sync.Mutex
	left int64
}

func newBodies(total int64) *bodies { return &bodies{left: total} }

// take takes n bytes, unless there are so many no more.
func (b *bodies) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

func (b *bodies) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}

var errBodies = &api.Error{Kind: api.Unavailable, Op: "body", Msg: "this peer has as many bodies of requests in memory as it takes; try again"}

// read takes a body into memory. Place is taken as bytes come, never for what a client
// only announces; release gives it back, once nobody needs the body any longer.
func (b *bodies) read(r io.Reader) (body []byte, release func(), err error) {
	held := int64(0)
	release = func() { b.give(held) }
	for {
		if len(body) == cap(body) {
			more := max(int64(cap(body)), firstRead)
			if !b.take(more) {
				return nil, release, errBodies
			}
			held += more
			larger := make([]byte, len(body), held)
			copy(larger, body)
			body = larger
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, release, nil
		case err != nil:
			return nil, release, err
		}
	}
}

// heldBody is a body that is in memory: who wants it whole takes it without a copy.
type heldBody struct {
	*bytes.Reader
	all []byte
}

func (heldBody) Close() error { return nil }

// readBody takes the body of a request into memory, that of a read nowhere: it has no
// meaning (RFC 9110, 9.3.1). Only for that long there is a deadline on reading: net/http
// watches for a client that leaves by reading too, and a deadline that passed then would
// look like one. release is to be called in any case.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, a api.Actor, limit int64) (body []byte, release func(), err error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, func() {}, nil
	}
	if !writes(r) {
		limit = maxBody
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(bodyTimeout + time.Duration(limit/bodyRate)*time.Second)) // not supported in memory: nothing is slow there
	switch from := http.MaxBytesReader(w, r.Body, limit); {
	case !writes(r):
		release = func() {}
		_, err = io.Copy(io.Discard, from)
	case a.ID == "" || a == anybody:
		body, release, err = s.strangers.read(from)
	default:
		body, release, err = s.bodies.read(from)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, release, &api.Error{Kind: api.TooLarge, Msg: "the body is larger than " + sizeInWords(limit)}
	case errors.Is(err, errBodies):
		return nil, release, err
	case err != nil:
		return nil, release, &api.Error{Kind: api.Malformed, Msg: "the body did not arrive whole and in time", Err: err}
	}
	_ = c.SetReadDeadline(time.Time{})
	return body, release, nil
}

func sizeInWords(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
