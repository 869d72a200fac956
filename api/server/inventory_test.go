package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/schema"
)

const (
	newNode       = `{"hostname":"nid7","architecture":"x86_64","xname":"x1000c0s7b0n0","boot_mac":"02:00:00:00:00:07"}`
	newBMC        = `{"xname":"x1000c9s9b0","username":"root","password":"` + fleetSecret + `"}`
	newCollection = `{"name":"job/7 ü","type":"job","nodes":["x1000c0s0b0n0"]}`
	escapedName   = "job%2F7%20%C3%BC"
)

// fleetExamples has one entry for each route of the inventory: a new one fails
// the tests until it is here.
var fleetExamples = map[string]example{
	"GET /ComputeNode":         {"/ComputeNode?arch=x86_64&colour=red", "", 200, "", readers},
	"POST /ComputeNode":        {"/ComputeNode", newNode, 201, "node.create 1", operators},
	"GET /ComputeNode/{id}":    {"/ComputeNode/" + nodeXName, "", 200, "", readers},
	"PUT /ComputeNode/{id}":    {"/ComputeNode/" + nodeID, newNode, 200, "node.replace " + nodeID + " 0", operators},
	"POST /ComputeNode/{id}":   {"/ComputeNode/" + nodeXName, newNode, 200, "node.replace " + nodeID + " 0", operators},
	"PATCH /ComputeNode/{id}":  {"/ComputeNode/" + nodeXName, `{"description":"d"}`, 200, "node.replace " + nodeID + " 3", operators},
	"DELETE /ComputeNode/{id}": {"/ComputeNode/" + bareID, "", 204, "node.delete " + bareID + " 0", operators},
	"POST /ComputeNode/{id}/network_interfaces/{n}/allocate": {"/ComputeNode/" + nodeXName + "/network_interfaces/0/allocate?network=lan", "", 200,
		"node.allocate " + nodeID + " 0 lan", operators},

	"GET /BMC":         {"/BMC", "", 200, "", readers},
	"POST /BMC":        {"/BMC", newBMC, 200, "bmc.create x1000c9s9b0", operators},
	"GET /BMC/{id}":    {"/BMC/" + bmcXName, "", 200, "", readers},
	"PUT /BMC/{id}":    {"/BMC/" + bmcXName, newBMC, 200, "bmc.replace " + bmcID + " 0", operators},
	"POST /BMC/{id}":   {"/BMC/" + bmcID, newBMC, 200, "bmc.replace " + bmcID + " 0", operators},
	"PATCH /BMC/{id}":  {"/BMC/" + bmcXName, `{"description":"d"}`, 200, "bmc.replace " + bmcID + " 2", operators},
	"DELETE /BMC/{id}": {"/BMC/" + bmcXName, "", 204, "bmc.delete " + bmcID + " 0", operators},

	"GET /NodeCollection":         {"/NodeCollection?node=" + nodeXName, "", 200, "", readers},
	"POST /NodeCollection":        {"/NodeCollection", newCollection, 201, "collection.create job/7 ü", operators},
	"GET /NodeCollection/{id}":    {"/NodeCollection/Partition%201", "", 200, "", readers},
	"PUT /NodeCollection/{id}":    {"/NodeCollection/Partition%201", newCollection, 200, "collection.replace " + collectionID + " 0", operators},
	"POST /NodeCollection/{id}":   {"/NodeCollection/" + collectionID, newCollection, 200, "collection.replace " + collectionID + " 0", operators},
	"PATCH /NodeCollection/{id}":  {"/NodeCollection/Partition%201", `{"description":"d"}`, 200, "collection.replace " + collectionID + " 5", operators},
	"DELETE /NodeCollection/{id}": {"/NodeCollection/Partition%201", "", 204, "collection.delete " + collectionID + " 0", operators},
}

// exampleOf is the example of a route, also by the other names that kinds have.
func exampleOf(f facade) example {
	for other, name := range map[string]string{"/nodes": "/ComputeNode", "/bmc": "/BMC"} {
		if rest, ok := strings.CutPrefix(f.path, other); ok {
			e := fleetExamples[f.method+" "+name+rest]
			e.path = other + strings.TrimPrefix(e.path, name)
			return e
		}
	}
	return fleetExamples[f.method+" "+f.path]
}

