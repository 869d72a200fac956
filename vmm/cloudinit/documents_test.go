package cloudinit

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/orchd/orchd/api"
)

const ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVmk3N8lWk1tH8kq5oY8dJrYJ9nJ1V5n1h0s7V0mQxT ann@home"

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// web is a guest that has everything.
func web() Guest {
	return Guest{
		InstanceID: "0b8d1c3e-6d3b-4a53-8a55-0e6f3b1a2c4d", Hostname: "web1", Keys: []string{ed25519},
		UserData: []byte("#cloud-config\nusers: [default]\n"),
		MAC:      "52:54:00:12:34:56", MTU: 1400, DNS: []string{"10.0.0.53", "2606:4700:4700::1111"},
		Addresses: []Address{
			{IP: ip("10.1.0.5"), Prefix: 16, Gateway: ip("10.1.0.1")},
			{IP: ip("fd00:1::5"), Prefix: 64, Gateway: ip("fd00:1::1")},
		},
	}
}

// TestWhole is what a guest that has everything reads, letter by letter.
func TestWhole(t *testing.T) {
	docs, err := Documents(web())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		MetaData: `instance-id: "0b8d1c3e-6d3b-4a53-8a55-0e6f3b1a2c4d"
local-hostname: "web1"
public-keys:
  - "` + ed25519 + `"
`,
		VendorData: `#cloud-config
ssh:
  emit_keys_to_console: true
ssh_pwauth: false
`,
		UserData: "#cloud-config\nusers: [default]\n",
		NetworkConfig: `version: 2
ethernets:
  eth0:
    match:
      macaddress: "52:54:00:12:34:56"
    set-name: "eth0"
    dhcp4: false
    dhcp6: false
    accept-ra: false
    mtu: 1400
    addresses:
      - "10.1.0.5/16"
      - "fd00:1::5/64"
    routes:
      - to: "0.0.0.0/0"
        via: "10.1.0.1"
      - to: "::/0"
        via: "fd00:1::1"
    nameservers:
      addresses:
        - "10.0.0.53"
        - "2606:4700:4700::1111"
`,
	} {
		if got := string(docs[name]); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
	if len(docs) != 4 {
		t.Errorf("got %d documents, want 4", len(docs))
	}
}

// TestRoutes has the gateways that are no neighbours by the prefix, as hosters give them.
func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		name      string
		addresses []Address
		want      []route
	}{
		{"none", []Address{{IP: ip("10.0.0.5"), Prefix: 8}}, nil},
		{"neighbour", []Address{{IP: ip("10.0.0.5"), Prefix: 8, Gateway: ip("10.9.9.9")}}, []route{{"0.0.0.0/0", "10.9.9.9", false}}},
		{"one address alone", []Address{{IP: ip("8.8.8.8"), Prefix: 32, Gateway: ip("8.8.8.1")}}, []route{{"0.0.0.0/0", "8.8.8.1", true}}},
		{"another range", []Address{{IP: ip("8.8.8.8"), Prefix: 29, Gateway: ip("8.8.4.1")}}, []route{{"0.0.0.0/0", "8.8.4.1", true}}},
		{"link-local router", []Address{{IP: ip("2001:470::5"), Prefix: 64, Gateway: ip("fe80::1")}}, []route{{"::/0", "fe80::1", false}}},
		{"IPv6 elsewhere", []Address{{IP: ip("2001:470::5"), Prefix: 128, Gateway: ip("2001:470::1")}}, []route{{"::/0", "2001:470::1", true}}},
		{"two of a family", []Address{
			{IP: ip("10.0.0.5"), Prefix: 8, Gateway: ip("10.0.0.1")},
			{IP: ip("11.0.0.5"), Prefix: 8, Gateway: ip("11.0.0.1")},
		}, []route{{"0.0.0.0/0", "10.0.0.1", false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := web()
			g.Addresses = c.addresses
			if got := network(g).Ethernets.Eth0; !reflect.DeepEqual(got.Routes, c.want) || got.DHCP4 {
				t.Errorf("got routes %+v, dhcp %v; want %+v", got.Routes, got.DHCP4, c.want)
			}
		})
	}
}

func TestLittle(t *testing.T) {
	docs, err := Documents(Guest{InstanceID: "i", Hostname: "a--"})
	if err != nil {
		t.Fatal(err)
	}
	if _, there := docs[NetworkConfig]; there {
		t.Error("a guest without an interface has a network-config")
	}
	if got, want := string(docs[UserData]), "#cloud-config\n{}\n"; got != want {
		t.Errorf("user-data: got %q, want %q", got, want)
	}
	if got, want := string(docs[MetaData]), "instance-id: \"i\"\nlocal-hostname: \"a\"\n"; got != want {
		t.Errorf("meta-data: got %q, want %q", got, want)
	}
	docs, err = Documents(Guest{InstanceID: "i", Hostname: "a", MAC: "52:54:00:12:34:56"})
	if err != nil || !strings.Contains(string(docs[NetworkConfig]), "dhcp4: true") {
		t.Errorf("an interface without addresses: got %q, %v; want DHCP", docs[NetworkConfig], err)
	}
}

