package smd

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// RedfishPost is a Redfish endpoint as magellan and ochami send it: the endpoint,
// and with it what was seen there.
type RedfishPost struct {
	RedfishEndpoint
	DiscoveryInfo *RedfishFound `json:"DiscoveryInfo"`
	SchemaVersion JSON          `json:"SchemaVersion"` // 1 where Systems and Managers are there; nothing hangs on it
	Systems       []SystemPost  `json:"Systems"`
	Managers      []ManagerPost `json:"Managers"`
}

// RedfishFound is a DiscoveryInfo in which only the status is read.
type RedfishFound struct {
	LastStatus     string `json:"LastDiscoveryStatus"`
	RedfishVersion string `json:"RedfishVersion"`
}

// SystemPost is a computer system that a BMC told of.
type SystemPost struct {
	URI        string   `json:"uri"`
	UUID       string   `json:"uuid"`
	Name       string   `json:"name"`
	SystemType string   `json:"system_type"`
	Actions    []string `json:"actions"`
	Interfaces []NIC    `json:"ethernet_interfaces"`
}

// ManagerPost is a controller that a BMC told of: itself.
type ManagerPost struct {
	URI        string `json:"uri"`
	UUID       string `json:"uuid"`
	Interfaces []NIC  `json:"ethernet_interfaces"`
}

// NIC is an interface of either.
type NIC struct {
	URI         string `json:"uri"`
	MAC         string `json:"mac"`
	IP          string `json:"ip"`
	Description string `json:"description"`
}

// Derive gives the endpoint with everything that follows from what was posted:
// the component of the BMC and its interfaces, and for each system a node {bmc}n{i}
// with its ComponentEndpoint and interfaces. A node carries the NID i+1 as a
// wish: one that it has already stays. The error is *api.Error of kind Invalid.
func Derive(post RedfishPost) (EndpointRecord, error) {
	endpoint, err := post.endpoint()
	if err != nil {
		return EndpointRecord{}, err
	}
	if post.interfaces() > maxInterfaces {
		return EndpointRecord{}, Bad("", fmt.Sprintf("Systems and Managers together have more than %d ethernet_interfaces", maxInterfaces))
	}
	systems := distinct(post.Systems)
	if len(systems) > 0 && xname.TypeOf(endpoint.ID) != xname.NodeBMC {
		return EndpointRecord{}, Bad("/Systems", "only the BMC of nodes has systems: ID is not the xname of a NodeBMC")
	}
	d := derivation{EndpointRecord: EndpointRecord{Endpoint: endpoint}, at: map[string]int{}}
	d.Components = append(d.Components, Component{ID: endpoint.ID, Type: endpoint.Type, Enabled: new(true)})
	for _, m := range post.Managers {
		d.addInterfaces(endpoint.ID, m.Interfaces, "Interface for BMC "+endpoint.ID)
	}
	for i, s := range systems {
		d.addNode(i, s)
	}
	return d.EndpointRecord, nil
}

// maxInterfaces is how many interfaces may hang on one endpoint.
const maxInterfaces = 1024

// interfaces is how many interfaces were seen at the endpoint.
func (p RedfishPost) interfaces() (n int) {
	for _, s := range p.Systems {
		n += len(s.Interfaces)
	}
	for _, m := range p.Managers {
		n += len(m.Interfaces)
	}
	return n
}

// endpoint is the endpoint itself with what was left out.
func (p RedfishPost) endpoint() (RedfishEndpoint, error) {
	e := p.RedfishEndpoint
	if !xname.ValidComponent(e.ID) {
		return e, BadName("/ID")
	}
	for _, text := range []struct{ at, value string }{{"/Name", e.Name}, {"/Hostname", e.Hostname}, {"/Domain", e.Domain}, {"/FQDN", e.FQDN},
		{"/UUID", e.UUID}, {"/URI", e.URI}, {"/User", e.User}, {"/Password", e.Password}, {"/MACAddr", e.MACAddr}, {"/IPAddress", e.IPAddress}, {"/TemplateID", e.TemplateID}} {
		if err := checkedText(text.value, text.at); err != nil {
			return e, err
		}
	}
	e.Type = string(xname.TypeOf(e.ID))
	e.Hostname, e.Domain, e.FQDN = hostNames(e)
	if e.Enabled == nil {
		e.Enabled = new(true)
	}
	e.DiscoveryInfo = &DiscoveryInfo{LastStatus: "NotYetQueried"}
	if f := p.DiscoveryInfo; f != nil {
		if status, known := Spelled(f.LastStatus, DiscoveryStatuses); known {
			e.DiscoveryInfo.LastStatus = status
		}
		e.DiscoveryInfo.RedfishVersion = f.RedfishVersion
	}
	return e, checkedText(e.DiscoveryInfo.RedfishVersion, "/DiscoveryInfo/RedfishVersion")
}

