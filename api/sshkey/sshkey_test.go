package sshkey_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"math/big"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/crypto/ssh"

	"github.com/orchd/orchd/api/sshkey"
)

// known was made with ssh-keygen, which also said its fingerprint.
const (
	known            = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPjhPvLafddTFxjklmCeljm8tGnwDCDbdzsPAQ60EuNU"
	knownFingerprint = "SHA256:T/G85ozUkByIiLcTg34JwKRHy3BQvwigMBKyrPqXjFE"
)

func authorized(t testing.TB, public any) string {
	t.Helper()
	k, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return line(k.Type(), k.Marshal())
}

func line(typ string, blob []byte) string {
	return typ + " " + base64.StdEncoding.EncodeToString(blob)
}

// fields is strings and numbers as RFC 4251, 5, writes them.
func fields(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		text, ok := p.([]byte)
		if s, isString := p.(string); isString {
			text, ok = []byte(s), true
		}
		if n, isNumber := p.(*big.Int); isNumber {
			if text, ok = n.Bytes(), true; len(text) > 0 && text[0]&0x80 != 0 {
				text = append([]byte{0}, text...)
			}
		}
		if !ok {
			panic("no such field")
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	}
	return b
}

func ecdsaKey(t testing.TB, c elliptic.Curve) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return authorized(t, &k.PublicKey)
}

// securityKey is a public key of the sk- kind, which no part of Go makes.
func securityKey(t testing.TB) (ed, ec string) {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return line(ssh.KeyAlgoSKED25519, fields(ssh.KeyAlgoSKED25519, []byte(public), "ssh:")),
		line(ssh.KeyAlgoSKECDSA256, fields(ssh.KeyAlgoSKECDSA256, "nistp256", point, "ssh:"))
}

func rsaKey(bits int) string {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	n.SetBit(n, 0, 1)
	return line(ssh.KeyAlgoRSA, fields(ssh.KeyAlgoRSA, big.NewInt(65537), n))
}

func TestTaken(t *testing.T) {
	ed, ec := securityKey(t)
	real, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{
		"ed25519": known, "ecdsa 256": ecdsaKey(t, elliptic.P256()), "ecdsa 384": ecdsaKey(t, elliptic.P384()), "ecdsa 521": ecdsaKey(t, elliptic.P521()),
		"security key ed25519": ed, "security key ecdsa": ec, "rsa 2048": authorized(t, &real.PublicKey), "rsa 4096": rsaKey(4096),
	} {
		for _, around := range []string{"KEY", "KEY\n", "KEY\r\n", "  KEY", "KEY anna@laptop", "KEY  Anna's key, the second\n", "KEY\tünï"} {
			typ, text, comment, fingerprint, err := sshkey.Parse(strings.Replace(around, "KEY", key, 1))
			if err != nil {
				t.Errorf("%s in %q: %v", name, around, err)
				continue
			}
			wantComment := strings.TrimSpace(strings.Replace(around, "KEY", "", 1))
			blob, _ := base64.StdEncoding.DecodeString(text)
			k, err := ssh.ParsePublicKey(blob)
			if err != nil {
				t.Fatal(err)
			}
			if typ+" "+text != key || comment != wantComment || fingerprint != ssh.FingerprintSHA256(k) {
				t.Errorf("%s in %q: got %q %q %q %q", name, around, typ, text, comment, fingerprint)
			}
		}
	}
	if _, _, _, got, _ := sshkey.Parse(known); got != knownFingerprint {
		t.Errorf("fingerprint: got %s, ssh-keygen says %s", got, knownFingerprint)
	}
}

