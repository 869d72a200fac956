package cloudinit

import (
	"bytes"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/orchd/orchd/api"
)

// MaxUserData is how many bytes of user-data a guest may be given.
const MaxUserData = 256 << 10

const (
	maxKeys      = 64
	maxKeyBytes  = 16 << 10
	maxAddresses = 16
	maxDNS       = 8
)

var instanceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// validate refuses what cloud-init would not take, or would take for something else.
func (g Guest) validate() error {
	if !instanceForm.MatchString(g.InstanceID) {
		return refuse("the instance id %q is refused: it has 1 to 128 of letters, digits, '.', '_' and '-'", g.InstanceID)
	}
	if !api.ValidName(g.Hostname) {
		return refuse("the hostname %q is refused: it has 1 to 63 of a-z, 0-9 and '-'", g.Hostname)
	}
	if err := checkKeys(g.Keys); err != nil {
		return err
	}
	if err := g.checkNetwork(); err != nil {
		return err
	}
	return CheckUserData(g.UserData)
}

// checkKeys refuses a key that would become two lines of authorized_keys, and
// one that has options before it: a key is TYPE BASE64, then perhaps a comment.
func checkKeys(keys []string) error {
	if len(keys) > maxKeys {
		return refuse("%d SSH keys are refused: a guest takes at most %d", len(keys), maxKeys)
	}
	for i, k := range keys {
		fields := strings.Fields(k)
		switch {
		case len(k) > maxKeyBytes:
			return refuse("SSH key %d is refused: it is longer than %d bytes", i+1, maxKeyBytes)
		case !utf8.ValidString(k) || strings.ContainsFunc(k, unicode.IsControl):
			return refuse("SSH key %d is refused: it is not one line of text", i+1)
		case len(fields) < 2 || strings.ContainsAny(fields[0], `=",`):
			return refuse("SSH key %d is refused: it must begin with its type, as ssh-ed25519, and the key in base64", i+1)
		}
	}
	return nil
}

// checkNetwork refuses an interface that cannot be configured.
func (g Guest) checkNetwork() error {
	if g.MAC == "" {
		if len(g.Addresses) > 0 {
			return refuse("the guest has addresses but no MAC: without an interface it can use none")
		}
		return nil
	}
	if mac, err := net.ParseMAC(g.MAC); err != nil || len(mac) != 6 || mac.String() != g.MAC {
		return refuse("the MAC %q is refused: it has the form 52:54:00:12:34:56, in lower case", g.MAC)
	}
	if g.MTU != 0 && (g.MTU < 576 || g.MTU > 65535) {
		return refuse("the MTU %d is refused: it is 576 to 65535", g.MTU)
	}
	if len(g.Addresses) > maxAddresses || len(g.DNS) > maxDNS {
		return refuse("%d addresses and %d name servers are refused: at most %d and %d are given to a guest",
			len(g.Addresses), len(g.DNS), maxAddresses, maxDNS)
	}
	for _, a := range g.Addresses {
		if err := a.check(); err != nil {
			return err
		}
	}
	for _, d := range g.DNS {
		if _, err := netip.ParseAddr(d); err != nil {
			return refuse("the name server %q is refused: it is no IP address", d)
		}
	}
	return nil
}

func (a Address) check() error {
	switch {
	case !a.IP.IsValid() || a.IP.Zone() != "" || a.IP.Is4In6():
		return refuse("the address %q is refused: it is no plain IP address", a.IP)
	case a.Prefix < 1 || a.Prefix > a.IP.BitLen():
		return refuse("the prefix length %d of %s is refused: it is 1 to %d", a.Prefix, a.IP, a.IP.BitLen())
	case a.Gateway.IsValid() && (a.Gateway.BitLen() != a.IP.BitLen() || a.Gateway.Zone() != "" || a.Gateway.Is4In6()):
		return refuse("the gateway %s of %s is refused: it must be an address of the same family", a.Gateway, a.IP)
	case a.Gateway == a.IP:
		return refuse("the gateway %s is refused: it is the guest's own address", a.Gateway)
	}
	return nil
}

// CheckUserData refuses what no cloud-init would make anything of: it passes
// over user-data of a form that it does not know, with a line in a log inside of
// the guest that few people find. None at all is fine.
func CheckUserData(data []byte) error {
	switch {
	case len(data) > MaxUserData:
		return refuse("the user-data has %d bytes: at most %d are taken; let it fetch the rest with #include", len(data), MaxUserData)
	case len(data) == 0, bytes.HasPrefix(data, []byte{0x1f, 0x8b}): // gzip, which cloud-init unpacks
		return nil
	case !utf8.Valid(data):
		return refuse("the user-data is neither UTF-8 text nor gzip: send it as one of these")
	case !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("#")) && !isMIME(data):
		return refuse("the user-data is of no form that cloud-init knows: it begins with '#', as #cloud-config or #!/bin/sh, or is a MIME message or gzip")
	}
	return nil
}

// isMIME tells whether data begins as a MIME message that cloud-init takes for
// one: it looks for the version in the first 4096 bytes.
func isMIME(data []byte) bool {
	head := strings.ToLower(string(data[:min(len(data), 4096)]))
	begins := strings.HasPrefix(head, "content-type:") || strings.HasPrefix(head, "mime-version:")
	return begins && strings.Contains(head, "mime-version:")
}
