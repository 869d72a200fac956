package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/orchd/orchd/api"
)

// fakeConsole is a guest's serial line: it echoes in capitals what is typed, until it
// is ended.
type fakeConsole struct {
	mu     sync.Mutex
	buf    []byte
	end    error
	closed bool
	more   chan struct{}
}

func newFakeConsole() *fakeConsole { return &fakeConsole{more: make(chan struct{})} }

func (c *fakeConsole) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.more)
	c.more = make(chan struct{})
}

func (c *fakeConsole) Read(b []byte) (int, error) {
	for {
		c.mu.Lock()
		n, end, more := copy(b, c.buf), c.end, c.more
		c.buf = c.buf[n:]
		if c.closed && end == nil {
			end = net.ErrClosed
		}
		c.mu.Unlock()
		if n > 0 || end != nil {
			if n > 0 {
				end = nil
			}
			return n, end
		}
		<-more
	}
}

func (c *fakeConsole) Write(b []byte) (int, error) {
	c.change(func() { c.buf = append(c.buf, strings.ToUpper(string(b))...) })
	return len(b), nil
}

func (c *fakeConsole) Close() error {
	c.change(func() { c.closed = true })
	return nil
}

func (c *fakeConsole) finish(err error) { c.change(func() { c.end = err }) }

func (c *fakeConsole) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// startConsole gives a server over TCP and TLS, as Serve has it, and the console of its
// virtual machines.
func startConsole(t *testing.T) (*fake, *Server, *httptest.Server, *fakeConsole) {
	t.Helper()
	f := newFake()
	line := newFakeConsole()
	f.console = func(api.VM) (io.ReadWriteCloser, error) { return line, nil }
	s := New(Config{}, f, testLog(t))
	web := httptest.NewUnstartedServer(awaited(t, s.Handler()))
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	return f, s, web, line
}

// openConsole opens it with the API's own client.
func openConsole(t *testing.T, web *httptest.Server, token, vm string) (io.ReadWriteCloser, error) {
	t.Helper()
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{web.URL}, Token: token, TLS: web.Client().Transport.(*http.Transport).TLSClientConfig, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return c.VMConsole(ctx, vm)
}

// says reads until text has come.
func says(t *testing.T, r io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != text {
		t.Fatalf("the console says %q (%v), want %q", got, err, text)
	}
}

func TestConsoleBothWays(t *testing.T) {
	_, s, web, line := startConsole(t)
	console, err := openConsole(t, web, "operator@default", "web1")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(console, "hello")
	says(t, console, "HELLO")
	long := strings.Repeat("a", 3*api.ConsoleMessage+1)
	go fmt.Fprint(console, long)
	says(t, console, strings.ToUpper(long))
	if err := console.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := console.Read(make([]byte, 1)); err == nil {
		t.Error("a closed console can be read")
	}
	eventually(t, func() error {
		if !line.isClosed() {
			return errors.New("the guest's side is open")
		}
		s.consoles.mu.Lock()
		defer s.consoles.mu.Unlock()
		if s.consoles.all != 0 {
			return fmt.Errorf("%d consoles are counted", s.consoles.all)
		}
		return nil
	})
}

