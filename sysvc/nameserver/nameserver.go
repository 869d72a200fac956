// Package nameserver answers DNS questions about the names of the registry, under one
// domain: registry.Lookup says which addresses web.default.vm has, and web.default.vm.orchd
// resolves to them.
//
// It is authoritative for its domain and for nothing else: it asks no other server, and
// refuses what lies elsewhere. Answers are small, so that it is of no use to who wants to
// send much to somebody else. Start with New and Run; Registry reads the names.
package nameserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// TTL is how many seconds an answer may be kept, also one that says that there is nothing.
const TTL = 30

// Limits of what is served at once. Who is over them is not answered, and asks again.
const (
	maxInHand  = 256  // questions
	maxTCP     = 64   // connections
	maxAnswers = 32   // addresses of a name
	maxUDP     = 1232 // bytes of an answer: what passes every network in one piece
)

// Times that a client may take.
const (
	readTime   = 5 * time.Second // to send a question over TCP
	idleTime   = 10 * time.Second
	lookupTime = 2 * time.Second
)

// Lookup gives the addresses of a name, which is in lower case and without the domain,
// and tells whether there is such a name: it may have no address.
type Lookup func(ctx context.Context, name string) ([]netip.Addr, bool, error)

// Config is what a nameserver is told.
type Config struct {
	Domain string // such as orchd, or vms.example.org
	Lookup Lookup
	// Beneath tells whether names end in a dot and this one: web.default.vm makes vm and
	// default.vm be there, without an address. nil: none is known.
	Beneath func(name string) bool
	Self    []netip.Addr // of this server: ns.DOMAIN
	Log     *slog.Logger // nil: silent
}

// Server answers questions. Make it with New.
type Server struct {
	cfg    Config
	origin string // the domain as DNS writes it: in lower case, with a dot at its end
	inHand chan struct{}
}

// New makes a server; it does not listen yet.
func New(c Config) (*Server, error) {
	origin := dns.CanonicalName(c.Domain)
	if _, valid := dns.IsDomainName(origin); !valid || origin == "." {
		return nil, fmt.Errorf("nameserver: %q is no domain: give one such as orchd or vms.example.org", c.Domain)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: c, origin: origin, inHand: make(chan struct{}, maxInHand)}, nil
}

// ListenAndRun answers on a HOST:PORT, over UDP and TCP, until ctx ends.
func (s *Server) ListenAndRun(ctx context.Context, address string) error {
	packets, err := new(net.ListenConfig).ListenPacket(ctx, "udp", address)
	if err != nil {
		return fmt.Errorf("nameserver: %w", err)
	}
	if host, port, err := net.SplitHostPort(address); err == nil && port == "0" {
		_, port, _ = net.SplitHostPort(packets.LocalAddr().String())
		address = net.JoinHostPort(host, port) // the same port for both
	}
	streams, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return errors.Join(fmt.Errorf("nameserver: %w", err), packets.Close())
	}
	return s.Run(ctx, packets, streams)
}

// Run answers on what is listening already until ctx ends, and closes it then.
func (s *Server) Run(ctx context.Context, packets net.PacketConn, streams net.Listener) error {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) { s.serve(ctx, w, question) })
	servers := []*dns.Server{
		{PacketConn: packets, Handler: handler, UDPSize: maxUDP},
		{Listener: limited{streams, make(chan struct{}, maxTCP)}, Handler: handler, ReadTimeout: readTime, WriteTimeout: readTime,
			IdleTimeout: func() time.Duration { return idleTime }},
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, server := range servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		group.Go(func() error {
			defer close(ended)
			return server.ActivateAndServe()
		})
		group.Go(func() error {
			select {
			case <-ended: // it did not even start
				return nil
			case <-started:
			}
			<-ctx.Done()
			return server.Shutdown()
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("nameserver: %w", err)
	}
	return nil
}

// serve answers one question, or leaves it when there are too many in hand.
func (s *Server) serve(ctx context.Context, w dns.ResponseWriter, question *dns.Msg) {
	select {
	case s.inHand <- struct{}{}:
		defer func() { <-s.inHand }()
	default:
		return
	}
	_, overUDP := w.RemoteAddr().(*net.UDPAddr)
	answer := s.answer(ctx, question)
	if answer == nil {
		return
	}
	answer.Truncate(room(question, overUDP))
	if err := w.WriteMsg(answer); err != nil {
		s.cfg.Log.Debug("answer not sent", "client", w.RemoteAddr(), "err", err)
	}
}

// room is how many bytes an answer may have.
func room(question *dns.Msg, overUDP bool) int {
	if !overUDP {
		return dns.MaxMsgSize
	}
	if opt := question.IsEdns0(); opt != nil {
		return min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
	}
	return dns.MinMsgSize
}

// below is what a name has in front of the domain; false when it lies elsewhere. The
// domain itself has nothing there.
func (s *Server) below(name string) (string, bool) {
	name = dns.CanonicalName(name)
	if name == s.origin {
		return "", true
	}
	rest, is := strings.CutSuffix(name, "."+s.origin)
	return rest, is
}
