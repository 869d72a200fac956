package ca

import (
	"crypto/x509"
	"net/url"
	"testing"
	"time"
)

const (
	cluster = "7d0ac1de-53a1-44bf-8de0-4a1b9a4f9a10"
	peer    = "0b7f6a9e-3b53-4b8b-9a5e-0a6f0b6d2f11"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestPeerCertificateSpeaksForThePeerAndItsAddresses(t *testing.T) {
	a := authority(t)
	cert := signed(t, a, "10.0.0.1:7701", "h1", "h1:7700", "[fd00::1]:7701", ":7700", "0.0.0.0:7701")

	id, err := PeerID(cert, cluster)
	if err != nil || id != peer {
		t.Errorf("PeerID = %q, %v; want %q", id, err, peer)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.PEM())
	for _, host := range []string{"10.0.0.1", "fd00::1", "127.0.0.1", "::1", "localhost", "h1", peer} {
		_, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, CurrentTime: now})
		if err != nil {
			t.Errorf("as %s: %v", host, err)
		}
	}
	if _, err := cert.Verify(x509.VerifyOptions{DNSName: "h2", Roots: pool, CurrentTime: now}); err == nil {
		t.Error("the certificate speaks for h2")
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		_, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
		if err != nil {
			t.Errorf("for usage %v: %v", use, err)
		}
	}
	if got, want := len(cert.DNSNames)+len(cert.IPAddresses), 7; got != want {
		t.Errorf("%d names and addresses, want %d: %v %v", got, want, cert.DNSNames, cert.IPAddresses)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now.Add(PeerLife + time.Second)}); err == nil {
		t.Error("the certificate outlives its 90 days")
	}
}

func TestOtherCertificatesAreNoPeers(t *testing.T) {
	a := authority(t)
	cert := signed(t, a)
	if _, err := PeerID(cert, "another"); err == nil {
		t.Error("a certificate of this cluster was taken for another's")
	}
	for name, uri := range map[string]*url.URL{
		"role user":      {Scheme: "orchd", Host: cluster, Path: "/user/root"},
		"no id":          {Scheme: "orchd", Host: cluster, Path: "/peer/"},
		"more than id":   {Scheme: "orchd", Host: cluster, Path: "/peer/a/b"},
		"another scheme": {Scheme: "spiffe", Host: cluster, Path: "/peer/" + peer},
	} {
		if id, err := PeerID(&x509.Certificate{URIs: []*url.URL{uri}}, cluster); err == nil {
			t.Errorf("%s: taken for peer %q", name, id)
		}
	}
	if _, err := PeerID(&x509.Certificate{URIs: append(cert.URIs, cert.URIs...)}, cluster); err == nil {
		t.Error("a certificate of two roles was taken")
	}
}

func TestAuthoritySurvivesItsBytes(t *testing.T) {
	a := authority(t)
	key, err := a.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(cluster, a.PEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Hash(a.PEM())
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := Hash(again.PEM()); got != want || len(got) != 52 {
		t.Errorf("hash %q, want %q of 52 characters", got, want)
	}
	signed(t, again)

	other := authority(t)
	if _, err := Parse(cluster, other.PEM(), key); err == nil {
		t.Error("a key was taken for another CA's")
	}
	if got, _ := Hash(other.PEM()); got == want {
		t.Error("two authorities have one hash")
	}
	if _, err := Hash([]byte("no certificate")); err == nil {
		t.Error("what is no certificate has a hash")
	}
}

func TestAlteredRequestIsRefused(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	csr[len(csr)-1] ^= 1
	if _, err := authority(t).Peer(csr, peer, now); err == nil {
		t.Error("a request with a broken signature was signed")
	}
	if _, err := authority(t).Peer([]byte("csr"), peer, now); err == nil {
		t.Error("what is no request was signed")
	}
}

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := New(cluster, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func signed(t *testing.T, a *Authority, hosts ...string) *x509.Certificate {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := a.Peer(csr, peer, now, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ParseCert(pem)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