// hostNames are the host name, the domain, and both together, each from the
// others where it is not given; in the end the xname is the host name.
func hostNames(e RedfishEndpoint) (host, domain, fqdn string) {
	host, domain, fqdn = e.Hostname, e.Domain, e.FQDN
	if fqdn == "" {
		if host == "" {
			host = e.ID
		}
		if fqdn = host; domain != "" {
			fqdn += "." + domain
		}
		return host, domain, fqdn
	}
	before, after, _ := strings.Cut(fqdn, ".")
	if _, err := netip.ParseAddr(fqdn); err == nil {
		before, after = fqdn, ""
	}
	return cmp.Or(host, before), cmp.Or(domain, after), fqdn
}

// distinct leaves one system of those that are the same by their UUID, with the
// interfaces of all of them. Without a UUID the URI tells.
func distinct(systems []SystemPost) []SystemPost {
	var kept []SystemPost
	at := map[[2]string]int{}
	for _, s := range systems {
		id := [2]string{strings.ToLower(s.UUID)}
		if s.UUID == "" {
			id[1] = s.URI
		}
		if i, again := at[id]; again {
			kept[i].Interfaces = append(kept[i].Interfaces[:len(kept[i].Interfaces):len(kept[i].Interfaces)], s.Interfaces...)
			continue
		}
		at[id] = len(kept)
		kept = append(kept, s)
	}
	return kept
}

// derivation is a record in the making.
type derivation struct {
	EndpointRecord
	at map[string]int // where in Interfaces a MAC stands
}

// addNode adds the i-th system.
func (d *derivation) addNode(i int, s SystemPost) {
	node := fmt.Sprintf("%sn%d", d.Endpoint.ID, i)
	path := pathOf(s.URI)
	if path == "" {
		path = "/redfish/v1/Systems/" + node
	}
	d.Components = append(d.Components, Component{ID: node, Type: string(xname.Node), State: "On", Enabled: new(true), NID: new(int64(i) + 1)})
	d.addInterfaces(node, s.Interfaces, "")
	d.Endpoints = append(d.Endpoints, ComponentEndpoint{
		ID: node, Type: string(xname.Node), RedfishType: "ComputerSystem", RedfishSubtype: s.SystemType, UUID: s.UUID,
		OdataID: path, RedfishEndpointID: d.Endpoint.ID, Enabled: new(true),
		RedfishEndpointFQDN: d.Endpoint.FQDN, RedfishURL: d.Endpoint.FQDN + path,
		EndpointType: "ComponentEndpointComputerSystem",
		SystemInfo:   &RedfishSystemInfo{Name: s.Name, Actions: resetAction(path, s.Actions), EthernetNICInfo: ports(s.Interfaces)},
	})
}

// addInterfaces adds those of a component that have a MAC to be known by, each
// MAC once; the record keeps all addresses that were seen with it;
// description is for those that bring none.
func (d *derivation) addInterfaces(component string, nics []NIC, description string) {
	for _, n := range nics {
		key := inventory.MACKey(n.MAC)
		if key == "" {
			continue
		}
		i, known := d.at[key]
		if !known {
			i = len(d.Interfaces)
			d.at[key] = i
			d.Interfaces = append(d.Interfaces, EthernetInterface{ID: key, MACAddress: inventory.Colons(key), Description: cmp.Or(n.Description, description),
				ComponentID: component, Type: typeName(component), IPAddresses: []IPAddress{}})
		}
		d.Interfaces[i].IPAddresses = withAddress(d.Interfaces[i].IPAddresses, n.IP)
	}
}

// withAddress adds an address once, if it is one.
func withAddress(list []IPAddress, ip string) []IPAddress {
	if _, err := netip.ParseAddr(ip); err != nil {
		return list
	}
	for _, have := range list {
		if have.IPAddress == ip {
			return list
		}
	}
	return append(list, IPAddress{IPAddress: ip})
}

// ports are the interfaces of a system as Redfish tells of them, each MAC once.
func ports(nics []NIC) (list []EthernetNICInfo) {
	seen := map[string]bool{}
	for _, n := range nics {
		key := inventory.MACKey(n.MAC)
		if key != "" && seen[key] {
			continue
		}
		seen[key] = true
		path := pathOf(n.URI)
		list = append(list, EthernetNICInfo{RedfishID: path, OdataID: path, Description: n.Description, InterfaceEnabled: new(true), MACAddress: n.MAC})
	}
	return list
}

// pathOf is the path of a URI, which magellan gives with scheme and host; empty for none.
func pathOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Path
}

// resetAction is the action by which power control resets a system.
func resetAction(system string, allowed []string) JSON {
	if allowed == nil {
		allowed = []string{}
	}
	type reset struct {
		Allowed []string `json:"ResetType@Redfish.AllowableValues"`
		Info    string   `json:"@Redfish.ActionInfo"`
		Target  string   `json:"target"`
	}
	text, _ := json.Marshal(map[string]reset{"#ComputerSystem.Reset": {allowed, system + "/ResetActionInfo", system + "/Actions/ComputerSystem.Reset"}}) // strings always marshal
	return JSON(text)
}
