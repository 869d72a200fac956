package server

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api/smd"
)

// The stories below are the requests that clients of the State Manager are known
// to send, one after another, with what they need of the answers.

// none stands for no Content-Type: no client but magellan sends one.
var none = []string{"Content-Type", ""}

// answerTo decodes an answer of this status, and wants the usual Content-Type.
func answerTo[T any](t *testing.T, res *http.Response, status int) (into T) {
	t.Helper()
	body := read(t, res)
	if res.StatusCode != status || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d, %s, want %d: %s", res.StatusCode, res.Header.Get("Content-Type"), status, body)
	}
	if err := json.Unmarshal([]byte(body), &into); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return into
}

func recorded(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "smd", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

type componentList struct{ Components []smd.Component }

// ochami smd component add X NID: the client drops the NID, so one is given.
func TestOchamiAddsAComponent(t *testing.T) {
	_, ask := startStates(t)
	const body = `{"Components":[{"ID":"x1000c0s0b0n0","Type":"","State":"Ready","Enabled":true,"Role":"Compute","Arch":"X86","NID":0}]}`
	for range 2 {
		if res := ask("POST", "/hsm/v2/State/Components", body, none...); res.StatusCode != 204 || read(t, res) != "" {
			t.Fatalf("add: got %d, want 204 and no body", res.StatusCode)
		}
	}
	c := answerTo[smd.Component](t, ask("GET", "/hsm/v2/State/Components/x1000c0s0b0n0", ""), 200)
	if c.Type != "Node" || c.NID == nil || *c.NID == 0 || c.State != "Ready" {
		t.Errorf("got %+v, want a Node with a NID", c)
	}
	if res := ask("DELETE", "/hsm/v2/State/Components/x1000c0s0b0n9", "", none...); res.StatusCode != 404 {
		t.Errorf("delete what is not there: got %d, want 404, whatever the client makes of it", res.StatusCode)
	}
}

// ochami discover static: components first, so that their NIDs win, then a
// record for each node, then interfaces that are there already, then groups.
func TestOchamiDiscovers(t *testing.T) {
	f, ask := startStates(t)
	if res := ask("POST", "/hsm/v2/State/Components", `{"Components":[{"ID":"x1000c0s0b0n0","Type":"Node","State":"On","Enabled":true,"NID":42}]}`, none...); res.StatusCode != 204 {
		t.Fatalf("components: got %d", res.StatusCode)
	}
	res := ask("POST", "/hsm/v2/Inventory/RedfishEndpoints", recorded(t, "ochami.json"), none...)
	if uris := answerTo[[]resource](t, res, 201); len(uris) != 1 || uris[0].URI != res.Header.Get("Location") {
		t.Errorf("record: got %v, Location %q", uris, res.Header.Get("Location"))
	}
	if n := f.components["x1000c0s0b0n0"]; *n.NID != 42 {
		t.Errorf("NID: got %d, want the 42 that was posted first", *n.NID)
	}
	nic := `{"ID":"","ComponentID":"x1000c0s0b0n0","Type":"Node","Description":"Interface 0 for nid001","MACAddress":"de:ad:be:ee:ef:01","IPAddresses":[{"IPAddress":"172.16.0.1","Network":"HMN"}]}`
	if res := ask("POST", "/hsm/v2/Inventory/EthernetInterfaces", nic, none...); res.StatusCode != 409 {
		t.Fatalf("an interface that the record brought: got %d, want 409", res.StatusCode)
	}
	if got := answerTo[smd.EthernetInterface](t, ask("PATCH", "/hsm/v2/Inventory/EthernetInterfaces/deadbeeeef01", nic, none...), 200); got.IPAddresses[0].Network != "HMN" {
		t.Errorf("the same as a PATCH: got %+v", got)
	}
	if res := ask("POST", "/hsm/v2/groups", `{"label":"compute","description":"","members":{"ids":["x1000c0s0b0n0"]}}`, none...); res.StatusCode != 201 {
		t.Fatalf("group: got %d", res.StatusCode)
	}
	if res := ask("POST", "/hsm/v2/groups", `{"label":"compute","description":"","members":{}}`, none...); res.StatusCode != 409 {
		t.Fatalf("the same group: got %d, want 409", res.StatusCode)
	}
	if res := ask("POST", "/hsm/v2/Inventory/RedfishEndpoints", recorded(t, "ochami.json"), none...); res.StatusCode != 409 {
		t.Errorf("the same record: got %d, want 409", res.StatusCode)
	}
}

// magellan send --force-update: POST; what is there already is PUT.
func TestMagellanSends(t *testing.T) {
	f, ask := startStates(t)
	body := recorded(t, "magellan.json")
	for i, want := range []int{201, 409} {
		if res := ask("POST", "/hsm/v2/Inventory/RedfishEndpoints", body, "Content-Type", "application/json"); res.StatusCode != want {
			t.Fatalf("send %d: got %d, want %d", i, res.StatusCode, want)
		}
	}
	body = strings.Replace(body, "B4:2E:99:A6:11:01", "B4:2E:99:A6:11:0F", 1)
	e := answerTo[smd.RedfishEndpoint](t, ask("PUT", "/hsm/v2/Inventory/RedfishEndpoints/x1000c1s7b1", body, "Content-Type", "application/json"), 200)
	if e.ID != "x1000c1s7b1" || e.Password != "" || e.User != "admin" {
		t.Errorf("got %+v, want the endpoint without its password", e)
	}
	if _, there := f.interfaces["b42e99a6110f"]; !there || len(f.parts) != 2 || len(f.components) != 3 {
		t.Errorf("derived: got %d components, %d parts, %v", len(f.components), len(f.parts), f.interfaces)
	}
}

// coresmd polls both lists without a token, looks at no status, and takes what it
// can unmarshal for all there is.
func TestCoresmdPolls(t *testing.T) {
	f, ask := startStates(t)
	ask("POST", "/hsm/v2/Inventory/RedfishEndpoints", recorded(t, "ochami.json"))
	nobody := []string{"Authorization", ""}
	nics := answerTo[[]smd.EthernetInterface](t, ask("GET", "/hsm/v2/Inventory/EthernetInterfaces", "", nobody...), 200)
	comps := answerTo[componentList](t, ask("GET", "/hsm/v2/State/Components", "", nobody...), 200)
	types := map[string]string{}
	for _, c := range comps.Components {
		types[c.ID] = c.Type
	}
	for _, i := range nics {
		if types[i.ComponentID] == "" || i.MACAddress != strings.ToLower(i.MACAddress) || len(strings.Split(i.MACAddress, ":")) != 6 {
			t.Errorf("%+v: its component must be there, and its MAC as DHCP servers look for it", i)
		}
	}
	if len(nics) != 3 || types["x1000c0s0b0n0"] != "Node" || types["x1000c0s0b0"] != "NodeBMC" {
		t.Errorf("got %d interfaces and %v", len(nics), types)
	}
	f.open.SMD = false
	if res := ask("GET", "/hsm/v2/State/Components", "", nobody...); res.StatusCode != 401 {
		t.Errorf("when that is closed: got %d, want 401", res.StatusCode)
	}
}

// BSS reads components and interfaces, with a token; the cloud-init server reads
// groups and the membership of a node; Ansible's inventory reads both.
func TestOthersRead(t *testing.T) {
	_, ask := startStates(t)
	ask("POST", "/hsm/v2/Inventory/RedfishEndpoints", recorded(t, "ochami.json"))
	ask("POST", "/hsm/v2/groups", `{"label":"compute","tags":["a"],"members":{"ids":["x1000c0s0b0n0"]}}`)
	viewer := []string{"Authorization", "Bearer viewer"}
	for _, path := range []string{"/State/Components?type=Node", "/State/Components?group=compute", "/State/Components?type=node&state=on&enabled=true&role=compute"} {
		list := answerTo[componentList](t, ask("GET", "/smd"+path, "", viewer...), 200)
		if len(list.Components) != 1 || list.Components[0].ID != "x1000c0s0b0n0" || *list.Components[0].NID != 1 {
			t.Errorf("%s: got %+v", path, list)
		}
	}
	nics := answerTo[[]smd.EthernetInterface](t, ask("GET", "/hsm/v2/Inventory/EthernetInterfaces?type=Node", "", viewer...), 200)
	if len(nics) != 2 || nics[0].ComponentID != "x1000c0s0b0n0" || nics[0].IPAddresses[0].IPAddress != "172.16.0.1" || len(nics[1].IPAddresses) != 0 {
		t.Errorf("interfaces of nodes: got %+v", nics)
	}
	by := answerTo[[]smd.EthernetInterface](t, ask("GET", "/hsm/v2/Inventory/EthernetInterfaces?MACAddress=de:ad:be:ee:ef:01", "", viewer...), 200)
	if len(by) != 1 || by[0].ID != "deadbeeeef01" {
		t.Errorf("interface by MAC: got %+v", by)
	}
	parts := answerTo[struct{ ComponentEndpoints []smd.ComponentEndpoint }](t, ask("GET", "/hsm/v2/Inventory/ComponentEndpoints?type=Node", "", viewer...), 200)
	if len(parts.ComponentEndpoints) != 1 || parts.ComponentEndpoints[0].SystemInfo.EthernetNICInfo[0].MACAddress != "de:ad:be:ee:ef:01" {
		t.Errorf("component endpoints: got %+v", parts)
	}
	groups := answerTo[[]smd.Group](t, ask("GET", "/hsm/v2/groups", "", viewer...), 200)
	if len(groups) != 1 || groups[0].Members.IDs[0] != "x1000c0s0b0n0" {
		t.Errorf("groups: got %+v", groups)
	}
	m := answerTo[smd.Membership](t, ask("GET", "/hsm/v2/memberships/x1000c0s0b0n0", "", viewer...), 200)
	if len(m.GroupLabels) != 1 || m.GroupLabels[0] != "compute" {
		t.Errorf("membership: got %+v", m)
	}
}

func TestStateManagerQueries(t *testing.T) {
	f, ask := startStates(t)
	for _, id := range []string{"x1000c0s0b0", "x1000c0s0b0n0", "x1000c0s0b0n1", "x1000c0s10b0n0", "x1001c0s0b0n0"} {
		f.put(smd.Component{ID: id, Type: nodeOrBMC(id), State: "On"})
	}
	all := len(f.components)
	for _, c := range []struct {
		method, path, body string
		want               string // names without x1; a status when it is refused
		walked             int    // rows that the backend gave
	}{
		{"GET", "?id=x1000c0s0b0n0", "", "000c0s0b0n0", 0},
		{"GET", "?id=x1000c0s0b0n0&id=X01000c0s0b0&id=x9c0s0b0&id=x1000c0s0b0", "", "000c0s0b0 000c0s0b0n0", 0},
		{"GET", "?id=!x1000c0s0b0n0", "", "000c0s0b0 000c0s0b0n1 000c0s10b0n0 001c0s0b0n0", all},
		{"GET", "?group=nobody", "", "", 0},
		{"GET", "?type=NodeBMC", "", "000c0s0b0", all},
		{"GET", "?type=Toaster", "", "400", 0},
		{"GET", "?id=n", "", "400", 0},
		{"GET", "?type=%zz&stateonly=maybe", "", "000c0s0b0 000c0s0b0n0 000c0s0b0n1 000c0s10b0n0 001c0s0b0n0", all},
		{"GET", "/x1000c0s0/Query", "", "000c0s0b0 000c0s0b0n0 000c0s0b0n1", all},
		{"GET", "/Query/x1000?type=Node", "", "000c0s0b0n0 000c0s0b0n1 000c0s10b0n0", all},
		{"GET", "/Query/cabinet", "", "400", 0},
		{"POST", "/Query", `{"ComponentIDs":["x1000c0s0b0","x1001"],"type":["Node"]}`, "000c0s0b0n0 000c0s0b0n1 001c0s0b0n0", all},
		{"POST", "/Query", `{"componentids":["s0"],"Type":"NodeBMC","stateonly":true}`, "000c0s0b0", all},
		{"POST", "/Query", `{"ComponentIDs":["x1000"],"nid_start":1001,"nid_end":["1001"]}`, "000c0s0b0n0", all},
		{"POST", "/Query", `{"ComponentIDs":[]}`, "400", 0},
		{"POST", "/Query", `{"ComponentIDs":["cabinet"]}`, "400", 0},
		{"POST", "/Query", `{"ComponentIDs":["x1"],"type":{"a":1}}`, "400", 0},
		{"POST", "/Query", `[]`, "400", 0},
		{"POST", "/Query", ``, "400", 0},
		{"POST", "/x1001/Query", ``, "001c0s0b0n0", all},
		{"POST", "/x1001/Query", `{"type":"NodeBMC"}`, "", all},
		{"POST", "/ByNID/Query", `{"NIDRanges":["1001-1002","1004"]}`, "000c0s0b0n0 000c0s0b0n1 001c0s0b0n0", all},
		{"POST", "/ByNID/Query", `{"NIDRanges":["some"]}`, "400", 0},
		{"POST", "/ByNID/Query", `{}`, "400", 0},
	} {
		f.walkedSMD = 0
		res := ask(c.method, "/hsm/v2/State/Components"+c.path, c.body)
		body := read(t, res)
		got := fmt.Sprint(res.StatusCode)
		if res.StatusCode == 200 {
			var list componentList
			if err := json.Unmarshal([]byte(body), &list); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, c := range list.Components {
				names = append(names, strings.TrimPrefix(c.ID, "x1"))
			}
			got = strings.Join(names, " ")
		}
		if got != c.want || f.walkedSMD != c.walked {
			t.Errorf("%s %s %s: got %q after %d rows, want %q after %d: %s", c.method, c.path, c.body, got, f.walkedSMD, c.want, c.walked, body)
		}
	}
	res := ask("GET", "/hsm/v2/State/Components?id=x1000c0s0b0n0&nidonly=true", "")
	if body := strings.TrimSpace(read(t, res)); !sameJSON(body, `{"Components":[{"ID":"x1000c0s0b0n0","Type":"Node","NID":1001}]}`) {
		t.Errorf("nidonly: got %s", body)
	}
}

func nodeOrBMC(id string) string {
	if strings.Contains(id, "n") {
		return "Node"
	}
	return "NodeBMC"
}

// TestStateManagerHostileBodies sends to each write what no client should: it
// is refused as the client's fault or, where that is allowed, taken.
func TestStateManagerHostileBodies(t *testing.T) {
	f, ask := startStates(t)
	const secret = "Hunter2-Hunter2"
	bodies := []string{``, ` `, `null`, `true`, `7`, `"` + secret + `"`, `[]`, `{}`, `[{}]`, `[null]`, `{"Components":null}`, `{"Components":{}}`, `{"Components":[null]}`, `{"Component":null}`, `{"Component":[]}`,
		`{"Components":[{"ID":7}]}`, `{"Components":[{"ID":"x1c0s0b0n0","NID":1e400}]}`, `{"Components":[{"ID":"x1c0s0b0n0","NID":"` + secret + `"}]}`, `{"Components":[{"ID":"x99999999999999999999c0"}]}`,
		`{"ComponentIDs":null}`, `{"ComponentIDs":[null],"State":"On"}`, `{"ComponentIDs":[""],"State":"On"}`, `{"xnames":["x1c0s0b0n0"],"data":null}`, `{"xnames":["x1c0s0b0n0"],"data":[]}`, `{"State":null}`,
		`{"State":"` + secret + `","ComponentIDs":["x1c0s0b0n0"]}`, `{"Flag":7}`, `{"Enabled":"yes"}`, `{"NID":{}}`, `{"SoftwareStatus":"` + strings.Repeat("s", 5000) + `","ComponentIDs":["x1c0s0b0n0"]}`,
		`{"ID":"x1c0s0b0","Systems":{}}`, `{"ID":"x1c0s0b0","Systems":[null,7]}`, `{"ID":"x1c0s0b0","Managers":[{"ethernet_interfaces":[{"mac":7}]}]}`, `{"ID":"x1c0s0b0","Enabled":"yes"}`,
		`{"ID":"x1c0s0b0","SchemaVersion":"one","Systems":[{"uuid":"u","uri":"://%zz","ethernet_interfaces":[{"mac":"` + secret + `","ip":"` + secret + `"}]}]}`, `{"ID":"x1c0s0b0n0","Systems":[{}]}`,
		`{"ID":"x1c0s0b0","Password":["` + secret + `"]}`, `{"ID":"` + secret + `","Password":"` + secret + `"}`, `{"RedfishEndpoints":[{"ID":"x1c0s1b0"},{"ID":"` + secret + `"}]}`,
		`{"MACAddress":"` + secret + `"}`, `{"MACAddress":"020000000001","IPAddresses":{}}`, `{"MACAddress":"020000000001","IPAddresses":[{"IPAddress":"` + secret + `"}]}`, `{"MACAddress":"020000000001","ComponentID":"` + secret + `"}`,
		`{"Description":7}`, `{"ComponentID":""}`, `{"label":7}`, `{"label":"\u0000\n../..","members":{"ids":["` + secret + `"]}}`, `{"label":"g","members":[]}`, `{"label":"g","tags":"t"}`, `{"name":{}}`, `{"id":null}`, `{"id":["x"]}`, `{"ids":null}`, `{"ids":[7]}`, `{"tags":[7]}`,
		"{\"\xff\":\"\xfe\"}", `{"a":`, `{} {}`, strings.Repeat("[", 20000), strings.Repeat(`{"Component":`, 20000), `{"NIDRanges":["` + secret + `"]}`}
	sent := 0
	for _, route := range smdRoutes {
		if route.method == get || route.method == del {
			continue
		}
		for _, body := range bodies {
			f.fillStates()
			res := ask(route.method, "/hsm/v2"+smdExamples[route.method+" "+route.path].path, body)
			answer := read(t, res)
			if res.StatusCode >= 500 || strings.Contains(answer, secret) {
				t.Errorf("%s %s %.60q: got %d %.200s", route.method, route.path, body, res.StatusCode, answer)
			}
			if res.StatusCode >= 400 {
				checkSMDProblem(t, res, answer)
			}
			sent++
		}
	}
	for _, query := range []string{"type=" + secret, "id=" + secret, "nid_start=" + secret, "%", "a=b;c", "group=%00", strings.Repeat("type=Node&", 3000), "enabled=!", "consistency=" + secret} {
		for _, route := range smdRoutes {
			if route.method != get {
				continue
			}
			res := ask(get, "/hsm/v2"+smdExamples[route.method+" "+route.path].path+"?"+query, "")
			if answer := read(t, res); res.StatusCode >= 500 || strings.Contains(answer, secret) {
				t.Errorf("GET %s ?%.60s: got %d %.200s", route.path, query, res.StatusCode, answer)
			}
			sent++
		}
	}
	if sent < 1500 {
		t.Errorf("only %d requests were sent", sent)
	}
}

// TestStateManagerKeepsPasswordsOutOfTheLog sends a password in every place and looks for it.
func TestStateManagerKeepsPasswordsOutOfTheLog(t *testing.T) {
	f := newFake()
	st := newFakeStates(f)
	var log strings.Builder
	h := New(Config{Version: "test"}, f, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))).Handler()
	const secret = "Hunter2-Hunter2"
	for _, c := range []struct{ method, path, body string }{
		{"POST", "Inventory/RedfishEndpoints", `{"ID":"x1c0s0b0","Password":"` + secret + `"}`},
		{"POST", "Inventory/RedfishEndpoints", `{"ID":"x1c0s0b0","Password":"` + secret + `"}`},
		{"PUT", "Inventory/RedfishEndpoints/x1c0s0b0", `{"Password":"` + secret + `"}`},
		{"POST", "Inventory/RedfishEndpoints", `{"ID":"` + secret + `","Password":"` + secret + `"}`},
		{"POST", "Inventory/RedfishEndpoints", `{"ID":"x1c0s1b0","Password":["` + secret + `"]}`},
		{"GET", "Inventory/RedfishEndpoints", ""},
		{"GET", "Inventory/RedfishEndpoints/x1c0s0b0", ""},
	} {
		r := httptest.NewRequest(c.method, "/hsm/v2/"+c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer admin")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s %s: the answer has the password: %s", c.method, c.path, w.Body)
		}
	}
	if st.endpoints["x1c0s0b0"].Password != secret {
		t.Error("the password was not stored")
	}
	if strings.Contains(log.String(), secret) || !strings.Contains(log.String(), "RedfishEndpoints") {
		t.Errorf("the log has the password, or nothing at all:\n%s", log.String())
	}
}

