package config

import (
	"fmt"
	"strings"
	"testing"
)

func show(v any) string { return fmt.Sprint(plain(v)) }

func TestValidateReportsEverything(t *testing.T) {
	c := Config{}
	err := c.Validate()
	if err == nil {
		t.Fatal("the zero Config is valid")
	}
	for _, path := range []string{"name", "data_dir", "advertise", "api.listen", "raft.profile", "vmm.driver", "voters", "log.level", "snapshot.retain", "vmm.overcommit.disk_percent"} {
		if !strings.Contains("\n"+err.Error(), "\n"+path+": ") {
			t.Errorf("nothing on %s in:\n%v", path, err)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"good", func(*Config) {}, ""},
		{"name", func(c *Config) { c.Name = "H1" }, `name: "H1" cannot name a peer`},
		{"long folder", func(c *Config) { c.DataDir = "/" + strings.Repeat("x", 100) }, "use a shorter folder"},
		{"relative folder", func(c *Config) { c.DataDir = "x" }, "not an absolute path"},
		{"no address", func(c *Config) { c.Advertise = "" }, "no default route"},
		{"every address", func(c *Config) { c.Advertise = "::" }, "every address and none"},
		{"port in address", func(c *Config) { c.Advertise = "h1:7700" }, "it has no port"},
		{"same port", func(c *Config) { c.Raft.Listen = ":7700" }, "raft.listen: api.listen listens on :7700 too"},
		{"same port, other address", func(c *Config) { c.API.Listen, c.Raft.Listen = "127.0.0.1:7700", "127.0.0.2:7700" }, ""},
		{"no port", func(c *Config) { c.API.Listen = "localhost" }, "api.listen: \"localhost\" is not HOST:PORT"},
		{"plain on loopback", func(c *Config) { c.API.PlainListen = "127.0.0.1:27779" }, ""},
		{"plain on ::1", func(c *Config) { c.API.PlainListen = "[::1]:27779" }, ""},
		{"plain for all", func(c *Config) { c.API.PlainListen = ":27779" }, "api.plain_listen: \":27779\" is not a loopback address such as 127.0.0.1:27779; tokens and answers pass there in clear"},
		{"plain on a network", func(c *Config) { c.API.PlainListen = "10.0.0.1:27779" }, "is not a loopback address"},
		{"plain by name", func(c *Config) { c.API.PlainListen = "localhost:27779" }, "is not a loopback address"},
		{"plain without port", func(c *Config) { c.API.PlainListen = "127.0.0.1" }, "api.plain_listen: \"127.0.0.1\" is not HOST:PORT"},
		{"boot for all", func(c *Config) { c.Boot.Listen = ":7780" }, ""},
		{"boot on a taken port", func(c *Config) { c.Boot.Listen = ":7702" }, "boot.listen: gossip.listen listens on :7702 too"},
		{"keys over https", func(c *Config) { c.Auth.JWKSURL = "https://issuer/keys" }, ""},
		{"keys unprotected", func(c *Config) { c.Auth.JWKSURL = "http://issuer/keys" }, "auth.jwks_url: \"http://issuer/keys\" would bring the keys unprotected"},
		{"keys from two places", func(c *Config) { c.Auth.JWKSURL, c.Auth.JWKSFile = "https://issuer/keys", "/etc/keys" }, "take one of them out"},
		{"role of a peer", func(c *Config) { c.Auth.JWTRole = "peer" }, "auth.jwt_role: \"peer\" is none of viewer, operator, controller, admin"},
		{"memory", func(c *Config) { c.VMM.Capacity.Memory = 100 }, "100B is not a whole number of MiB"},
		{"disk", func(c *Config) { c.VMM.Capacity.Disk = MiB }, "1MiB is not a whole number of GiB"},
		{"percent", func(c *Config) { c.VMM.Overcommit.VCPUs = 0 }, "vmm.overcommit.vcpus_percent: 0 is not between"},
		{"interval", func(c *Config) { c.Snapshot.Interval = -1 }, "snapshot.interval: is less than 0"},
		{"retain", func(c *Config) { c.Snapshot.Retain = 0 }, "snapshot.retain: is less than 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Default()
			cfg.Name, cfg.Advertise = "h1", "10.0.0.1"
			c.change(&cfg)
			err := cfg.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1B": 1, "512MiB": 512 * MiB, "4GiB": 4 * GiB, "4gib": 4 * GiB, "4G": 4 * GiB, "1.5 TiB": 1536 * GiB, "64KiB": 65536,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "want a size", "4": "no unit", "4GB": `unit "GB"`, "-4GiB": "want a size", "GiB": "want a size",
		"NaNGiB": "want a size", "99999999PiB": "too large", "+1GiB": "want a size", "4GiBs": `unit "GiBs"`,
	} {
		if got, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %d, %v; want an error with %q", text, got, err, want)
		}
	}
}

func TestSizeString(t *testing.T) {
	for size, want := range map[Size]string{0: "0", 1: "1B", 512 * MiB: "512MiB", 4 * GiB: "4GiB", 1024 * GiB: "1TiB", 1536 * MiB: "1536MiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d: got %s, want %s", int64(size), got, want)
		}
	}
}

func TestPeerName(t *testing.T) {
	for host, want := range map[string]string{
		"h1": "h1", "H1.example.org": "h1", "my_host": "my-host", "-x-": "x", "": "", "...": "", strings.Repeat("a", 80): strings.Repeat("a", 63),
		"550e8400-e29b-41d4-a716-446655440000": "",
	} {
		if got := peerName(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}
