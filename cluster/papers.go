package cluster

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/orchd/orchd/cluster/ca"
)

// papers is this peer's identity, parts of which change while it runs: its
// certificate, whom it trusts, the keys of gossip, whom it knows. What changes is on
// disk, each file whole, before it is used, and no file needs another to be of the
// same moment: a peer that is killed between two of them starts and goes on.
type papers struct {
	dataDir string // empty: nothing is kept

	mu       sync.Mutex
	identity Identity
	now      atomic.Pointer[credentials]
}

// credentials are what TLS needs of an identity. They are replaced, never changed.
type credentials struct {
	cert        tls.Certificate
	authorities []*x509.Certificate
}

func newPapers(i Identity, dataDir string) (*papers, error) {
	c, err := i.credentials()
	if err != nil {
		return nil, err
	}
	p := &papers{dataDir: dataDir, identity: i}
	p.now.Store(c)
	return p, nil
}

// shown is what the next connection uses.
func (p *papers) shown() *credentials { return p.now.Load() }

// current is the identity as it is now.
func (p *papers) current() Identity {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.identity
}

// replace makes alter's identity the one in force, once save has it on disk.
func (p *papers) replace(alter func(*Identity), save func(Identity) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.identity
	alter(&next)
	c, err := next.credentials()
	if err != nil {
		return err
	}
	if p.dataDir != "" {
		if err := save(next); err != nil {
			return err
		}
	}
	p.identity = next
	p.now.Store(c)
	return nil
}

// setPeers keeps whom this peer knows.
func (p *papers) setPeers(members []Member) error {
	return p.replace(func(i *Identity) { i.Peers = members }, func(i Identity) error { return i.saveKnown(p.dataDir) })
}

// Identity is who this peer is now: certificates, trust and gossip keys change while it runs.
func (n *Node) Identity() Identity { return n.papers.current() }

// Shown is the certificate that new connections of this peer show, with its key.
func (n *Node) Shown() tls.Certificate { return n.papers.shown().cert }

// SetCertificate takes another certificate (PEM) for this peer's key. New
// connections show it; those that are open stay. Invalid is one that is not for this
// peer and its key, or not of an authority that it trusts.
func (n *Node) SetCertificate(certPEM []byte) error {
	if err := n.papers.current().accepts(certPEM); err != nil {
		return err
	}
	err := n.papers.replace(func(i *Identity) { i.Certificate = certPEM },
		func(i Identity) error { return writeFile(certFile(n.cfg.DataDir), certPEM, 0o600) })
	if err != nil {
		return fmt.Errorf("take a new certificate: %w", err)
	}
	return nil
}

// accepts tells whether a certificate is for this peer.
func (i Identity) accepts(certPEM []byte) error {
	cert, err := ca.ParseCert(certPEM)
	if err != nil {
		return fmt.Errorf("the new certificate: %w", err)
	}
	mine, err := i.PublicKey()
	if err != nil {
		return err
	}
	id, err := ca.PeerID(cert, i.ClusterID)
	switch {
	case err != nil:
		return fmt.Errorf("the new certificate: %w", err)
	case id != i.PeerID:
		return fmt.Errorf("the new certificate is for peer %s, this is %s", id, i.PeerID)
	case !bytes.Equal(cert.RawSubjectPublicKeyInfo, mine):
		return errors.New("the new certificate is for another key than this peer's")
	case !i.trusts(cert):
		return fmt.Errorf("the new certificate: %w", ca.ErrNotSigned)
	}
	return nil
}

// trusts tells whether an authority that this peer trusts has signed the certificate.
func (i Identity) trusts(cert *x509.Certificate) bool {
	authorities, err := ca.ParseCerts(i.CA)
	return err == nil && slices.ContainsFunc(authorities, func(a *x509.Certificate) bool { return ca.SignedBy(cert, a) })
}

// SetTrust takes the authorities (PEM, one behind the other, those that sign first)
// that this peer trusts from now on. Its own certificate must be of one of them: else a
// restart would find a peer that nobody lets in.
func (n *Node) SetTrust(bundle []byte) error {
	next := n.papers.current()
	next.CA = bundle
	cert, err := ca.ParseCert(next.Certificate)
	if err != nil {
		return fmt.Errorf("change whom this peer trusts: its certificate: %w", err)
	}
	if !next.trusts(cert) {
		return fmt.Errorf("change whom this peer trusts: its own certificate: %w", ca.ErrNotSigned)
	}
	// known.json is what counts at a start, so it comes last: who finds it old does both
	// again. ca.pem is for people and their programs.
	err = n.papers.replace(func(i *Identity) { i.CA = bundle }, func(i Identity) error {
		if err := writeFile(caFile(n.cfg.DataDir), bundle, 0o644); err != nil {
			return err
		}
		return i.saveKnown(n.cfg.DataDir)
	})
	if err != nil {
		return fmt.Errorf("change whom this peer trusts: %w", err)
	}
	return nil
}

// SetGossipKeys takes the keys of gossip (32 bytes each): the first encrypts, all decrypt.
func (n *Node) SetGossipKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("change the keys of gossip: there are none")
	}
	for _, k := range keys {
		if len(k) != gossipKeySize {
			return fmt.Errorf("change the keys of gossip: one has %d bytes, not %d", len(k), gossipKeySize)
		}
	}
	if err := n.papers.replace(func(i *Identity) { i.GossipKeys = keys }, func(i Identity) error { return i.saveKnown(n.cfg.DataDir) }); err != nil {
		return fmt.Errorf("change the keys of gossip: %w", err)
	}
	return n.gossip.use(keys)
}
