package schema

import (
	"time"

	"github.com/invopop/jsonschema"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

var bmc = fields[inventory.BMC]{
	{"id", readOnly | isUUID, "Given by the server", text(func(b *inventory.BMC) *string { return &b.ID })},
	{"xname", isBMCName, "Where it stands, as x1000c4s4b1; unique; chassis, slot and BMC number at most 255; the same as location_string",
		text(func(b *inventory.BMC) *string { return &b.XName })},
	{"location_string", isBMCName, "The same as xname: give either; answers have both", text(func(b *inventory.BMC) *string { return &b.LocationString })},
	{"username", 0, "Name to log in with; needed with the password, unless a known BMC is meant", text(func(b *inventory.BMC) *string { return &b.Username })},
	{"password", writeOnly, "Left out it stays as it is, empty takes it away", secret(func(b *inventory.BMC) **string { return &b.Password })},
	{"mac_address", isMAC, "Belongs to one node or one BMC", text(func(b *inventory.BMC) *string { return &b.MACAddress })},
	{"ipv4_address", isIPv4, "IPv4 address", other(func(b *inventory.BMC) *string { return &b.IPv4Address })},
	{"ip_address", isIPv4, "Another name of ipv4_address, which answers have", other(func(b *inventory.BMC) *string { return &b.IPv4Address })},
	{"ipv6_address", isIPv6, "IPv6 address", text(func(b *inventory.BMC) *string { return &b.IPv6Address })},
	{"description", 0, "For people", text(func(b *inventory.BMC) *string { return &b.Description })},
	{"version", readOnly, "Counts the changes of this object", count(func(b *inventory.BMC) *uint64 { return &b.Version })},
	{"created_at", readOnly, "When it was made", moment(func(b *inventory.BMC) *time.Time { return &b.CreatedAt })},
	{"updated_at", readOnly, "When it was changed last", moment(func(b *inventory.BMC) *time.Time { return &b.UpdatedAt })},
}

// passwordNeedsName is what a BMC's schema wants together: a password is of no
// use without a username. The other way round it cannot say, for answers have no
// password.
func passwordNeedsName(s *jsonschema.Schema) {
	given := jsonschema.NewProperties()
	given.Set("password", &jsonschema.Schema{MinLength: new(uint64(1))})
	s.If = &jsonschema.Schema{Properties: given, Required: []string{"password"}}
	s.Then = &jsonschema.Schema{Required: []string{"username"}}
}

// readBMC reads a whole BMC and settles its two names.
func readBMC(s *scanner, b *inventory.BMC) bool {
	begin := s.at
	if !bmc.into(s, b) || !oneName(&b.XName, &b.LocationString) {
		return false
	}
	return b.Password == nil || *b.Password == "" || b.Username != "" || namesKey(s.text[begin:s.at], "username")
}

// namesKey tells whether an object that has been read has a key. It is asked
// only when the value that it left behind does not tell.
func namesKey(text, key string) bool {
	s, found := scanner{text: text}, false
	s.object(func(k string) bool {
		found = found || k == key
		return s.value()
	})
	return found
}

// oneName folds location_string into xname. It refuses two different names.
func oneName(xName, location *string) bool {
	if *xName != "" && *location != "" && xname.Canonical(*xName) != xname.Canonical(*location) {
		return false
	}
	if *xName == "" {
		*xName = *location
	}
	*location = ""
	return true
}
