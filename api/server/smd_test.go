package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
)

// smdStep is a request and what is to come of it. body "-" leaves the answer's body
// open; one that begins with { or [ is compared as JSON.
type smdStep struct {
	method, path, send string
	status             int
	body               string
	location           string
}

// follow makes the steps one after another.
func follow(t *testing.T, ask asker, steps []smdStep) {
	t.Helper()
	for _, st := range steps {
		res := ask(st.method, "/hsm/v2/"+st.path, st.send, "Content-Type", "")
		body := strings.TrimSpace(read(t, res))
		if res.StatusCode != st.status {
			t.Fatalf("%s %s: got %d, want %d: %s", st.method, st.path, res.StatusCode, st.status, body)
		}
		if got := res.Header.Get("Location"); got != st.location {
			t.Errorf("%s %s: Location: got %q, want %q", st.method, st.path, got, st.location)
		}
		switch {
		case st.status >= 400:
			checkSMDProblem(t, res, body)
		case st.body != "-" && !sameJSON(body, st.body):
			t.Errorf("%s %s:\ngot  %s\nwant %s", st.method, st.path, body, st.body)
		}
	}
}

// checkSMDProblem wants the four fields of a problem of the State Manager, and no other.
func checkSMDProblem(t *testing.T, res *http.Response, body string) smdProblem {
	t.Helper()
	var fields map[string]any
	var p smdProblem
	if json.Unmarshal([]byte(body), &fields) != nil || json.Unmarshal([]byte(body), &p) != nil {
		t.Fatalf("status %d, and the answer is no problem document: %s", res.StatusCode, body)
	}
	if len(fields) != 4 || p.Type != "about:blank" || p.Title != http.StatusText(res.StatusCode) || p.Detail == "" || p.Status != res.StatusCode ||
		res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d, Content-Type %s: the problem is not as the State Manager gives it: %s", res.StatusCode, res.Header.Get("Content-Type"), body)
	}
	return p
}

// sameJSON compares two texts as JSON if they are.
func sameJSON(got, want string) bool {
	var a, b any
	if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return got == want
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

const (
	aNode   = `{"ID":"x1000c0s0b0n0","Type":"","State":"On","Enabled":true,"Role":"Compute","Arch":"X86","NID":1}`
	aRecord = `{"ID":"x1000c0s0b0","FQDN":"bmc1.lan","User":"root","Password":"Hunter2","SchemaVersion":1,
		"Systems":[{"uuid":"11111111-0000-4000-8000-000000000001","uri":"https://bmc1.lan/redfish/v1/Systems/x1000c0s0b0n0","name":"nid1",
			"ethernet_interfaces":[{"mac":"02:00:00:00:00:01","ip":"10.0.0.1","description":"Interface 0 for nid1"}]}],
		"Managers":[{"type":"NodeBMC","ethernet_interfaces":[{"mac":"02:00:00:00:01:00","ip":"10.1.0.1","description":"Interface for BMC x1000c0s0b0"}]}]}`
	aNIC = `{"ID":"","ComponentID":"x1000c0s0b0n0","Type":"","Description":"eth1","MACAddress":"02-00-00-00-00-AA","IPAddresses":[{"IPAddress":"10.0.0.9","Network":"HMN"}]}`
)

func TestStateManagerService(t *testing.T) {
	f, ask := startStates(t)
	follow(t, ask, []smdStep{
		{"GET", "service/ready", "", 200, `{"code":0,"message":"the State Manager is ready"}`, ""},
		{"GET", "service/liveness", "", 204, "", ""},
		{"GET", "service/values/class", "", 200, `{"Class":["River","Mountain","Hill"]}`, ""},
		{"GET", "service/values/role", "", 200, `{"Role":["Compute","Service","System","Application","Storage","Management"]}`, ""},
		{"GET", "service/values/colour", "", 404, "", ""},
	})
	var values map[string][]string
	if err := json.Unmarshal([]byte(read(t, ask("GET", "/hsm/v2/service/values", ""))), &values); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"Arch": "X86 ARM UNKNOWN Other", "Class": "River Mountain Hill", "Flag": "Unknown OK Warning Alert Locked",
		"NetType": "None Sling Infiniband Ethernet OEM", "Role": "Compute Service System Application Storage Management",
		"SubRole": "Master Worker Storage", "State": "Unknown Empty Populated Off On Standby Halt Ready",
		"Type": `All AllComp AllSvc CDU CDUMgmtSwitch CEC CMMFpga CMMRectifier Cabinet CabinetBMC CabinetCDU CabinetPDU CabinetPDUController CabinetPDUNic
			CabinetPDUOutlet CabinetPDUPowerConnector Chassis ChassisBMC ChassisBMCNic ComputeModule Drive HSNAsic HSNBoard HSNConnector HSNConnectorPort HSNLink
			INVALID Memory MgmtHLSwitch MgmtHLSwitchEnclosure MgmtSwitch MgmtSwitchConnector Node NodeAccel NodeAccelRiser NodeBMC NodeBMCNic NodeEnclosure
			NodeEnclosurePowerSupply NodeFpga NodeHsnNic NodeNic NodePowerConnector Partition Processor RouterBMC RouterBMCNic RouterFpga RouterModule
			RouterPowerConnector RouterTOR RouterTORFpga SMSBox StorageGroup System VirtualNode`,
	} {
		if got := strings.Join(values[field], " "); got != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%s: got %s", field, got)
		}
		delete(values, field)
	}
	if len(values) > 0 {
		t.Errorf("there is more than was asked for: %v", values)
	}
	f.down = fmt.Errorf("it replays its log")
	if res := ask("GET", "/hsm/v2/service/ready", ""); res.StatusCode != 503 {
		t.Errorf("a peer that cannot serve: got %d, want 503", res.StatusCode)
	}
}

