package peer

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchd/orchd/fsm"
)

// FuzzJoinToken takes tokens and addresses apart as a newcomer is given them.
func FuzzJoinToken(f *testing.F) {
	f.Add("id.secret.hash", "h1")
	f.Add("a.b.c.d", "https://[::1]:7700/")
	f.Add("..", "[::1")
	f.Add(" id.secret.hash\n", "h1:7700:7700")
	f.Add("id.secret.\x00", "")
	f.Fuzz(func(t *testing.T, token, addr string) {
		if secret, pin, err := splitToken(token); err == nil && (secret+"."+pin != strings.TrimSpace(token) || strings.Contains(pin, ".") || strings.Count(secret, ".") != 1) {
			t.Errorf("%q is the secret %q and the pin %q", token, secret, pin)
		}
		if at := withPort(addr, "7700"); !strings.ContainsAny(addr, "[]:/%") {
			if host, port, err := net.SplitHostPort(at); err != nil || host != addr || port != "7700" {
				t.Errorf("%q is reached at %q: %v", addr, at, err)
			}
		}
	})
}

// FuzzLevelFile starts with a note of the level that may be anything: with one that this
// program does not know it must not.
func FuzzLevelFile(f *testing.F) {
	for _, text := range []string{`{"level":2,"release":"1.2"}`, `{"level":99}`, `{"level":-1}`, `{"level":18446744073709551616}`, ``, `null`, `{"LEVEL":99}`, `{"level":1}{"level":99}`} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "raft"), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(levelFile(dir), text, 0o600); err != nil {
			t.Fatal(err)
		}
		var said levelNote
		if err := wantLevel(dir); err == nil && json.Unmarshal(text, &said) == nil && said.Level > fsm.Level() {
			t.Errorf("%s is taken", text)
		}
		n := levelNote{fsm.Level() + uint64(len(text)%2), "1"}
		if err := writeLevel(dir, n); err != nil {
			t.Fatal(err)
		}
		if err := wantLevel(dir); (err != nil) != (n.Level > fsm.Level()) {
			t.Errorf("%+v: %v", n, err)
		}
	})
}
