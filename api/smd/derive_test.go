package smd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// derived is what is told of a record, a line for each thing.
func derived(r EndpointRecord) string {
	var b strings.Builder
	e := r.Endpoint
	fmt.Fprintf(&b, "endpoint %s %s %s|%s|%s %v %s\n", e.ID, e.Type, e.Hostname, e.Domain, e.FQDN, *e.Enabled, e.DiscoveryInfo.LastStatus)
	for _, c := range r.Components {
		text, _ := json.Marshal(c)
		fmt.Fprintf(&b, "component %s\n", text)
	}
	for _, p := range r.Endpoints {
		fmt.Fprintf(&b, "part %s %s %s %s %s %s", p.ID, p.RedfishSubtype, p.UUID, p.OdataID, p.RedfishURL, p.SystemInfo.Name)
		for _, n := range p.SystemInfo.EthernetNICInfo {
			fmt.Fprintf(&b, " [%s %s]", n.MACAddress, n.OdataID)
		}
		b.WriteString("\n")
	}
	for _, i := range r.Interfaces {
		fmt.Fprintf(&b, "interface %s %s %s %s %q %v\n", i.ID, i.MACAddress, i.ComponentID, i.Type, i.Description, i.IPAddresses)
	}
	return b.String()
}

const bmcComponent = `component {"ID":"x1000c0s0b0","Type":"NodeBMC","Enabled":true}` + "\n"

func TestDerive(t *testing.T) {
	for _, c := range []struct{ name, post, want string }{
		{"nothing but a name", `{"ID":"x1000c0s0b0"}`,
			"endpoint x1000c0s0b0 NodeBMC x1000c0s0b0||x1000c0s0b0 true NotYetQueried\n" + bmcComponent},
		{"as it is given", `{"ID":"x01000c0s0b0","Enabled":false,"Hostname":"bmc","Domain":"lan"}`,
			"endpoint x01000c0s0b0 NodeBMC bmc|lan|bmc.lan false NotYetQueried\n" + `component {"ID":"x01000c0s0b0","Type":"NodeBMC","Enabled":true}` + "\n"},
		{"an address for a name", `{"ID":"x1000c0s0b0","FQDN":"10.0.0.5","DiscoveryInfo":{"LastDiscoveryStatus":"discoverok","LastAttempt":"never"}}`,
			"endpoint x1000c0s0b0 NodeBMC 10.0.0.5||10.0.0.5 true DiscoverOK\n" + bmcComponent},
		{"the BMC of a router", `{"ID":"x1000c0r0b0","FQDN":"r.sw.lan","Managers":[{"ethernet_interfaces":[{"mac":"AA-00-00-00-00-01"}]}]}`,
			"endpoint x1000c0r0b0 RouterBMC r|sw.lan|r.sw.lan true NotYetQueried\n" + `component {"ID":"x1000c0r0b0","Type":"RouterBMC","Enabled":true}` + "\n" +
				`interface aa0000000001 aa:00:00:00:00:01 x1000c0r0b0 RouterBMC "Interface for BMC x1000c0r0b0" []` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) { checkDerived(t, []byte(c.post), c.want) })
	}
}

// TestDeriveRecorded derives from bodies that have the form of those which
// magellan and ochami send.
func TestDeriveRecorded(t *testing.T) {
	for name, want := range map[string]string{
		"ochami.json": "endpoint x1000c0s0b0 NodeBMC bmc1|lan|bmc1.lan true NotYetQueried\n" + bmcComponent +
			`component {"ID":"x1000c0s0b0n0","Type":"Node","State":"On","Enabled":true,"NID":1}` + "\n" +
			"part x1000c0s0b0n0  5a1f5f0e-0b8a-4d35-9f61-2b0a1f6d0001 /redfish/v1/Systems/x1000c0s0b0n0 bmc1.lan/redfish/v1/Systems/x1000c0s0b0n0 nid001 [de:ad:be:ee:ef:01 ] [de:ad:be:ee:ef:02 ]\n" +
			`interface deadbeef0001 de:ad:be:ef:00:01 x1000c0s0b0 NodeBMC "Interface for BMC x1000c0s0b0" [{172.16.0.101 }]` + "\n" +
			`interface deadbeeeef01 de:ad:be:ee:ef:01 x1000c0s0b0n0 Node "Interface 0 for nid001" [{172.16.0.1 }]` + "\n" +
			`interface deadbeeeef02 de:ad:be:ee:ef:02 x1000c0s0b0n0 Node "Interface 1 for nid001" []` + "\n",
		// One system twice, a second one, interfaces without a MAC, one that both a manager and a system tell of.
		"magellan.json": "endpoint x1000c1s7b1 NodeBMC 172.16.0.102||172.16.0.102 true NotYetQueried\n" +
			`component {"ID":"x1000c1s7b1","Type":"NodeBMC","Enabled":true}` + "\n" +
			`component {"ID":"x1000c1s7b1n0","Type":"Node","State":"On","Enabled":true,"NID":1}` + "\n" +
			`component {"ID":"x1000c1s7b1n1","Type":"Node","State":"On","Enabled":true,"NID":2}` + "\n" +
			"part x1000c1s7b1n0 Physical 4c4c4544-0031-3610-8054-b5c04f435031 /redfish/v1/Systems/Node0 172.16.0.102/redfish/v1/Systems/Node0 Node0" +
			" [B4:2E:99:A6:11:01 /redfish/v1/Systems/Node0/EthernetInterfaces/1] [ /redfish/v1/Systems/Node0/EthernetInterfaces/2] [b4:2e:99:a6:11:02 /redfish/v1/Systems/Node0/EthernetInterfaces/3]\n" +
			"part x1000c1s7b1n1 Physical 4c4c4544-0031-3610-8054-b5c04f435032 /redfish/v1/Systems/Node1 172.16.0.102/redfish/v1/Systems/Node1 Node1\n" +
			`interface b42e99a61200 b4:2e:99:a6:12:00 x1000c1s7b1 NodeBMC "Ethernet Interface eth0" [{172.16.0.102 } {fe80::1 }]` + "\n" +
			`interface b42e99a61101 b4:2e:99:a6:11:01 x1000c1s7b1n0 Node "" []` + "\n" +
			`interface b42e99a61102 b4:2e:99:a6:11:02 x1000c1s7b1n0 Node "NIC.1" []` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			checkDerived(t, body, want)
		})
	}
}