func TestStateManagerComponents(t *testing.T) {
	f, ask := startStates(t)
	const node = `{"ID":"x1000c0s0b0n0","Type":"Node","State":"On","Enabled":true,"Role":"Compute","Arch":"X86","NID":1}`
	follow(t, ask, []smdStep{
		{"GET", "State/Components", "", 200, `{"Components":[]}`, ""},
		{"DELETE", "State/Components", "", 404, "", ""},
		{"POST", "State/Components", `{"Components":[` + aNode + `]}`, 204, "", ""},
		{"POST", "State/Components", `{"Components":[` + aNode + `]}`, 204, "", ""}, // no 409 for what is there
		{"GET", "State/Components", "", 200, `{"Components":[` + node + `]}`, ""},
		{"GET", "State/Components/", "", 200, `{"Components":[` + node + `]}`, ""},
		{"GET", "State/Components/x1000c0s0b0n0", "", 200, node, ""},
		{"GET", "State/Components/X01000C0s0b0n00", "", 200, node, ""},
		{"GET", "State/Components/ByNID/1", "", 200, node, ""},
		{"GET", "State/Components/ByNID/2", "", 404, "", ""},
		{"GET", "State/Components/ByNID/one", "", 400, "", ""},
		{"GET", "State/Components/x1000c0s0b0n1", "", 404, "", ""},
		{"GET", "State/Components/node1", "", 400, "", ""},
		{"GET", "State/Components/x1000c0s0b0n0/Colour", "", 404, "", ""},
		{"POST", "State/Components", `[{"ID":"x0c0s0b0n0"},{"ID":"x0c0s0b0"}]`, 204, "", ""}, // a list alone, names that only HMS allows
		{"GET", "State/Components/x0c0s0b0n0", "", 200, `{"ID":"x0c0s0b0n0","Type":"Node","Role":"Compute","Enabled":true,"NID":1001}`, ""},
		{"GET", "State/Components/x0c0s0b0", "", 200, `{"ID":"x0c0s0b0","Type":"NodeBMC","Enabled":true}`, ""},
		{"POST", "State/Components", `{"Components":[]}`, 400, "", ""},
		{"POST", "State/Components", `{"Components":[{"ID":"node1"}]}`, 400, "", ""},
		{"POST", "State/Components", `{"Components":[{"ID":"x1000c0s0b0n0","State":"Happy"}]}`, 400, "", ""},
		{"POST", "State/Components", `{"Components":[{"ID":"x1000c0s0b0n1","Type":"node","state":"OFF","role":"service","subrole":"worker","NetType":"sling","ARCH":"arm","Class":"river","Flag":"ok","NID":"77","Colour":1}]}`, 204, "", ""},
		{"GET", "State/Components/x1000c0s0b0n1", "", 200, `{"ID":"x1000c0s0b0n1","Type":"Node","State":"Off","Role":"Service","SubRole":"Worker","NetType":"Sling","Arch":"ARM","Class":"River","Flag":"OK","Enabled":true,"NID":77}`, ""},
		{"PUT", "State/Components/x1000c0s0b0n1", `{"Component":{"State":"Ready"},"Force":true}`, 204, "", ""},
		{"GET", "State/Components/x1000c0s0b0n1", "", 200, `{"ID":"x1000c0s0b0n1","Type":"Node","State":"Ready","Role":"Compute","Enabled":true,"NID":77}`, ""},
		{"PUT", "State/Components/x1000c0s0b0n1", `{"Component":{"ID":"x1000c0s0b0n2"}}`, 400, "", ""},
		{"PUT", "State/Components/x1000c0s0b0n1", `{}`, 400, "", ""},
		{"PUT", "State/Components/node", `{"Component":{}}`, 400, "", ""},
		{"DELETE", "State/Components/x1000c0s0b0n1", "", 200, `{"code":0,"message":"deleted 1 entry"}`, ""},
		{"DELETE", "State/Components/x1000c0s0b0n1", "", 404, "", ""},
		{"DELETE", "State/Components", "", 200, `{"code":0,"message":"deleted 3 entries"}`, ""},
		{"GET", "State/Components", "", 200, `{"Components":[]}`, ""},
	})
	f.components["x1c0s0b0n0"] = smd.Component{ID: "x1c0s0b0n0", Type: "Node", Locked: true}
	before := len(f.wroteSince(0))
	follow(t, ask, []smdStep{
		{"PUT", "State/Components/x1c0s0b0n0", `{"Component":{"State":"On"}}`, 409, "", ""},
		{"PUT", "State/Components/x1c0s0b0n0", `{"Component":{"State":"On"},"Force":true}`, 204, "", ""},
		{"PATCH", "State/Components/x1c0s0b0n0/StateData", `{"State":"Off","Force":true}`, 204, "", ""},
		{"PATCH", "State/Components/BulkStateData", `{"xnames":["x1c0s0b0n0"],"data":{"State":"On"},"force":true}`, 204, "", ""},
	})
	if got, want := f.wrote(before), "component.put 1 false; component.put 1 true; component.patch 1 true; component.patch 1 true"; got != want {
		t.Errorf("backend was asked: got %q, want %q", got, want)
	}
}

