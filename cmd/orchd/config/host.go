package config

import (
	"net"
	"os"
	"strings"

	"github.com/orchd/orchd/api"
)

// hostName is the host's name made into a valid peer name; empty if nothing is left of it.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return peerName(name)
}

// peerName is the first label of a host's name in the letters that a peer's name may have.
func peerName(host string) string {
	first, _, _ := strings.Cut(strings.ToLower(host), ".")
	name := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, first)
	name = strings.Trim(name[:min(len(name), 63)], "-")
	if !api.ValidName(name) {
		return ""
	}
	return name
}

// routeAddress is this host's address on the way to everywhere else: the
// source address that the kernel picks for the default route. It sends
// nothing; the targets are addresses for documentation (RFC 5737, RFC 3849).
func routeAddress() string {
	for _, target := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		c, err := net.Dial("udp", target)
		if err != nil {
			continue
		}
		host, _, _ := net.SplitHostPort(c.LocalAddr().String())
		c.Close()
		return host
	}
	return ""
}