func checkDerived(t *testing.T, body []byte, want string) {
	t.Helper()
	var post RedfishPost
	if err := Decode(body, &post); err != nil {
		t.Fatal(err)
	}
	r, err := Derive(post)
	if err != nil {
		t.Fatal(err)
	}
	if got := derived(r); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestDerivedActions(t *testing.T) {
	r, err := Derive(RedfishPost{RedfishEndpoint: RedfishEndpoint{ID: "x1c0s0b0"}, Systems: []SystemPost{{URI: "/redfish/v1/Systems/1", Actions: []string{"On", "ForceOff"}}, {UUID: "u"}}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"#ComputerSystem.Reset":{"ResetType@Redfish.AllowableValues":["On","ForceOff"],"@Redfish.ActionInfo":"/redfish/v1/Systems/1/ResetActionInfo","target":"/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"}}`
	if got := string(r.Endpoints[0].SystemInfo.Actions); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := r.Endpoints[1].OdataID; got != "/redfish/v1/Systems/x1c0s0b0n1" {
		t.Errorf("a system without a URI: got %s", got)
	}
}

func TestUnderivable(t *testing.T) {
	for post, pointer := range map[string]string{
		`{}`:            "/ID",
		`{"ID":"bmc1"}`: "/ID",
		`{"ID":"x1000c0s0b0n0","Systems":[{"uuid":"u"}]}`:                                                            "/Systems",
		`{"ID":"x1000c0s0b0","Name":"` + strings.Repeat("n", maxText+1) + `"}`:                                       "/Name",
		`{"ID":"x1000c0s0b0","Managers":[{"ethernet_interfaces":[` + strings.Repeat("{},", maxInterfaces) + `{}]}]}`: "",
		`{"ID":"x1000c0s0b0","Password":"` + strings.Repeat("n", maxText+1) + `"}`:                                   "/Password",
	} {
		var p RedfishPost
		if err := Decode([]byte(post), &p); err != nil {
			t.Fatal(err)
		}
		_, err := Derive(p)
		if e, ok := err.(*api.Error); !ok || e.Kind != api.Invalid || e.Fields[0].Pointer != pointer {
			t.Errorf("%.60s: got %v, want Invalid at %s", post, err, pointer)
		}
	}
}

func TestDecodeIsLenient(t *testing.T) {
	var c ComponentPost
	if err := Decode([]byte(`{"id":"x1","NId":"12","ENABLED":false,"more":{"a":[1]}}`), &c); err != nil {
		t.Fatal(err)
	}
	if c.ID != "x1" || *c.NID != 12 || *c.Enabled {
		t.Errorf("got %+v", c)
	}
	for body, nid := range map[string]Number{`{"NID":null}`: 0, `{"NID":""}`: 0, `{"NID":7}`: 7, `{"NID":"7"}`: 7, `{"NID":0}`: 0} {
		c := ComponentPost{NID: new(Number)}
		if err := Decode([]byte(body), &c); err != nil || c.NID != nil && *c.NID != nid {
			t.Errorf("%s: got %v, %v", body, c.NID, err)
		}
	}
	const secret = "Hunter2"
	for _, body := range []string{``, secret, `{"ID":["` + secret + `"]}`, `{"ID":"x1"} {"` + secret + `":1}`, `["` + secret + `"]`, `{"NID":"` + secret + `"}`, `{"NID":-1}`, `{"NID":1.5}`, `{"Enabled":"` + secret + `"}`,
		`{"NID":99999999999999999999}`, strings.Repeat("[", 20000)} {
		if err := Decode([]byte(body), &ComponentPost{}); !api.IsKind(err, api.Malformed) || strings.Contains(err.Error(), secret) {
			t.Errorf("%.40s: got %v, want Malformed without the value", body, err)
		}
	}
}

// FuzzDerive: a body is refused as Malformed or Invalid, or gives a record in
// which every MAC and every name stands once.
func FuzzDerive(f *testing.F) {
	for _, name := range []string{"ochami.json", "magellan.json"} {
		body, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var post RedfishPost
		if err := Decode(body, &post); err != nil {
			if !api.IsKind(err, api.Malformed) {
				t.Fatal(err)
			}
			return
		}
		r, err := Derive(post)
		if err != nil {
			if !api.IsKind(err, api.Invalid) {
				t.Fatal(err)
			}
			return
		}
		seen := map[string]bool{}
		for _, c := range r.Components {
			seen["component "+c.ID] = true
		}
		for _, i := range r.Interfaces {
			seen["interface "+i.ID] = true
		}
		if len(seen) != len(r.Components)+len(r.Interfaces) || len(r.Endpoints) != len(r.Components)-1 {
			t.Fatalf("%s: %+v", body, r)
		}
	})
}
