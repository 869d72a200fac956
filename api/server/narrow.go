package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

// ServePlain answers on l, without TLS, on what clients of the fleet need and on
// nothing else: the inventory, the State Manager API, /schemas and /healthz. Tokens
// pass there in clear, so l must be reachable from this host only.
func (s *Server) ServePlain(ctx context.Context, l net.Listener) error {
	return s.serveNarrow(ctx, s.plainHandler(), l)
}

// ServeBoot answers on l, without TLS and without a credential, to nodes that boot,
// each with its own data only.
func (s *Server) ServeBoot(ctx context.Context, l net.Listener) error {
	return s.serveNarrow(ctx, s.bootHandler(), l)
}

// serveNarrow answers on a listener of its own until ctx ends.
func (s *Server) serveNarrow(ctx context.Context, handler http.Handler, l net.Listener) error {
	h := s.httpServer(handler)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := h.Serve(netutil.LimitListener(l, s.cfg.MaxConns)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve on %s: %w", l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return s.stop(h)
	})
	return g.Wait()
}

// plainHandler lets some of the routes through.
func (s *Server) plainHandler() http.Handler {
	mux := http.NewServeMux()
	for _, f := range facades() {
		mux.Handle(f.method+" "+f.path, s.mux)
	}
	mux.Handle("GET /schemas/{file}", s.mux)
	mux.Handle("GET /healthz", s.mux)
	return s.logged(s.routed(mux))
}
