package server

import (
	"context"
	"net/http"
	"time"

	"github.com/orchd/orchd/api"
)

// Times of a stream of events.
const (
	eventSilence    = 15 * time.Second     // after so long without an event a comment is sent: proxies close what is silent
	eventLinger     = 5 * time.Millisecond // for so long events wait for others to go with them
	credentialCheck = time.Minute          // how often it is asked whether the credential is still good
)

// events streams what changes, as the HTML standard has server-sent events
// (section 9.2). Events are pulled: the next is asked for when the client has
// taken those before, so that one that does not read holds a buffer and no more.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	q, err := s.eventsQueryOf(r)
	if err != nil {
		return err
	}
	leave, err := s.follow.enter(actorOf(r.Context()).ID)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := s.untilStopping(r.Context())
	defer cancel()
	stream, err := s.backend.Events(ctx, q.since, q.until, q.filter)
	if err != nil {
		return err
	}
	defer stream.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	out := eventSender{sender: sender{w: w, deadline: http.NewResponseController(w)}, stream: stream, from: q.from,
		actor: actorOf(r.Context()), stillGood: func() error { return s.stillGood(r) }, checked: time.Now()}
	exchangeOf(r.Context()).err = out.run(ctx) // the answer has begun: nobody else can be told
	return nil
}

// untilStopping is ctx, and ends when the server begins to stop as well.
func (s *Server) untilStopping(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// stillGood is nil while the credential of r is what it was when r was let in.
// A peer that cannot tell just now changes nothing.
func (s *Server) stillGood(r *http.Request) error {
	now, err := s.authenticate(r)
	switch {
	case api.IsKind(err, api.Unauthenticated):
		return err
	case err == nil && now != actorOf(r.Context()):
		return unauthenticated("the credential has other rights by now")
	}
	return nil
}
