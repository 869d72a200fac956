package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/cluster/ca"
)

// knock does what a client of the raft port does, with whatever certificate, and
// gives the error that it meets, at the handshake or at the first read.
func knock(t *testing.T, p *peer, cert *tls.Certificate, proto string) error {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	conn, err := tls.Dial("tcp", p.at.Raft, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	// With TLS 1.3 the client is done before the server has judged it. Raft
	// answers nothing that it was not asked, so a friend meets the deadline.
	conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	_, err = conn.Read(make([]byte, 1))
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return nil
	}
	if err == nil {
		return nil // HTTP/2 greets first
	}
	return err
}

func pair(t *testing.T, i Identity) *tls.Certificate {
	t.Helper()
	cert, err := tls.X509KeyPair(i.Certificate, i.Key)
	must(t, err)
	return &cert
}

// userCertificate is of the cluster's own CA, for another role than peer.
func userCertificate(t *testing.T, authority *ca.Authority) *tls.Certificate {
	t.Helper()
	caKey, err := authority.MarshalKey()
	must(t, err)
	signer, err := ca.ParseKey(caKey)
	must(t, err)
	parent, err := ca.ParseCert(authority.PEM())
	must(t, err)
	key, err := ca.NewKey()
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: "orchd", Host: authority.ClusterID, Path: "/user/root"}},
	}
	return &tls.Certificate{Certificate: [][]byte{create(t, template, parent, key, signer)}, PrivateKey: key}
}

func create(t *testing.T, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(t, err)
	return der
}

func TestRaftPortIsForPeersOnly(t *testing.T) {
	h := newHouse(t, 2)
	p, friend := h.peers[0], h.peers[1]
	stranger := h.identity(h.authority, uuid.NewString(), "stranger")
	impostor := h.identity(h.authority, friend.id, "h2") // the right id, another key
	other, err := ca.New(h.authority.ClusterID, time.Now())
	must(t, err)
	foreign := h.identity(other, friend.id, "h2")
	elsewhere, err := ca.New(uuid.NewString(), time.Now())
	must(t, err)

	for _, proto := range []string{protoRaft, protoPeer, protoCall} {
		if err := knock(t, p, pair(t, friend.identity), proto); err != nil {
			t.Errorf("%s: a peer is refused: %v", proto, err)
		}
		for name, cert := range map[string]*tls.Certificate{
			"no certificate":        nil,
			"the CA of another":     pair(t, foreign),
			"another cluster":       pair(t, h.identity(elsewhere, friend.id, "h2")),
			"another role":          userCertificate(t, h.authority),
			"an unknown peer":       pair(t, stranger),
			"a key that is not its": pair(t, impostor),
		} {
			if knock(t, p, cert, proto) == nil {
				t.Errorf("%s: with %s one is let in", proto, name)
			}
		}
	}
	if knock(t, p, pair(t, friend.identity), "h2") == nil {
		t.Error("a protocol that is not ours is let in")
	}
	if knock(t, p, pair(t, friend.identity), "") == nil {
		t.Error("no protocol at all is let in")
	}
	h.eventually(func() error { return p.noStrangers(friend.id) })
}

// TestExpiryKeepsNoPeerOut: the key that is pinned says who a peer is. What is
// expired and not of that key stays outside, as it does when it is fresh.
func TestExpiryKeepsNoPeerOut(t *testing.T) {
	h := newHouse(t, 2)
	p, friend := h.peers[0], h.peers[1]
	public, err := friend.identity.PublicKey()
	must(t, err)
	signed := func(by *ca.Authority, public []byte, at time.Time) *tls.Certificate {
		i := friend.identity
		i.Certificate, err = by.Renew(public, friend.id, at)
		must(t, err)
		return pair(t, i)
	}
	foreign, err := ca.New(h.authority.ClusterID, time.Now())
	must(t, err)
	for name, at := range map[string]time.Time{"ended long ago": time.Now().Add(-20 * ca.PeerLife), "begins in two years": time.Now().Add(17520 * time.Hour)} {
		for _, proto := range []string{protoRaft, protoPeer, protoCall} {
			if err := knock(t, p, signed(h.authority, public, at), proto); err != nil {
				t.Errorf("%s: a peer whose certificate %s is refused: %v", proto, name, err)
			}
			if knock(t, p, signed(foreign, public, at), proto) == nil {
				t.Errorf("%s: a certificate of another CA that %s is let in", proto, name)
			}
			impostor := h.identity(h.authority, friend.id, "h2")
			other, err := impostor.PublicKey()
			must(t, err)
			impostor.Certificate, err = h.authority.Renew(other, friend.id, at)
			must(t, err)
			if knock(t, p, pair(t, impostor), proto) == nil {
				t.Errorf("%s: a certificate of another key that %s is let in", proto, name)
			}
		}
	}
	h.eventually(func() error { return p.noStrangers(friend.id) })
}

// TestRefusalIsHeard: who is refused reads the alert that says so, whatever it
// had sent by then.
func TestRefusalIsHeard(t *testing.T) {
	h := newHouse(t, 1)
	p := h.peers[0]
	cert := pair(t, h.identity(h.authority, uuid.NewString(), "stranger"))
	for range 100 {
		conn, err := tls.Dial("tcp", p.at.Raft, &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{protoPeer}, Certificates: []tls.Certificate{*cert},
		})
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		if _, err := conn.Write(make([]byte, 32<<10)); err != nil && !refused(err) {
			t.Errorf("a refused peer wrote and met %v", err)
		}
		if _, err := conn.Read(make([]byte, 1)); !refused(err) {
			t.Errorf("a refused peer read %v", err)
		}
		conn.Close()
	}
}

