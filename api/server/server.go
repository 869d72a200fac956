package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

// Bounds on what a client may hold open. There is no write or read timeout for
// whole requests, because an answer may be waited for up to maxWait: bodies and
// answers have their own deadlines.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	maxStreams     = 250 // requests at once on one HTTP/2 connection
)

// Config is what a Server needs to know. The zero value serves plain HTTP on
// the listeners it is given, which is right for unix sockets and for tests.
type Config struct {
	Version  string                // of the software, as /version says it
	TLS      *tls.Config           // for TCP listeners; nil: plain HTTP
	Metrics  prometheus.Registerer // takes orchd_http_*; nil: none are kept
	MaxConns int                   // open connections per TCP listener; 0: 4096
	Grace    time.Duration         // how long requests in hand may take once it stops; 0: 10 s
}

// Server serves the API of one peer.
type Server struct {
	cfg       Config
	backend   Backend
	log       *slog.Logger
	mux       *http.ServeMux
	docs      documents
	metrics   *metrics
	failures  *failures
	follow    *places
	consoles  *places
	uploads   *places
	downloads *places
	bodies    *bodies
	// strangers is for the bodies of requests without a credential, so that these leave
	// room for the others.
	strangers *bodies
	hijacked  sync.WaitGroup // connections that are consoles by now: net/http does not wait for them
	uid       uint32         // whose processes are admin on the unix socket, beside root's
	stopping  chan struct{}  // closed when Serve begins to stop: waits end with what they know
}

// New makes a server; it starts nothing.
func New(cfg Config, b Backend, log *slog.Logger) *Server {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 4096
	}
	if cfg.Grace == 0 {
		cfg.Grace = 10 * time.Second
	}
	s := &Server{
		cfg: cfg, backend: b, log: log,
		mux:       http.NewServeMux(),
		metrics:   newMetrics(cfg.Metrics),
		failures:  newFailures(time.Now),
		follow:    newFollowers(),
		consoles:  newConsoles(),
		uploads:   newUploads(),
		downloads: newDownloads(),
		bodies:    newBodies(maxBodies),
		strangers: newBodies(maxStrangers),
		uid:       uint32(os.Getuid()),
		stopping:  make(chan struct{}),
	}
	s.docs = s.register()
	return s
}

// Handler is the whole API, for a caller that brings its own http.Server.
func (s *Server) Handler() http.Handler { return s.logged(s.routed(s.mux)) }

// Serve answers on all listeners until ctx ends, then lets requests in hand
// finish for Config.Grace. TCP listeners speak TLS when Config.TLS is there, a
// unix socket is always plain: the kernel says who is at its other end. It may be called once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	h := s.httpServer(s.Handler())
	h.TLSConfig = withHTTP2(s.cfg.TLS)
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error { return s.serveOn(h, l) })
	}
	g.Go(func() error {
		<-ctx.Done()
		close(s.stopping)
		err := s.stop(h)
		s.hijacked.Wait() // each ends by itself within the time of a closing handshake
		return err
	})
	return g.Wait()
}

// httpServer bounds what a client may hold open of a handler.
func (s *Server) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ConnContext:       withPeerCredential,
		ErrorLog:          log.New(connLog{s.log}, "", 0),
	}
}

// withHTTP2 says in so many words that TLS carries HTTP/2. Without that, net/http
// sets it up for whichever listener comes first; when that is the unix socket, TLS
// clients are offered h2 and then cut off.
func withHTTP2(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	c.NextProtos = []string{"h2", "http/1.1"}
	return c
}

// serveOn answers on one listener.
func (s *Server) serveOn(h *http.Server, l net.Listener) error {
	serve := h.Serve
	if _, unix := l.Addr().(*net.UnixAddr); !unix {
		l = netutil.LimitListener(l, s.cfg.MaxConns)
		if s.cfg.TLS != nil {
			serve = func(l net.Listener) error { return h.ServeTLS(l, "", "") }
		}
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve api on %s: %w", l.Addr(), err)
	}
	return nil
}

// stop waits for the requests in hand, then cuts those that are left.
func (s *Server) stop(h *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Grace)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		s.log.Warn("api stopped with requests in hand", "err", err)
		return h.Close()
	}
	return nil
}

// connLog takes what net/http has to say about a connection, above all failed
// TLS handshakes, which any port scanner causes: not worth more than Debug.
type connLog struct{ log *slog.Logger }

// Write logs one line of net/http.
func (l connLog) Write(line []byte) (int, error) {
	l.log.Debug("api connection", "err", strings.TrimSpace(string(line)))
	return len(line), nil
}