// TestInventoryRoutes asks every route, under every path that it has, as every
// role and as nobody, and checks the status, what the backend was asked, and
// that the answer has the published shape.
func TestInventoryRoutes(t *testing.T) {
	f, _, ask := startFake(t)
	used := map[string]bool{}
	for _, facade := range inventoryRoutes {
		e := exampleOf(facade)
		if e.status == 0 {
			t.Fatalf("%s %s has no example", facade.method, facade.path)
		}
		used[e.path] = true
		for _, prefix := range []string{"", "/inventory"} {
			for _, role := range []string{"", "nonsense", "peer", "viewer@default", "viewer", "controller", "operator", "admin"} {
				t.Run(facade.method+" "+prefix+facade.path+" as "+role, func(t *testing.T) {
					f.fill()
					before := len(f.wroteSince(0))
					credential := "Bearer " + role
					if role == "" {
						credential = ""
					}
					res := ask(facade.method, prefix+e.path, e.body, "Authorization", credential)
					body := read(t, res)
					want := e.status
					switch {
					case role == "" || role == "nonsense":
						want = http.StatusUnauthorized
					case !slices.Contains(e.roles, role):
						want = http.StatusForbidden
					}
					if res.StatusCode != want {
						t.Fatalf("status: got %d, want %d: %s", res.StatusCode, want, body)
					}
					wrote := strings.Join(f.wroteSince(before), "; ")
					asApply := role == "controller" && strings.Contains(wrote, "node.replace") // what it may change is known there
					if want >= 400 && wrote != "" && !asApply || want < 400 && wrote != e.wrote {
						t.Errorf("the backend was asked: got %q, want %q", wrote, e.wrote)
					}
					if res.Header.Get("X-Request-Id") == "" || res.Header.Get("Orchd-Peer") != "h1" {
						t.Errorf("headers: got %v, want X-Request-Id and Orchd-Peer", res.Header)
					}
					if want < 400 {
						checkShape(t, facade.path, body)
					}
				})
			}
		}
	}
	for name, e := range fleetExamples {
		if !used[e.path] {
			t.Errorf("example %s is of no route", name)
		}
	}
}

// schemas are the published schemas, as any client reads them.
var schemas = func() map[string]*jsonschema.Schema {
	all := map[string]*jsonschema.Schema{}
	for _, kind := range schema.Kinds() {
		text, _ := schema.Of(kind)
		doc := must(jsonschema.UnmarshalJSON(strings.NewReader(string(text))))
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		must(0, c.AddResource(kind+".json", doc))
		all[kind] = must(c.Compile(kind + ".json"))
	}
	return all
}()

// checkShape checks each object of an answer against the schema of its kind, and
// that it has both names of its place, and no secret.
func checkShape(t *testing.T, path, body string) {
	t.Helper()
	if body == "" {
		return
	}
	if strings.Contains(body, fleetSecret) || strings.Contains(body, "password") || strings.Contains(body, "cloud_init_data") {
		t.Errorf("a secret is in the answer: %s", body)
	}
	kind := "ComputeNode"
	switch {
	case strings.Contains(strings.ToLower(path), "bmc"):
		kind = "BMC"
	case strings.Contains(path, "Collection"):
		kind = "NodeCollection"
	}
	tree, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		t.Fatalf("the answer is not JSON: %v: %s", err, body)
	}
	list, isList := tree.([]any)
	if page, ok := tree.(map[string]any); ok && page["items"] != nil {
		list, isList = page["items"].([]any)
	}
	if !isList {
		list = []any{tree}
	}
	for _, item := range list {
		if err := schemas[kind].Validate(item); err != nil {
			t.Errorf("the answer does not fit the schema of %s: %v: %s", kind, err, body)
		}
		checkNames(t, item.(map[string]any))
	}
}

func checkNames(t *testing.T, object map[string]any) {
	t.Helper()
	if object["xname"] != object["location_string"] {
		t.Errorf("xname %v and location_string %v differ", object["xname"], object["location_string"])
	}
	if bmc, ok := object["bmc"].(map[string]any); ok {
		checkNames(t, bmc)
	}
}

// objectIn is the object of an answer.
func objectIn(t *testing.T, res *http.Response, status int) map[string]any {
	t.Helper()
	body := read(t, res)
	var object map[string]any
	if err := json.Unmarshal([]byte(body), &object); err != nil || res.StatusCode != status {
		t.Fatalf("got %d %s, want %d and an object", res.StatusCode, body, status)
	}
	return object
}

// idsIn are the ids of a bare array.
func idsIn(t *testing.T, res *http.Response) []string {
	t.Helper()
	body := read(t, res)
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(body), &list); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s, want a bare array", res.StatusCode, body)
	}
	ids := []string{}
	for _, o := range list {
		ids = append(ids, o.ID)
	}
	return ids
}

func TestWhatAnAnswerSays(t *testing.T) {
	_, _, ask := startFake(t)
	res := ask("GET", "/inventory/ComputeNode/"+nodeXName, "")
	node := objectIn(t, res, 200)
	if node["id"] != nodeID || node["xname"] != nodeXName || node["location_string"] != nodeXName {
		t.Errorf("node: got %v", node)
	}
	if bmc := node["bmc"].(map[string]any); bmc["xname"] != bmcXName || bmc["location_string"] != bmcXName || bmc["username"] != "root" {
		t.Errorf("its BMC: got %v", bmc)
	}
	for _, absent := range []string{"boot_ipv4_address", "description", "status", "boot_data", "created_at"} {
		if value, there := node[absent]; there {
			t.Errorf("%s is empty and in the answer: %v", absent, value)
		}
	}
	if res.Header.Get("Etag") != `"3"` || res.Header.Get("Orchd-Index") != "10" || res.Header.Get("Orchd-Age-Ms") != "" {
		t.Errorf("headers: got %v", res.Header)
	}
	res = ask("POST", "/nodes", newNode)
	if made := objectIn(t, res, 201); res.Header.Get("Location") != "/nodes/"+made["id"].(string) || res.Header.Get("Etag") != `"1"` || res.Header.Get("Orchd-Index") != "11" {
		t.Errorf("headers of a create: got %v", res.Header)
	}
	if bare := objectIn(t, ask("GET", "/ComputeNode/"+strings.ToUpper(bareID), ""), 200); bare["xname"] != nil || bare["location_string"] != nil {
		t.Errorf("a node without a place: got %v", bare)
	}
}

