package schema

import (
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// The kinds of the State Manager API. Its clients send fields that nobody here
// knows and expect to be understood, so their schemas describe answers.

const openKind = "This is what answers look like; requests may hold fields that are not here, which are ignored."

var component = []property{
	{"ID", required | notEmpty, "xname, as it was given"},
	{"Type", required, "What the xname names"},
	{"Subtype", 0, "More exactly"},
	{"Role", 0, "What it is for"},
	{"SubRole", 0, "More exactly"},
	{"NetType", 0, "The high-speed network that it is on"},
	{"Arch", 0, "Kind of processor"},
	{"Class", 0, "Kind of cabinet"},
	{"State", 0, "What it does"},
	{"Flag", 0, "How it does"},
	{"Enabled", 0, "Whether it may be used; in answers always there"},
	{"SoftwareStatus", 0, "What its software says of itself"},
	{"NID", 0, "Number of a node"},
	{"ReservationDisabled", 0, "Whether it can be reserved"},
	{"Locked", 0, "Refuses changes without Force"},
}

var redfishEndpoint = []property{
	{"ID", required | notEmpty, "xname of the BMC"},
	{"Type", 0, "What the xname names"},
	{"Name", 0, "For people"},
	{"Hostname", 0, "First part of FQDN"},
	{"Domain", 0, "The rest of it"},
	{"FQDN", 0, "Name or address to reach it by"},
	{"Enabled", 0, "Whether it may be asked; in answers always there"},
	{"UUID", 0, "As Redfish gives it: some BMCs give what is no UUID"},
	{"URI", 0, "Where its Redfish root is"},
	{"User", 0, "Name to log in with"},
	{"Password", writeOnly, "Empty in answers"},
	{"UseSSDP", 0, "Found by SSDP"},
	{"MACRequired", 0, "Its MAC address must be known"},
	{"MACAddr", 0, "MAC address"},
	{"IPAddress", 0, "IP address"},
	{"RediscoverOnUpdate", 0, "Whether a change asks for a new look at it"},
	{"TemplateID", 0, "Template that it was made from"},
	{"DiscoveryInfo", 0, "How the last look at it went"},
}

var discoveryInfo = []property{
	{"LastAttempt", 0, "When"},
	{"LastDiscoveryStatus", required, "How it went"},
	{"RedfishVersion", 0, "Version that it speaks"},
}

var ethernetInterface = []property{
	{"ID", required | notEmpty, "The MAC address in lower case, without separators"},
	{"Description", 0, "For people"},
	{"MACAddress", required | isMAC, "As it was given"},
	{"LastUpdate", 0, "When it was changed last"},
	{"ComponentID", 0, "xname of what it belongs to"},
	{"Type", 0, "What that xname names"},
	{"IPAddresses", 0, "Its addresses; in answers never null"},
}

var ipAddress = []property{
	{"IPAddress", required, "IPv4 or IPv6 address"},
	{"Network", 0, "Name of its network"},
}

// enums are the words that a property may have, by kind and name.
var enums = map[string][]string{
	"NodeCollection.type":               collectionTypeNames,
	"Component.Type":                    typeNames(),
	"Component.Role":                    smd.Roles,
	"Component.SubRole":                 smd.SubRoles,
	"Component.NetType":                 smd.NetTypes,
	"Component.Arch":                    smd.Archs,
	"Component.Class":                   smd.Classes,
	"Component.State":                   smd.States,
	"Component.Flag":                    smd.Flags,
	"DiscoveryInfo.LastDiscoveryStatus": smd.DiscoveryStatuses,
}

func typeNames() (names []string) {
	for _, t := range xname.Types() {
		names = append(names, string(t))
	}
	return names
}
