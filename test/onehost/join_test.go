package onehost

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// TestJoinRefusals: what must not become a peer does not, is told why, and
// leaves nothing behind.
//
//race:out
func TestJoinRefusals(t *testing.T) {
	c := Start(t, 2, nil)
	first := c.Peers[0]
	used := c.JoinToken("1h")
	third := c.NewPeer()
	if err := third.Join(first, used); err != nil {
		t.Fatal(err)
	}
	good := c.JoinToken("1h")
	id, secret, pin := cutToken(t, good)
	brief := c.JoinToken("1s")
	lab.Eventually(t, 20*time.Second, func() error {
		// The cluster's time goes on with its entries.
		c.JoinToken("1h")
		for token := range first.Running.Machine().Read().Tokens("") {
			if strings.HasPrefix(brief, token.ID) && first.Running.Machine().Read().Now().After(token.ExpiresAt) {
				return nil
			}
		}
		return fmt.Errorf("the token is good still")
	})
	for _, refusal := range []struct{ what, token, name, says string }{
		{"no token at all", "rubbish", "", "no join token"},
		{"a wrong CA hash", id + "." + secret + "." + strings.Repeat("a", len(pin)), "", "CA"},
		{"an unknown token", "nope." + secret + "." + pin, "", "not known"},
		{"a wrong secret", id + ".wrong." + pin, "", "not known"},
		{"a used token", used, "", "used up"},
		{"an expired token", brief, "", "expired"},
		{"a taken name", good, "h1", "named"},
		{"a bad name", good, "H 1", "name"},
	} {
		t.Run(refusal.what, func(t *testing.T) {
			p := newcomer(t, refusal.name)
			err := p.Join(first, refusal.token)
			if err == nil {
				t.Fatal("joined")
			}
			if !strings.Contains(err.Error(), refusal.says) {
				t.Errorf("it is told %q, which does not say %q", err, refusal.says)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error leaks the secret: %v", err)
			}
			if _, err := os.Stat(filepath.Join(p.Config.DataDir, "raft", "known.json")); err == nil {
				t.Error("it has an identity")
			}
		})
	}
	t.Run("a clock too far off", func(t *testing.T) {
		p := newcomer(t, "")
		p.Config.Now = func() time.Time { return time.Now().Add(-5 * time.Minute) }
		if err := p.Join(first, good); err == nil || !strings.Contains(err.Error(), "clock") {
			t.Errorf("it is told %v", err)
		}
	})
	t.Run("a folder in use", func(t *testing.T) {
		if err := third.Join(first, good); err == nil || !strings.Contains(err.Error(), "belongs to peer") {
			t.Errorf("it is told %v", err)
		}
		p := newcomer(t, "")
		if err := os.MkdirAll(filepath.Join(p.Config.DataDir, "photos"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := p.Join(first, good); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("it is told %v", err)
		}
	})
	t.Run("a port that the leader cannot reach", func(t *testing.T) {
		p := newcomer(t, "")
		p.Config.Advertise = "127.0.0.2" // it listens on 127.0.0.1
		if err := p.Join(first, good); err == nil || !strings.Contains(err.Error(), "API port") {
			t.Errorf("it is told %v", err)
		}
	})
	members := 0
	for range first.Running.Machine().Read().Members() {
		members++
	}
	if members != 3 {
		t.Errorf("there are %d members, want 3", members)
	}
	if err := newcomer(t, "late").Join(first, good); err != nil {
		t.Errorf("after all that the good token does not work: %v", err)
	}
}

func cutToken(t *testing.T, token string) (id, secret, pin string) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token has %d parts", len(parts))
	}
	return parts[0], parts[1], parts[2]
}

// newcomer is a host of its own test, not yet a peer.
func newcomer(t *testing.T, name string) *Peer {
	t.Helper()
	c := &Cluster{t: t}
	p := c.NewPeer()
	if name == "" {
		name = "n-" + uuid.NewString()[:8]
	}
	p.Config.Name = name
	return p
}

