package schema

import (
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/orchd/orchd/api/xname"
)

// trait is what a field's value must be beyond its type, and who may write it.
type trait uint16

const (
	required  trait = 1 << iota
	notEmpty        // else an optional string may be empty, which is as good as absent
	readOnly        // the server's own; taken from clients that send back what they got
	writeOnly       // a secret
	isUUID
	isIPv4
	isIPv6
	isMAC
	isNodeName
	isBMCName
	isCollectionType
)

func (t trait) has(all trait) bool { return t&all == all }

// The patterns of the schemas (ECMA-262). Those of names and addresses take the
// empty string too, unless the field is required. The form of a node's name is
// that of node-orchestrator; how large its numbers may be, no pattern says.
const (
	macPattern      = "^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$|^[0-9A-Fa-f]{12}$"
	macOrEmpty      = "^$|" + macPattern
	nodeNamePattern = "^$|^x([0-9]{3,5})c([0-9]{1,3})s([0-9]{1,3})b([0-9]{1,3})n([0-9]{1,3})$"
	bmcNamePattern  = "^$|^x([0-9]{3,5})c([0-9]{1,3})s([0-9]{1,3})b([0-9]{1,3})$"
)

// accepts tells whether a string may stand in a field with these traits.
func (t trait) accepts(s string) bool {
	if s == "" {
		return !t.has(notEmpty)
	}
	switch {
	case t.has(isUUID):
		return uuidForm(s)
	case t.has(isIPv4):
		return ipv4Form(s)
	case t.has(isIPv6):
		return ipv6Form(s)
	case t.has(isMAC):
		return macForm(s)
	case t.has(isNodeName):
		return xname.ForComputeNode(s)
	case t.has(isBMCName):
		_, err := xname.ParseBMC(s)
		return err == nil
	case t.has(isCollectionType):
		return slices.Contains(collectionTypeNames, s)
	}
	return true
}

// formats are the formats that the schemas name. The empty string passes all but
// date-time: where it may not stand, the schema says so with minLength.
var formats = map[string]func(string) bool{
	"uuid":        func(s string) bool { return s == "" || uuidForm(s) },
	"ipv4":        func(s string) bool { return s == "" || ipv4Form(s) },
	"ipv6":        func(s string) bool { return s == "" || ipv6Form(s) },
	"mac-address": func(s string) bool { return s == "" || macForm(s) },
	"date-time":   timeForm,
}

var uuidPattern = regexp.MustCompile("^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$")

// uuidForm is RFC 9562's text of a UUID, in any case.
func uuidForm(s string) bool { return uuidPattern.MatchString(s) }

func ipv4Form(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

func ipv6Form(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() && a.Zone() == ""
}

// timeForm is RFC 3339, of which Go reads all but leap seconds.
func timeForm(s string) bool {
	return new(time.Time).UnmarshalText([]byte(s)) == nil
}

// macForm is macPattern, by hand: every node has several.
func macForm(s string) bool {
	switch len(s) {
	case 12:
		return hexadecimal(s)
	case 17:
		for i := 2; i < len(s); i += 3 {
			if s[i] != ':' && s[i] != '-' {
				return false
			}
		}
		for i := 0; i < len(s); i += 3 {
			if !hexadecimal(s[i : i+2]) {
				return false
			}
		}
		return true
	}
	return false
}

func hexadecimal(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}
