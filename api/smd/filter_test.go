package smd

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

var filterRows = []Component{
	{ID: "x1000c0s0b0", Type: "NodeBMC", Enabled: new(true)},
	{ID: "x1000c0s0b0n0", Type: "Node", State: "On", Flag: "OK", Role: "Compute", Arch: "X86", Class: "River", Enabled: new(true), NID: new(int64(1))},
	{ID: "x1000c0s0b0n1", Type: "Node", State: "Off", Flag: "Warning", Role: "Compute", Arch: "ARM", Class: "Hill", Enabled: new(false), NID: new(int64(2))},
	{ID: "x1000c0s10b0n0", Type: "Node", State: "Ready", Flag: "OK", Role: "Management", SubRole: "Master", NetType: "Sling", SoftwareStatus: "AdminDown", NID: new(int64(30)), Locked: true},
	{ID: "x01000c0s1b0n0", Type: "Node", Role: "Service", NID: new(int64(31))},
}

// filterMember says what the rows are in.
func filterMember(id string) Membership {
	switch id {
	case "x1000c0s0b0n0":
		return Membership{ID: id, GroupLabels: []string{"blue", "red"}, PartitionName: "p1"}
	case "x1000c0s0b0n1":
		return Membership{ID: id, GroupLabels: []string{"red"}}
	}
	return Membership{ID: id}
}

// shortNames are what of the rows is left, by the end of their names.
func shortNames(f Filter[Component]) string {
	var names []string
	for _, c := range filterRows {
		if f.Keeps(&c) {
			names = append(names, strings.TrimPrefix(strings.TrimPrefix(c.ID, "x1000c0"), "x01000c0"))
		}
	}
	return strings.Join(names, " ")
}

