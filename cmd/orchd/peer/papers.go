package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/fsm"
)

// This file is a peer's own side of keys and certificates: what the tables say it should
// hold comes to its disk and into use, without a restart. It acts only on tables that are
// known to be current: after a start they may be older than what lies on the disk, and to
// go back to an authority that was dropped would be to shut itself in.

// papersPause is how long to wait after something went wrong.
const papersPause = time.Second

// keepPapers follows the tables, until ctx ends.
func (p *Peer) keepPapers(ctx context.Context) error {
	for {
		now := p.machine.Read()
		peers, rotations := now.PeersChanged(), now.RotationsChanged()
		var again <-chan time.Time
		if p.papersDue(now) {
			if err := p.followPapers(ctx); err != nil && ctx.Err() == nil {
				p.log.Warn("this peer's keys and certificates are not as the cluster wants them; tried again", "err", err)
				again = time.After(papersPause)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-peers:
		case <-rotations:
		case <-again:
		}
	}
}

// papersDue tells whether this peer has something to do or to say about the keys.
func (p *Peer) papersDue(now fsm.Reader) bool {
	me, member := now.Peer(p.identity.PeerID)
	have := p.node.Identity()
	if !member {
		return false
	}
	due := me.Certificate != "" && me.Certificate != string(have.Certificate) || !bytes.Equal(authorities(now), have.CA)
	for _, kind := range api.KeyKinds {
		rot, rotated := now.Rotation(kind)
		due = due || rotated && kind == api.KeyGossip || mustReport(rot, me.ID)
	}
	return due
}

// mustReport tells whether a rotation waits for that peer's word.
func mustReport(rot fsm.Rotation, peer string) bool {
	return rot.Running() && rot.Step != fsm.RotationResealing && !slices.Contains(rot.Have, peer)
}

// authorities are the certificates of those that the cluster trusts, the one that signs first.
func authorities(now fsm.Reader) (bundle []byte) {
	for _, key := range now.KeyNames(api.KeyCA) {
		bundle = append(bundle, now.Setting(fsm.AuthorityName(key))...)
	}
	return bundle
}

// followPapers brings this peer to where the tables are.
func (p *Peer) followPapers(ctx context.Context) error {
	if err := p.node.ReadIndex(ctx); err != nil {
		return err
	}
	now := p.machine.Read()
	me, member := now.Peer(p.identity.PeerID)
	if !member {
		return nil
	}
	if err := p.takeCertificates(now, me); err != nil {
		return err
	}
	if err := p.takeGossipKeys(now); err != nil {
		return err
	}
	for _, kind := range api.KeyKinds {
		rot, _ := now.Rotation(kind)
		if !mustReport(rot, me.ID) || rot.Step == fsm.RotationIssuing && !p.shows(rot) {
			continue // the new certificate is still to come
		}
		if err := p.writer.ReportRotation(p.asPeer(ctx), rot); err != nil {
			return err
		}
	}
	return nil
}

// takeCertificates takes trust and certificate from the tables, in the order in which
// each is good for the other: a certificate is shown when its authority is trusted here,
// and an authority is dropped when the certificate is of another.
func (p *Peer) takeCertificates(now fsm.Reader, me api.Peer) error {
	trusted := authorities(now)
	take := func() error {
		if me.Certificate == "" || me.Certificate == string(p.node.Identity().Certificate) {
			return nil
		}
		if err := p.keepOld(now, me); err != nil {
			return err
		}
		if err := p.node.SetCertificate([]byte(me.Certificate)); err != nil {
			return err
		}
		p.log.Info("this peer has a new certificate", "until", p.certificate().NotAfter)
		return nil
	}
	early := take()
	if !bytes.Equal(trusted, p.node.Identity().CA) {
		if err := p.node.SetTrust(trusted); err != nil {
			return errors.Join(early, err)
		}
		p.log.Info("this peer trusts other authorities now", "count", len(now.KeyNames(api.KeyCA)))
		early = take()
	}
	if early != nil {
		return early
	}
	return p.dropOld(now)
}

// certificate is the one that this peer shows to others.
func (p *Peer) certificate() *x509.Certificate {
	cert, _ := ca.ParseCert(p.node.Identity().Certificate) // it was read when it was taken
	return cert
}

// shows tells whether this peer has its certificate of a rotation's new authority.
func (p *Peer) shows(rot fsm.Rotation) bool {
	next, err := ca.ParseCert([]byte(p.machine.Read().Setting(fsm.AuthorityName(rot.Key))))
	return err == nil && ca.SignedBy(p.certificate(), next)
}

// takeGossipKeys takes the keys of gossip from the tables.
func (p *Peer) takeGossipKeys(now fsm.Reader) error {
	var keys [][]byte
	for _, name := range now.KeyNames(api.KeyGossip) {
		key, err := p.clusterKeyIn(now, name)
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	if slices.EqualFunc(keys, p.node.Identity().GossipKeys, bytes.Equal) {
		return nil
	}
	if err := p.node.SetGossipKeys(keys); err != nil {
		return err
	}
	p.log.Info("gossip has other keys now", "count", len(keys))
	return nil
}

// outgoing is the certificate of the old authority that the API goes on to show while the
// new one spreads to clients: they know the old one until somebody gives them the new.
type outgoing struct {
	mu   sync.Mutex
	cert *tls.Certificate // nil: none
}

func outgoingFile(dataDir string) string { return filepath.Join(dataDir, "tls", "peer.old.crt") }

// keepOld puts the present certificate aside when the next one is of another authority.
func (p *Peer) keepOld(now fsm.Reader, me api.Peer) error {
	rot, _ := now.Rotation(api.KeyCA)
	next, err := ca.ParseCert([]byte(me.Certificate))
	if err != nil {
		return fmt.Errorf("the certificate in this peer's row: %w", err)
	}
	old, err := ca.ParseCert([]byte(now.Setting(fsm.AuthorityName(rot.Old))))
	if rot.Step != fsm.RotationIssuing || err != nil || ca.SignedBy(next, old) || !ca.SignedBy(p.certificate(), old) {
		return nil
	}
	if err := renameio.WriteFile(outgoingFile(p.cfg.DataDir), p.node.Identity().Certificate, 0o600); err != nil {
		return fmt.Errorf("keep the certificate of the old CA: %w", err)
	}
	p.openOutgoing()
	return nil
}

// openOutgoing reads what keepOld left.
func (p *Peer) openOutgoing() {
	text, err := os.ReadFile(outgoingFile(p.cfg.DataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	cert, parseErr := tls.X509KeyPair(text, p.identity.Key)
	if err := errors.Join(err, parseErr); err != nil {
		p.log.Warn("the certificate of the old CA cannot be read; the API shows that of the new one", "err", err)
		return
	}
	p.outgoing.mu.Lock()
	defer p.outgoing.mu.Unlock()
	p.outgoing.cert = &cert
}

// dropOld forgets it when the old authority has gone.
func (p *Peer) dropOld(now fsm.Reader) error {
	if rot, _ := now.Rotation(api.KeyCA); rot.Step == fsm.RotationIssuing {
		return nil
	}
	p.outgoing.mu.Lock()
	defer p.outgoing.mu.Unlock()
	if p.outgoing.cert == nil {
		return nil
	}
	p.outgoing.cert = nil
	if err := os.Remove(outgoingFile(p.cfg.DataDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the certificate of the old CA: %w", err)
	}
	return nil
}

// forClients is the certificate that the API shows, with the authorities behind it, so
// that a newcomer can pin one of them by its hash, and what they say of each other.
func (p *Peer) forClients(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := p.machine.Read()
	rot, _ := now.Rotation(api.KeyCA)
	cert := p.node.Shown()
	if old := p.old(); old != nil && rot.Step == fsm.RotationIssuing && !rot.Hurry && p.cfg.Now().Before(old.Leaf.NotAfter) {
		cert = *old
	}
	chain := slices.Clone(cert.Certificate)
	for _, bundle := range []string{string(p.node.Identity().CA), rot.Bridges} {
		if bundle == "" {
			continue
		}
		certs, err := ca.ParseCerts([]byte(bundle))
		if err != nil {
			return nil, err
		}
		for _, c := range certs {
			chain = append(chain, c.Raw)
		}
	}
	cert.Certificate = chain
	return &cert, nil
}

func (p *Peer) old() *tls.Certificate {
	p.outgoing.mu.Lock()
	defer p.outgoing.mu.Unlock()
	return p.outgoing.cert
}