// TestJoinAgainAfterALostReply: the same host with the same token gets the same answer.
func TestJoinAgainAfterALostReply(t *testing.T) {
	c := Start(t, 1, nil)
	p, token := newcomer(t, "h2"), c.JoinToken("1h")
	if err := p.Join(c.Peers[0], token); err != nil {
		t.Fatal(err)
	}
	known := filepath.Join(p.Config.DataDir, "raft", "known.json")
	id := peerID(t, known)
	if err := os.Remove(known); err != nil { // as if the reply had never come
		t.Fatal(err)
	}
	if err := p.Join(c.Peers[0], token); err != nil {
		t.Fatal(err)
	}
	if again := peerID(t, known); again != id {
		t.Errorf("it became peer %s, was %s", again, id)
	}
}

func peerID(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		PeerID string `json:"peer_id"`
	}
	if err := json.Unmarshal(text, &k); err != nil {
		t.Fatal(err)
	}
	return k.PeerID
}

// TestFirstPeerLostForGood: with the first peer's disk gone a fourth can still join.
//
//race:out
func TestFirstPeerLostForGood(t *testing.T) {
	c := Start(t, 3, nil)
	first := c.Peers[0]
	first.Stop()
	if err := os.RemoveAll(first.Config.DataDir); err != nil {
		t.Fatal(err)
	}
	fourth := c.NewPeer()
	if err := fourth.Join(c.Peers[1], c.JoinToken("1h")); err != nil {
		t.Fatal(err)
	}
	fourth.Start()
	fourth.WaitReady()
	if a := fourth.Do("POST", "/v1/vms", ask.VM("one", 1, 64)); a.Status != 201 {
		t.Errorf("create through the newcomer: %d %s", a.Status, a.Body)
	}
}

// TestNewcomerIsSentASnapshot: the leader's log does not reach back to its beginning.
func TestNewcomerIsSentASnapshot(t *testing.T) {
	c := Start(t, 1, func(_ int, cfg *peer.Config) { cfg.TrailingLogs = 2 })
	first := c.Peers[0]
	for i := range 20 {
		if a := first.Do("POST", "/v1/vms", ask.VM(fmt.Sprintf("vm-%d", i), 1, 16)); a.Status != 201 {
			t.Fatalf("create: %d %s", a.Status, a.Body)
		}
	}
	if err := first.Running.Node().Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if term := first.Running.Node().TermOf(1); term != 0 {
		t.Fatalf("the leader's log still begins at 1: nothing was compacted")
	}
	second := c.NewPeer()
	if err := second.Join(first, c.JoinToken("1h")); err != nil {
		t.Fatal(err)
	}
	second.Start()
	second.WaitReady()
	if n := len(second.VMs()); n != 20 {
		t.Errorf("the newcomer lists %d VMs, want 20", n)
	}
	found, err := filepath.Glob(filepath.Join(second.Config.DataDir, "raft", "snapshots", "*"))
	if err != nil || len(found) != 1 {
		t.Errorf("installed snapshots: %v, %v; want one", found, err)
	}
}