func TestStateManagerPatches(t *testing.T) {
	f, ask := startStates(t)
	f.put(smd.Component{ID: "x1c0s0b0n0", Type: "Node", State: "Off", SubRole: "Master"})
	f.put(smd.Component{ID: "x1c0s0b0n1", Type: "Node", State: "Off"})
	both := `"ComponentIDs":["x1c0s0b0n0","X1c0s0b0n01","x01c0s0b0n0"]`
	for _, c := range []struct {
		path, send string
		status     int
		shown      string // of x1c0s0b0n0: State Flag Enabled SoftwareStatus Role SubRole NID
		wrote      string
	}{
		{"BulkStateData", `{` + both + `,"State":"on"}`, 204, "On OK true - Compute Master 1000", "component.patch 2 false"},
		{"BulkStateData", `{` + both + `,"State":"Ready","Flag":"warning","ExtendedInfo":{"Message":"m"}}`, 204, "Ready Warning true - Compute Master 1000", "component.patch 2 false"},
		{"BulkStateData", `{"xnames":["x1c0s0b0n0"],"data":{"State":"Halt"}}`, 204, "Halt OK true - Compute Master 1000", "component.patch 1 false"},
		{"BulkStateData", `{"xnames":["x1c0s0b0n0"],"data":{}}`, 400, "", ""},
		{"BulkStateData", `{"State":"On"}`, 400, "", ""},
		{"BulkStateData", `{"ComponentIDs":["x9c0s0b0n9"],"State":"On"}`, 404, "", "component.patch 1 false"},
		{"BulkStateData", `{"ComponentIDs":["node9"],"State":"On"}`, 400, "", ""},
		{"BulkStateData", `{"ComponentIDs":"x1c0s0b0n0","State":"On"}`, 400, "", ""},
		{"BulkFlagOnly", `{` + both + `,"Flag":"Alert"}`, 204, "Halt Alert true - Compute Master 1000", "component.patch 2 false"},
		{"BulkFlagOnly", `{` + both + `,"Flag":"Red"}`, 400, "", ""},
		{"BulkFlagOnly", `{` + both + `}`, 400, "", ""},
		{"BulkEnabled", `{` + both + `,"Enabled":false}`, 204, "Halt Alert false - Compute Master 1000", "component.patch 2 false"},
		{"BulkEnabled", `{` + both + `,"Enabled":"false"}`, 400, "", ""},
		{"BulkEnabled", `{` + both + `}`, 400, "", ""},
		{"BulkSoftwareStatus", `{` + both + `,"SoftwareStatus":"AdminDown"}`, 204, "Halt Alert false AdminDown Compute Master 1000", "component.patch 2 false"},
		{"BulkSoftwareStatus", `{` + both + `}`, 400, "", ""},
		{"BulkRole", `{` + both + `,"Role":"management","SubRole":"worker"}`, 204, "Halt Alert false AdminDown Management Worker 1000", "component.patch 2 false"},
		{"BulkRole", `{` + both + `,"Role":"Service"}`, 204, "Halt Alert false AdminDown Service - 1000", "component.patch 2 false"},
		{"BulkRole", `{` + both + `,"SubRole":"Worker"}`, 400, "", ""},
		{"BulkNID", `{"Components":[{"ID":"x1c0s0b0n0","Type":"","NID":5},{"ID":"x1c0s0b0n1","NID":"6"}]}`, 204, "Halt Alert false AdminDown Service - 5", "component.patch 2 false"},
		{"BulkNID", `{"Components":[{"ID":"x1c0s0b0n0"}]}`, 400, "", ""},
		{"BulkNID", `{"Components":[{"ID":"n0","NID":5}]}`, 400, "", ""},
		{"BulkNID", `{"Components":[]}`, 400, "", ""},
		{"x1c0s0b0n0/StateData", `{"State":"Off"}`, 204, "Off OK false AdminDown Service - 5", "component.patch 1 false"},
		{"x1c0s0b0n0/FlagOnly", `{"ID":"x1c0s0b0n0","Flag":"Locked"}`, 204, "Off Locked false AdminDown Service - 5", "component.patch 1 false"},
		{"x1c0s0b0n0/FlagOnly", `{"ID":"x1c0s0b0n1","Flag":"OK"}`, 400, "", ""},
		{"x1c0s0b0n0/Enabled", `{"Enabled":true}`, 204, "Off Locked true AdminDown Service - 5", "component.patch 1 false"},
		{"x1c0s0b0n0/SoftwareStatus", `{"SoftwareStatus":""}`, 204, "Off Locked true - Service - 5", "component.patch 1 false"},
		{"x1c0s0b0n0/Role", `{"Role":"Compute","SubRole":"Storage"}`, 204, "Off Locked true - Compute Storage 5", "component.patch 1 false"},
		{"x1c0s0b0n0/NID", `{"NID":8}`, 204, "Off Locked true - Compute Storage 8", "component.patch 1 false"},
		{"x1c0s0b0n0/NID", `{"NID":-8}`, 400, "", ""},
		{"x1c0s0b0n0/NID", `{"NID":1.5}`, 400, "", ""},
		{"x1c0s0b0n9/NID", `{"NID":9}`, 404, "", "component.patch 1 false"},
		{"x1c0s0b0n0/Colour", `{}`, 405, "", ""}, // GET takes the path, and finds nothing there
	} {
		before := len(f.wroteSince(0))
		follow(t, ask, []smdStep{{"PATCH", "State/Components/" + c.path, c.send, c.status, "", ""}})
		if got := f.wrote(before); got != c.wrote {
			t.Errorf("%s %s: backend was asked: got %q, want %q", c.path, c.send, got, c.wrote)
		}
		n := f.components["x1c0s0b0n0"]
		dash := func(s string) string {
			if s == "" {
				return "-"
			}
			return s
		}
		shown := fmt.Sprint(n.State, " ", n.Flag, " ", *n.Enabled, " ", dash(n.SoftwareStatus), " ", n.Role, " ", dash(n.SubRole), " ", *n.NID)
		if c.status == 204 && shown != c.shown {
			t.Errorf("%s %s: got %s, want %s", c.path, c.send, shown, c.shown)
		}
	}
}