func TestInventoryLocalReads(t *testing.T) {
	f, _, ask := startFake(t)
	f.age = 42
	for _, path := range []string{"/ComputeNode", "/ComputeNode/" + nodeID, "/bmc?limit=1", "/NodeCollection/Partition%201"} {
		joined := path + "?consistency=local"
		if strings.Contains(path, "?") {
			joined = path + "&consistency=local"
		}
		f.fail = nil
		if res := ask("GET", joined, ""); res.StatusCode != 200 || res.Header.Get("Orchd-Age-Ms") != "42" || res.Header.Get("Orchd-Index") == "" {
			t.Errorf("%s: got %d %v, want 200 and its age", joined, res.StatusCode, res.Header)
		}
		f.fail = &api.Error{Kind: api.Unavailable, Msg: "no leader"}
		if res := ask("GET", path, ""); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s without quorum: got %d, want 503 with Retry-After", path, res.StatusCode)
		}
		if res := ask("GET", joined, ""); res.StatusCode != 200 {
			t.Errorf("%s without quorum: got %d, want 200", joined, res.StatusCode)
		}
	}
}

func TestUnauthorizedInTheirWords(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct{ credential, want string }{
		{"", "no token found"},
		{"Basic YWRtaW4=", "no token found"},
		{"Bearer", "no token found"},
		{"Bearer what", "token is unauthorized"},
		{"Bearer old", "token is expired"},
		{"bearer poor", "missing required claim"},
	} {
		for range 60 { // more than the failures that are let pass elsewhere
			if p := problemIn(t, ask("GET", "/ComputeNode", "", "Authorization", c.credential)); p.Status != 401 || p.Detail != c.want {
				t.Fatalf("%q: got %d %q, want 401 %q", c.credential, p.Status, p.Detail, c.want)
			}
		}
	}
	f.fleet.open = Anonymous{Reads: true}
	if got := idsIn(t, ask("GET", "/ComputeNode", "", "Authorization", "")); len(got) != 2 {
		t.Errorf("anonymous read: got %v, want both nodes", got)
	}
	if res := ask("GET", "/ComputeNode", "", "Authorization", "Bearer old"); res.StatusCode != 401 {
		t.Errorf("a bad token where none is needed: got %d, want 401", res.StatusCode)
	}
	if res := ask("POST", "/ComputeNode", newNode, "Authorization", ""); res.StatusCode != 401 {
		t.Errorf("anonymous write: got %d, want 401", res.StatusCode)
	}
	if res := ask("GET", "/ComputeNode/"+nodeID+"?reveal=true", "", "Authorization", ""); res.StatusCode != 403 {
		t.Errorf("anonymous reveal: got %d, want 403", res.StatusCode)
	}
}

func TestReveal(t *testing.T) {
	f, _, ask := startFake(t)
	for path, want := range map[string]string{"/ComputeNode/" + nodeXName: "node " + nodeID, "/bmc/" + bmcID: "bmc " + bmcID} {
		for _, role := range []string{"viewer", "controller", "operator"} {
			if res := ask("GET", path+"?reveal=true", "", "Authorization", "Bearer "+role); res.StatusCode != 403 {
				t.Errorf("%s as %s: got %d, want 403", path, role, res.StatusCode)
			}
		}
		for _, quiet := range []string{"HEAD " + path + "?reveal=true", "GET " + path + "?reveal=false"} {
			method, path, _ := strings.Cut(quiet, " ")
			if res := ask(method, path, ""); res.StatusCode != 200 || strings.Contains(read(t, res), fleetSecret) {
				t.Errorf("%s: got %d, want 200 without secrets", quiet, res.StatusCode)
			}
		}
		if len(f.fleet.revealed) > 0 {
			t.Errorf("revealed to who may not see it: %v", f.fleet.revealed)
		}
		res := ask("GET", path+"?reveal=true", "")
		if body := read(t, res); res.StatusCode != 200 || !strings.Contains(body, `"password":"`+fleetSecret) || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d %s, want the secret, to be kept nowhere", path, res.StatusCode, body)
		}
		if got := strings.Join(f.fleet.revealed, "; "); got != "token:admin "+want {
			t.Errorf("on record: got %q, want %q", got, "token:admin "+want)
		}
		f.fleet.revealed = nil
	}
	for _, path := range []string{"/ComputeNode?reveal=true", "/BMC?reveal=true", "/NodeCollection?reveal=true&limit=1", "/NodeCollection/Partition%201?reveal=true", "/BMC/" + bmcID + "?reveal=maybe"} {
		checkRefused(t, ask, "GET", path, "", 400, "malformed", "/query/reveal")
	}
	if res := ask("GET", "/ComputeNode/x1000c7s7b0n0?reveal=true", ""); res.StatusCode != 404 {
		t.Errorf("reveal of nothing: got %d, want 404", res.StatusCode)
	}
}

