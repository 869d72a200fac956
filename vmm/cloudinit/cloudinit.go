// Package cloudinit writes what a guest's cloud-init reads when it first boots,
// in the form of the NoCloud data source: four documents, and a small ISO 9660
// image that holds them.
//
// SSH keys, the hostname and the addresses are ours and travel in meta-data and
// network-config; user-data is the user's and is passed on untouched. So keys get
// into the guest beside any user-data: cloud-init gives meta-data's public-keys to
// the default user, and adds those of user-data to them. (Only user-data that does
// away with the default user, by a list "users" without "default", does away with
// them too.) What we would like but do not insist on stands in vendor-data, which
// user-data overrides.
//
// Everything is written from typed values, and equal guests give equal bytes.
// Start with Documents and ISO.
package cloudinit

import (
	"bytes"
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/orchd/orchd/api"
)

// The names of the documents, which are also their file names.
const (
	MetaData      = "meta-data"
	UserData      = "user-data"
	VendorData    = "vendor-data"
	NetworkConfig = "network-config"
)

// Guest is what a guest is to know of itself.
type Guest struct {
	InstanceID string   // another one makes cloud-init run as if on a first boot
	Hostname   string   // a VM's name
	Keys       []string // public SSH keys, as in authorized_keys
	UserData   []byte   // the user's, may be empty

	MAC       string // of its one interface; empty: it has none
	Addresses []Address
	DNS       []string // addresses of name servers
	MTU       int      // 0: the default
}

// Address is an address that a guest has. A gateway that is no neighbour by the
// prefix is taken to be on the same link all the same.
type Address struct {
	IP      netip.Addr
	Prefix  int
	Gateway netip.Addr // the zero Addr: none
}

// text is a string that is always quoted: cloud-init reads YAML 1.1, where an unquoted
// 52:54:00:12:34:56 is a number, and a VM may be called "on" or "1e3".
type text string

// MarshalYAML makes a quoted string.
func (t text) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: string(t)}, nil
}

func texts[S ~string](from []S) []text {
	var to []text
	for _, s := range from {
		to = append(to, text(s))
	}
	return to
}

// metaData is what NoCloud takes from us. (cloud-init, DataSourceNoCloud)
type metaData struct {
	InstanceID    text   `yaml:"instance-id"`
	LocalHostname text   `yaml:"local-hostname"`
	PublicKeys    []text `yaml:"public-keys,omitempty"`
}

// vendorData are our wishes. The host keys on the console are how orchd learns
// them without trusting the network; some images switch that off.
type vendorData struct {
	SSH struct {
		EmitKeysToConsole bool `yaml:"emit_keys_to_console"`
	} `yaml:"ssh"`
	SSHPasswords bool `yaml:"ssh_pwauth"`
}

const cloudConfig = "#cloud-config\n"

// Documents gives the documents of a guest by name. network-config is missing if
// the guest has no interface.
func Documents(g Guest) (map[string][]byte, error) {
	if err := g.validate(); err != nil {
		return nil, err
	}
	// A host's name does not end with "-" (RFC 952), a VM's may.
	meta := metaData{text(g.InstanceID), text(strings.TrimRight(g.Hostname, "-")), texts(g.Keys)}
	vendor := vendorData{}
	vendor.SSH.EmitKeysToConsole = true
	docs := map[string][]byte{
		MetaData:   document("", meta),
		VendorData: document(cloudConfig, vendor),
		UserData:   bytes.Clone(g.UserData),
	}
	if len(g.UserData) == 0 {
		docs[UserData] = document(cloudConfig, struct{}{}) // the file must be there
	}
	if g.MAC != "" {
		docs[NetworkConfig] = document("", network(g))
	}
	return docs, nil
}

// document writes v below a first line.
func document(first string, v any) []byte {
	var b bytes.Buffer
	b.WriteString(first)
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		panic("cloudinit: a document is plain data: " + err.Error())
	}
	return b.Bytes()
}

// refuse says what about a guest can never be written.
func refuse(format string, args ...any) error {
	return api.Errorf(api.Invalid, "cloudinit", format, args...)
}
