package cloudinit

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// FuzzUserData: what a user sends is refused, or is in the guest's documents as it was
// sent, and in an image that holds them; what orchd writes beside it stays YAML of the
// fields that were asked for.
func FuzzUserData(f *testing.F) {
	for _, seed := range []string{"#cloud-config\npackages: [vim]\n", "#!/bin/sh\nreboot\n", "", "\x1f\x8b\x08", "Content-Type: multipart/mixed\nMIME-Version: 1.0\n\n",
		" \n#include\nhttp://169.254.169.254/", "password: x", "\xff\xfe#", "#\x00", "## template: jinja\n{{ v1 }}", strings.Repeat("#", 300)} {
		f.Add([]byte(seed), "web", "ssh-ed25519 AAAA anna", "52:54:00:12:34:56", "10.1.0.5")
	}
	f.Add([]byte("#"), "a\nb: c", "key\n- other", "52:54:00:12:34:56: x", "::ffff:10.1.0.5")
	f.Fuzz(func(t *testing.T, data []byte, name, key, mac, ip string) {
		g := Guest{InstanceID: "i-1", Hostname: name, Keys: []string{key}, UserData: data, MAC: mac}
		if addr, err := netip.ParseAddr(ip); err == nil {
			g.Addresses = []Address{{IP: addr, Prefix: 24}}
		}
		CheckUserData(data)
		docs, err := Documents(g)
		if err != nil {
			return
		}
		if len(data) > 0 && !bytes.Equal(docs[UserData], data) {
			t.Errorf("the user-data in the guest is %q, was sent as %q", docs[UserData], data)
		}
		for _, doc := range []string{MetaData, VendorData, NetworkConfig} {
			var v map[string]any
			if err := yaml.Unmarshal(docs[doc], &v); err != nil {
				t.Errorf("%s is no YAML: %v\n%s", doc, err, docs[doc])
			}
		}
		var meta struct {
			Keys []string `yaml:"public-keys"`
			Name string   `yaml:"local-hostname"`
		}
		if err := yaml.Unmarshal(docs[MetaData], &meta); err != nil || meta.Name != strings.TrimRight(name, "-") || len(meta.Keys) != 1 || meta.Keys[0] != key {
			t.Errorf("the guest reads %+v (%v), was %q with %q", meta, err, name, key)
		}
		if _, err := ISO(docs); err != nil {
			t.Errorf("no image holds the documents: %v", err)
		}
	})
}
