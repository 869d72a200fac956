package ca

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"
)

func TestCertificateIsDueAtTwoThirds(t *testing.T) {
	cert := signed(t, authority(t))
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {-time.Hour, true}, {59 * 24 * time.Hour, false}, {60*24*time.Hour + time.Minute, true}, {PeerLife + time.Hour, true}, {2 * 365 * 24 * time.Hour, true}} {
		if got := Due(cert, now.Add(c.after)); got != c.want {
			t.Errorf("after %s: due %v, want %v", c.after, got, c.want)
		}
	}
}

// TestPinnedPeerIsWhomTheAuthoritySigned: the time is no reason, all else is.
func TestPinnedPeerIsWhomTheAuthoritySigned(t *testing.T) {
	a, b := authority(t), authority(t)
	old, err := a.Renew(signed(t, a).RawSubjectPublicKeyInfo, peer, now.Add(-20*PeerLife))
	if err != nil {
		t.Fatal(err)
	}
	expired, err := ParseCert(old)
	if err != nil {
		t.Fatal(err)
	}
	for _, cert := range []*x509.Certificate{signed(t, a), expired} {
		if err := Signed(cert, []*x509.Certificate{b.Certificate(), a.Certificate()}, x509.ExtKeyUsageClientAuth); err != nil {
			t.Errorf("a certificate from %s: %v", cert.NotBefore, err)
		}
		if err := Signed(cert, []*x509.Certificate{b.Certificate()}, x509.ExtKeyUsageClientAuth); !errors.Is(err, ErrNotSigned) {
			t.Errorf("another CA's certificate gives %v", err)
		}
		if err := Signed(cert, []*x509.Certificate{a.Certificate()}, x509.ExtKeyUsageCodeSigning); !errors.Is(err, ErrUntrusted) {
			t.Errorf("another use gives %v", err)
		}
	}
	if err := Signed(a.Certificate(), []*x509.Certificate{a.Certificate()}, x509.ExtKeyUsageClientAuth); err == nil {
		t.Error("a CA was taken for a peer")
	}
}

func TestRenewedCertificateIsOfTheSameKey(t *testing.T) {
	a := authority(t)
	old := signed(t, a, "h1:7700")
	renewed, err := a.Renew(old.RawSubjectPublicKeyInfo, peer, now.Add(PeerLife), "h1", "h2:7700")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ParseCert(renewed)
	if err != nil {
		t.Fatal(err)
	}
	if string(cert.RawSubjectPublicKeyInfo) != string(old.RawSubjectPublicKeyInfo) {
		t.Error("the renewed certificate is of another key")
	}
	if Due(cert, now.Add(PeerLife)) || !SpeaksFor(cert, "h1", "h2:1", "") || SpeaksFor(cert, "h3") || SpeaksFor(old, "h2") {
		t.Errorf("renewed for %v %v until %s", cert.DNSNames, cert.IPAddresses, cert.NotAfter)
	}
	if id, err := PeerID(cert, cluster); err != nil || id != peer {
		t.Errorf("PeerID = %q, %v", id, err)
	}
	if _, err := a.Renew([]byte("no key"), peer, now); err == nil {
		t.Error("what is no key was signed")
	}
}

func TestAuthoritiesVouchForEachOther(t *testing.T) {
	a, b := authority(t), authority(t)
	bridge, err := a.Vouch(b.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ParseCert(bridge)
	if err != nil {
		t.Fatal(err)
	}
	if HashOf(cert) != HashOf(b.Certificate()) || !SignedBy(cert, a.Certificate()) || SignedBy(cert, b.Certificate()) {
		t.Error("what vouches for b is not b's key, signed by a")
	}
	bundle := Encode(a.Certificate(), b.Certificate())
	if certs, err := ParseCerts(bundle); err != nil || len(certs) != 2 || HashOf(certs[1]) != HashOf(b.Certificate()) {
		t.Errorf("bundle reads as %d certificates, %v", len(certs), err)
	}
	if _, err := ParseCerts([]byte("none")); err == nil {
		t.Error("nothing was read as certificates")
	}
	if EndsSoon(a.Certificate(), now) || !EndsSoon(a.Certificate(), now.Add(AuthorityLife-364*24*time.Hour)) {
		t.Error("the warning of the CA's end does not come a year ahead")
	}
}