func TestStateManagerEndpoints(t *testing.T) {
	f, ask := startStates(t)
	const endpoint = `{"ID":"x1000c0s0b0","Type":"NodeBMC","Hostname":"bmc1","Domain":"lan","FQDN":"bmc1.lan","Enabled":true,"User":"root","Password":"",
		"RediscoverOnUpdate":false,"DiscoveryInfo":{"LastDiscoveryStatus":"NotYetQueried"}}`
	const part = `{"ID":"x1000c0s0b0n0","Type":"Node","RedfishType":"ComputerSystem","RedfishSubtype":"","UUID":"11111111-0000-4000-8000-000000000001",
		"OdataID":"/redfish/v1/Systems/x1000c0s0b0n0","RedfishEndpointID":"x1000c0s0b0","Enabled":true,"RedfishEndpointFQDN":"bmc1.lan",
		"RedfishURL":"bmc1.lan/redfish/v1/Systems/x1000c0s0b0n0","ComponentEndpointType":"ComponentEndpointComputerSystem",
		"RedfishSystemInfo":{"Name":"nid1","Actions":{"#ComputerSystem.Reset":{"ResetType@Redfish.AllowableValues":[],
			"@Redfish.ActionInfo":"/redfish/v1/Systems/x1000c0s0b0n0/ResetActionInfo","target":"/redfish/v1/Systems/x1000c0s0b0n0/Actions/ComputerSystem.Reset"}},
			"EthernetNICInfo":[{"RedfishId":"","@odata.id":"","Description":"Interface 0 for nid1","InterfaceEnabled":true,"MACAddress":"02:00:00:00:00:01"}]}}`
	follow(t, ask, []smdStep{
		{"GET", "Inventory/RedfishEndpoints", "", 200, `{"RedfishEndpoints":[]}`, ""},
		{"GET", "Inventory/ComponentEndpoints", "", 200, `{"ComponentEndpoints":[]}`, ""},
		{"DELETE", "Inventory/ComponentEndpoints", "", 404, "", ""},
		{"DELETE", "Inventory/RedfishEndpoints", "", 404, "", ""},
		{"PUT", "Inventory/RedfishEndpoints/x1000c0s0b0", aRecord, 404, "", ""},
		{"POST", "Inventory/RedfishEndpoints", aRecord, 201, `[{"URI":"/hsm/v2/Inventory/RedfishEndpoints/x1000c0s0b0"}]`, "/hsm/v2/Inventory/RedfishEndpoints/x1000c0s0b0"},
		{"POST", "Inventory/RedfishEndpoints", aRecord, 409, "", ""},
		{"POST", "Inventory/RedfishEndpoints", `{"ID":"x1000c0s1b0","FQDN":"bmc1.lan"}`, 409, "", ""},
		{"GET", "Inventory/RedfishEndpoints", "", 200, `{"RedfishEndpoints":[` + endpoint + `]}`, ""},
		{"GET", "Inventory/RedfishEndpoints/x1000c0s0b0", "", 200, endpoint, ""},
		{"GET", "Inventory/RedfishEndpoints/x1000c0s9b0", "", 404, "", ""},
		{"GET", "Inventory/ComponentEndpoints", "", 200, `{"ComponentEndpoints":[` + part + `]}`, ""},
		{"GET", "Inventory/ComponentEndpoints/x1000c0s0b0n0", "", 200, part, ""},
		{"GET", "Inventory/ComponentEndpoints?redfish_ep=x1000c0s9b0", "", 200, `{"ComponentEndpoints":[]}`, ""},
		{"GET", "State/Components/x1000c0s0b0", "", 200, `{"ID":"x1000c0s0b0","Type":"NodeBMC","Enabled":true}`, ""},
		{"GET", "State/Components/x1000c0s0b0n0", "", 200, `{"ID":"x1000c0s0b0n0","Type":"Node","State":"On","Role":"Compute","Enabled":true,"NID":1}`, ""},
		{"GET", "Inventory/EthernetInterfaces/020000000100", "", 200, `{"ID":"020000000100","Description":"Interface for BMC x1000c0s0b0","MACAddress":"02:00:00:00:01:00",
			"LastUpdate":"2026-01-01T00:00:00Z","ComponentID":"x1000c0s0b0","Type":"NodeBMC","IPAddresses":[{"IPAddress":"10.1.0.1"}]}`, ""},
		{"PUT", "Inventory/RedfishEndpoints/x1000c0s0b0", strings.Replace(aRecord, "bmc1.lan", "10.1.0.1", 1), 200,
			strings.NewReplacer(`"Hostname":"bmc1","Domain":"lan"`, `"Hostname":"10.1.0.1","Domain":""`, `"FQDN":"bmc1.lan"`, `"FQDN":"10.1.0.1"`).Replace(endpoint), ""},
		{"PUT", "Inventory/RedfishEndpoints/x1000c0s0b0", `{"ID":"x1000c0s1b0"}`, 400, "", ""},
		{"POST", "Inventory/RedfishEndpoints", `{"RedfishEndpoints":[{"ID":"x1000c0s1b0"},{"ID":"x1000c0s2b0"}]}`, 201,
			`[{"URI":"/hsm/v2/Inventory/RedfishEndpoints/x1000c0s1b0"},{"URI":"/hsm/v2/Inventory/RedfishEndpoints/x1000c0s2b0"}]`, "/hsm/v2/Inventory/RedfishEndpoints"},
		{"GET", "Inventory/RedfishEndpoints/x1000c0s1b0", "", 200, `{"ID":"x1000c0s1b0","Type":"NodeBMC","Hostname":"x1000c0s1b0","Domain":"","FQDN":"x1000c0s1b0","Enabled":true,
			"User":"","Password":"","RediscoverOnUpdate":false,"DiscoveryInfo":{"LastDiscoveryStatus":"NotYetQueried"}}`, ""},
		{"DELETE", "Inventory/RedfishEndpoints/x1000c0s0b0", "", 200, `{"code":0,"message":"deleted 1 entry"}`, ""},
		{"DELETE", "Inventory/RedfishEndpoints/x1000c0s0b0", "", 404, "", ""},
		{"GET", "Inventory/ComponentEndpoints", "", 200, `{"ComponentEndpoints":[]}`, ""},
		{"GET", "State/Components/x1000c0s0b0n0", "", 200, `{"ID":"x1000c0s0b0n0","Type":"Node","State":"Empty","Role":"Compute","Enabled":true,"NID":1}`, ""},
		{"GET", "Inventory/EthernetInterfaces/020000000001/IPAddresses", "", 200, `[{"IPAddress":"10.0.0.1"}]`, ""},
		{"DELETE", "Inventory/RedfishEndpoints", "", 200, `{"code":0,"message":"deleted 2 entries"}`, ""},
		{"POST", "Inventory/RedfishEndpoints", aRecord, 201, "-", "/hsm/v2/Inventory/RedfishEndpoints/x1000c0s0b0"},
		{"DELETE", "Inventory/ComponentEndpoints/x1000c0s0b0n0", "", 200, `{"code":0,"message":"deleted 1 entry"}`, ""},
		{"DELETE", "Inventory/ComponentEndpoints/x1000c0s0b0n0", "", 404, "", ""},
		{"POST", "Inventory/RedfishEndpoints", `{"ID":"bmc1"}`, 400, "", ""},
		{"POST", "Inventory/RedfishEndpoints", `{}`, 400, "", ""},
	})
	before := len(f.wroteSince(0))
	ask("PUT", "/hsm/v2/Inventory/RedfishEndpoints/x1000c0s0b0", aRecord)
	if got, want := f.wrote(before), "endpoint.put x1000c0s0b0 true"; got != want {
		t.Errorf("all of a record is one write: got %q, want %q", got, want)
	}
	if f.endpoints["x1000c0s0b0"].Password != "Hunter2" {
		t.Error("the password did not reach the backend")
	}
}

func TestStateManagerInterfaces(t *testing.T) {
	_, ask := startStates(t)
	const nic = `{"ID":"0200000000aa","Description":"eth1","MACAddress":"02:00:00:00:00:aa","LastUpdate":"2026-01-01T00:00:00Z","ComponentID":"x1000c0s0b0n0","Type":"Node",
		"IPAddresses":[{"IPAddress":"10.0.0.9","Network":"HMN"}]}`
	at := "/hsm/v2/Inventory/EthernetInterfaces/0200000000aa"
	follow(t, ask, []smdStep{
		{"GET", "Inventory/EthernetInterfaces", "", 200, `[]`, ""},
		{"DELETE", "Inventory/EthernetInterfaces", "", 404, "", ""},
		{"POST", "Inventory/EthernetInterfaces", aNIC, 201, `{"URI":"` + at + `"}`, at},
		{"POST", "Inventory/EthernetInterfaces", aNIC, 409, "", ""},
		{"GET", "Inventory/EthernetInterfaces", "", 200, `[` + nic + `]`, ""},
		{"GET", "Inventory/EthernetInterfaces/0200000000AA", "", 200, nic, ""},
		{"GET", "Inventory/EthernetInterfaces/02:00:00:00:00:aa", "", 200, nic, ""},
		{"GET", "Inventory/EthernetInterfaces/eth0", "", 404, "", ""},
		{"GET", "Inventory/EthernetInterfaces/0200000000ab", "", 404, "", ""},
		{"GET", "Inventory/EthernetInterfaces/0200000000aa/IPAddresses", "", 200, `[{"IPAddress":"10.0.0.9","Network":"HMN"}]`, ""},
		{"PATCH", "Inventory/EthernetInterfaces/0200000000aa", `{"Description":"eth2","IPAddresses":[]}`, 200,
			strings.NewReplacer("eth1", "eth2", `[{"IPAddress":"10.0.0.9","Network":"HMN"}]`, "[]").Replace(nic), ""},
		{"GET", "Inventory/EthernetInterfaces/0200000000aa/IPAddresses", "", 200, `[]`, ""},
		{"PATCH", "Inventory/EthernetInterfaces/0200000000aa", `{}`, 400, "", ""},
		{"PATCH", "Inventory/EthernetInterfaces/0200000000aa", `{"IPAddresses":[{"IPAddress":"here"}]}`, 400, "", ""},
		{"PATCH", "Inventory/EthernetInterfaces/0200000000aa", `{"ComponentID":"here"}`, 400, "", ""},
		{"PATCH", "Inventory/EthernetInterfaces/0200000000ab", `{"Description":""}`, 404, "", ""},
		{"POST", "Inventory/EthernetInterfaces", `{"MACAddress":"02:00:00:00:00:ab","LastUpdate":"","IPAddresses":null}`, 201, "-", "/hsm/v2/Inventory/EthernetInterfaces/0200000000ab"},
		{"POST", "Inventory/EthernetInterfaces", `{"MACAddress":"00:00:00:00:00:00"}`, 400, "", ""},
		{"POST", "Inventory/EthernetInterfaces", `{"MACAddress":"02:00:00:00:00:ac","ComponentID":"n"}`, 400, "", ""},
		{"DELETE", "Inventory/EthernetInterfaces/02:00:00:00:00:AB", "", 200, `{"code":0,"message":"deleted 1 entry"}`, ""},
		{"DELETE", "Inventory/EthernetInterfaces/0200000000ab", "", 404, "", ""},
		{"DELETE", "Inventory/EthernetInterfaces", "", 200, `{"code":0,"message":"deleted 1 entries"}`, ""},
	})
}

