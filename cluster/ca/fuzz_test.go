package ca

import (
	"encoding/pem"
	"testing"
	"time"
)

// FuzzRequest: what a newcomer sends as its request is refused, or becomes a
// certificate that speaks for that peer and key, and for nothing that it asked for.
func FuzzRequest(f *testing.F) {
	now := time.Unix(1_790_000_000, 0)
	a, err := New("11111111-2222-4333-8444-555555555555", now)
	if err != nil {
		f.Fatal(err)
	}
	key, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	good, err := Request(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte{0x30, 0x80})
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: good}))
	f.Fuzz(func(t *testing.T, csr []byte) {
		public, err := PublicKey(csr)
		const peer = "22222222-2222-4333-8444-555555555555"
		certPEM, signErr := a.Peer(csr, peer, now, "h2:7700")
		if (err == nil) != (signErr == nil) {
			t.Fatalf("its key is read: %v; it is signed: %v", err, signErr)
		}
		if err != nil {
			return
		}
		cert, err := ParseCert(certPEM)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := PeerID(cert, a.ClusterID); err != nil || id != peer || string(cert.RawSubjectPublicKeyInfo) != string(public) || cert.IsCA {
			t.Errorf("the certificate is of %q (%v), of a CA: %v", id, err, cert.IsCA)
		}
	})
}

// FuzzPEM: certificates and keys as they stand in files.
func FuzzPEM(f *testing.F) {
	a, err := New("11111111-2222-4333-8444-555555555555", time.Unix(1_790_000_000, 0))
	if err != nil {
		f.Fatal(err)
	}
	key, _ := a.MarshalKey()
	f.Add(a.PEM(), key)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		if c, err := ParseCert(cert); err == nil {
			HashOf(c)
			PeerID(c, "11111111-2222-4333-8444-555555555555")
		}
		if k, err := ParseKey(key); err == nil {
			if _, err := MarshalKey(k); err != nil {
				t.Errorf("a key that was read cannot be written: %v", err)
			}
		}
		if b, err := Parse("11111111-2222-4333-8444-555555555555", cert, key); err == nil {
			if _, err := Hash(b.PEM()); err != nil {
				t.Errorf("an authority that was read has no pin: %v", err)
			}
		}
	})
}