func TestComponentFilter(t *testing.T) {
	for query, want := range map[string]string{
		"":                                   "s0b0 s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"colour=red":                         "s0b0 s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"id=x1000c0s0b0n0":                   "s0b0n0",
		"id=X1000c0s1b00n0":                  "s1b0n0",
		"id=x1000c0s0b0n0&id=x1000c0s0b0":    "s0b0 s0b0n0",
		"id=!x1000c0s0b0":                    "s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"type=node":                          "s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"TYPE=NODE":                          "s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"type=":                              "s0b0 s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"type=!Node":                         "s0b0",
		"type=!Node&type=!NodeBMC":           "",
		"type=Node&type=NodeBMC":             "s0b0 s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"type=Node&state=on&state=ready":     "s0b0n0 s10b0n0",
		"type=node&state=!off":               "s0b0n0 s10b0n0 s1b0n0",
		"flag=ok":                            "s0b0n0 s10b0n0",
		"enabled=false":                      "s0b0n1",
		"enabled=TRUE&type=node":             "s0b0n0 s10b0n0 s1b0n0",
		"enabled=!true":                      "s0b0n1",
		"role=compute":                       "s0b0n0 s0b0n1",
		"role=!compute&type=node":            "s10b0n0 s1b0n0",
		"subrole=master":                     "s10b0n0",
		"nettype=sling":                      "s10b0n0",
		"arch=x86&arch=arm":                  "s0b0n0 s0b0n1",
		"class=hill":                         "s0b0n1",
		"softwarestatus=admindown":           "s10b0n0",
		"locked=true":                        "s10b0n0",
		"nid=1":                              "s0b0n0",
		"nid=1&nid=31":                       "s0b0n0 s1b0n0",
		"nid=!1":                             "s0b0 s0b0n1 s10b0n0 s1b0n0",
		"nid_start=2&nid_end=30":             "s0b0n1 s10b0n0",
		"nid_start=30":                       "s10b0n0 s1b0n0",
		"nid_end=2":                          "s0b0n0 s0b0n1",
		"nid_start=1&nid_end=1&nid=31":       "s0b0n0 s1b0n0",
		"nid_start=1&nid_start=31&nid_end=1": "s0b0n0 s1b0n0",
		"nid=40&nid_start=1&nid_end=31&nid=2&nid=30": "s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"nid_start=31&nid_end=1":                     "",
		"nid_start=1&nid_end=40&nid=!30":             "s0b0n0 s0b0n1 s1b0n0",
		"group=red":                                  "s0b0n0 s0b0n1",
		"group=Red":                                  "",
		"group=red&group=blue":                       "s0b0n0 s0b0n1",
		"group=red&group=!blue":                      "s0b0n1",
		"group=!red":                                 "s0b0 s10b0n0 s1b0n0",
		"group=NULL":                                 "s0b0 s10b0n0 s1b0n0",
		"group=NULL&group=blue":                      "s0b0 s0b0n0 s10b0n0 s1b0n0",
		"group=!NULL":                                "s0b0n0 s0b0n1",
		"partition=p1":                               "s0b0n0",
		"partition=NULL":                             "s0b0 s0b0n1 s10b0n0 s1b0n0",
		"partition=NULL&group=red":                   "s0b0n1",
		"partition=p1&role=service":                  "",
		"group=red&type=node&state=off&nid=!1":       "s0b0n1",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ComponentFilter(QueryOf(values), filterMember)
		if err != nil {
			t.Errorf("%s: %v", query, err)
		}
		if got := shortNames(f); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}

func TestBadFilters(t *testing.T) {
	for _, query := range []string{"id=node", "type=Toaster", "state=happy", "flag=red", "enabled=perhaps", "role=boss", "subrole=x", "arch=6502", "class=Lake", "nid=one",
		"nid=-1", "nid_start=x", "nid_end=-1", "nid=1.5", "nid=99999999999999999999"} {
		values, _ := url.ParseQuery(query)
		_, err := ComponentFilter(QueryOf(values), filterMember)
		if !api.IsKind(err, api.Malformed) {
			t.Errorf("%s: got %v, want Malformed", query, err)
			continue
		}
		e := err.(*api.Error)
		key, value, _ := strings.Cut(query, "=")
		if len(e.Fields) != 1 || e.Fields[0].Pointer != "/query/"+key || strings.Contains(e.Fields[0].Detail, value) && len(value) > 3 {
			t.Errorf("%s: got %+v, want a pointer to the key and not the value", query, e.Fields)
		}
	}
	for _, query := range []string{"macaddress=eth0", "ipaddress=here", "componentid=n", "olderthan=yesterday", "newerthan=1"} {
		values, _ := url.ParseQuery(query)
		if _, err := InterfaceFilter(QueryOf(values)); !api.IsKind(err, api.Malformed) {
			t.Errorf("%s: got %v, want Malformed", query, err)
		}
	}
}

func TestUnder(t *testing.T) {
	for places, want := range map[string]string{
		"x1000c0s0":                  "s0b0 s0b0n0 s0b0n1",
		"x1000c0s1":                  "s1b0n0", // and not s10
		"x1000c0s0b0n1":              "s0b0n1",
		"X01000":                     "s0b0 s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"x100":                       "",
		"x1000c0s0b0n1 x1000c0s10":   "s0b0n1 s10b0n0",
		"s0":                         "s0b0 s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"all":                        "s0b0 s0b0n0 s0b0n1 s10b0n0 s1b0n0",
		"x1000c0s0b0n1 x1000c0s0b0n": "s0b0n1",
	} {
		var f Filter[Component]
		f.Under(strings.Fields(places), func(c *Component) string { return c.ID })
		if got := shortNames(f); got != want {
			t.Errorf("%s: got %q, want %q", places, got, want)
		}
	}
}

func TestNIDRanges(t *testing.T) {
	q := Query{}
	if err := q.NIDRanges([]string{"1-2", " 31"}); err != nil {
		t.Fatal(err)
	}
	f, err := ComponentFilter(q, filterMember)
	if got := shortNames(f); err != nil || got != "s0b0n0 s0b0n1 s1b0n0" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"", "a", "1-", "-2", "1-2-3"} {
		if err := (Query{}).NIDRanges([]string{bad}); !api.IsKind(err, api.Invalid) {
			t.Errorf("%q: got %v, want Invalid", bad, err)
		}
	}
}

func TestShown(t *testing.T) {
	full := filterRows[3]
	for query, want := range map[string]Component{
		"":                             full,
		"stateonly=false":              full,
		"stateonly=true":               {ID: full.ID, Type: "Node", State: "Ready", Flag: "OK"},
		"flagonly=true":                {ID: full.ID, Type: "Node", Flag: "OK"},
		"roleonly=1":                   {ID: full.ID, Type: "Node", Role: "Management", SubRole: "Master"},
		"nidonly=true&flagonly=true":   {ID: full.ID, Type: "Node", Flag: "OK", NID: full.NID},
		"stateonly=perhaps&nidonly=no": full,
	} {
		values, _ := url.ParseQuery(query)
		if got := Shown(QueryOf(values))(full); got != want {
			t.Errorf("%s: got %+v, want %+v", query, got, want)
		}
	}
}