func TestConsoleOverAUnixSocket(t *testing.T) {
	f := newFake()
	f.console = func(api.VM) (io.ReadWriteCloser, error) { return newFakeConsole(), nil }
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(Config{}, f, testLog(t)).Serve(ctx, l) }()
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{"unix:///nowhere", "unix://" + l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	console, err := c.VMConsole(t.Context(), "web1")
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	fmt.Fprint(console, "x")
	says(t, console, "X")
	stop() // the peer stops: the client is told so, and Serve waits for that
	_, err = console.Read(make([]byte, 1))
	if !api.IsKind(err, api.Unavailable) || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("the peer stopped: got %v, want Unavailable that says so", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// TestConsoleEnds: the client is told why, in a code and in words.
func TestConsoleEnds(t *testing.T) {
	off := func(f *fake) {
		f.mu.Lock()
		defer f.mu.Unlock()
		vm := f.vms[vmID]
		vm.Status.State = api.VMStopped
		f.vms[vmID] = vm
	}
	for name, c := range map[string]struct {
		before func(*fake)
		end    error
		kind   api.Kind
		words  string
	}{
		"switched off": {off, io.EOF, api.Gone, "switched off"},
		"taken over":   {func(*fake) {}, io.EOF, api.Conflict, "somebody else"},
		"told so":      {func(*fake) {}, &api.Error{Kind: api.Conflict, Msg: "anna has opened it"}, api.Conflict, "anna has opened it"},
		"host lost":    {func(*fake) {}, &api.Error{Kind: api.Unavailable, Msg: "h1 does not answer"}, api.Unavailable, "h1 does not answer"},
		"long reason":  {func(*fake) {}, &api.Error{Kind: api.Unavailable, Msg: strings.Repeat("é", 100)}, api.Unavailable, strings.Repeat("é", 61)},
		"our fault":    {func(*fake) {}, errors.New("Hunter2"), api.Internal, "the console broke"},
	} {
		t.Run(name, func(t *testing.T) {
			f, _, web, line := startConsole(t)
			console, err := openConsole(t, web, "admin", "web1")
			if err != nil {
				t.Fatal(err)
			}
			defer console.Close()
			c.before(f)
			line.finish(c.end)
			_, err = console.Read(make([]byte, 1))
			if !api.IsKind(err, c.kind) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "Hunter2") {
				t.Errorf("got %v, want %s with %q", err, c.kind.Code(), c.words)
			}
			if errors.Is(err, io.EOF) != (c.kind == api.Gone) {
				t.Errorf("io.EOF in %v: got %v", err, errors.Is(err, io.EOF))
			}
		})
	}
}

// TestConsoleRefusals: who may not, and what is none, gets a problem before the
// protocol changes.
func TestConsoleRefusals(t *testing.T) {
	f, _, web, _ := startConsole(t)
	for name, c := range map[string]struct {
		token, vm string
		kind      api.Kind
	}{
		"nobody":        {"", "web1", api.Unauthenticated},
		"viewer":        {"viewer", "web1", api.Forbidden},
		"controller":    {"controller", "web1", api.Forbidden},
		"other account": {"operator@other", "web1", api.NotFound},
		"by id":         {"operator@other", vmID, api.NotFound},
		"no such":       {"admin", "nothing", api.NotFound},
	} {
		if console, err := openConsole(t, web, c.token, c.vm); !api.IsKind(err, c.kind) {
			t.Errorf("%s: got %v %v, want %s", name, console, err, c.kind.Code())
		}
	}
	f.console = func(api.VM) (io.ReadWriteCloser, error) {
		return nil, &api.Error{Kind: api.Conflict, Msg: "the virtual machine is off: start it"}
	}
	if _, err := openConsole(t, web, "admin", "web1"); !api.IsKind(err, api.Conflict) || !strings.Contains(err.Error(), "start it") {
		t.Errorf("a guest that is off: got %v, want its Conflict", err)
	}
}

func TestConsoleHandshake(t *testing.T) {
	_, _, web, _ := startConsole(t)
	good := map[string]string{"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
	for name, c := range map[string]struct {
		change map[string]string
		status int
	}{
		"good":             {nil, 101},
		"own page":         {map[string]string{"Origin": web.URL}, 101},
		"page elsewhere":   {map[string]string{"Origin": "https://evil.example"}, 403},
		"page of no host":  {map[string]string{"Origin": "null"}, 403},
		"no upgrade":       {map[string]string{"Upgrade": ""}, 426},
		"no connection":    {map[string]string{"Connection": "keep-alive"}, 426},
		"another protocol": {map[string]string{"Upgrade": "h2c"}, 426},
		"old version":      {map[string]string{"Sec-WebSocket-Version": "8"}, 400},
		"no key":           {map[string]string{"Sec-WebSocket-Key": ""}, 400},
		"short key":        {map[string]string{"Sec-WebSocket-Key": "AAAA"}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := http.NewRequest("GET", web.URL+"/v1/vms/web1/console", nil)
			r.Header.Set("Authorization", "Bearer admin")
			for _, h := range []map[string]string{good, c.change} {
				for key, value := range h {
					r.Header.Set(key, value)
				}
			}
			transport := &http.Transport{TLSClientConfig: web.Client().Transport.(*http.Transport).TLSClientConfig} // HTTP/1.1
			defer transport.CloseIdleConnections()
			res, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != c.status {
				t.Fatalf("got %d, want %d", res.StatusCode, c.status)
			}
			if c.status != 101 {
				problemIn(t, res)
			}
			if c.status == 426 && res.Header.Get("Upgrade") != "websocket" {
				t.Errorf("headers: got %v, want Upgrade", res.Header)
			}
		})
	}
	res, err := web.Client().Do(func() *http.Request {
		r, _ := http.NewRequest("GET", web.URL+"/v1/vms/web1/console", nil)
		r.Header.Set("Authorization", "Bearer admin")
		return r
	}())
	if err != nil || res.ProtoMajor != 2 || res.StatusCode != 426 {
		t.Fatalf("over HTTP/2: got %v %v, want 426", res, err)
	}
	res.Body.Close()
}

// TestConsoleMessages: what is no binary message of moderate size ends the console.
func TestConsoleMessages(t *testing.T) {
	for name, c := range map[string]struct {
		kind websocket.MessageType
		size int
		code websocket.StatusCode
	}{
		"text":  {websocket.MessageText, 1, websocket.StatusUnsupportedData},
		"large": {websocket.MessageBinary, api.ConsoleMessage + 1, websocket.StatusMessageTooBig},
	} {
		_, _, web, _ := startConsole(t)
		ws, _, err := websocket.Dial(t.Context(), web.URL+"/v1/vms/web1/console", &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{
			TLSClientConfig: web.Client().Transport.(*http.Transport).TLSClientConfig}}, HTTPHeader: http.Header{"Authorization": {"Bearer admin"}}, Subprotocols: []string{"other", api.ConsoleProtocol}})
		if err != nil {
			t.Fatal(err)
		}
		if got := ws.Subprotocol(); got != api.ConsoleProtocol {
			t.Errorf("subprotocol: got %q, want %q", got, api.ConsoleProtocol)
		}
		if err := ws.Write(t.Context(), c.kind, make([]byte, c.size)); err != nil {
			t.Fatal(err)
		}
		_, _, err = ws.Read(t.Context())
		for err == nil {
			_, _, err = ws.Read(t.Context())
		}
		if got := websocket.CloseStatus(err); got != c.code {
			t.Errorf("%s: closed with %v (%v), want %v", name, got, err, c.code)
		}
		ws.CloseNow()
	}
}