func TestDuplicates(t *testing.T) {
	f, _, ask := startFake(t)
	const taken = `{"hostname":"n","architecture":"a","xname":"x1000c00s0b0n0"}` // the canonical form counts
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		text                     string
	}{
		{"node", "POST", "/ComputeNode", taken, 400, "already exists"},
		{"MAC", "POST", "/ComputeNode", `{"hostname":"n","architecture":"a","boot_mac":"02-00-00-00-00-01"}`, 400, "already exists"},
		{"replaced node", "PUT", "/ComputeNode/" + bareID, taken, 400, "already exists"},
		{"patched node", "PATCH", "/ComputeNode/" + bareID, `{"xname":"` + nodeXName + `"}`, 400, "already exists"},
		{"BMC", "POST", "/BMC", `{"xname":"` + bmcXName + `","username":"u","password":"p"}`, 409, "already exists"},
		{"name", "POST", "/NodeCollection", `{"name":"Partition 1","type":"job","nodes":[]}`, 400, "already exists"},
		{"assigned node", "POST", "/NodeCollection", `{"name":"Partition 2","type":"partition","nodes":["` + nodeXName + `"]}`, 400,
			"node " + nodeXName + " is already assigned to another collection: Partition 1"},
	} {
		if p := problemIn(t, ask(c.method, c.path, c.body)); p.Status != c.status || !strings.Contains(p.Detail, c.text) {
			t.Errorf("%s: got %d %q, want %d %q", c.name, p.Status, p.Detail, c.status, c.text)
		}
	}
	p := problemIn(t, ask("POST", "/ComputeNode", "["+newNode+","+taken+"]"))
	if p.Status != 400 || len(p.Errors) != 1 || p.Errors[0].Pointer != "/1" || !strings.Contains(p.Detail, "already exists") {
		t.Errorf("array: got %+v, want 400 that points at /1", p)
	}
	if len(f.fleet.nodes) != 2 {
		t.Errorf("something was stored: %v", f.fleet.nodes)
	}
}

func TestCreateMany(t *testing.T) {
	f, _, ask := startFake(t)
	var items []string
	for i := range 300 {
		items = append(items, fmt.Sprintf(`{"hostname":"n%d","architecture":"x86_64","location_string":"x2000c0s%db0n0"}`, i, i))
	}
	items = items[:255]
	res := ask("POST", "/ComputeNode", "["+strings.Join(items, ",")+"]")
	body := read(t, res)
	var made []inventory.ComputeNode
	if err := json.Unmarshal([]byte(body), &made); err != nil || res.StatusCode != 201 || len(made) != len(items) {
		t.Fatalf("got %d and %d nodes (%v), want 201 and %d", res.StatusCode, len(made), err, len(items))
	}
	checkShape(t, "/ComputeNode", body)
	if made[7].XName != "x2000c0s7b0n0" || made[7].LocationString != made[7].XName || made[7].BMC.XName != "x2000c0s7b0" {
		t.Errorf("the eighth: got %+v", made[7])
	}
	if wrote := f.wroteSince(0); len(wrote) != 1 {
		t.Errorf("backend was asked %v, want once", wrote)
	}
	const two = `[{"hostname":"a","architecture":"x86_64"},{"hostname":"b","architecture":"x86_64"}]`
	for _, c := range []struct {
		prefers string
		minimal bool
	}{{"return=minimal", true}, {`respond-async, Return = "minimal"; a=b`, true}, {"return=representation", false}, {"returns=minimal", false}, {"minimal", false}} {
		before := len(f.wroteSince(0))
		res := ask("POST", "/ComputeNode", two, "Prefer", c.prefers)
		body, applied := read(t, res), res.Header.Get("Preference-Applied")
		if res.StatusCode != 201 || (body == "") != c.minimal || (applied == "return=minimal") != c.minimal || res.Header.Get("Orchd-Index") == "" {
			t.Errorf("Prefer: %s: got %d, %v and %q", c.prefers, res.StatusCode, res.Header, body)
		}
		if wrote := f.wroteSince(before); len(wrote) != 1 {
			t.Errorf("Prefer: %s: backend was asked %v, want once", c.prefers, wrote)
		}
	}
	wrote := len(f.wroteSince(0))
	if res := ask("POST", "/ComputeNode", "[]"); res.StatusCode != 201 || read(t, res) != "[]\n" {
		t.Errorf("an empty array: got %d, want 201 and an empty array", res.StatusCode)
	}
	if wrote := f.wroteSince(wrote); len(wrote) != 0 {
		t.Errorf("for an empty array the backend was asked %v", wrote)
	}
}

