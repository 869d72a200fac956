package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"
)

// lane is the peer channel of one life without HTTP/2 and TLS, which took a third of a run's time: a request and its
// answer cross the network as one message each. One world in four has the real one (shape.wired); raft's questions
// about terms and the log's index, and who joins, go over TLS in all of them.
type lane struct{ life *life }

// laneSilence is how long a message may be on its way: by then HTTP/2 would have given its connection up.
const laneSilence = 4 * time.Second

// RoundTrip sends a request for https://PEER ID/... to that peer.
func (l *lane) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	here, w := l.life.rafts, l.life.host.world
	to := w.hostOf(r.URL.Host)
	if err := l.cross(r.Context(), here, way{l.life.host.name, to}); err != nil {
		return nil, err
	}
	there := here.at.peer(r.URL.Host)
	if there == nil {
		return nil, fmt.Errorf("peer %s: connection refused", r.URL.Host)
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(there.ctx, cancel)()
	select {
	case <-there.life.ready: // until then nobody accepts
	case <-ctx.Done():
		return nil, errReset
	}
	q := r.Clone(ctx)
	q.Body = io.NopCloser(bytes.NewReader(body))
	answers := make(chan *http.Response, 1)
	go func() {
		answer := httptest.NewRecorder()
		there.life.peer.Node().ServePeer(answer, q, l.life.host.id())
		answers <- answer.Result()
	}()
	select {
	case answer := <-answers:
		if err := l.cross(r.Context(), there, way{to, l.life.host.name}); err != nil {
			return nil, err
		}
		answer.Request = r
		return answer, nil
	case <-ctx.Done():
		if r.Context().Err() != nil {
			return nil, r.Context().Err()
		}
		return nil, errReset
	}
}

// cross is the way of a message, which whoever sends it must live to see the end of.
func (l *lane) cross(ctx context.Context, from *transport, w way) error {
	ctx, cancel := context.WithTimeout(ctx, laneSilence)
	defer cancel()
	err := errLost
	for errors.Is(err, errLost) { // what TCP loses it sends again
		if err = l.life.host.world.net.hop(ctx, w); errors.Is(err, errLost) {
			time.Sleep(usual)
		}
	}
	if err == nil && (from.ctx.Err() != nil || l.life.rafts.ctx.Err() != nil) {
		return errReset
	}
	return err
}
