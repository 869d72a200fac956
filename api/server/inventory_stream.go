package server

import (
	"iter"
	"net/http"
	"time"
)

// sendAt is how many bytes of a list are collected before they are sent.
const sendAt = 64 << 10

// sendRows answers with a JSON array, sent while rows are walked: a list of any
// length takes one buffer. Each piece has sendTimeout of its own to be taken by
// the client, so that long lists may take long and a client that stops reading,
// or leaves, ends the walk.
func sendRows[T any](w http.ResponseWriter, r *http.Request, status int, rows iter.Seq[T], appendRow func([]byte, T) []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	out := sender{w: w, deadline: http.NewResponseController(w)}
	between := byte('[')
	for row := range rows {
		out.buf = appendRow(append(out.buf, between), row)
		between = ','
		if len(out.buf) >= sendAt && !out.send() {
			exchangeOf(r.Context()).err = out.err // nobody is there to be told
			return
		}
	}
	if between == '[' {
		out.buf = append(out.buf, '[')
	}
	out.buf = append(out.buf, "]\n"...)
	if !out.send() {
		exchangeOf(r.Context()).err = out.err
	}
}

// sender sends what has been collected.
type sender struct {
	w        http.ResponseWriter
	deadline *http.ResponseController
	buf      []byte
	err      error
}

// send empties the buffer; false when the client no longer takes anything.
func (s *sender) send() bool {
	_ = s.deadline.SetWriteDeadline(time.Now().Add(sendTimeout)) // not supported in memory: nothing is slow there
	_, s.err = s.w.Write(s.buf)
	s.buf = s.buf[:0]
	return s.err == nil
}