func TestRefused(t *testing.T) {
	blob, _ := base64.StdEncoding.DecodeString(strings.Fields(known)[1])
	dsa := line("ssh-dss", fields("ssh-dss", "p", "q", "g", "y"))
	cert := line(ssh.CertAlgoED25519v01, fields(ssh.CertAlgoED25519v01, "nonce"))
	for name, c := range map[string]struct{ line, says string }{
		"empty":                {"", "is empty"},
		"blanks":               {" \t ", "is empty"},
		"two keys":             {known + "\n" + known, "one line"},
		"two line ends":        {known + "\n\n", "one line"},
		"a return inside":      {known + " a\rb", "one line"},
		"options":              {`command="reboot" ` + known, "options"},
		"an option":            {"restrict " + known, "options"},
		"a comment line":       {"# " + known, "options"},
		"a private key":        {"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz", "private key"},
		"dsa":                  {dsa, "DSA"},
		"a certificate":        {cert, "certificate"},
		"no key":               {"ssh-ed25519", "base64"},
		"no base64":            {"ssh-ed25519 ÄÖ", "base64"},
		"base64 for urls":      {"ssh-ed25519 " + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 51)), "base64"},
		"not padded":           {"ecdsa-sha2-nistp256 " + strings.TrimRight(strings.Fields(ecdsaKey(t, elliptic.P256()))[1], "="), "base64"},
		"loose base64":         {strings.TrimSuffix(rsaKey(2048), "AQ==") + "AR==", "base64"},
		"another type":         {line("ssh-rsa", blob), "of another"},
		"cut short":            {line("ssh-ed25519", blob[:40]), "whole key"},
		"more behind":          {line("ssh-ed25519", append(bytes.Clone(blob), 0)), "whole key"},
		"another curve":        {line(ssh.KeyAlgoECDSA384, fields(ssh.KeyAlgoECDSA384, "nistp256", "point")), "whole key"},
		"short rsa":            {rsaKey(1024), "1024 bits"},
		"rsa one bit short":    {rsaKey(2047), "2047 bits"},
		"a tab in the comment": {known + " a\tb", "printed"},
		"an escape":            {known + " \x1b[31mred", "printed"},
		"not text":             {known + " \xff", "printed"},
		"a long comment":       {known + " " + strings.Repeat("c", 257), "longer than 256"},
		"a long line":          {known + strings.Repeat(" ", 17<<10), "longer than 16384"},
	} {
		t.Run(name, func(t *testing.T) {
			typ, text, comment, fingerprint, err := sshkey.Parse(c.line)
			if err == nil {
				t.Fatalf("it was taken: %q %q %q", typ, text, comment)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("refused with %q, want it to say %q", err, c.says)
			}
			if typ+text+comment+fingerprint != "" {
				t.Errorf("refused, and yet it gives %q %q %q %q", typ, text, comment, fingerprint)
			}
		})
	}
}

// FuzzParse: what is taken is one line that ssh reads as the same key, without
// options, and that Parse reads in the same way again.
func FuzzParse(f *testing.F) {
	ed, ec := securityKey(f)
	for _, seed := range []string{known, known + " c", ed, ec, rsaKey(2048), `no-pty ` + known, "ssh-dss AAAA", known + "\n" + known} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		typ, text, comment, fingerprint, err := sshkey.Parse(in)
		if err != nil {
			return
		}
		out := typ + " " + text
		if comment != "" {
			out += " " + comment
		}
		if strings.ContainsFunc(out, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q gives %q, which cannot be printed", in, out)
		}
		key, says, options, rest, err := ssh.ParseAuthorizedKey([]byte(out))
		if err != nil || len(options) > 0 || len(rest) > 0 || says != comment {
			t.Fatalf("ssh reads %q with comment %q, options %q, rest %q, %v", out, says, options, rest, err)
		}
		if key.Type() != typ || ssh.FingerprintSHA256(key) != fingerprint {
			t.Fatalf("ssh reads %q as %s %s", out, key.Type(), ssh.FingerprintSHA256(key))
		}
		typ2, text2, comment2, fingerprint2, err := sshkey.Parse(out)
		if err != nil || typ2 != typ || text2 != text || comment2 != comment || fingerprint2 != fingerprint {
			t.Fatalf("%q is read as %q %q %q, %v", out, typ2, text2, comment2, err)
		}
	})
}