func TestDeleteNodeThatIsListed(t *testing.T) {
	_, _, ask := startFake(t)
	res := ask("DELETE", "/ComputeNode/"+nodeXName, "")
	left := objectIn(t, res, 200)
	if left["id"] != nodeID || left["xname"] != nodeXName || fmt.Sprint(left["collections"]) != "[Partition 1]" {
		t.Errorf("got %v, want the id, the xname and the collection", left)
	}
	if p := problemIn(t, ask("DELETE", "/ComputeNode/"+nodeXName, "")); p.Status != 404 || p.Detail != "node not found" {
		t.Errorf("again: got %d %q, want 404 node not found", p.Status, p.Detail)
	}
}

func TestInventoryFilters(t *testing.T) {
	_, _, ask := startFake(t)
	for query, want := range map[string][]string{
		"":                                    {nodeID, bareID},
		"?colour=red&xname=":                  {nodeID, bareID},
		"?xname=x1000c0s00b0n0":               {nodeID},
		"?hostname=nid2":                      {bareID},
		"?arch=arm64":                         {bareID},
		"?boot_mac=02-00-00-00-00-01":         {nodeID},
		"?bmc_mac=020000000100":               {nodeID},
		"?missingIPV4=true":                   {nodeID},
		"?missingIPV6=true":                   {nodeID},
		"?missingIPV4=false":                  {nodeID, bareID},
		"?arch=x86_64&hostname=nid1":          {nodeID},
		"?arch=x86_64&hostname=nid2":          {},
		"?arch=arm64&missingIPV4=true":        {},
		"?boot_mac=nonsense":                  {},
		"?bmc_mac=00:00:00:00:00:00":          {},
		"?xname=nonsense":                     {},
		"?hostname=%F0%9F%92%A9%00":           {},
		"?xname=" + strings.Repeat("x", 9000): {},
	} {
		if got := idsIn(t, ask("GET", "/ComputeNode"+query, "")); !slices.Equal(got, want) {
			t.Errorf("%.60s: got %v, want %v", query, got, want)
		}
	}
	for query, pointer := range map[string]string{
		"?missingIPV4=maybe":      "/query/missingIPV4",
		"?arch=a&arch=b":          "/query/arch",
		"?xname=%zz":              "/query",
		"?a=b;c=d":                "/query",
		"?limit=0":                "/query/limit",
		"?limit=10001":            "/query/limit",
		"?limit=ten":              "/query/limit",
		"?cursor=%21":             "/query/cursor",
		"?consistency=eventually": "/query/consistency",
	} {
		checkRefused(t, ask, "GET", "/ComputeNode"+query, "", 400, "malformed", pointer)
	}
	if got := idsIn(t, ask("GET", "/NodeCollection?node=x1000c0s0b00n0", "")); !slices.Equal(got, []string{collectionID}) {
		t.Errorf("collections of a node: got %v", got)
	}
	if got := read(t, ask("GET", "/NodeCollection?node=x1000c0s0b0n9", "")); got != "[]\n" {
		t.Errorf("collections of another: got %q, want []", got)
	}
}

func TestInventoryPages(t *testing.T) {
	f, _, ask := startFake(t)
	for i := range 7 {
		id := fmt.Sprintf("a1000000-0000-4000-8000-%012d", i)
		f.fleet.nodes[id] = inventory.ComputeNode{ID: id, Hostname: "n", Architecture: "m68k", Version: 1}
		name := fmt.Sprintf("c1000000-0000-4000-8000-%012d", i)
		f.fleet.collections[name] = inventory.NodeCollection{ID: name, Name: name[30:], Type: inventory.AdHoc, Nodes: []string{nodeXName}, Version: 1}
	}
	for path, want := range map[string]int{"/ComputeNode?limit=3": 9, "/ComputeNode?limit=2&arch=m68k": 7, "/ComputeNode?cursor=": 9, "/NodeCollection?limit=3&node=" + nodeXName: 8, "/bmc?limit=10000": 1} {
		var seen []string
		cursor := "&cursor="
		for cursor != "" {
			res := ask("GET", path+cursor, "")
			body := read(t, res)
			var page struct {
				Items []struct{ ID string }
				Next  *string
			}
			if err := json.Unmarshal([]byte(body), &page); err != nil || res.StatusCode != 200 || page.Next == nil || page.Items == nil {
				t.Fatalf("%s: got %d %s, want items and next", path, res.StatusCode, body)
			}
			checkShape(t, path, body)
			for _, item := range page.Items {
				seen = append(seen, item.ID)
			}
			if cursor = *page.Next; cursor != "" {
				cursor = "&cursor=" + cursor
			}
		}
		if len(seen) != want || !slices.IsSorted(seen) || len(slices.Compact(seen)) != want {
			t.Errorf("%s: got %v, want %d, each once and in order", path, seen, want)
		}
	}
}