// manyStates is a State Manager with n nodes, each with an interface.
func manyStates(n int) (*fakeStates, http.Handler) {
	f := newFake()
	st := newFakeStates(f)
	for i := range n {
		id := fmt.Sprintf("x%dc%ds%db0n0", 1000+i/512, i/64%8, i%64)
		mac := fmt.Sprintf("02000000%04x", i)
		st.components[id] = smd.Component{ID: id, Type: "Node", State: "Ready", Flag: "OK", Role: "Compute", Arch: "X86", Class: "River", Enabled: new(true), NID: new(int64(i) + 1)}
		st.interfaces[mac] = smd.EthernetInterface{ID: mac, MACAddress: mac, ComponentID: id, Type: "Node", Description: "Interface 0", IPAddresses: []smd.IPAddress{{IPAddress: "10.0.0.1"}}}
	}
	return st, New(Config{Version: "test"}, f, slog.New(slog.DiscardHandler)).Handler()
}

// sink takes an answer and keeps nothing of it but the largest piece's size.
type sink struct {
	header http.Header
	status int
	bytes  int
	pieces int
	most   int
}

func (s *sink) Header() http.Header    { return s.header }
func (s *sink) WriteHeader(status int) { s.status = status }
func (s *sink) Write(b []byte) (int, error) {
	s.bytes, s.pieces, s.most = s.bytes+len(b), s.pieces+1, max(s.most, len(b))
	return len(b), nil
}