// TestAloneWithoutQuorum: a peer started alone serves what it had applied.
//
//race:out
func TestAloneWithoutQuorum(t *testing.T) {
	c := Start(t, 3, nil)
	if a := c.Peers[0].Do("POST", "/v1/vms", ask.VM("one", 1, 64)); a.Status != 201 {
		t.Fatalf("create: %d", a.Status)
	}
	for _, p := range c.Peers {
		lab.Eventually(t, 10*time.Second, func() error {
			if n := p.Running.Machine().Read().VMCount(); n != 1 {
				return fmt.Errorf("%s has %d VMs", p.Name, n)
			}
			return nil
		})
	}
	for _, p := range c.Peers {
		p.Stop()
	}
	alone := c.Peers[2]
	alone.Start()
	a := alone.Do("GET", "/v1/vms?consistency=local", nil)
	if a.Status != 200 || len(ask.Decode[api.Page[api.VM]](t, a).Items) != 1 {
		t.Errorf("local list: %d %s", a.Status, a.Body)
	}
	if a := alone.Do("GET", "/v1/vms", nil); a.Status != 503 {
		t.Errorf("linearizable list: %d", a.Status)
	}
	if a := alone.Do("GET", "/v1/peers?consistency=local", nil, "Authorization: Bearer "+strings.Repeat("a", 40)); a.Status != 503 { // it may be new
		t.Errorf("with a token that it does not know: %d %s", a.Status, a.Body)
	}
	if a := alone.Do("GET", "/readyz", nil); a.Status != 503 {
		t.Errorf("readyz: %d", a.Status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if a, err := alone.Try(ctx, "POST", "/v1/vms", ask.VM("two", 1, 64)); err != nil || a.Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("create: %v %d %s", err, a.Status, a.Body)
	}
	if n := len(alone.Domains()); n > 1 {
		t.Errorf("%d domains run without quorum", n)
	}
}

// TestNewestSnapshotDamaged: with enough log the peer starts from the one
// before; without, it says so and does not start.
//
//race:out
func TestNewestSnapshotDamaged(t *testing.T) {
	for _, trailing := range []uint64{10_000, 1} {
		t.Run(fmt.Sprintf("trailing %d", trailing), func(t *testing.T) {
			c := Start(t, 1, func(_ int, cfg *peer.Config) { cfg.TrailingLogs = trailing })
			h := c.Peers[0]
			for i := range 3 {
				for k := range 5 {
					h.Do("POST", "/v1/vms", ask.VM(fmt.Sprintf("vm-%d-%d", i, k), 1, 16))
				}
				if i == 2 {
					break
				}
				if err := h.Running.Node().Snapshot(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			h.Stop() // which makes one more
			name := damageNewest(t, filepath.Join(h.Config.DataDir, "raft", "snapshots"))
			err := h.TryStart()
			if trailing == 1 {
				if err == nil || !strings.Contains(err.Error(), name) {
					t.Fatalf("it is told %v, which does not name %s", err, name)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			h.WaitReady()
			if n := len(h.VMs()); n != 15 {
				t.Errorf("it has %d VMs, want 15", n)
			}
		})
	}
}

func damageNewest(t *testing.T, dir string) (name string) {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil || len(found) != 2 {
		t.Fatalf("snapshots: %v, %v; want two", found, err)
	}
	name = found[1].Name()
	file := filepath.Join(dir, name, "vms.parquet")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestWrongCredentials: who has none, or another cluster's, gets nowhere.
//
//race:out
func TestWrongCredentials(t *testing.T) {
	c, other := Start(t, 1, nil), Start(t, 1, nil)
	h := c.Peers[0]
	good, err := h.Client().CreateToken(t.Context(), api.TokenCreate{Role: api.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Peers[0].Client().CreateToken(t.Context(), api.TokenCreate{Role: api.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{"none": "", "another cluster's": foreign.Token, "a cut one": good.Token[:len(good.Token)-1]} {
		if _, err := h.TCP(token).Status(t.Context()); !api.IsKind(err, api.Unauthenticated) {
			t.Errorf("token %s: %v, want 401", what, err)
		}
	}
	if _, err := h.TCP(good.Token).Status(t.Context()); err != nil {
		t.Errorf("the good token: %v", err)
	}
	if _, err := h.TCP(good.Token).CreateVM(t.Context(), ask.VM("x", 1, 64)); !api.IsKind(err, api.Forbidden) {
		t.Errorf("a viewer creates: %v, want 403", err)
	}
	t.Run("raft port", func(t *testing.T) {
		o := other.Peers[0].Config.DataDir
		cert, err := tls.LoadX509KeyPair(filepath.Join(o, "tls", "peer.crt"), filepath.Join(o, "tls", "peer.key"))
		if err != nil {
			t.Fatal(err)
		}
		for what, certs := range map[string][]tls.Certificate{"no certificate": nil, "another cluster's certificate": {cert}} {
			for _, proto := range []string{"orchd-raft/1", "orchd-peer/1", "orchd-call/1"} {
				if answered(t, h.Running.Addresses().Raft, &tls.Config{InsecureSkipVerify: true, Certificates: certs, NextProtos: []string{proto}}) {
					t.Errorf("%s with %s was answered", proto, what)
				}
			}
		}
	})
}

// answered tells whether a byte comes back from a TLS port that was sent some.
func answered(t *testing.T, address string, config *tls.Config) bool {
	t.Helper()
	raw, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, config)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return false
	}
	n, _ := conn.Read(make([]byte, 1))
	return n > 0
}
