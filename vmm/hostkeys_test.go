package vmm

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// someKey is the n-th of as many different keys as a test needs.
func someKey(t *testing.T, n byte) string {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		t.Fatal(err)
	}
	return key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
}

func TestHostKeysOnAConsole(t *testing.T) {
	one, two := someKey(t, 1), someKey(t, 2)
	block := func(lines ...string) string {
		return "boot\r\n" + keysBegin + "\r\n" + strings.Join(lines, "\r\n") + "\r\n" + keysEnd + "\r\nlogin: "
	}
	many := func(n int) (lines []string) {
		for i := range n {
			lines = append(lines, someKey(t, byte(i)))
		}
		return lines
	}
	for _, c := range []struct {
		name string
		log  string
		want []string
	}{
		{"nothing", "", nil},
		{"no block", "boot\r\n" + one + "\r\n", nil},
		{"two keys", block(one+" root@web", two), []string{one, two}},
		{"not ended", strings.TrimSuffix(block(one), keysEnd+"\r\nlogin: "), nil},
		{"not begun", one + "\r\n" + keysEnd, nil},
		{"ends before it begins", keysEnd + "\r\n" + one + "\r\n" + keysBegin, nil},
		{"the last of two", block(one) + block(two), []string{two}},
		{"the last whole one", block(one) + keysBegin + "\r\n" + two, []string{one}},
		{"as systemd shows it", block("[   18.612345] cloud-init[512]: " + one), []string{one}},
		{"the kernel in between", block(one, "[   12.3] random: crng init done", two), []string{one, two}},
		{"a torn key", block(one[:40], two), []string{two}},
		{"twice the same", block(one, one), []string{one}},
		{"options", block(`command="sh" ` + one), nil},
		{"another type than it says", block("ssh-rsa " + strings.Fields(one)[1]), nil},
		{"a certificate", block("ssh-ed25519-cert-v01@openssh.com " + strings.Fields(one)[1]), nil},
		{"as many as are believed", block(many(mostKeys)...), many(mostKeys)},
		{"more than any guest has", block(many(mostKeys + 1)...), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, k := range hostKeys([]byte(c.log)) {
				got = append(got, k.Type+" "+k.Key)
				if !strings.HasPrefix(k.Fingerprint, "SHA256:") {
					t.Errorf("fingerprint: got %q, want SHA256:...", k.Fingerprint)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("keys:\n got %v\nwant %v", got, c.want)
			}
		})
	}
}
