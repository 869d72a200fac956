// Package ca is the cluster's certificate authority: one ECDSA P-256 key that
// signs who is a peer.
//
// A peer's certificate carries the URI orchd://<cluster>/peer/<id>; PeerID reads
// it back and is the one rule of what a peer's certificate looks like. Newcomers
// recognise the authority by its Hash, which join tokens carry. Start with New
// and Authority.Peer.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// Lifetimes of certificates, and how far before now they begin, so that a
// peer whose clock is a little behind takes them at once.
const (
	AuthorityLife = 10 * 365 * 24 * time.Hour
	PeerLife      = 90 * 24 * time.Hour
	backdate      = 5 * time.Minute
)

// Authority can sign: the CA certificate and its key.
type Authority struct {
	ClusterID string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

// New makes the authority of a new cluster, good for ten years from now on.
func New(clusterID string, now time.Time) (*Authority, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "orchd cluster " + clusterID},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(AuthorityLife),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's CA: %w", err)
	}
	return &Authority{clusterID, cert, key}, nil
}

// Parse reads an authority from its certificate (PEM) and the key that
// MarshalKey gave.
func Parse(clusterID string, certPEM, key []byte) (*Authority, error) {
	cert, err := ParseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's CA: %w", err)
	}
	k, err := ParseKey(key)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's CA: %w", err)
	}
	if !k.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("read the cluster's CA: the key is not the certificate's")
	}
	return &Authority{clusterID, cert, k}, nil
}

// PEM is the CA certificate. It is no secret.
func (a *Authority) PEM() []byte { return encode(a.cert.Raw) }

// MarshalKey is the signing key (PEM, PKCS #8), to be wrapped before it goes anywhere.
func (a *Authority) MarshalKey() ([]byte, error) { return MarshalKey(a.key) }

// Peer signs the certificate of a peer: 90 days, for both ends of a connection.
// csr is a PKCS #10 request (DER), of which only the public key is used. hosts
// are names and IP addresses, or HOST:PORT, that the peer is reached by; the
// loopback addresses, localhost and the peer's id are always among them.
func (a *Authority) Peer(csr []byte, peerID string, now time.Time, hosts ...string) (certPEM []byte, err error) {
	request, err := parseRequest(csr)
	if err != nil {
		return nil, err
	}
	return a.sign(request.PublicKey, peerID, now, hosts)
}

// Renew signs another certificate for a peer whose public key is known: the one
// that its row pins (PKIX, DER). Who holds the key needs no other proof, and an
// expired certificate is none against it.
func (a *Authority) Renew(publicKey []byte, peerID string, now time.Time, hosts ...string) (certPEM []byte, err error) {
	key, err := x509.ParsePKIXPublicKey(publicKey)
	if err != nil {
		return nil, fmt.Errorf("read the public key of peer %s: %w", peerID, err)
	}
	return a.sign(key, peerID, now, hosts)
}

func (a *Authority) sign(publicKey any, peerID string, now time.Time, hosts []string) (certPEM []byte, err error) {
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "orchd peer " + peerID},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(PeerLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:         peerURI(a.ClusterID, peerID),
		DNSNames:     []string{"localhost", peerID},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, h := range hosts {
		addHost(template, h)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, publicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of peer %s: %w", peerID, err)
	}
	return encode(der), nil
}

// addHost lets the certificate speak for a name or an address, with or without a port.
func addHost(cert *x509.Certificate, host string) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	switch {
	case ip != nil && ip.IsUnspecified(), host == "":
	case ip != nil && !slices.ContainsFunc(cert.IPAddresses, ip.Equal):
		cert.IPAddresses = append(cert.IPAddresses, ip)
	case ip == nil && !slices.Contains(cert.DNSNames, host):
		cert.DNSNames = append(cert.DNSNames, host)
	}
}

// ErrUntrusted is what a certificate is refused with: wrong role, another
// cluster. The text around it says which.
var ErrUntrusted = errors.New("certificate is not trusted")

// PeerID is the id of the peer that a certificate speaks for. It checks role
// and cluster and nothing else: the chain is for crypto/tls to verify.
func PeerID(cert *x509.Certificate, clusterID string) (string, error) {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "orchd" {
		return "", fmt.Errorf("%w: it names no member of an orchd cluster", ErrUntrusted)
	}
	uri := cert.URIs[0]
	if uri.Host != clusterID {
		return "", fmt.Errorf("%w: it is of cluster %s, this is %s", ErrUntrusted, uri.Host, clusterID)
	}
	id, isPeer := strings.CutPrefix(uri.Path, "/peer/")
	if !isPeer || id == "" || strings.Contains(id, "/") {
		return "", fmt.Errorf("%w: its role %q is not that of a peer", ErrUntrusted, uri.Path)
	}
	return id, nil
}

// Hash is the pin of a CA certificate as join tokens carry it: the SHA-256 of
// its public key (SubjectPublicKeyInfo, as in RFC 7469) in lower-case base32,
// 52 characters.
func Hash(caPEM []byte) (string, error) {
	cert, err := ParseCert(caPEM)
	if err != nil {
		return "", err
	}
	return HashOf(cert), nil
}

// HashOf is the pin of a parsed CA certificate.
func HashOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// ParseCert reads the first certificate of a PEM text.
func ParseCert(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("there is no PEM certificate in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// serial is a random positive number of 127 bits (RFC 5280, 4.1.2.2 allows 159).
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// NewKey makes the key of an authority or of a peer.
func NewKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return key, nil
}
