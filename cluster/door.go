package cluster

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

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
// knows, with the very key that the book has pinned.
type door struct {
	clusterID string
	cert      tls.Certificate
	roots     *x509.CertPool
	book      *book
	now       func() time.Time
}

// server is the configuration for accepting.
func (d *door) server() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{d.cert},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              d.roots,
		NextProtos:             []string{protoRaft, protoPeer, protoCall},
		Time:                   d.now,
		SessionTicketsDisabled: true, // a ticket would outlive a peer's removal
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := d.check(s, "")
			return err
		},
	}
}

// client is the configuration for dialing one peer.
func (d *door) client(id, proto string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{d.cert},
		RootCAs:      d.roots,
		ServerName:   id, // every peer's certificate names its id
		NextProtos:   []string{proto},
		Time:         d.now,
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := d.check(s, id)
			return err
		},
	}
}

// check gives the id of the peer at the other end; want, if not empty, is who
// it must be. The chain and its dates have been verified by then.
func (d *door) check(s tls.ConnectionState, want string) (string, error) {
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
