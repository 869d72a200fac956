package server

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/orchd/orchd/api/inventory"
)

// The JSON of a node, written by hand: a list has a quarter of a million of
// them, and encoding/json takes several times as long. It is the same JSON, byte
// by byte; a test fills every field that there is and compares.

// appendNode appends the JSON of a node.
func appendNode(to []byte, n *inventory.ComputeNode) []byte {
	o := jsonObject{append(to, '{')}
	o.text(`"id":`, n.ID)
	o.mustText(`"hostname":`, n.Hostname)
	o.mustText(`"architecture":`, n.Architecture)
	o.text(`"xname":`, n.XName)
	o.text(`"location_string":`, n.LocationString)
	o.text(`"boot_mac":`, n.BootMAC)
	o.text(`"boot_ipv4_address":`, n.BootIPv4)
	o.text(`"boot_ipv6_address":`, n.BootIPv6)
	o.interfaces(`"network_interfaces":`, n.NetworkInterfaces)
	o.bmc(`"bmc":`, n.BMC)
	o.text(`"description":`, n.Description)
	rare(&o, `"boot_data":`, n.BootData)
	rare(&o, `"cloud_init_data":`, n.CloudInit)
	rare(&o, `"spec":`, n.Spec)
	rare(&o, `"status":`, n.Status)
	o.version(n.Version)
	o.time(`"created_at":`, n.CreatedAt)
	o.time(`"updated_at":`, n.UpdatedAt)
	return append(o.to, '}')
}

// jsonObject is an object under way. Names come with their quotes and colon.
type jsonObject struct{ to []byte }

// name begins a member.
func (o *jsonObject) name(name string) {
	if o.to[len(o.to)-1] != '{' {
		o.to = append(o.to, ',')
	}
	o.to = append(o.to, name...)
}

// text adds a text that is not empty.
func (o *jsonObject) text(name, value string) {
	if value != "" {
		o.mustText(name, value)
	}
}

// mustText adds a text.
func (o *jsonObject) mustText(name, value string) {
	o.name(name)
	o.to = appendText(o.to, value)
}

func (o *jsonObject) version(v uint64) {
	if v != 0 {
		o.name(`"version":`)
		o.to = strconv.AppendUint(o.to, v, 10)
	}
}

func (o *jsonObject) time(name string, t time.Time) {
	if !t.IsZero() {
		o.mustTime(name, t)
	}
}

// mustTime adds a time.
func (o *jsonObject) mustTime(name string, t time.Time) {
	o.name(name)
	o.to = append(o.to, '"')
	o.to, _ = t.AppendText(o.to) // fails for years past 9999 alone
	o.to = append(o.to, '"')
}

func (o *jsonObject) interfaces(name string, all []inventory.NetworkInterface) {
	if len(all) == 0 {
		return
	}
	o.name(name)
	o.to = append(o.to, '[')
	for k := range all {
		if k > 0 {
			o.to = append(o.to, ',')
		}
		o.networkInterface(&all[k])
	}
	o.to = append(o.to, ']')
}

func (o *jsonObject) networkInterface(i *inventory.NetworkInterface) {
	o.to = append(o.to, '{')
	o.mustText(`"interface_name":`, i.InterfaceName)
	o.mustText(`"mac_address":`, i.MACAddress)
	o.text(`"ipv4_address":`, i.IPv4Address)
	o.text(`"ipv6_address":`, i.IPv6Address)
	o.text(`"description":`, i.Description)
	o.text(`"serial":`, i.Serial)
	o.text(`"model":`, i.Model)
	o.text(`"manufacturer":`, i.Manufacturer)
	o.text(`"firmware_version":`, i.FirmwareVersion)
	if i.ExtendedData != "" {
		o.name(`"extended_data":`)
		o.to = appendJSON(o.to, i.ExtendedData)
	}
	o.to = append(o.to, '}')
}

func (o *jsonObject) bmc(name string, b *inventory.BMC) {
	if b == nil {
		return
	}
	o.name(name)
	o.to = append(o.to, '{')
	o.text(`"id":`, b.ID)
	o.text(`"xname":`, b.XName)
	o.text(`"location_string":`, b.LocationString)
	o.text(`"username":`, b.Username)
	if b.Password != nil {
		o.mustText(`"password":`, *b.Password)
	}
	o.text(`"mac_address":`, b.MACAddress)
	o.text(`"ipv4_address":`, b.IPv4Address)
	o.text(`"ipv6_address":`, b.IPv6Address)
	o.text(`"description":`, b.Description)
	o.version(b.Version)
	o.time(`"created_at":`, b.CreatedAt)
	o.time(`"updated_at":`, b.UpdatedAt)
	o.to = append(o.to, '}')
}

// rare adds what few nodes have.
func rare[T any](o *jsonObject, name string, v *T) {
	if v != nil {
		o.name(name)
		o.to = appendJSON(o.to, v)
	}
}

// appendText appends a string. What needs an escape, or is not ASCII, is left to
// encoding/json.
func appendText(to []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x80 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return appendJSON(to, s)
		}
	}
	to = append(to, '"')
	to = append(to, s...)
	return append(to, '"')
}

// appendJSON appends what encoding/json makes of v.
func appendJSON(to []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a mistake in the program: all that is stored was JSON once
	}
	return append(to, text...)
}