func TestStateManagerGroups(t *testing.T) {
	f, ask := startStates(t)
	const blue = `{"label":"blue","description":"the blue ones","tags":["t1"],"exclusiveGroup":"colour","members":{"ids":["x1c0s0b0n0"]}}`
	follow(t, ask, []smdStep{
		{"GET", "groups", "", 200, `[]`, ""},
		{"GET", "groups?group=blue", "", 200, `[]`, ""},
		{"POST", "groups", blue, 201, `[{"URI":"/hsm/v2/groups/blue"}]`, "/hsm/v2/groups/blue"},
		{"POST", "groups", blue, 409, "", ""},
		{"POST", "groups", `{"label":"Rack 1/2","members":{}}`, 201, `[{"URI":"/hsm/v2/groups/Rack%201%2F2"}]`, "/hsm/v2/groups/Rack%201%2F2"},
		{"POST", "groups", `{"label":"","members":{}}`, 400, "", ""},
		{"POST", "groups", `{"label":"x","members":{"ids":["node"]}}`, 400, "", ""},
		{"GET", "groups/labels", "", 200, `["blue","Rack 1/2"]`, ""},
		{"GET", "groups/Rack%201%2F2", "", 200, `{"label":"Rack 1/2","description":"","members":{"ids":[]}}`, ""},
		{"GET", "groups/Blue", "", 404, "", ""},
		{"GET", "groups?tag=t1&tag=t2", "", 200, `[` + blue + `]`, ""},
		{"GET", "groups?group=blue&group=green", "", 200, `[` + blue + `]`, ""},
		{"GET", "groups?tag=t2", "", 200, `[]`, ""},
		{"PATCH", "groups/blue", `{"description":"so blue"}`, 204, "", ""},
		{"GET", "groups/blue", "", 200, strings.Replace(blue, "the blue ones", "so blue", 1), ""},
		{"PATCH", "groups/blue", `{"tags":[]}`, 204, "", ""},
		{"PATCH", "groups/green", `{"tags":[]}`, 404, "", ""},
		{"GET", "groups/blue/members", "", 200, `{"ids":["x1c0s0b0n0"]}`, ""},
		{"POST", "groups/blue/members", `{"id":"x1c0s0b0n1"}`, 201, `[{"URI":"/hsm/v2/groups/blue/members/x1c0s0b0n1"}]`, "/hsm/v2/groups/blue/members/x1c0s0b0n1"},
		{"POST", "groups/blue/members", `{"id":"X1c0s0b0n01"}`, 409, "", ""},
		{"POST", "groups/blue/members", `{"id":"node"}`, 400, "", ""},
		{"POST", "groups/green/members", `{"id":"x1c0s0b0n1"}`, 404, "", ""},
		{"GET", "groups/blue/members", "", 200, `{"ids":["x1c0s0b0n0","x1c0s0b0n1"]}`, ""},
		{"PUT", "groups/blue/members", `{"group":"blue","ids":["x1c0s0b0n2","x1c0s0b0n3"]}`, 201,
			`[{"URI":"/hsm/v2/groups/blue/members/x1c0s0b0n2"},{"URI":"/hsm/v2/groups/blue/members/x1c0s0b0n3"}]`, "/hsm/v2/groups/blue/members"},
		{"PUT", "groups/blue/members", `{"group":"green","ids":[]}`, 400, "", ""},
		{"PUT", "groups/blue/members", `{}`, 400, "", ""},
		{"DELETE", "groups/blue/members/x01c0s0b0n2", "", 200, `{"code":0,"message":"deleted 1 entry"}`, ""},
		{"DELETE", "groups/blue/members/x1c0s0b0n2", "", 404, "", ""},
		{"POST", "groups", `{"label":"acme","exclusiveGroup":"tenant","members":{"ids":["x1c0s0b0n3"]}}`, 201, "-", "/hsm/v2/groups/acme"},
		{"GET", "groups/acme", "", 200, `{"label":"acme","description":"","exclusiveGroup":"tenant","members":{"ids":["x1c0s0b0n3"]}}`, ""},
		{"POST", "partitions", `{"name":"p1","description":"d","tags":["t"],"members":{"ids":["x1c0s0b0n3"]}}`, 201, `[{"URI":"/hsm/v2/partitions/p1"}]`, "/hsm/v2/partitions/p1"},
		{"POST", "partitions", `{"name":"p2","members":{"ids":["x1c0s0b0n3"]}}`, 409, "", ""}, // in another partition
		{"POST", "partitions", `{"description":"d"}`, 400, "", ""},
		{"GET", "partitions", "", 200, `[{"name":"p1","description":"d","tags":["t"],"members":{"ids":["x1c0s0b0n3"]}}]`, ""},
		{"GET", "partitions/names", "", 200, `["p1"]`, ""},
		{"GET", "partitions/blue", "", 404, "", ""},
		{"GET", "groups/p1", "", 404, "", ""},
		{"PATCH", "partitions/p1", `{"description":"e","tags":[]}`, 204, "", ""},
		{"GET", "partitions/p1", "", 200, `{"name":"p1","description":"e","members":{"ids":["x1c0s0b0n3"]}}`, ""},
		{"POST", "partitions/p1/members", `{"id":"x1c0s0b0n4"}`, 201, "-", "/hsm/v2/partitions/p1/members/x1c0s0b0n4"},
		{"GET", "partitions/p1/members", "", 200, `{"ids":["x1c0s0b0n3","x1c0s0b0n4"]}`, ""},
		{"DELETE", "partitions/p1/members/x1c0s0b0n4", "", 200, `{"code":0,"message":"deleted 1 entry"}`, ""},
		{"PUT", "groups/blue/members", `{"ids":["x1c0s0b0n2","x1c0s0b0n3"]}`, 201, "-", "/hsm/v2/groups/blue/members"},
		{"GET", "groups/blue/members?partition=p1", "", 200, `{"ids":["x1c0s0b0n3"]}`, ""},
		{"POST", "State/Components", `[{"ID":"x1c0s0b0n3"},{"ID":"x1c0s0b0n9"}]`, 204, "", ""},
		{"GET", "memberships", "", 200, `[{"id":"x1c0s0b0n3","groupLabels":["acme","blue"],"partitionName":"p1"},{"id":"x1c0s0b0n9","groupLabels":[],"partitionName":""}]`, ""},
		{"GET", "memberships?group=NULL", "", 200, `[{"id":"x1c0s0b0n9","groupLabels":[],"partitionName":""}]`, ""},
		{"GET", "memberships/x1c0s0b0n3", "", 200, `{"id":"x1c0s0b0n3","groupLabels":["acme","blue"],"partitionName":"p1"}`, ""},
		{"GET", "memberships/x1c0s0b0n2", "", 200, `{"id":"x1c0s0b0n2","groupLabels":["blue"],"partitionName":""}`, ""},
		{"GET", "memberships/x1c0s0b0n8", "", 404, "", ""},
		{"DELETE", "partitions/p1", "", 200, `{"code":0,"message":"deleted 1 entry"}`, ""},
		{"DELETE", "groups/Rack%201%2F2", "", 200, `{"code":0,"message":"deleted 1 entry"}`, ""},
		{"DELETE", "groups/Rack%201%2F2", "", 404, "", ""},
	})
	for name, want := range map[string]inventory.CollectionType{"blue": inventory.AdHoc, "acme": inventory.Tenant} {
		if c, err := f.Collection(name); err != nil || c.Type != want {
			t.Errorf("%s: got %v %v, want a collection of type %s", name, c.Type, err, want)
		}
	}

	f.interferes = 2 // others change it first, twice
	follow(t, ask, []smdStep{{"PATCH", "groups/blue", `{"description":"late"}`, 204, "", ""}})
	f.interferes = 1000
	follow(t, ask, []smdStep{{"PATCH", "groups/blue", `{"description":"later"}`, 409, "", ""}})
}

