package cluster

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/orchd/orchd/cluster/ca"
)

// What is spoken on the raft port, by ALPN (RFC 7301).
const (
	protoRaft = "orchd-raft/1" // raft's own messages
	protoPeer = "orchd-peer/1" // HTTP/2 between peers
	protoCall = "orchd-call/1" // the questions on the way of every read and write
)

// door decides who is let in and whom we talk to: TLS 1.3 on both sides, a
// certificate of the cluster's CA for a peer of this cluster that the book
// knows, with the very key that the book has pinned. That key is who a peer is; the
// end of its certificate keeps nobody out (ca.Signed says why).
type door struct {
	clusterID string
	papers    *papers
	book      *book
}

// server is the configuration for accepting.
func (d *door) server() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{d.papers.shown().cert},
		ClientAuth:             tls.RequireAnyClientCert, // check verifies it
		NextProtos:             []string{protoRaft, protoPeer, protoCall},
		SessionTicketsDisabled: true, // a ticket would outlive a peer's removal
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := d.check(s, "", x509.ExtKeyUsageClientAuth)
			return err
		},
	}
}

// client is the configuration for dialing one peer.
func (d *door) client(id, proto string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{d.papers.shown().cert},
		InsecureSkipVerify: true, // check verifies it
		ServerName:         id,
		NextProtos:         []string{proto},
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := d.check(s, id, x509.ExtKeyUsageServerAuth)
			return err
		},
	}
}

// check gives the id of the peer at the other end; want, if not empty, is who
// it must be, and use what it shows its certificate for.
func (d *door) check(s tls.ConnectionState, want string, use x509.ExtKeyUsage) (string, error) {
	if s.NegotiatedProtocol == "" {
		return "", fmt.Errorf("the other side speaks none of %s, %s and %s", protoRaft, protoPeer, protoCall)
	}
	if len(s.PeerCertificates) == 0 {
		return "", errors.New("the other side shows no certificate")
	}
	cert := s.PeerCertificates[0]
	id, err := ca.PeerID(cert, d.clusterID)
	if err != nil {
		return "", err
	}
	if want != "" && id != want {
		return "", fmt.Errorf("peer %s answers where peer %s should", id, want)
	}
	if err := d.admits(id, cert.RawSubjectPublicKeyInfo); err != nil {
		return "", err
	}
	if err := ca.Signed(cert, d.papers.shown().authorities, use); err != nil {
		return "", fmt.Errorf("the certificate of peer %s: %w", id, err)
	}
	return id, nil
}

// admits tells whether a peer belongs to the cluster and has its pinned key.
func (d *door) admits(id string, key []byte) error {
	m, ok := d.book.find(id)
	if !ok {
		return fmt.Errorf("peer %s does not belong to this cluster, or not any more", id)
	}
	if !bytes.Equal(m.PublicKey, key) {
		return fmt.Errorf("peer %s shows another key than the one pinned for it", id)
	}
	return nil
}
