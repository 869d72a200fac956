package vmm

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/sshkey"
)

// What cloud-init prints on the console around a guest's own keys, one to a line.
const (
	keysBegin = "-----BEGIN SSH HOST KEY KEYS-----"
	keysEnd   = "-----END SSH HOST KEY KEYS-----"
)

// mostKeys is how many keys of one guest are believed; sshd has four.
const mostKeys = 16

// consolePrefix is what systemd and the kernel put before a line of a service.
var consolePrefix = regexp.MustCompile(`^\[ *[0-9]+\.[0-9]+\] cloud-init\[[0-9]+\]: `)

// hostKeys reads the last whole block of keys in what a console has said. A line
// that is not one whole key is left out, for the kernel may have spoken in
// between; a block of more keys than any guest has is no such block.
func hostKeys(log []byte) []api.HostKey {
	end := bytes.LastIndex(log, []byte(keysEnd))
	if end < 0 {
		return nil
	}
	begin := bytes.LastIndex(log[:end], []byte(keysBegin))
	if begin < 0 {
		return nil
	}
	var keys []api.HostKey
	for line := range strings.Lines(string(log[begin+len(keysBegin) : end])) {
		line = consolePrefix.ReplaceAllString(strings.TrimRight(line, "\r\n"), "")
		kind, text, _, fingerprint, err := sshkey.Parse(line)
		key := api.HostKey{Type: kind, Key: text, Fingerprint: fingerprint}
		if err != nil || slices.Contains(keys, key) {
			continue
		}
		if len(keys) == mostKeys {
			return nil
		}
		keys = append(keys, key)
	}
	return keys
}