// TestStateManagerRetries sends writes twice with one Idempotency-Key: both are answered alike.
func TestStateManagerRetries(t *testing.T) {
	_, ask := startStates(t)
	follow(t, ask, []smdStep{{"POST", "groups", `{"label":"g","members":{}}`, 201, "-", "/hsm/v2/groups/g"}})
	for i, c := range []struct{ method, path, send string }{
		{"POST", "Inventory/EthernetInterfaces", aNIC},
		{"POST", "Inventory/RedfishEndpoints", aRecord},
		{"POST", "Inventory/RedfishEndpoints", `{"RedfishEndpoints":[{"ID":"x1000c0s1b0"},{"ID":"x1000c0s2b0"}]}`},
		{"POST", "groups/g/members", `{"id":"x1c0s0b0n1"}`},
		{"DELETE", "groups/g/members/x1c0s0b0n1", ""},
		{"DELETE", "groups/g", ""},
		{"DELETE", "State/Components/x1000c0s0b0n0", ""},
		{"DELETE", "State/Components", ""},
	} {
		key := fmt.Sprint("key ", i)
		first := ask(c.method, "/hsm/v2/"+c.path, c.send, "Idempotency-Key", key)
		again := ask(c.method, "/hsm/v2/"+c.path, c.send, "Idempotency-Key", key)
		if a, b := read(t, first), read(t, again); first.StatusCode >= 300 || first.StatusCode != again.StatusCode || a != b || again.Header.Get("Location") != first.Header.Get("Location") {
			t.Errorf("%s %s: got %d %s, then %d %s", c.method, c.path, first.StatusCode, a, again.StatusCode, b)
		}
	}
}

// TestStateManagerPaths looks at what is no operation, under every prefix.
func TestStateManagerPaths(t *testing.T) {
	_, ask := startStates(t)
	for _, prefix := range []string{"/hsm/v2", "/smd", "/smd/hsm/v2"} {
		for _, c := range []struct {
			method, path string
			status       int
			headers      []string
		}{
			{"GET", "", 404, nil},
			{"GET", "/", 404, nil},
			{"GET", "/State", 404, nil},
			{"GET", "/State/components", 404, nil},
			{"GET", "/Inventory/Hardware", 404, nil},
			{"HEAD", "/Nonsense", 404, nil},
			{"POST", "/State/Components/x1c0s0b0n0", 405, nil},
			{"BREW", "/groups", 405, nil},
			{"GET", "/groups", 401, []string{"Authorization", ""}},
			{"GET", "/groups", 401, []string{"Authorization", "Bearer nonsense"}},
			{"GET", "/groups", 403, []string{"Authorization", "Bearer peer"}},
			{"POST", "/State/Components", 400, nil},
			{"PUT", "/State/Components/x1c0s0b0n0", 400, []string{"If-Match", `"1"`}},
			{"GET", "/State/Components?consistency=never", 400, nil},
			{"GET", "/State/Components/", 200, nil},
			{"GET", "//State//Components", 200, nil},
			{"HEAD", "/State/Components", 200, nil},
			{"HEAD", "/Inventory/EthernetInterfaces", 200, nil},
		} {
			res := ask(c.method, "http://h1"+prefix+c.path, "", c.headers...)
			body := read(t, res)
			if res.StatusCode != c.status {
				t.Errorf("%s %s%s: got %d, want %d", c.method, prefix, c.path, res.StatusCode, c.status)
			}
			if c.status >= 400 && c.method != "HEAD" {
				checkSMDProblem(t, res, body)
			}
			if c.status == 401 && res.Header.Get("WWW-Authenticate") == "" || c.status == 405 && res.Header.Get("Allow") == "" {
				t.Errorf("%s %s%s: got headers %v", c.method, prefix, c.path, res.Header)
			}
		}
	}
	if res := ask("GET", "/hsm/v1/State/Components", ""); res.StatusCode != 404 {
		t.Errorf("another version: got %d, want 404", res.StatusCode)
	}
	problemIn(t, ask("GET", "/smdx", "")) // not ours: the native shape
}