func TestInventoryMergePatch(t *testing.T) {
	f, _, ask := startFake(t)
	node := objectIn(t, ask("PATCH", "/ComputeNode/"+nodeXName, `{"location_string":"x1000c0s1b0n0","description":"moved"}`), 200)
	if node["xname"] != "x1000c0s1b0n0" || node["location_string"] != "x1000c0s1b0n0" || node["hostname"] != "nid1" || node["id"] != nodeID {
		t.Errorf("by its other name: got %v", node)
	}
	if node = objectIn(t, ask("PATCH", "/ComputeNode/"+nodeID, `{"xname":"x1000c0s2b0n0","description":null}`), 200); node["location_string"] != "x1000c0s2b0n0" || node["description"] != nil {
		t.Errorf("by its name, and a null: got %v", node)
	}
	stored := f.fleet.nodes[nodeID]
	if stored.BMC.Password == nil || *stored.BMC.Password != fleetSecret || stored.CloudInit == nil {
		t.Errorf("secrets that no patch named are gone: %+v", stored)
	}
	objectIn(t, ask("PATCH", "/ComputeNode/"+nodeID, `{"bmc":{"password":null}}`), 200)
	if got := f.fleet.nodes[nodeID].BMC.Password; got == nil || *got != "" {
		t.Errorf("a password that was taken away: got %v, want empty", got)
	}
	for body, pointer := range map[string]string{
		`{"xname":"x1000c0s1b0n0","location_string":"x1000c0s2b0n0"}`: "-",
		`{"hostname":null}`:       "/hostname",
		`{"colour":"red"}`:        "/colour",
		`{"boot_mac":"nonsense"}`: "/boot_mac",
		`["hostname"]`:            "-",
		`{`:                       "-",
		``:                        "-",
	} {
		code := "invalid"
		if !strings.HasPrefix(body, `{"`) {
			code = "malformed"
		}
		checkRefused(t, ask, "PATCH", "/ComputeNode/"+nodeID, body, 400, code, pointer)
	}
}

func TestInventoryVersions(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct{ path, body, etag string }{
		{"/ComputeNode/" + nodeID, newNode, `"3"`},
		{"/bmc/" + bmcXName, newBMC, `"2"`},
		{"/NodeCollection/Partition%201", newCollection, `"5"`},
	} {
		for _, method := range []string{"PUT", "POST", "PATCH", "DELETE"} {
			f.fill()
			if res := ask(method, c.path, c.body, "If-Match", `"99"`); res.StatusCode != 412 {
				t.Errorf("%s %s of another version: got %d %s, want 412", method, c.path, res.StatusCode, read(t, res))
			}
			checkRefused(t, ask, method, c.path, c.body, 400, "malformed", "/header/If-Match", "If-Match", "3")
			res := ask(method, c.path, c.body, "If-Match", c.etag)
			if want := http.StatusOK; res.StatusCode != want && !(method == "DELETE" && res.StatusCode == 204) {
				t.Errorf("%s %s of this version: got %d %s", method, c.path, res.StatusCode, read(t, res))
			}
			if method != "DELETE" && (res.Header.Get("Etag") == c.etag || res.Header.Get("Etag") == "") {
				t.Errorf("%s %s: got ETag %q, want the next", method, c.path, res.Header.Get("Etag"))
			}
		}
	}
	checkRefused(t, ask, "POST", "/ComputeNode", newNode, 400, "malformed", "/header/If-Match", "If-Match", `"1"`)
}

func TestInventoryPatchThatIsLate(t *testing.T) {
	f, _, ask := startFake(t)
	f.fleet.late = 3
	node := objectIn(t, ask("PATCH", "/ComputeNode/"+nodeID, `{"hostname":"h"}`, "Idempotency-Key", "k"), 200)
	if node["hostname"] != "h" || node["description"] != "somebody was here" {
		t.Errorf("got %v, want both changes", node)
	}
	if tries := f.wroteSince(0); len(tries) != 4 {
		t.Errorf("tries: got %v, want 4", tries)
	}
	f.fleet.late = 1
	if res := ask("PATCH", "/ComputeNode/"+nodeID, `{"hostname":"i"}`, "If-Match", `"7"`); res.StatusCode != 412 {
		t.Errorf("with a version: got %d, want 412", res.StatusCode)
	}
	f.fleet.late = 1000
	if res := ask("PATCH", "/ComputeNode/"+nodeID, `{"hostname":"i"}`); res.StatusCode != 409 {
		t.Errorf("without end: got %d, want 409", res.StatusCode)
	}
}

