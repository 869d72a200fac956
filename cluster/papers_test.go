package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/cluster/ca"
)

// renewed is another certificate for a peer.
func (p *peer) renewed(by *ca.Authority, at time.Time) []byte {
	t := p.house.t
	t.Helper()
	public, err := p.identity.PublicKey()
	must(t, err)
	cert, err := by.Renew(public, p.id, at, "127.0.0.1")
	must(t, err)
	return cert
}

// hangUp ends every connection, so that the next ones are made with what is shown now.
func (p *peer) hangUp() { p.hall.closeWhere(func(*conn) bool { return true }) }

// TestAuthorityIsReplacedStepByStep goes the way of a rotation on three peers:
// trust both, show the new, trust the new alone. After each step of each peer all
// connections are made anew, and one peer is restarted from its folder: a peer that is
// killed between any two steps goes on.
func TestAuthorityIsReplacedStepByStep(t *testing.T) {
	h := newHouse(t, 3)
	next, err := ca.New(h.authority.ClusterID, time.Now())
	must(t, err)
	both := append(h.authority.PEM(), next.PEM()...)
	steps := []func(*peer) error{
		func(p *peer) error { return p.SetTrust(both) },
		func(p *peer) error { return p.SetCertificate(p.renewed(next, time.Now())) },
		func(p *peer) error { return p.SetTrust(next.PEM()) },
	}
	for n, step := range steps {
		for k, p := range h.peers {
			must(t, step(p))
			for _, other := range h.peers {
				other.hangUp()
			}
			again := h.peers[(k+n)%3]
			again.close()
			again.open()
			h.eventually(func() error {
				_, err := again.Propose(within(t, 10*time.Second), set(fmt.Sprintf("step %d.%d", n, k), "done"))
				return err
			})
		}
	}
	for _, p := range h.peers {
		if i := p.Identity(); !bytes.Equal(i.CA, next.PEM()) {
			t.Errorf("%s trusts %d bytes of certificates, want the new CA alone", i.Name, len(i.CA))
		}
		if pem, err := os.ReadFile(caFile(p.dir)); err != nil || !bytes.Equal(pem, next.PEM()) {
			t.Errorf("ca.pem: %v, and it is not the new CA alone", err)
		}
	}
	if knock(t, h.peers[0], pair(t, h.identity(h.authority, h.peers[1].id, "h2")), protoPeer) == nil {
		t.Error("a certificate of the CA that was dropped is let in")
	}
}

// TestCrashBetweenFiles: each step of a rotation writes its files one after the other. A
// peer that is killed behind any of them starts, and takes the step again.
func TestCrashBetweenFiles(t *testing.T) {
	h := newHouse(t, 1)
	p := h.peers[0]
	next, err := ca.New(h.authority.ClusterID, time.Now())
	must(t, err)
	both, cert := append(h.authority.PEM(), next.PEM()...), p.renewed(next, time.Now())
	keys := [][]byte{h.gossipKey, seal.NewKey("g").Bytes}
	order := []func(string) string{caFile, certFile, knownFile} // within a step
	content := func() (files [][]byte) {
		for _, path := range order {
			text, err := os.ReadFile(path(p.dir))
			must(t, err)
			files = append(files, text)
		}
		return files
	}
	for n, step := range []func() error{
		func() error { return p.SetTrust(both) },
		func() error { return p.SetCertificate(cert) },
		func() error { return p.SetTrust(next.PEM()) },
		func() error { return p.SetGossipKeys(keys) },
	} {
		before := content()
		must(t, step())
		after := content()
		p.close()
		for written := range order {
			for k, path := range order {
				text := before[k]
				if k < written {
					text = after[k]
				}
				must(t, writeFile(path(p.dir), text, 0o600))
			}
			if err := p.tryOpen(); err != nil {
				t.Fatalf("step %d, killed behind %d files: it does not start: %v", n, written, err)
			}
			p.propose(set("step", fmt.Sprint(n, written)))
			must(t, step())
			got, err := LoadIdentity(p.dir)
			must(t, err)
			want, shown := p.Identity(), content()[0]
			if !bytes.Equal(got.CA, want.CA) || !bytes.Equal(shown, want.CA) || !bytes.Equal(got.Certificate, want.Certificate) || len(got.GossipKeys) != len(want.GossipKeys) {
				t.Errorf("step %d, killed behind %d files: the files are not as they should be", n, written)
			}
			p.close()
		}
		p.open()
	}
}

func TestWrongPapersAreRefused(t *testing.T) {
	h := newHouse(t, 2)
	p, other := h.peers[0], h.peers[1]
	foreign, err := ca.New(h.authority.ClusterID, time.Now())
	must(t, err)
	before := p.Identity()
	for name, err := range map[string]error{
		"no certificate":            p.SetCertificate([]byte("none")),
		"the certificate of a peer": p.SetCertificate(other.identity.Certificate),
		"another key":               p.SetCertificate(h.identity(h.authority, p.id, "h1").Certificate),
		"another CA":                p.SetCertificate(p.renewed(foreign, time.Now())),
		"trust in nobody":           p.SetTrust([]byte("none")),
		"trust in strangers":        p.SetTrust(foreign.PEM()),
		"no gossip key":             p.SetGossipKeys(nil),
		"a short gossip key":        p.SetGossipKeys([][]byte{{1}}),
	} {
		if err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	if after := p.Identity(); !bytes.Equal(before.CA, after.CA) || !bytes.Equal(before.Certificate, after.Certificate) || len(after.GossipKeys) != 1 {
		t.Error("what was refused has changed the identity")
	}
}

// TestExpiredClusterRenews: no certificate of any peer is good any more, there is no
// leader, and still the peers find each other, elect, and take new ones.
func TestExpiredClusterRenews(t *testing.T) {
	h := newHouse(t, 3)
	for _, p := range h.peers {
		p.close()
	}
	ahead := func() time.Time { return time.Now().Add(17520 * time.Hour) }
	h.configure = func(c *Config) { c.Now = ahead }
	for _, p := range h.peers {
		p.open()
	}
	h.leader().propose(set("two years", "later"))
	for _, p := range h.peers {
		must(t, p.SetCertificate(p.renewed(h.authority, ahead())))
		p.hangUp()
	}
	h.eventually(func() error {
		_, err := h.followers()[0].Propose(within(t, 5*time.Second), set("renewed", uuid.NewString()))
		return err
	})
}

// TestGossipKeysChange: no peer is taken for dead at any step, and one that has the
// old key alone hears nothing when all is over.
func TestGossipKeysChange(t *testing.T) {
	h := newHouse(t, 3)
	seen := func(p *peer, want int) error {
		if got := len(p.Loads()); got != want {
			return fmt.Errorf("%s sees %d peers by gossip, want %d", p.Identity().Name, got, want)
		}
		return nil
	}
	all := func() error {
		var errs []error
		for _, p := range h.peers {
			errs = append(errs, seen(p, 3))
		}
		return errors.Join(errs...)
	}
	h.eventually(all)
	old, next := h.gossipKey, seal.NewKey("g").Bytes
	for n, keys := range [][][]byte{{old, next}, {next, old}, {next}} {
		for k, p := range h.peers {
			must(t, p.SetGossipKeys(keys))
			if k == n { // what was told before a restart is not what is told after it
				p.close()
				p.open()
			}
			h.eventually(all)
		}
	}
	for _, p := range h.peers {
		if ring := p.gossip.ring.GetKeys(); len(ring) != 1 || !bytes.Equal(ring[0], next) {
			t.Errorf("%s has %d keys, want the new one alone", p.Identity().Name, len(ring))
		}
	}
}