func TestOtherFilters(t *testing.T) {
	seen := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	nic := EthernetInterface{ID: "020000000001", MACAddress: "02:00:00:00:00:01", ComponentID: "x1c0s0b0n0", Type: "Node", LastUpdate: seen,
		IPAddresses: []IPAddress{{"10.0.0.1", "HMN"}, {"fd00::1", ""}}}
	for query, want := range map[string]bool{
		"": true, "Colour=x": true, "MACAddress=02-00-00-00-00-01": true, "MACAddress=020000000002": false, "MACAddress=!020000000001": false,
		"IPAddress=10.0.0.1": true, "IPAddress=10.0.0.2": false, "IPAddress=!10.0.0.1": false, "IPAddress=fd00:0:0::1": true,
		"Network=hmn": true, "Network=NMN": false, "Network=NMN&Network=HMN": true,
		"ComponentID=X1c0s0b0n00": true, "ComponentID=x1c0s0b0n1": false, "Type=node": true, "Type=NodeBMC": false,
		"OlderThan=2026-01-01T00:00:01Z": true, "OlderThan=2026-01-01T00:00:00Z": false,
		"NewerThan=2025-12-31T23:59:59Z": true, "NewerThan=2026-01-01T01:00:00%2B01:00": false,
		"MACAddress=020000000001&Type=NodeBMC": false,
	} {
		values, _ := url.ParseQuery(query)
		f, err := InterfaceFilter(QueryOf(values))
		if got := f.Keeps(&nic); err != nil || got != want {
			t.Errorf("interface %s: got %v, %v; want %v", query, got, err, want)
		}
	}
	endpoint := RedfishEndpoint{ID: "x1c0s0b0", Type: "NodeBMC", FQDN: "bmc1.lan", UUID: "AB", MACAddr: "020000000001", IPAddress: "10.0.0.1",
		DiscoveryInfo: &DiscoveryInfo{LastStatus: "DiscoverOK"}}
	for query, want := range map[string]bool{
		"": true, "id=x1c0s0b0": true, "id=x1c0s0b1": false, "fqdn=BMC1.lan": true, "fqdn=bmc1": false, "type=nodebmc": true, "type=!nodebmc": false, "uuid=ab": true,
		"macaddr=02:00:00:00:00:01": true, "macaddr=02:00:00:00:00:02": false, "ipaddress=10.0.0.1": true, "ipaddress=10.0.0.2": false,
		"lastdiscoverystatus=discoverok": true, "lastdiscoverystatus=NotYetQueried": false,
	} {
		values, _ := url.ParseQuery(query)
		f, err := RedfishFilter(QueryOf(values))
		if got := f.Keeps(&endpoint); err != nil || got != want {
			t.Errorf("endpoint %s: got %v, %v; want %v", query, got, err, want)
		}
	}
	part := ComponentEndpoint{ID: "x1c0s0b0n0", Type: "Node", RedfishType: "ComputerSystem", RedfishEndpointID: "x1c0s0b0"}
	for query, want := range map[string]bool{
		"id=x1c0s0b0n0": true, "id=x1c0s0b0": false, "redfish_ep=x1c0s0b0": true, "redfish_ep=x1c0s0b1": false, "type=Node": true, "redfish_type=computersystem": true, "redfish_type=Manager": false,
	} {
		values, _ := url.ParseQuery(query)
		f, err := ComponentEndpointFilter(QueryOf(values))
		if got := f.Keeps(&part); err != nil || got != want {
			t.Errorf("component endpoint %s: got %v, %v; want %v", query, got, err, want)
		}
	}
}

// FuzzComponentFilter: a query is refused or gives a filter; a value and its
// negation together never keep what the value alone keeps.
func FuzzComponentFilter(f *testing.F) {
	for _, seed := range []string{"type=Node", "id=!x1c0", "nid_start=1&nid_end=2", "group=NULL&partition=!p1", "%ff=%00", "type=!!", "nid=!"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, _ := url.ParseQuery(query)
		q := QueryOf(values)
		filter, err := ComponentFilter(q, filterMember)
		if err != nil {
			if !api.IsKind(err, api.Malformed) {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		kept := shortNames(filter)
		if q.Wanted("type") == nil {
			return
		}
		for _, v := range slices.Clone(q.Wanted("type")) {
			q["type"] = append(q["type"], "!"+v)
		}
		none, err := ComponentFilter(q, filterMember)
		if err != nil {
			t.Fatalf("%q: negated: %v", query, err)
		}
		if got := shortNames(none); got != "" {
			t.Fatalf("%q keeps %q; with all its types ruled out it keeps %q", query, kept, got)
		}
	})
}