// TestInventoryReplays sends each write twice with one key: it takes effect
// once, and the second answer is the first, or an id when the object is gone.
func TestInventoryReplays(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		gone                     func(id string)
	}{
		{"create node", "POST", "/ComputeNode", newNode, 201, func(id string) { delete(f.fleet.nodes, id) }},
		{"create BMC", "POST", "/bmc", newBMC, 200, func(id string) { delete(f.fleet.bmcs, id) }},
		{"create collection", "POST", "/NodeCollection", newCollection, 201, func(id string) { delete(f.fleet.collections, id) }},
		{"replace node", "PUT", "/ComputeNode/" + nodeID, newNode, 200, func(id string) { delete(f.fleet.nodes, id) }},
		{"patch node", "PATCH", "/ComputeNode/" + nodeID, `{"hostname":"h"}`, 200, func(id string) { delete(f.fleet.nodes, id) }},
		{"patch collection", "PATCH", "/NodeCollection/" + collectionID, `{"nodes":[]}`, 200, func(id string) { delete(f.fleet.collections, id) }},
		{"allocate", "POST", "/ComputeNode/" + nodeID + "/network_interfaces/0/allocate?network=lan", "", 200, func(id string) { delete(f.fleet.nodes, id) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.fill()
			first := objectIn(t, ask(c.method, c.path, c.body, "Idempotency-Key", "k"), c.status)
			res := ask(c.method, c.path, c.body, "Idempotency-Key", "k")
			again := objectIn(t, res, c.status)
			if res.Header.Get("Idempotency-Replayed") != "true" || fmt.Sprint(again) != fmt.Sprint(first) {
				t.Errorf("again: got %v %v, want %v", res.Header, again, first)
			}
			if c.body != "" {
				if res := ask(c.method, c.path, strings.Replace(c.body, "{", "{ ", 1), "Idempotency-Key", "k"); res.StatusCode != 422 {
					t.Errorf("with another body: got %d, want 422", res.StatusCode)
				}
			}
			c.gone(first["id"].(string))
			res = ask(c.method, c.path, c.body, "Idempotency-Key", "k")
			if left := objectIn(t, res, c.status); len(left) != 1 || left["id"] != first["id"] || res.Header.Get("Etag") != "" {
				t.Errorf("gone: got %v, want the id alone", left)
			}
		})
	}
	f.fill()
	allocate := "/ComputeNode/" + nodeID + "/network_interfaces/0/allocate?network="
	for network, want := range map[string]int{"lan": 200, "wan": 422} {
		ask("POST", allocate+"lan", "", "Idempotency-Key", "k")
		if res := ask("POST", allocate+network, "", "Idempotency-Key", "k"); res.StatusCode != want {
			t.Errorf("again, from %s: got %d, want %d", network, res.StatusCode, want)
		}
	}
	for _, path := range []string{"/ComputeNode/" + bareID, "/BMC/" + bmcXName, "/NodeCollection/Partition%201"} {
		f.fill()
		for range 2 {
			if res := ask("DELETE", path, "", "Idempotency-Key", "k"); res.StatusCode != 204 {
				t.Errorf("DELETE %s: got %d, want 204 both times", path, res.StatusCode)
			}
		}
	}
	f.fill()
	const two = "[" + newNode + `,{"hostname":"n","architecture":"a"}]`
	first := read(t, ask("POST", "/ComputeNode", two, "Idempotency-Key", "k"))
	res := ask("POST", "/ComputeNode", two, "Idempotency-Key", "k")
	if again := read(t, res); again != first || res.StatusCode != 201 || res.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("array: got %d %s, want %s", res.StatusCode, again, first)
	}
	var made []inventory.ComputeNode
	if err := json.Unmarshal([]byte(first), &made); err != nil || len(made) != 2 {
		t.Fatalf("array: got %s", first)
	}
	delete(f.fleet.nodes, made[1].ID)
	if again := read(t, ask("POST", "/ComputeNode", two, "Idempotency-Key", "k")); !strings.HasSuffix(again, `,{"id":"`+made[1].ID+"\"}]\n") {
		t.Errorf("array of which one is gone: got %s, want its id alone", again)
	}
}

// TestControllersWriteStatus: who observes nodes writes their status and nothing
// else, who owns them all but the status. Early refusal would lock one of them out.
func TestControllersWriteStatus(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct {
		path, body, role string
		want             int
	}{
		{"/ComputeNode/" + nodeID, `{"status":{"power_state":{"on":true}}}`, "viewer", 403},
		{"/ComputeNode/" + nodeID, `{"status":{"power_state":{"on":true}}}`, "operator", 403},
		{"/ComputeNode/" + nodeID, `{"status":{"power_state":{"on":true}}}`, "controller", 200},
		{"/ComputeNode/" + nodeID, `{"status":{"power_state":{"on":true}}}`, "admin", 200},
		{"/ComputeNode/" + nodeID, `{"hostname":"h"}`, "controller", 403},
		{"/ComputeNode/" + nodeID, `{"hostname":"h"}`, "operator", 200},
		{"/BMC/" + bmcID, `{"description":"d"}`, "controller", 403},
	} {
		f.fill()
		if res := ask("PATCH", c.path, c.body, "Authorization", "Bearer "+c.role); res.StatusCode != c.want {
			t.Errorf("%s to %s as %s: got %d %s, want %d", c.body, c.path, c.role, res.StatusCode, read(t, res), c.want)
		}
	}
}

