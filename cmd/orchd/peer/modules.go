package peer

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/orchd/orchd/api"
)

// FetchModule asks the other peers for the bytes of a module; the first that has them
// gives them.
func (s system) FetchModule(ctx context.Context, digest string) (io.ReadCloser, error) {
	var errs []error
	for member := range s.machine.Read().Members() {
		if member.ID == s.identity.PeerID {
			continue
		}
		resp, err := s.request(ctx, member.ID, http.MethodGet, "/peer/modules/"+digest, nil)
		if err == nil {
			return resp.Body, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, api.Errorf(api.NotFound, "module", "this peer does not have module %.12s, and there is no other peer", digest)
	}
	return nil, api.Errorf(api.Unavailable, "module", "no other peer has module %.12s now: %w", digest, errors.Join(errs...))
}

// serveModule gives another peer a module that this one has.
func (p *Peer) serveModule(w http.ResponseWriter, r *http.Request) {
	content, err := p.modules.Serve(r.PathValue("digest"))
	if err != nil {
		answerPeer(w, nil, api.Errorf(api.NotFound, "module", "this peer does not have the module"))
		return
	}
	p.send(w, content, nil)
}