// smdExamples are a good request for each operation; what it answers and whom it lets in.
var smdExamples = map[string]struct {
	path, body string
	status     int
	roles      []string // beside nobody
	open       openness
}{
	"GET /service/ready":          {"/service/ready", "", 200, readers, ifSMD},
	"GET /service/liveness":       {"/service/liveness", "", 204, readers, ifSMD},
	"GET /service/values":         {"/service/values", "", 200, readers, ifSMD},
	"GET /service/values/{field}": {"/service/values/type", "", 200, readers, ifSMD},

	"GET /State/Components":                 {"/State/Components", "", 200, readers, ifSMD},
	"GET /State/Components/{xname}":         {"/State/Components/x1c0s0b0n0", "", 200, readers, ifReads},
	"GET /State/Components/{xname}/{below}": {"/State/Components/x1/Query", "", 200, readers, ifReads},
	"POST /State/Components/Query":          {"/State/Components/Query", `{"ComponentIDs":["x1"]}`, 200, readers, ifReads},
	"POST /State/Components/{xname}/Query":  {"/State/Components/x1/Query", `{}`, 200, readers, ifReads},
	"POST /State/Components/ByNID/Query":    {"/State/Components/ByNID/Query", `{"NIDRanges":["1-2000"]}`, 200, readers, ifReads},
	"POST /State/Components":                {"/State/Components", `{"Components":[` + aNode + `]}`, 204, operators, closed},
	"PUT /State/Components/{xname}":         {"/State/Components/x1c0s0b0n0", `{"Component":{}}`, 204, operators, closed},
	"DELETE /State/Components":              {"/State/Components", "", 200, admins, closed},
	"DELETE /State/Components/{xname}":      {"/State/Components/x1c0s0b0n0", "", 200, operators, closed},

	"PATCH /State/Components/BulkStateData":          {"/State/Components/BulkStateData", `{"ComponentIDs":["x1c0s0b0n0"],"State":"On"}`, 204, controllers, closed},
	"PATCH /State/Components/BulkFlagOnly":           {"/State/Components/BulkFlagOnly", `{"ComponentIDs":["x1c0s0b0n0"],"Flag":"OK"}`, 204, controllers, closed},
	"PATCH /State/Components/BulkEnabled":            {"/State/Components/BulkEnabled", `{"ComponentIDs":["x1c0s0b0n0"],"Enabled":true}`, 204, controllers, closed},
	"PATCH /State/Components/BulkSoftwareStatus":     {"/State/Components/BulkSoftwareStatus", `{"ComponentIDs":["x1c0s0b0n0"],"SoftwareStatus":"s"}`, 204, controllers, closed},
	"PATCH /State/Components/BulkRole":               {"/State/Components/BulkRole", `{"ComponentIDs":["x1c0s0b0n0"],"Role":"Compute"}`, 204, operators, closed},
	"PATCH /State/Components/BulkNID":                {"/State/Components/BulkNID", `{"Components":[{"ID":"x1c0s0b0n0","NID":1}]}`, 204, operators, closed},
	"PATCH /State/Components/{xname}/StateData":      {"/State/Components/x1c0s0b0n0/StateData", `{"State":"On"}`, 204, controllers, closed},
	"PATCH /State/Components/{xname}/FlagOnly":       {"/State/Components/x1c0s0b0n0/FlagOnly", `{"Flag":"OK"}`, 204, controllers, closed},
	"PATCH /State/Components/{xname}/Enabled":        {"/State/Components/x1c0s0b0n0/Enabled", `{"Enabled":true}`, 204, controllers, closed},
	"PATCH /State/Components/{xname}/SoftwareStatus": {"/State/Components/x1c0s0b0n0/SoftwareStatus", `{"SoftwareStatus":"s"}`, 204, controllers, closed},
	"PATCH /State/Components/{xname}/Role":           {"/State/Components/x1c0s0b0n0/Role", `{"Role":"Compute"}`, 204, operators, closed},
	"PATCH /State/Components/{xname}/NID":            {"/State/Components/x1c0s0b0n0/NID", `{"NID":1}`, 204, operators, closed},

	"GET /Inventory/RedfishEndpoints":            {"/Inventory/RedfishEndpoints", "", 200, readers, ifReads},
	"GET /Inventory/RedfishEndpoints/{xname}":    {"/Inventory/RedfishEndpoints/x1c0s0b0", "", 200, readers, ifReads},
	"POST /Inventory/RedfishEndpoints":           {"/Inventory/RedfishEndpoints", aRecord, 201, operators, closed},
	"PUT /Inventory/RedfishEndpoints/{xname}":    {"/Inventory/RedfishEndpoints/x1c0s0b0", `{}`, 200, operators, closed},
	"DELETE /Inventory/RedfishEndpoints":         {"/Inventory/RedfishEndpoints", "", 200, admins, closed},
	"DELETE /Inventory/RedfishEndpoints/{xname}": {"/Inventory/RedfishEndpoints/x1c0s0b0", "", 200, operators, closed},

	"GET /Inventory/ComponentEndpoints":            {"/Inventory/ComponentEndpoints", "", 200, readers, ifReads},
	"GET /Inventory/ComponentEndpoints/{xname}":    {"/Inventory/ComponentEndpoints/x1c0s0b0n0", "", 200, readers, ifReads},
	"DELETE /Inventory/ComponentEndpoints":         {"/Inventory/ComponentEndpoints", "", 200, admins, closed},
	"DELETE /Inventory/ComponentEndpoints/{xname}": {"/Inventory/ComponentEndpoints/x1c0s0b0n0", "", 200, operators, closed},

	"GET /Inventory/EthernetInterfaces":                  {"/Inventory/EthernetInterfaces", "", 200, readers, ifSMD},
	"GET /Inventory/EthernetInterfaces/{id}":             {"/Inventory/EthernetInterfaces/020000000001", "", 200, readers, ifReads},
	"GET /Inventory/EthernetInterfaces/{id}/IPAddresses": {"/Inventory/EthernetInterfaces/020000000001/IPAddresses", "", 200, readers, ifReads},
	"POST /Inventory/EthernetInterfaces":                 {"/Inventory/EthernetInterfaces", aNIC, 201, operators, closed},
	"PATCH /Inventory/EthernetInterfaces/{id}":           {"/Inventory/EthernetInterfaces/020000000001", `{"Description":"d"}`, 200, operators, closed},
	"DELETE /Inventory/EthernetInterfaces":               {"/Inventory/EthernetInterfaces", "", 200, admins, closed},
	"DELETE /Inventory/EthernetInterfaces/{id}":          {"/Inventory/EthernetInterfaces/020000000001", "", 200, operators, closed},

	"GET /groups":                           {"/groups", "", 200, readers, ifReads},
	"GET /groups/labels":                    {"/groups/labels", "", 200, readers, ifReads},
	"GET /groups/{name}":                    {"/groups/g", "", 200, readers, ifReads},
	"POST /groups":                          {"/groups", `{"label":"new"}`, 201, operators, closed},
	"PATCH /groups/{name}":                  {"/groups/g", `{"description":"d"}`, 204, operators, closed},
	"DELETE /groups/{name}":                 {"/groups/g", "", 200, operators, closed},
	"GET /groups/{name}/members":            {"/groups/g/members", "", 200, readers, ifReads},
	"POST /groups/{name}/members":           {"/groups/g/members", `{"id":"x1c0s0b0n9"}`, 201, operators, closed},
	"PUT /groups/{name}/members":            {"/groups/g/members", `{"ids":[]}`, 201, operators, closed},
	"DELETE /groups/{name}/members/{xname}": {"/groups/g/members/x1c0s0b0n0", "", 200, operators, closed},

	"GET /partitions":                           {"/partitions", "", 200, readers, ifReads},
	"GET /partitions/names":                     {"/partitions/names", "", 200, readers, ifReads},
	"GET /partitions/{name}":                    {"/partitions/p", "", 200, readers, ifReads},
	"POST /partitions":                          {"/partitions", `{"name":"new"}`, 201, operators, closed},
	"PATCH /partitions/{name}":                  {"/partitions/p", `{"description":"d"}`, 204, operators, closed},
	"DELETE /partitions/{name}":                 {"/partitions/p", "", 200, operators, closed},
	"GET /partitions/{name}/members":            {"/partitions/p/members", "", 200, readers, ifReads},
	"POST /partitions/{name}/members":           {"/partitions/p/members", `{"id":"x1c0s0b0n9"}`, 201, operators, closed},
	"PUT /partitions/{name}/members":            {"/partitions/p/members", `{"ids":[]}`, 201, operators, closed},
	"DELETE /partitions/{name}/members/{xname}": {"/partitions/p/members/x1c0s0b0n0", "", 200, operators, closed},

	"GET /memberships":         {"/memberships", "", 200, readers, ifReads},
	"GET /memberships/{xname}": {"/memberships/x1c0s0b0n0", "", 200, readers, ifReads},
}