func TestAllocateAddress(t *testing.T) {
	_, _, ask := startFake(t)
	allocate := "/ComputeNode/" + nodeXName + "/network_interfaces/0/allocate"
	for _, c := range []struct {
		path   string
		status int
	}{
		{allocate, 400},
		{allocate + "?network=a%2Fb", 400},
		{allocate + "?network=wan", 404},
		{"/ComputeNode/x1000c7s7b0n0/network_interfaces/0/allocate?network=lan", 404},
		{"/ComputeNode/nonsense/network_interfaces/0/allocate?network=lan", 400},
		{"/ComputeNode/" + nodeID + "/network_interfaces/eth0/allocate?network=lan", 400},
		{"/ComputeNode/" + nodeID + "/network_interfaces/-1/allocate?network=lan", 400},
		{"/ComputeNode/" + nodeID + "/network_interfaces/9/allocate?network=lan", 400},
		{allocate + "?network=lan", 200},
		{allocate + "?network=lan", 409},
	} {
		if res := ask("POST", c.path, ""); res.StatusCode != c.status {
			t.Errorf("%s: got %d %s, want %d", c.path, res.StatusCode, read(t, res), c.status)
		}
	}
	node := objectIn(t, ask("GET", "/ComputeNode/"+nodeID, ""), 200)
	if nic := node["network_interfaces"].([]any)[0].(map[string]any); nic["ipv4_address"] != "10.1.0.1" {
		t.Errorf("got %v, want the first address of the network", nic)
	}
}

func TestNamesInPaths(t *testing.T) {
	_, _, ask := startFake(t)
	made := objectIn(t, ask("POST", "/NodeCollection", newCollection), 201)
	for _, path := range []string{
		"/NodeCollection/" + escapedName, "/inventory/NodeCollection/" + escapedName, "//NodeCollection//" + escapedName + "/",
		"/NodeCollection/" + made["id"].(string), "/NodeCollection/./" + escapedName,
	} {
		if got := objectIn(t, ask("GET", "http://h1"+path, ""), 200); got["id"] != made["id"] {
			t.Errorf("%s: got %v, want %v", path, got, made)
		}
	}
	for path, want := range map[string]string{
		"/ComputeNode/nonsense":                     "400 malformed node ID",
		"/ComputeNode/x1000c0s0b0":                  "400 malformed node ID",
		"/ComputeNode/x1000c256s0b0n0":              "400 malformed node ID",
		"/ComputeNode/%00":                          "400 malformed node ID",
		"/ComputeNode/..%2f..%2fetc":                "400 malformed node ID",
		"/nodes/x1000c0s0b0n7":                      "404 node not found",
		"/ComputeNode/" + otherID:                   "404 node not found",
		"/BMC/" + nodeXName:                         "400 malformed BMC ID",
		"/bmc/x1000c0s0b9":                          "404 BMC not found",
		"/NodeCollection/Partition%202":             "404 Collection not found",
		"/NodeCollection/%F0%9F%92%A9":              "404 Collection not found",
		"/inventory/inventory/ComputeNode":          "404 there is nothing at this path; /docs lists what there is",
		"/ComputeNode/" + nodeID + "/no-such-thing": "404 there is nothing at this path; /docs lists what there is",
	} {
		p := problemIn(t, ask("GET", path, ""))
		if got := fmt.Sprintf("%d %s", p.Status, p.Detail); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	for method, path := range map[string]string{"DELETE": "/ComputeNode", "PUT": "/BMC", "PATCH": "/NodeCollection"} {
		if res := ask(method, path, ""); res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD, POST, OPTIONS" {
			t.Errorf("%s %s: got %d %q, want 405", method, path, res.StatusCode, res.Header.Get("Allow"))
		}
	}
}

func TestNetworkErrors(t *testing.T) {
	f, _, ask := startFake(t)
	for body, pointer := range map[string]string{
		`{"name":"n"}`:                                     "/cidr",
		`{"name":"N","cidr":"10.0.0.0/8"}`:                 "/name",
		`{"name":"n","cidr":"10.0.0.0/8","dns":"9.9.9.9"}`: "/dns",
		`{"name":"n","cidr":"10.0.0.0/8","colour":"red"}`:  "/colour",
	} {
		checkRefused(t, ask, "POST", "/v1/networks", body, 422, "invalid", pointer)
	}
	for _, path := range []string{"/v1/networks/wan", "/v1/networks/a%2Fb"} {
		for _, method := range []string{"GET", "DELETE"} {
			if res := ask(method, path, ""); res.StatusCode != 404 {
				t.Errorf("%s %s: got %d, want 404", method, path, res.StatusCode)
			}
		}
	}
	nothingWritten(t, f)
	f.fail = &api.Error{Kind: api.Invalid, Msg: "the network is not valid", Fields: []api.FieldError{{Pointer: "/cidr", Detail: "must be a range"}}}
	checkRefused(t, ask, "POST", "/v1/networks", `{"name":"n","cidr":"nonsense"}`, 422, "invalid", "/cidr") // what a range is, apply knows
}