// noStrangers tells whether only those peers are connected: nothing leaks from those refused.
func (p *peer) noStrangers(friend string) error {
	p.hall.mu.Lock()
	defer p.hall.mu.Unlock()
	for c := range p.hall.conns {
		if c.peer != friend && c.peer != p.id {
			return errNotLeader
		}
	}
	return nil
}

func TestDialerChecksWhoAnswers(t *testing.T) {
	h := newHouse(t, 3)
	p, friend := h.leader(), h.followers()[0]
	if _, err := p.hall.dial(t.Context(), uuid.NewString(), protoPeer); err == nil {
		t.Error("a stranger was dialed")
	}
	// Somebody else of the cluster at the friend's address.
	moved := friend.member()
	moved.Addresses = p.at
	friend.close()
	p.propose(command{ID: uuid.NewString(), Member: &moved}.bytes())
	h.eventually(func() error {
		if m, _ := p.book.find(friend.id); m.Addresses != p.at {
			return errNotLeader
		}
		return nil
	})
	_, err := p.hall.dial(t.Context(), friend.id, protoPeer)
	if err == nil {
		t.Error("another peer was taken for the one that was dialed")
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	h := newHouse(t, 1, func(c *Config) { c.MaxConnsPerIP = 2 })
	p := h.peers[0]
	var held []net.Conn
	for range 2 { // say nothing
		c, err := net.Dial("tcp", p.at.Raft)
		must(t, err)
		held = append(held, c)
	}
	h.eventually(func() error {
		c, err := net.Dial("tcp", p.at.Raft)
		must(t, err)
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			return err
		}
		return nil
	})
	for _, c := range held {
		c.Close()
	}
	h.eventually(func() error {
		return knock(t, p, pair(t, p.identity), protoPeer)
	})
}

func TestPeerChannel(t *testing.T) {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /peer/hello", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto+" "+CallerPeer(r))
	})
	h := newHouse(t, 2, func(c *Config) { c.PeerHandler = routes })
	from, to := h.peers[0], h.peers[1]
	resp, err := from.Client().Get("https://" + to.id + "/peer/hello")
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if got, want := string(body), "HTTP/2.0 "+from.id; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	if _, err := from.Client().Get("http://" + to.id + "/peer/hello"); err == nil {
		t.Error("a peer was called without https")
	}
	if CallerPeer(&http.Request{}) != "" {
		t.Error("a request of nowhere has a peer")
	}
}

func TestFetchCA(t *testing.T) {
	h := emptyHouse(t)
	i := h.identity(h.authority, uuid.NewString(), "h1")
	cert := pair(t, i)
	block, _ := pem.Decode(i.CA)
	pin, err := ca.Hash(i.CA)
	must(t, err)

	serve := func(chain ...[]byte) string {
		shown := *cert
		shown.Certificate = append([][]byte{cert.Certificate[0]}, chain...)
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{shown}})
		must(t, err)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.(*tls.Conn).Handshake()
				c.Close()
			}
		}()
		return l.Addr().String()
	}
	whole := serve(block.Bytes)
	got, err := FetchCA(t.Context(), whole, pin)
	if err != nil || string(got) != string(i.CA) {
		t.Errorf("FetchCA = %q, %v; want the CA", got, err)
	}
	for name, c := range map[string]struct{ addr, pin string }{
		"another hash": {whole, strings.Repeat("a", 52)},
		"no CA shown":  {serve(), pin},
	} {
		if _, err := FetchCA(t.Context(), c.addr, c.pin); err == nil || !strings.Contains(err.Error(), "token") {
			t.Errorf("%s: %v; want a sentence about the token", name, err)
		}
	}
	other, err := ca.New(h.authority.ClusterID, time.Now())
	must(t, err)
	otherBlock, _ := pem.Decode(other.PEM())
	otherPin, err := ca.Hash(other.PEM())
	must(t, err)
	if _, err := FetchCA(t.Context(), serve(otherBlock.Bytes), otherPin); err == nil {
		t.Error("a CA was taken that did not sign the peer that shows it")
	}
	// While the CA is rotated either hash will do, if the one vouches for the other.
	bridge, err := other.Vouch(h.authority.Certificate())
	must(t, err)
	bridgeBlock, _ := pem.Decode(bridge)
	both := serve(block.Bytes, otherBlock.Bytes, bridgeBlock.Bytes)
	if got, err := FetchCA(t.Context(), both, pin); err != nil || string(got) != string(i.CA) {
		t.Errorf("with both CAs shown FetchCA = %q, %v; want the one that signed", got, err)
	}
	if got, err := FetchCA(t.Context(), both, otherPin); err != nil || string(got) != string(other.PEM())+string(i.CA) {
		t.Errorf("with the other's hash FetchCA = %q, %v; want both", got, err)
	}
	if _, err := FetchCA(t.Context(), serve(block.Bytes, otherBlock.Bytes), otherPin); err == nil {
		t.Error("a CA was taken that neither signed nor vouches")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FetchCA(ctx, whole, pin); err == nil {
		t.Error("FetchCA did not mind the end of its context")
	}
}