var controllers = []string{"controller", "operator", "admin"}

// fillStates puts one of everything into the State Manager.
func (f *fakeStates) fillStates() {
	f.components = map[string]smd.Component{}
	f.put(smd.Component{ID: "x1c0s0b0n0", Type: "Node", State: "On"})
	f.endpoints = map[string]smd.RedfishEndpoint{"x1c0s0b0": {ID: "x1c0s0b0", Type: "NodeBMC", FQDN: "x1c0s0b0", Password: fleetSecret}}
	f.parts = map[string]smd.ComponentEndpoint{"x1c0s0b0n0": {ID: "x1c0s0b0n0", Type: "Node", RedfishEndpointID: "x1c0s0b0"}}
	f.interfaces = map[string]smd.EthernetInterface{"020000000001": {ID: "020000000001", MACAddress: "02:00:00:00:00:01", ComponentID: "x1c0s0b0n0"}}
	f.collections = map[string]inventory.NodeCollection{
		"g": {ID: "g", Name: "g", Type: inventory.AdHoc, Nodes: []string{"x1c0s0b0n0"}, Version: 1, CloudInit: map[string]string{"k": fleetSecret}},
		"p": {ID: "p", Name: "p", Type: inventory.Partition, Nodes: []string{"x1c0s0b0n0"}, Version: 1},
	}
}

// TestStateManagerRoles asks every operation as every role and as nobody, with
// each of the settings that open some of them.
func TestStateManagerRoles(t *testing.T) {
	f, ask := startStates(t)
	for _, route := range smdRoutes {
		name := route.method + " " + route.path
		e, known := smdExamples[name]
		if !known {
			t.Fatalf("%s has no example", name)
		}
		for _, open := range []Anonymous{{}, {SMD: true}, {Reads: true}} {
			for _, role := range []string{"", "nonsense", "peer", "viewer", "controller", "operator", "admin"} {
				f.fillStates()
				f.open = open
				before := len(f.wroteSince(0))
				credential := "Bearer " + role
				want := http.StatusForbidden
				switch {
				case slices.Contains(e.roles, role):
					want = e.status
				case role == "nonsense":
					want = http.StatusUnauthorized
				case role == "":
					credential, want = "", http.StatusUnauthorized
					if e.open == ifSMD && (open.SMD || open.Reads) || e.open == ifReads && open.Reads {
						want = e.status
					}
				}
				res := ask(route.method, "/hsm/v2"+e.path, e.body, "Authorization", credential)
				body := read(t, res)
				if res.StatusCode != want {
					t.Errorf("%s as %q with %+v: got %d, want %d: %s", name, role, open, res.StatusCode, want, body)
				}
				if strings.Contains(body, fleetSecret) {
					t.Errorf("%s as %q: a secret is in the answer: %s", name, role, body)
				}
				wrote := f.wroteSince(before)
				if writing := e.roles[0] != "viewer" && want < 300; writing != (len(wrote) == 1) {
					t.Errorf("%s as %q: got %d, and the backend was asked %v; a write is one call", name, role, res.StatusCode, wrote)
				}
			}
		}
	}
	if len(smdExamples) != len(smdRoutes) {
		t.Errorf("%d examples for %d operations", len(smdExamples), len(smdRoutes))
	}
}

func TestStateManagerWithoutQuorum(t *testing.T) {
	f, ask := startStates(t)
	f.fillStates()
	f.age = 1500
	f.fail = &api.Error{Kind: api.Unavailable, Msg: "no quorum"}
	for path, local := range map[string]bool{
		"State/Components": true, "State/Components?type=Node": true, "Inventory/EthernetInterfaces": true,
		"State/Components/x1c0s0b0n0": false, "Inventory/EthernetInterfaces/020000000001": false, "groups": false, "memberships": false,
		"Inventory/RedfishEndpoints": false, "Inventory/ComponentEndpoints": false, "partitions": false,
	} {
		res := ask("GET", "/hsm/v2/"+path, "", "Authorization", "Bearer viewer")
		body := read(t, res)
		if !local {
			if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
				t.Errorf("%s: got %d, want 503", path, res.StatusCode)
			}
			checkSMDProblem(t, res, body)
			continue
		}
		if res.StatusCode != 200 || res.Header.Get("Orchd-Age-Ms") != "1500" || !strings.Contains(body, "x1c0s0b0n0") {
			t.Errorf("%s: got %d, age %q, %s; want 200 and what this peer has, with its age", path, res.StatusCode, res.Header.Get("Orchd-Age-Ms"), body)
		}
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "State/Components", `{"Components":[` + aNode + `]}`}, {"PATCH", "groups/g", `{}`}, {"DELETE", "groups/g", ""}, {"POST", "groups", `{"label":"h"}`},
	} {
		if res := ask(c.method, "/hsm/v2/"+c.path, c.body); res.StatusCode != 503 {
			t.Errorf("%s %s: got %d, want 503", c.method, c.path, res.StatusCode)
		}
	}
	f.fail = nil
	for path, want := range map[string]string{ // rows that somebody else wrote, in the form that clients know
		"State/Components":                        `{"Components":[{"ID":"x1c0s0b0n0","Type":"Node","Role":"Compute","State":"On","Enabled":true,"NID":1000}]}`,
		"Inventory/ComponentEndpoints/x1c0s0b0n0": `"Enabled":true`,
		"Inventory/RedfishEndpoints/x1c0s0b0":     `"Enabled":true`,
		"Inventory/EthernetInterfaces":            `"MACAddress":"02:00:00:00:00:01","ComponentID":"x1c0s0b0n0","Type":"","IPAddresses":[]`,
	} {
		f.fillStates()
		f.interfaces["020000000001"] = smd.EthernetInterface{ID: "020000000001", MACAddress: "02-00-00-00-00-01", ComponentID: "x1c0s0b0n0"}
		if body := strings.TrimSpace(read(t, ask("GET", "/hsm/v2/"+path, ""))); !sameJSON(body, want) && !strings.Contains(body, want) {
			t.Errorf("%s: got %s, want %s in it", path, body, want)
		}
	}
	if h := ask("GET", "/hsm/v2/State/Components", "").Header; h.Get("Orchd-Age-Ms") != "" || h.Get("Orchd-Index") == "" {
		t.Errorf("with a quorum: got headers %v, want an index and no age", h)
	}
}