// TestStateManagerStreamsLists: a long list goes out in pieces, and is whole.
func TestStateManagerStreamsLists(t *testing.T) {
	const n = 10000
	st, h := manyStates(n)
	for path, rows := range map[string]int{"/hsm/v2/State/Components": n, "/hsm/v2/Inventory/EthernetInterfaces": n, "/hsm/v2/State/Components?nid_start=1&nid_end=10": 10, "/hsm/v2/memberships": n} {
		out := &sink{header: http.Header{}}
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer viewer")
		h.ServeHTTP(out, r)
		if out.status != 200 || out.most > 2*sendAt || rows == n && out.pieces < 5 {
			t.Errorf("%s: got %d, %d bytes in %d pieces of at most %d; want pieces of about %d", path, out.status, out.bytes, out.pieces, out.most, sendAt)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var whole any
		if err := json.Unmarshal(w.Body.Bytes(), &whole); err != nil {
			t.Fatal(err)
		}
		if m, named := whole.(map[string]any); named {
			whole = m["Components"]
		}
		if got := len(whole.([]any)); got != rows {
			t.Errorf("%s: got %d rows, want %d", path, got, rows)
		}
	}

	// A client that leaves ends the walk, and what it got is no whole list.
	st.walkedSMD = 0
	left := &leaver{sink: sink{header: http.Header{}}}
	r := httptest.NewRequest("GET", "/hsm/v2/State/Components", nil)
	h.ServeHTTP(left, r)
	if st.walkedSMD > n/2 || json.Valid([]byte(left.got.String())) {
		t.Errorf("after the client left: %d rows were walked, and it got %d bytes", st.walkedSMD, left.got.Len())
	}
}

// leaver takes one piece of an answer.
type leaver struct {
	sink
	got strings.Builder
}

func (l *leaver) Write(b []byte) (int, error) {
	if l.got.Len() > 0 {
		return 0, io.ErrClosedPipe
	}
	l.got.Write(b)
	return len(b), nil
}

// readyRows is a State Manager whose rows stand ready, so that a benchmark measures the server.
type readyRows struct {
	StateManagerView
	components []smd.Component
	interfaces []smd.EthernetInterface
}

func (r *readyRows) Components(string) iter.Seq[smd.Component] { return slices.Values(r.components) }

func (r *readyRows) EthernetInterfaces(string) iter.Seq[smd.EthernetInterface] {
	return slices.Values(r.interfaces)
}

// BenchmarkStateManagerList measures lists of 10,000 rows.
func BenchmarkStateManagerList(b *testing.B) {
	st, h := manyStates(10000)
	st.fake.smd = &readyRows{st, slices.Collect(st.Components("")), slices.Collect(st.EthernetInterfaces(""))}
	for _, path := range []string{"State/Components", "State/Components?type=Node&state=ready&enabled=true&nid_end=1", "Inventory/EthernetInterfaces", "memberships?nid_end=1", "State/Components/x1000/Query"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out := &sink{header: http.Header{}}
				r := httptest.NewRequest("GET", "/hsm/v2/"+path, nil)
				r.Header.Set("Authorization", "Bearer viewer")
				h.ServeHTTP(out, r)
				if out.status != 200 {
					b.Fatal(out.status)
				}
				b.SetBytes(int64(out.bytes))
			}
		})
	}
}
