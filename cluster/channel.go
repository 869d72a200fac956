package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/orchd/orchd/api"
)

// The peer channel is HTTP/2 between peers, inside the TLS connections that the
// hall has checked. net/http sees plain connections and speaks HTTP/2 with prior
// knowledge (RFC 9113, 3.3): TLS is below it, with an ALPN of ours.

// Limits of the peer channel.
const (
	maxHeader  = 32 << 10        // bytes of a request's header
	maxMessage = MaxEntry + 4096 // bytes of a body of the node's own routes
	maxStreams = 1000            // requests at once on one connection
	pingAfter  = 2 * time.Second // a silent connection is asked whether it lives
	pingWait   = 2 * time.Second // and has that long to answer
)

// errNotLeader is what a peer answers that was taken for the leader.
var errNotLeader = errors.New("that peer does not lead")

// errRemoved is what a peer hears that has been removed.
var errRemoved = api.Errorf(api.Forbidden, "", "this peer does not belong to the cluster any more")

// statusNotLeader says it on the wire (421, Misdirected Request).
const statusNotLeader = http.StatusMisdirectedRequest

// newServer serves the node's own routes and, below /peer/, those of the other parts.
func (n *Node) newServer() *http.Server {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"POST /peer/ping":     n.servePing,
		"GET /peer/known":     n.serveKnown,
		"POST /peer/suffrage": n.serveSuffrage,
		"POST /peer/transfer": n.serveTransfer,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxMessage)
			v, err := handle(r)
			n.answer(w, r, v, err)
		})
	}
	if n.cfg.PeerHandler != nil {
		mux.Handle("/peer/", n.cfg.PeerHandler)
	}
	return &http.Server{
		Handler:           n.members(mux),
		Protocols:         onlyHTTP2(),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, PingTimeout: pingWait},
		ReadHeaderTimeout: handshakeTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return n.ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, callerKey{}, c.(*conn).peer)
		},
	}
}

func onlyHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

func (n *Node) serve() {
	if err := n.server.Serve(&n.hall.peers); err != nil && n.ctx.Err() == nil {
		n.fail(fmt.Errorf("serve the peer channel: %w", err))
	}
}

type callerKey struct{}

// CallerPeer is the id of the peer that sent a request of the peer channel,
// taken from its certificate; empty anywhere else.
func CallerPeer(r *http.Request) string {
	id, _ := r.Context().Value(callerKey{}).(string)
	return id
}

// members asks the book again at each request: a connection outlives its peer's
// removal by a moment. Close waits for requests in hand, whose contexts it ends.
func (n *Node) members(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := n.book.find(CallerPeer(r)); !ok {
			n.answer(w, r, nil, errRemoved)
			return
		}
		if !n.begin() {
			n.answer(w, r, nil, api.Errorf(api.Unavailable, "", "this peer is shutting down"))
			return
		}
		defer n.work.Done()
		next.ServeHTTP(w, r)
	})
}

// answer writes what a route gave: bytes as they are, anything else as JSON, an
// error whole, so that it means at the other end what it meant here.
func (n *Node) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	if errors.Is(err, errNotLeader) {
		w.WriteHeader(statusNotLeader)
		return
	}
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		w.Write(n.errorFor(CallerPeer(r), err))
		return
	}
	if raw, ok := v.([]byte); ok {
		w.Write(raw)
		return
	}
	json.NewEncoder(w).Encode(v)
}

// errorFor is an error as it travels to a peer: the details of one that is no
// *api.Error stay here.
func (n *Node) errorFor(peer string, err error) []byte {
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		n.log.Warn("request of a peer failed", "peer", peer, "err", err)
		e = api.Errorf(api.Internal, "", "internal error")
	}
	return encodeError(e)
}

// encodeError is an api.Error as it travels between peers.
func encodeError(e *api.Error) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("an api.Error cannot be encoded: %v", err))
	}
	return b
}

// peerDialTime is how long a connection for requests may take, with its handshake. net/http goes on
// dialing for a request that has been given up: without an end each ping of a peer that is cut off
// would leave a dial behind, and when the way is open again all would come through at once.
const peerDialTime = 5 * time.Second

// newClient reaches peers by id: https://<peer id>/peer/...
func (n *Node) newClient() *http.Client {
	if n.cfg.PeerTransport != nil {
		return &http.Client{Transport: knownPeers{n.book, n.cfg.PeerTransport}}
	}
	return &http.Client{Transport: peerTransport{&http.Transport{
		Protocols: onlyHTTP2(),
		HTTP2:     &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, peerDialTime)
			defer cancel()
			return n.hall.dial(ctx, hostOf(address), protoPeer)
		},
	}}}
}

// peerTransport lets net/http speak HTTP/2 over the hall's connections.
type peerTransport struct{ *http.Transport }

// RoundTrip sends a request for https://<peer id>/...
func (t peerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("peers are reached by https, not %s", r.URL.Scheme)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme = "http" // TLS is the hall's
	return t.Transport.RoundTrip(r)
}

// knownPeers sends requests to peers of this cluster only, as the hall dials nobody else.
type knownPeers struct {
	book *book
	http.RoundTripper
}

// RoundTrip sends a request for https://<peer id>/...
func (t knownPeers) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, ok := t.book.find(r.URL.Host); !ok {
		return nil, fmt.Errorf("call peer %s: it does not belong to this cluster, or not any more", r.URL.Host)
	}
	return t.RoundTripper.RoundTrip(r)
}

// ServePeer answers a request of another peer that came by Config.PeerTransport, which vouches for who that is.
func (n *Node) ServePeer(w http.ResponseWriter, r *http.Request, from string) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), callerKey{}, from))
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	n.server.Handler.ServeHTTP(w, r.WithContext(ctx))
}

// Client reaches other peers: https://<peer id>/peer/... goes to exactly that
// peer, proven by its certificate, wherever it lives now.
func (n *Node) Client() *http.Client { return n.client }

// call sends a message to a peer's own routes and gives the answer's body. An
// *api.Error of the other side comes back as one.
func (n *Node) call(ctx context.Context, id, method, path string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "https://"+id+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call peer %s: %w", id, err)
	}
	resp, err := n.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("call peer: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 2*maxMessage))
	if err != nil {
		return nil, fmt.Errorf("call peer %s %s: %w", id, path, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return answer, nil
	case statusNotLeader:
		return nil, errNotLeader
	}
	e := &api.Error{}
	if err := json.Unmarshal(answer, e); err != nil || e.Msg == "" {
		return nil, fmt.Errorf("call peer %s %s: answered %s", id, path, resp.Status)
	}
	return nil, e
}

// exchange calls a peer with JSON both ways.
func exchange[Out any](ctx context.Context, n *Node, id, path string, in any) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("call peer %s %s: %w", id, path, err)
	}
	answer, err := n.call(ctx, id, http.MethodPost, path, body)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("call peer %s %s: %w", id, path, err)
	}
	return out, nil
}

// read decodes the body of a peer's message.
func read(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return api.Errorf(api.Malformed, "", "the message of peer %s cannot be read: %w", CallerPeer(r), err)
	}
	return nil
}
