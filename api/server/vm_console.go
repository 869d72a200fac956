package server

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
)

const (
	pongTimeout = 10 * time.Second // for who has a console open to answer a ping
	maxReason   = 123              // bytes in the frame that closes a WebSocket (RFC 6455, section 5.5)
)

var errUpgrade = &httpError{http.StatusUpgradeRequired, "upgrade-required",
	"a console is a WebSocket over HTTP/1.1: ask with Connection: Upgrade, Upgrade: websocket and Sec-WebSocket-Version: 13; orchd vm console NAME does"}

func describeConsole(_ huma.API, op *huma.Operation) {
	op.Description = "A WebSocket (RFC 6455) over HTTP/1.1, subprotocol " + api.ConsoleProtocol + ": binary messages of at most 64 KiB, the bytes of the guest's " +
		"serial line both ways. Who opens it last has it. It is closed with a reason: 1000 the guest was switched off, 1001 this peer stops, " +
		"4001 somebody else has opened it, 4003 the credential is no longer good, 4502 the guest's host was lost."
	op.Parameters = []*huma.Param{pathParameter("id", "Id or name"), accountParameter,
		{Name: "Sec-WebSocket-Protocol", In: "header", Description: api.ConsoleProtocol, Schema: &huma.Schema{Type: huma.TypeString}}}
	op.Responses["101"] = &huma.Response{Description: "The console is open"}
	op.Responses["426"] = &huma.Response{Description: "This was no WebSocket handshake", Content: op.Responses["default"].Content}
}

// console opens the serial console of a virtual machine. All that can be refused is
// refused before the protocol changes, with a problem.
func (s *Server) console(w http.ResponseWriter, r *http.Request) error {
	vm, _, err := s.vmInPath(r)
	if err == nil {
		err = permit(actorOf(r.Context()), api.Update, api.Object{Kind: "vm", Account: vm.Account})
	}
	if err == nil {
		err = handshake(w, r)
	}
	if err != nil {
		return err
	}
	leave, err := s.consoles.enter(actorOf(r.Context()).ID)
	if err != nil {
		return err
	}
	defer leave()
	guest, err := s.backend.Console(r.Context(), vm)
	if err != nil {
		return err
	}
	defer guest.Close()
	s.hijacked.Add(1)
	defer s.hijacked.Done()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{api.ConsoleProtocol}, InsecureSkipVerify: true}) // handshake has looked
	if err != nil {
		exchangeOf(r.Context()).err = err // it has answered
		return nil
	}
	ws.SetReadLimit(api.ConsoleMessage)
	session := consoleSession{ws: ws, guest: guest, stillGood: func() error { return s.stillGood(r) }, stopping: s.stopping,
		isOff: func(ctx context.Context) bool { return s.isOff(ctx, vm.ID) }}
	exchangeOf(r.Context()).err = session.run(r.Context())
	return nil
}

// handshake looks whether a request is one for a WebSocket, from a page that may.
func handshake(w http.ResponseWriter, r *http.Request) error {
	h := r.Header
	switch {
	case r.Method != http.MethodGet || r.ProtoMajor != 1 || !r.ProtoAtLeast(1, 1) || !hasToken(h, "Connection", "upgrade") || !hasToken(h, "Upgrade", "websocket"):
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
		}
		return errUpgrade
	case h.Get("Sec-WebSocket-Version") != "13":
		w.Header().Set("Sec-WebSocket-Version", "13")
		return badParameter("/header/Sec-WebSocket-Version", "expected 13")
	case len(h.Values("Sec-WebSocket-Key")) != 1 || !isNonce(h.Get("Sec-WebSocket-Key")):
		return badParameter("/header/Sec-WebSocket-Key", "expected 16 bytes in base64, once")
	case !sameOrigin(r):
		return &api.Error{Kind: api.Forbidden, Op: "vm.console", Msg: "a page from elsewhere may not open a console: its Origin is not this peer"}
	}
	return nil
}

// hasToken tells whether a header lists a word.
func hasToken(h http.Header, name, word string) bool {
	for _, value := range h.Values(name) {
		for token := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(token), word) {
				return true
			}
		}
	}
	return false
}

func isNonce(key string) bool {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key))
	return err == nil && len(b) == 16
}

// sameOrigin tells whether a browser's page that asks, if one does, comes from here.
func sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && strings.EqualFold(u.Host, r.Host)
}

// consoleSession is a console that is open: two directions, a clock, and what ends them.
type consoleSession struct {
	ws        *websocket.Conn
	guest     io.ReadWriteCloser
	stillGood func() error
	stopping  <-chan struct{}
	isOff     func(context.Context) bool // whether the guest is
}

// consoleEnd is why a console was closed, as the client is told.
type consoleEnd struct {
	code   websocket.StatusCode
	reason string
	cause  error // for the log; nil for an end that is none of a failure
}

// Error gives the reason.
func (e *consoleEnd) Error() string { return e.reason }

// errClientLeft ends a console whose client has closed it, or is gone.
var errClientLeft = errors.New("the client has left")