// TestQuoted has words that YAML 1.1, which cloud-init reads, takes for a number, a
// truth, a date or nothing, and keys that try to leave their string.
func TestQuoted(t *testing.T) {
	for _, host := range []string{"on", "no", "y", "true", "null", "1e3", "0x10", "017", "08", "2026-01-02", "1234", "0b1"} {
		g := web()
		g.Hostname, g.InstanceID = host, host
		docs, err := Documents(g)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		for _, want := range []string{"instance-id: \"" + host + "\"\n", "local-hostname: \"" + host + "\"\n"} {
			if !strings.Contains(string(docs[MetaData]), want) {
				t.Errorf("%s: %q is not in\n%s", host, want, docs[MetaData])
			}
		}
	}
	g := web()
	g.Keys = []string{ed25519 + ` " } ]: - & * # ! | > ' % @ \ Grüße ` + "`"}
	docs, err := Documents(g)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Keys []string `yaml:"public-keys"`
	}
	if err := yaml.Unmarshal(docs[MetaData], &back); err != nil || !reflect.DeepEqual(back.Keys, g.Keys) {
		t.Errorf("keys came back as %q, %v", back.Keys, err)
	}
}

func TestRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Guest){
		"no instance":                func(g *Guest) { g.InstanceID = "" },
		"instance with a line":       func(g *Guest) { g.InstanceID = "a\nb" },
		"instance with a path":       func(g *Guest) { g.InstanceID = "../a" },
		"no hostname":                func(g *Guest) { g.Hostname = "" },
		"hostname with a line":       func(g *Guest) { g.Hostname = "a\nb" },
		"hostname in capitals":       func(g *Guest) { g.Hostname = "Web" },
		"two keys in one":            func(g *Guest) { g.Keys = []string{ed25519 + "\n" + ed25519} },
		"key with a carriage return": func(g *Guest) { g.Keys = []string{ed25519 + "\rx"} },
		"key with a command":         func(g *Guest) { g.Keys = []string{`command="sh" ` + ed25519} },
		"key without a body":         func(g *Guest) { g.Keys = []string{"ssh-ed25519"} },
		"key that is no text":        func(g *Guest) { g.Keys = []string{"ssh-ed25519 \xff\xfe"} },
		"too many keys":              func(g *Guest) { g.Keys = make([]string, maxKeys+1) },
		"long key":                   func(g *Guest) { g.Keys = []string{"ssh-rsa " + strings.Repeat("A", maxKeyBytes)} },
		"no MAC":                     func(g *Guest) { g.MAC = "" },
		"MAC in capitals":            func(g *Guest) { g.MAC = "52:54:00:AB:CD:EF" },
		"MAC of InfiniBand":          func(g *Guest) { g.MAC = "52:54:00:12:34:56:00:00" },
		"MAC that is none":           func(g *Guest) { g.MAC = "x" },
		"small MTU":                  func(g *Guest) { g.MTU = 500 },
		"large MTU":                  func(g *Guest) { g.MTU = 70000 },
		"no address":                 func(g *Guest) { g.Addresses[0].IP = netip.Addr{} },
		"mapped address":             func(g *Guest) { g.Addresses[0].IP = ip("::ffff:10.0.0.1") },
		"prefix of IPv6 on IPv4":     func(g *Guest) { g.Addresses[0].Prefix = 64 },
		"prefix 0":                   func(g *Guest) { g.Addresses[0].Prefix = 0 },
		"gateway of another family":  func(g *Guest) { g.Addresses[0].Gateway = ip("fd00:1::1") },
		"its own gateway":            func(g *Guest) { g.Addresses[0].Gateway = g.Addresses[0].IP },
		"too many addresses":         func(g *Guest) { g.Addresses = make([]Address, maxAddresses+1) },
		"name server by name":        func(g *Guest) { g.DNS = []string{"dns.example.com"} },
		"user-data of no form":       func(g *Guest) { g.UserData = []byte("hello") },
	} {
		t.Run(name, func(t *testing.T) {
			g := web()
			spoil(&g)
			if _, err := Documents(g); !api.IsKind(err, api.Invalid) {
				t.Errorf("got %v, want it refused", err)
			}
		})
	}
}

func TestUserData(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	fmt.Fprint(z, "#!/bin/sh\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		data string
		ok   bool
	}{
		{"none", "", true},
		{"cloud-config", "#cloud-config\n{}", true},
		{"script", "#!/bin/sh\necho Grüße\n", true},
		{"template", "## template: jinja\n#cloud-config\n", true},
		{"include", "#include\nhttps://example.com/a\n", true},
		{"empty lines first", "\n\n#cloud-config\n", true},
		{"MIME", "Content-Type: multipart/mixed; boundary=\"x\"\nMIME-Version: 1.0\n\n--x--\n", true},
		{"MIME, version first", "MIME-Version: 1.0\nContent-Type: text/cloud-config\n\n{}\n", true},
		{"gzip", zipped.String(), true},
		{"largest", "#" + strings.Repeat("a", MaxUserData-1), true},
		{"too large", "#" + strings.Repeat("a", MaxUserData), false},
		{"too large, gzip", "\x1f\x8b" + strings.Repeat("a", MaxUserData), false},
		{"MIME without a version, which cloud-init passes over", "Content-Type: text/plain\n\nhello", false},
		{"no UTF-8", "#cloud-config\n\xff", false},
		{"bare YAML", "users: []\n", false},
		{"base64", "I2Nsb3VkLWNvbmZpZwo=", false},
		{"only spaces", "   ", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := CheckUserData([]byte(c.data))
			if ok := err == nil; ok != c.ok || !ok && !api.IsKind(err, api.Invalid) {
				t.Fatalf("got %v, want taken %v", err, c.ok)
			}
			if !c.ok || c.data == "" {
				return
			}
			g := web()
			g.UserData = []byte(c.data)
			docs, err := Documents(g)
			if err != nil || string(docs[UserData]) != c.data {
				t.Errorf("user-data did not go through untouched: %v", err)
			}
			if !bytes.Contains(docs[MetaData], []byte(ed25519)) {
				t.Error("the key does not get in beside the user-data")
			}
		})
	}
}
