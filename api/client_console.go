package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// ConsoleProtocol is what the WebSocket of a console speaks: binary messages, the
// bytes of the guest's serial line, both ways.
const ConsoleProtocol = "orchd-console"

// The codes with which a peer closes a console, beside those of RFC 6455. The
// reason says the same in words.
const (
	ConsoleGuestOff  = websocket.StatusNormalClosure // the guest was switched off
	ConsoleStopping  = websocket.StatusGoingAway     // this peer is stopping: open it again
	ConsoleTakenOver = websocket.StatusCode(4001)    // somebody else has opened it
	ConsoleNoMore    = websocket.StatusCode(4003)    // the credential is no longer good
	ConsoleLost      = websocket.StatusCode(4502)    // the guest's host could not be reached any longer
)

const (
	// ConsolePing is how often a peer pings who has a console open.
	ConsolePing = 20 * time.Second
	// ConsoleMessage is how large one message may be at most.
	ConsoleMessage = 64 << 10
	consoleSilence = 3 * ConsolePing
)

// Console opens the serial console of a virtual machine that is on, at the path
// /v1/vms/ID/console, until it is closed or ctx ends. Read ends with an *Error that
// says why; where the guest was switched off, errors.Is finds io.EOF in it. One reader
// and one writer may use it at once.
func (c *Client) Console(ctx context.Context, path string, opts ...CallOption) (io.ReadWriteCloser, error) {
	k, err := newCall(http.MethodGet, path, nil, opts)
	if err != nil {
		return nil, err
	}
	var opened *console
	answer, err := c.persistWith(ctx, k, func(ctx context.Context, to address, k *call) attempt {
		conn, a := c.dialConsole(ctx, to, k)
		opened = conn
		return a
	})
	if k.answer != nil {
		*k.answer = answer
	}
	if err != nil {
		return nil, err
	}
	opened.live(ctx)
	return opened, nil
}

// dialConsole tries one address.
func (c *Client) dialConsole(ctx context.Context, to address, k *call) (*console, attempt) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Attempt+k.wait)
	defer cancel()
	req, err := c.request(ctx, to, k)
	if err != nil {
		return nil, attempt{err: Errorf(Invalid, "client", "make the request: %w", err)}
	}
	open := &console{heard: make(chan struct{}, 1)}
	ws, res, err := websocket.Dial(ctx, req.URL.String(), &websocket.DialOptions{HTTPClient: to.http, HTTPHeader: req.Header,
		Subprotocols: []string{ConsoleProtocol}, OnPingReceived: open.ping})
	switch {
	case err == nil:
		ws.SetReadLimit(ConsoleMessage)
		open.ws = ws
		return open, attempt{answer: answerOf(res, nil)}
	case res == nil:
		return nil, attempt{err: &lostError{err}}
	case res.StatusCode == http.StatusSwitchingProtocols:
		return nil, attempt{err: Errorf(Internal, "client", "the peer opened no console: %w", err)}
	}
	body, _ := io.ReadAll(res.Body) // in memory by now
	answer := answerOf(res, body)
	if err := answer.failure(); err != nil {
		return nil, attempt{answer, err}
	}
	return nil, attempt{answer, Errorf(Internal, "client", "%s is no console: the answer is %s", k.path, res.Status)}
}

// console is an open one.
type console struct {
	ws     *websocket.Conn
	ctx    context.Context
	cancel context.CancelCauseFunc
	heard  chan struct{}

	reading sync.Mutex
	message io.Reader // what is left of a message; nil: none
}

// live begins to watch that the peer is there.
func (s *console) live(ctx context.Context) {
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	go func() {
		silence := time.NewTimer(consoleSilence)
		defer silence.Stop()
		for {
			select {
			case <-s.heard:
				silence.Reset(consoleSilence)
			case <-silence.C:
				s.cancel(errSilent)
			case <-s.ctx.Done():
				return
			}
		}
	}()
}

// ping notes that the peer is there.
func (s *console) ping(context.Context, []byte) bool {
	select {
	case s.heard <- struct{}{}:
	default:
	}
	return true
}

// Read reads what the guest says.
func (s *console) Read(b []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for {
		if s.message == nil {
			_, message, err := s.ws.Reader(s.ctx)
			if err != nil {
				return 0, s.ended(err)
			}
			s.message = message
		}
		n, err := s.message.Read(b)
		if errors.Is(err, io.EOF) {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil || len(b) == 0 {
			return n, s.ended(err)
		}
	}
}

// Write types.
func (s *console) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		piece := b[n:min(len(b), n+ConsoleMessage)]
		if err := s.ws.Write(s.ctx, websocket.MessageBinary, piece); err != nil {
			return n, s.ended(err)
		}
		n += len(piece)
	}
	return len(b), nil
}

// Close leaves the console.
func (s *console) Close() error {
	err := s.ws.Close(websocket.StatusNormalClosure, "")
	s.cancel(io.EOF)
	if websocket.CloseStatus(err) != -1 || errors.Is(err, io.EOF) {
		return nil // it was closed from the other side first
	}
	return err
}

// kindOfClose says what sort of failure a close code is.
var kindOfClose = map[websocket.StatusCode]Kind{
	ConsoleGuestOff: Gone, ConsoleStopping: Unavailable, ConsoleTakenOver: Conflict, ConsoleNoMore: Unauthenticated, ConsoleLost: Unavailable,
	websocket.StatusMessageTooBig: TooLarge, websocket.StatusUnsupportedData: Invalid,
}

// ended is why a console is no longer open.
func (s *console) ended(err error) error {
	var closed websocket.CloseError
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(s.ctx), errSilent):
		return &Error{Kind: Unavailable, Op: "console", Msg: "the peer went silent; open the console again", Err: err}
	case s.ctx.Err() != nil:
		return io.EOF
	case errors.As(err, &closed):
		e := &Error{Kind: kindOfClose[closed.Code], Op: "console", Msg: strings.TrimSpace(closed.Reason)}
		if closed.Code == ConsoleGuestOff {
			e.Err = io.EOF
		}
		if e.Msg == "" {
			e.Msg = "the console was closed: " + closed.Code.String()
		}
		return e
	}
	return &Error{Kind: Unavailable, Op: "console", Msg: "the connection to the peer broke; open the console again", Err: err}
}