// run carries bytes until one side ends, and gives what is worth a word in the log. The
// context of what is read and written does not end with the first side: the WebSocket
// would be cut with it, and nobody told why.
func (c *consoleSession) run(ctx context.Context) error {
	g, first := errgroup.WithContext(ctx)
	open := context.WithoutCancel(ctx)
	g.Go(func() error { return c.toGuest(open) })
	g.Go(func() error { return c.fromGuest(open) })
	g.Go(func() error { return c.watch(first, open) })
	g.Go(func() error {
		<-first.Done()
		c.close(context.Cause(first))
		return nil
	})
	var end *consoleEnd
	if errors.As(g.Wait(), &end) {
		return end.cause
	}
	return nil
}

// close tells the client why. The guest's side is let go first, for a guest that takes
// nothing must not hold up who is told.
func (c *consoleSession) close(cause error) {
	c.guest.Close()
	end := endStopping
	if errors.Is(cause, errClientLeft) {
		c.ws.CloseNow()
		return
	}
	errors.As(cause, &end)
	_ = c.ws.Close(end.code, shortened(end.reason)) // the client may have gone
}

var endStopping = &consoleEnd{code: api.ConsoleStopping, reason: "this peer is stopping; open the console again"}

// shortened makes a text fit into the frame that closes a WebSocket.
func shortened(text string) string {
	if len(text) <= maxReason {
		return text
	}
	cut := maxReason
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// toGuest brings what is typed to the guest.
func (c *consoleSession) toGuest(ctx context.Context) error {
	for {
		kind, message, err := c.ws.Reader(ctx)
		if err != nil {
			return errClientLeft
		}
		if kind != websocket.MessageBinary {
			return &consoleEnd{code: websocket.StatusUnsupportedData, reason: "a console takes binary messages"}
		}
		in := clientReader{Reader: message}
		if _, err := io.Copy(c.guest, &in); in.err != nil {
			return errClientLeft
		} else if err != nil {
			return c.guestEnd(ctx, err)
		}
	}
}

// clientReader notes that the client's side broke, and not the guest's.
type clientReader struct {
	io.Reader
	err error
}

// Read reads a piece of a message.
func (r *clientReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// fromGuest brings what the guest says to the client, who has sendTimeout to take it.
func (c *consoleSession) fromGuest(ctx context.Context) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := c.guest.Read(buf)
		if n > 0 && c.say(ctx, buf[:n]) != nil {
			return errClientLeft
		}
		if err != nil {
			return c.guestEnd(ctx, err)
		}
	}
}

func (c *consoleSession) say(ctx context.Context, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return c.ws.Write(ctx, websocket.MessageBinary, b)
}

// guestEnd is what a client is told of the end of the guest's side. The hypervisor ends
// it in one way only, whether the guest is off or somebody else has the console.
func (c *consoleSession) guestEnd(ctx context.Context, err error) error {
	var known *api.Error
	switch {
	case errors.Is(err, io.EOF) && c.isOff(ctx):
		return &consoleEnd{code: api.ConsoleGuestOff, reason: "the guest was switched off"}
	case errors.Is(err, io.EOF):
		return &consoleEnd{code: api.ConsoleTakenOver, reason: "somebody else has opened this console, or the guest was started anew"}
	case !errors.As(err, &known):
	case known.Kind == api.Conflict:
		return &consoleEnd{code: api.ConsoleTakenOver, reason: known.Msg}
	case known.Kind == api.Unavailable:
		return &consoleEnd{code: api.ConsoleLost, reason: known.Msg, cause: err}
	}
	return &consoleEnd{code: websocket.StatusInternalError, reason: "the console broke; the peer's log tells more", cause: err}
}

// reportTime is how long after the end of a guest its owner has said so, at most.
const reportTime = 2 * time.Second

// isOff tells whether a virtual machine is off, or is found to be within reportTime.
func (s *Server) isOff(ctx context.Context, vm string) bool {
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	for {
		v, err := s.backend.View(ctx, api.Local)
		if err != nil {
			return false
		}
		now, err := v.VM("", vm)
		if err != nil || now.Status.State != api.VMRunning && now.Status.State != api.VMPaused {
			return true
		}
		select {
		case <-v.Watch():
		case <-s.stopping:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// watch pings the client, and looks whether its credential is still good and whether
// this peer is stopping, until ctx ends.
func (c *consoleSession) watch(ctx, open context.Context) error {
	ping, check := time.NewTicker(api.ConsolePing), time.NewTicker(credentialCheck)
	defer ping.Stop()
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.stopping:
			return endStopping
		case <-ping.C:
			if c.ping(open) != nil {
				return errClientLeft
			}
		case <-check.C:
			if err := c.stillGood(); err != nil {
				return &consoleEnd{code: api.ConsoleNoMore, reason: "the credential is no longer good", cause: err}
			}
		}
	}
}

func (c *consoleSession) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pongTimeout)
	defer cancel()
	return c.ws.Ping(ctx)
}