func TestConsolesAreCounted(t *testing.T) {
	_, _, web, _ := startConsole(t)
	for n := range maxConsolesEach {
		console, err := openConsole(t, web, "operator", "web1")
		if err != nil {
			t.Fatalf("console %d: %v", n, err)
		}
		defer console.Close()
	}
	if _, err := openConsole(t, web, "operator", "web1"); !api.IsKind(err, api.TooMany) {
		t.Errorf("one more: got %v, want too many", err)
	}
	console, err := openConsole(t, web, "admin", "web1")
	if err != nil {
		t.Fatalf("of another credential: %v", err)
	}
	console.Close()
}

// TestConsoleOfAClientThatIsGone: a connection that just ends lets go of the guest.
func TestConsoleOfAClientThatIsGone(t *testing.T) {
	f := newFake()
	line := newFakeConsole()
	f.console = func(api.VM) (io.ReadWriteCloser, error) { return line, nil }
	web := httptest.NewServer(awaited(t, New(Config{}, f, testLog(t)).Handler()))
	defer web.Close()
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /v1/vms/web1/console HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if status, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(status, " 101 ") {
		t.Fatalf("got %q %v, want 101", status, err)
	}
	conn.Close()
	eventually(t, func() error {
		if !line.isClosed() {
			return errors.New("the guest's side is open")
		}
		return nil
	})
}
