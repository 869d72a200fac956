package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"

	"github.com/orchd/orchd/api"
)

// guest is a console of the fake: it greets, echoes what is typed in capitals, and
// hangs up as told.
type guest struct {
	typed bytes.Buffer
	ended chan struct{} // closed when the other side is gone
	path  string
}

// guestAt answers a route with a console. It hangs up with a code once it has been
// sent "off"; code 0: the connection breaks.
func (f *fake) guestAt(route string, code websocket.StatusCode, reason string) *guest {
	g := &guest{ended: make(chan struct{})}
	f.mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
		defer close(g.ended)
		g.path = r.URL.RequestURI()
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{api.ConsoleProtocol}})
		if err != nil {
			f.t.Error(err)
			return
		}
		defer ws.CloseNow()
		if err := ws.Write(r.Context(), websocket.MessageBinary, []byte("login: ")); err != nil {
			return
		}
		for {
			_, text, err := ws.Read(r.Context())
			if err != nil {
				return
			}
			g.typed.Write(text)
			ws.Write(r.Context(), websocket.MessageBinary, bytes.ToUpper(text))
			switch {
			case !bytes.Contains(g.typed.Bytes(), []byte("off")):
			case code == 0:
				return
			default:
				ws.Close(code, reason)
				return
			}
		}
	})
	return g
}

// settings is how a terminal treats what is typed.
func settings(t *testing.T, terminal *os.File) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

// TestConsoleAtATerminal: every key goes to the guest while it is open, and however it
// ends, the terminal is as it was.
func TestConsoleAtATerminal(t *testing.T) {
	for _, c := range []struct {
		name, types string
		code        websocket.StatusCode
		reason      string
		exit        int
		says        string
	}{
		{"ctrl-] leaves", "ls\x03\r\x1drest", 0, "", exitDone, "left the console; orchd vm console web1 opens it again"},
		{"switched off", "off\r", api.ConsoleGuestOff, "the guest was switched off", exitDone, "web1 was switched off"},
		{"taken over", "off\r", api.ConsoleTakenOver, "anna has opened the console", exitConflict, "anna has opened the console\norchd vm console web1 opens it again"},
		{"peer stops", "off\r", api.ConsoleStopping, "this peer is stopping; open the console again", exitUnreachable, "this peer is stopping"},
		{"token revoked", "off\r", api.ConsoleNoMore, "the credential is no longer good", exitNotAllowed, "no longer good"},
		{"broken line", "off\r", 0, "", exitUnreachable, "the connection to the peer broke; open the console again\norchd vm console web1 opens it again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			g := f.guestAt("GET /v1/vms/web1/console", c.code, c.reason)
			s := f.sit(t)
			before := settings(t, s.terminal)
			s.run(t.Context(), "vm", "console", "web1")
			s.see("login: ")
			if now := settings(t, s.terminal); now.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
				t.Errorf("the terminal still treats keys itself while the console is open: %+v", now)
			}
			s.types(c.types)
			code := s.ends()
			if code != c.exit {
				t.Errorf("exit %d, want %d", code, c.exit)
			}
			if after := settings(t, s.terminal); after != before {
				t.Errorf("the terminal is not as it was: %+v, want %+v", after, before)
			}
			s.see(c.says)
			<-g.ended
			if keys, _, _ := strings.Cut(c.types, "\x1d"); g.typed.String() != keys {
				t.Errorf("the guest got %q, want %q", g.typed.String(), keys)
			}
			if !strings.Contains(s.text(), "console of web1; ctrl-] leaves") {
				t.Errorf("saw %q: nothing on how to leave", s.text())
			}
		})
	}
}

// TestConsoleInterrupted: a signal from elsewhere restores the terminal too.
func TestConsoleInterrupted(t *testing.T) {
	f := newFake(t)
	g := f.guestAt("GET /v1/vms/web1/console", 0, "")
	s := f.sit(t)
	before := settings(t, s.terminal)
	ctx, interrupt := context.WithCancel(t.Context())
	s.run(ctx, "vm", "console", "web1")
	s.see("login: ")
	interrupt()
	if code := s.ends(); code != exitInterrupted {
		t.Errorf("exit %d, want %d", code, exitInterrupted)
	}
	if after := settings(t, s.terminal); after != before {
		t.Errorf("the terminal is not as it was")
	}
	<-g.ended
}

// TestConsoleRefused: the terminal is not touched.
func TestConsoleRefused(t *testing.T) {
	f := newFake(t).answer("GET /v1/vms/web1/console", &api.Error{Kind: api.Conflict, Msg: "web1 is stopped"})
	r := f.screen("", "vm", "console", "web1")
	if r.code != exitConflict || !strings.Contains(r.stderr, "orchd vm console: web1 is stopped") {
		t.Errorf("exit %d, saw %q", r.code, r.stderr)
	}
}

func TestConsolePiped(t *testing.T) {
	for _, c := range []struct {
		name, types string
		code        websocket.StatusCode
		args        []string
		want        string
	}{
		{"until it is switched off", "ls\x1d off\n", api.ConsoleGuestOff, nil, "login: LS\x1d OFF\n"},
		{"until it is silent", "uptime\n", 0, []string{"--idle", "300ms"}, "login: UPTIME\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			g := f.guestAt("GET /v1/vms/web1/console", c.code, "the guest was switched off")
			a := App{Stdin: strings.NewReader(c.types), Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}
			r := run(t.Context(), a, append([]string{"vm", "console", "team/web1"}, c.args...)...)
			<-g.ended
			if r.code != 0 || r.stdout != c.want || g.path != "/v1/vms/web1/console?account=team" {
				t.Errorf("exit %d, %q, %q, asked %s", r.code, r.stdout, r.stderr, g.path)
			}
		})
	}
}

// TestConsoleIntoABrokenPipe ends, for nobody reads on.
func TestConsoleIntoABrokenPipe(t *testing.T) {
	f := newFake(t)
	g := f.guestAt("GET /v1/vms/web1/console", 0, "")
	in, _ := io.Pipe() // nobody types
	out, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var stderr bytes.Buffer
	a := App{Stdin: in, Stdout: out, Stderr: &stderr, Now: time.Now, Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}
	if code := a.Run(t.Context(), []string{"vm", "console", "web1"}); code != exitFailed || !strings.Contains(stderr.String(), "no space left") {
		t.Errorf("exit %d, %q", code, stderr.String())
	}
	<-g.ended
}
