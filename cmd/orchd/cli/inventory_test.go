package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/schema"
)

const nodeID = "0b9f2d1e-0000-4000-8000-0000000000d1"

func aNode() inventory.ComputeNode {
	return inventory.ComputeNode{ID: nodeID, Hostname: "n1", Architecture: "x86_64", XName: "x1000c0s0b0n1", LocationString: "x1000c0s0b0n1",
		BootMAC: "68:da:e6:4b:b0:9a", NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "eth0", MACAddress: "68:da:e6:4b:b0:9a"}},
		BMC:    &inventory.BMC{ID: "b", XName: "x1000c0s0b0", MACAddress: "68:da:e6:4b:b0:9b"},
		Status: &inventory.NodeStatus{PowerState: &inventory.PowerState{On: true}}, Version: 3, CreatedAt: now.Add(-time.Hour)}
}

// post answers a create as the API does; refuse says what is wrong with an item of the batch.
func (f *fake) post(kind string, refuse func(n int, item map[string]any) (pointer, detail string)) *fake {
	f.mux.HandleFunc("POST /inventory/"+kind, func(w http.ResponseWriter, r *http.Request) {
		var items []map[string]any
		body := f.asked[len(f.asked)-1]
		_, text, _ := strings.Cut(body, "/inventory/"+kind+" ")
		array := strings.HasPrefix(text, "[")
		if !array {
			text = "[" + text + "]"
		}
		if err := json.Unmarshal([]byte(text), &items); err != nil {
			f.t.Errorf("%s: %v", text, err)
		}
		var fields []api.FieldError
		for i, item := range items {
			pointer, detail := refuse(i, item)
			if detail != "" && array {
				pointer = fmt.Sprintf("/%d%s", i, pointer)
			}
			if detail != "" {
				fields = append(fields, api.FieldError{Pointer: pointer, Detail: detail})
			}
			item["id"] = fmt.Sprintf("id-%v", item["hostname"])
		}
		if len(fields) > 0 {
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(api.Problem{Code: "malformed", Detail: "see errors", Errors: fields})
			return
		}
		w.WriteHeader(http.StatusCreated)
		switch {
		case array && r.Header.Get("Prefer") == "return=minimal":
		case array:
			json.NewEncoder(w).Encode(items)
		default:
			json.NewEncoder(w).Encode(items[0])
		}
	})
	return f
}

func takeAll(int, map[string]any) (string, string) { return "", "" }

// file writes an input.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// nodes is an input of n nodes, between as JSON arrays or NDJSON have it.
func nodes(n int, open, between, end string) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"hostname":"h%d","architecture":"x86_64"}`, i+1))
	}
	return open + strings.Join(all, between) + end
}

func TestInventoryListing(t *testing.T) {
	other := inventory.ComputeNode{ID: "0b9f2d1e-0000-4000-8000-0000000000d2", Hostname: "n2", Architecture: "arm64", Version: 1, CreatedAt: now}
	for _, format := range []string{"table", "wide", "json", "yaml", "name", "csv"} {
		f := newFake(t).answer("GET /inventory/ComputeNode", api.Page[inventory.ComputeNode]{Items: []inventory.ComputeNode{aNode()}, Next: "c2"}, page(other))
		r := f.run("get", "NODE", "--filter", "arch=x", "-o", format)
		if r.code != 0 {
			t.Fatalf("-o %s: exit %d, %s", format, r.code, r.stderr)
		}
		golden(t, "inventory-list-"+format+".golden", r.stdout)
		if want := []string{"GET /inventory/ComputeNode?arch=x&limit=1000", "GET /inventory/ComputeNode?arch=x&cursor=c2&limit=1000"}; strings.Join(f.asked, "\n") != strings.Join(want, "\n") {
			t.Errorf("asked %q, want %q", f.asked, want)
		}
	}
	var both []inventory.ComputeNode
	r := newFake(t).answer("GET /inventory/ComputeNode", page(aNode(), other)).run("get", "node", "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &both); err != nil || len(both) != 2 || both[0].XName != "x1000c0s0b0n1" {
		t.Errorf("json: %v, %+v", err, both)
	}
	f := newFake(t).answer("GET /inventory/ComputeNode", page(aNode()))
	if f.run("get", "node", "--filter", "missingIPV4", "--filter", "arch=arm64", "-o", "name"); f.asked[0] != "GET /inventory/ComputeNode?arch=arm64&limit=1000&missingIPV4=true" {
		t.Errorf("two filters: asked %q", f.asked)
	}
	for format, want := range map[string]string{"json": "[]\n", "yaml": "[]\n", "name": "", "table": ""} {
		if r := newFake(t).answer("GET /inventory/BMC", page[inventory.BMC]()).run("get", "bmc", "-o", format); r.code != 0 || r.stdout != want {
			t.Errorf("empty -o %s: exit %d, %q, want %q", format, r.code, r.stdout, want)
		}
	}
}

func TestInventoryShow(t *testing.T) {
	f := newFake(t).answer("GET /inventory/ComputeNode/{id}", aNode()).
		answer("GET /inventory/NodeCollection/{id}", json.RawMessage(`{"name":"Partition 1","type":"partition","nodes":["x1000c0s0b0n1"],"new_field":1}`))
	golden(t, "inventory-show.golden", f.run("get", "ComputeNode", "x1000c0s0b0n1").stdout)
	r := f.run("get", "collection", "Partition 1", "-o", "yaml")
	if want := "name: Partition 1\ntype: partition\nnodes:\n  - x1000c0s0b0n1\nnew_field: 1\n"; r.stdout != want || f.asked[1] != "GET /inventory/NodeCollection/Partition%201" {
		t.Errorf("got %q (asked %q), want %q", r.stdout, f.asked[1], want)
	}
	for line, want := range map[string]string{
		"get nod":                            `unknown kind "nod"`,
		"get node --filter arc=1":            "did you mean arch?",
		"get node --filter arch":             "KEY=VALUE",
		"get node x --filter arch=1":         "leave out the ID",
		"get Component":                      "/hsm/v2",
		"create node":                        "at least one of the flags",
		"create node --data 1 --file x":      "none of the others can be",
		"create node --file /nowhere":        "/nowhere",
		"create node --data {} --schema-dir": "flag needs an argument",
	} {
		if r := f.run(strings.Fields(line)...); r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("orchd %s: exit %d, %q; want %q", line, r.code, r.stderr, want)
		}
	}
}

func TestInventoryCompletion(t *testing.T) {
	f := newFake(t).answer("GET /inventory/ComputeNode", page(aNode(), inventory.ComputeNode{ID: nodeID}))
	for line, want := range map[string]string{
		"get ": "ComputeNode BMC NodeCollection :4", "get node ": "x1000c0s0b0n1 " + nodeID + " :4", "get node x ": ":4",
		"delete node x1000c0s0b0n1 ": nodeID + " :4", "get nonsense ": ":4", "get node x x ": ":4",
	} {
		r := f.run(append([]string{"__completeNoDesc"}, strings.Split(line, " ")...)...)
		if got := strings.Join(strings.Fields(r.stdout), " "); got != want {
			t.Errorf("orchd %s<Tab>: got %q, want %q", line, got, want)
		}
	}
}

func TestCreateFromEveryShape(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		asked int
		want  string
	}{
		"object":         {`{"hostname":"h1","architecture":"x86_64"}`, 1, "1 ComputeNode stored"},
		"pretty object":  {"\n{\n \"hostname\":\"h1\",\n \"architecture\":\"x86_64\"\n}\n", 1, "1 ComputeNode stored"},
		"pretty objects": {"{\n \"hostname\":\"h1\"\n}\n{\n \"hostname\":\"h2\"\n}\n", 1, "2 ComputeNodes stored"},
		"array":          {nodes(3, " [\n", ",\n", "]\n"), 1, "3 ComputeNodes stored"},
		"empty array":    {"[]", 0, "0 ComputeNodes stored"},
		"lines":          {nodes(3, "\n", "\n\n", "\r\n"), 1, "3 ComputeNodes stored"},
		"2,001 lines":    {nodes(2001, "", "\n", ""), 3, "2001 ComputeNodes stored"},
		"2,000 items":    {nodes(2000, "[", ",", "]"), 2, "2000 ComputeNodes stored"},
	} {
		f := newFake(t).post("ComputeNode", takeAll)
		if r := f.run("create", "node", "--file", file(t, c.text)); r.code != 0 || len(f.asked) != c.asked || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: exit %d after %d requests, %q; want %d requests, %q", name, r.code, len(f.asked), r.stderr, c.asked, c.want)
		}
	}
}

func TestCreatePrintsWhatWasStored(t *testing.T) {
	f := newFake(t).post("ComputeNode", takeAll)
	a := App{Environ: []string{"ORCHD_ADDR=unix://" + f.socket}, Stdin: strings.NewReader(nodes(3, "", "\n", "\n"))}
	if r := run(t.Context(), a, "create", "node", "--file", "-", "-o", "name"); r.stdout != "id-h1\nid-h2\nid-h3\n" || r.stderr != "3 ComputeNodes stored\n" {
		t.Errorf("name: got %q, %q", r.stdout, r.stderr)
	}
	var stored []inventory.ComputeNode
	r := f.run("create", "node", "--file", file(t, nodes(1500, "[", ",", "]")), "-o", "json", "-q")
	if err := json.Unmarshal([]byte(r.stdout), &stored); err != nil || len(stored) != 1500 || stored[1499].Hostname != "h1500" || r.stderr != "" {
		t.Errorf("json: %v, %d nodes, %q", err, len(stored), r.stderr)
	}
	if r := f.run("create", "node", "--data", `{"hostname":"h1"}`); !strings.Contains(r.stdout, "HOSTNAME") || !strings.Contains(r.stdout, "h1") {
		t.Errorf("table of one: got %q", r.stdout)
	}
	if r := f.run("create", "node", "--data", nodes(2, "[", ",", "]")); r.stdout != "" {
		t.Errorf("table of two: got %q", r.stdout)
	}
}

// Items in the middle are refused: they are told by their place and name, and the rest is stored.
func TestCreateGoesOnWithoutRefusedItems(t *testing.T) {
	refuse := func(_ int, item map[string]any) (string, string) {
		if h := item["hostname"]; h == "h2" || h == "h1003" {
			return "/hostname", "already exists"
		}
		return "", ""
	}
	f := newFake(t).post("ComputeNode", refuse)
	r := f.run("create", "node", "--file", file(t, nodes(1004, "[", ",", "]")))
	want := "item 2 (h2): hostname: already exists\nitem 1003 (h1003): hostname: already exists\n1002 ComputeNodes stored, 2 failed\n" +
		"orchd create: 2 of 1004 ComputeNodes failed\nmend what is told above and run it again with those alone\n"
	if r.code != exitUsage || r.stderr != want || len(f.asked) != 4 {
		t.Errorf("exit %d after %d requests:\ngot  %s\nwant %s", r.code, len(f.asked), r.stderr, want)
	}
	if last := f.asked[3]; strings.Contains(last, `"h1003"`) || !strings.Contains(last, `"h1004"`) {
		t.Errorf("sent again: %s", last)
	}
}

// A batch that is refused without saying for which items is halved until they are found.
func TestCreateFindsWhatIsNotPointedAt(t *testing.T) {
	f := newFake(t)
	stored := 0
	f.mux.HandleFunc("POST /inventory/ComputeNode", func(w http.ResponseWriter, r *http.Request) {
		body := f.asked[len(f.asked)-1]
		if strings.Contains(body, `"h5"`) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			json.NewEncoder(w).Encode(api.Problem{Code: "too-large", Detail: "the body is too large"})
			return
		}
		stored += strings.Count(body, "hostname")
		fmt.Fprint(w, "[]")
	})
	r := f.run("create", "node", "--file", file(t, nodes(8, "", "\n", "\n")))
	if r.code != exitUsage || stored != 7 || !strings.HasPrefix(r.stderr, "line 5 (h5): the body is too large\n7 ComputeNodes stored, 1 failed\n") {
		t.Errorf("exit %d, %d stored: %s", r.code, stored, r.stderr)
	}
}

func TestCreateGoesOnPastATornLine(t *testing.T) {
	f := newFake(t).post("ComputeNode", takeAll)
	text := nodes(2, "", "\n", "\n") + `{"hostname":"h3","archi` + "\n" + `{"hostname":"h4"}` + "\n"
	r := f.run("create", "node", "--file", file(t, text))
	if r.code != exitUsage || !strings.HasPrefix(r.stderr, "line 3: this is no JSON\n3 ComputeNodes stored, 1 failed\n") {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
	for name, text := range map[string]string{"first line": `{"hostname":` + "\n" + `{"hostname":"h4"}`, "last line": `{"hostname":"h4"}` + "\n" + `{"hostname":`,
		"array": `[{"hostname":"h4"},{"host`, "array and more": `[{"hostname":"h4"}] 1`} {
		if r := f.run("create", "node", "--file", file(t, text)); r.code != exitUsage || !strings.Contains(r.stderr, "1 ComputeNode stored, 1 failed") {
			t.Errorf("%s: exit %d, %s", name, r.code, r.stderr)
		}
	}
	for name, text := range map[string]string{"nothing": " \n", "torn object": "{\n \"hostname\":\n", "no JSON": "hello"} {
		if r := f.run("create", "node", "--file", file(t, text)); r.code != exitUsage || !strings.Contains(r.stderr, "1 of 1 ComputeNode failed") {
			t.Errorf("%s: exit %d, %s", name, r.code, r.stderr)
		}
	}
}

// A server that dies between two batches: what was stored is told, and where to go on.
func TestCreateStopsWhenTheServerDies(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("POST /inventory/ComputeNode", func(w http.ResponseWriter, r *http.Request) {
		if f.count(`POST /inventory/ComputeNode [{"hostname":"h1",`) > 0 { // a second batch may be the first to come
			os.Remove(f.socket) // nobody can connect any more
		}
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "[]")
	})
	r := f.run("create", "node", "--file", file(t, nodes(2500, "", "\n", "\n")))
	// A second batch may have been on its way when the first was answered.
	want := fmt.Sprintf("%d000 ComputeNodes stored\norchd create: stopped at line %d001: no peer could be reached", len(f.asked), len(f.asked))
	if r.code != exitUnreachable || len(f.asked) < 1 || len(f.asked) > 2 || !strings.HasPrefix(r.stderr, want) || !strings.Contains(r.stderr, "run it again with the rest") {
		t.Errorf("exit %d after %d requests: %s", r.code, len(f.asked), r.stderr)
	}
}

// A batch whose answer was lost is sent again with its key; the next batch has another.
func TestCreateKeepsTheKeyOfABatch(t *testing.T) {
	f := newFake(t)
	var keys []string
	f.mux.HandleFunc("POST /inventory/ComputeNode", func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if len(keys) == 1 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, "[]")
	})
	r := f.run("create", "node", "--file", file(t, nodes(1001, "", "\n", "\n")))
	if r.code != 0 || len(keys) != 3 || keys[0] == "" || keys[0] != keys[1] || keys[1] == keys[2] {
		t.Errorf("exit %d, keys %q, %s", r.code, keys, r.stderr)
	}
}

// A refusal that has nothing to do with the objects ends the load.
func TestCreateStopsWhenNotAllowed(t *testing.T) {
	f := newFake(t).answer("POST /inventory/NodeCollection", api.Errorf(api.Forbidden, "", "a viewer may not"))
	r := f.run("create", "collection", "--file", file(t, "{\"name\":\"a\"}\n{\"name\":\"b\"}\n"))
	if r.code != exitNotAllowed || len(f.asked) != 1 || !strings.Contains(r.stderr, "stopped at line 1: a viewer may not") {
		t.Errorf("exit %d after %d requests: %s", r.code, len(f.asked), r.stderr)
	}
}

func TestCreateTellsHowFarItIs(t *testing.T) {
	f := newFake(t).post("BMC", takeAll)
	clock := now
	var out, err strings.Builder
	a := App{Environ: []string{"ORCHD_ADDR=unix://" + f.socket}, Stdout: &out, Stderr: &err,
		Now: func() time.Time { clock = clock.Add(time.Second); return clock }}
	if code := a.Run(t.Context(), []string{"create", "bmc", "--data", `[{},{},{},{}]`}); code != 0 || err.String() != "2 BMCs stored\n4 BMCs stored\n4 BMCs stored\n" {
		t.Errorf("exit %d, %s", code, err.String())
	}
}

func TestCreateChecksFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "schemas")
	if r := run(t.Context(), App{}, "schemas", "--dir", dir); r.code != 0 {
		t.Fatal(r.stderr)
	}
	for _, kind := range schema.Kinds() {
		got, err := os.ReadFile(filepath.Join(dir, kind+".json"))
		if want, _ := schema.Of(kind); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if r := run(t.Context(), App{}, "schemas"); strings.Join(strings.Fields(r.stdout), " ") != strings.Join(schema.Kinds(), " ") {
		t.Errorf("schemas: %q", r.stdout)
	}
	bad := file(t, `[{"hostname":"h1","architecture":"x86_64"},{"hostname":"h2","xnam":"x"}]`)
	told := "item 2 (h2): architecture: is required; xnam: there is no such field; did you mean xname?\n"
	for _, line := range []string{"--dry-run", "--dry-run --schema-dir " + dir} {
		r := run(t.Context(), App{}, append([]string{"create", "node", "--file", bad}, strings.Fields(line)...)...)
		if r.code != exitUsage || !strings.HasPrefix(r.stderr, told+"1 ComputeNode valid, 1 failed\n") || r.stdout != "" {
			t.Errorf("%s: exit %d, %q %q", line, r.code, r.stdout, r.stderr)
		}
	}
	f := newFake(t).post("ComputeNode", takeAll)
	if r := f.run("create", "node", "--file", bad, "--schema-dir", dir); r.code != exitUsage || len(f.asked) != 1 || !strings.HasPrefix(r.stderr, told+"1 ComputeNode stored, 1 failed\n") {
		t.Errorf("exit %d after %q: %s", r.code, f.asked, r.stderr)
	}
	// A schema of one's own may ask for more.
	strict := strings.Replace(string(must(os.ReadFile(filepath.Join(dir, "ComputeNode.json")))), `"architecture"
  ]`, `"architecture", "xname"
  ]`, 1)
	if err := os.WriteFile(filepath.Join(dir, "ComputeNode.json"), []byte(strict), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t.Context(), App{}, "create", "node", "--file", bad, "--schema-dir", dir, "--dry-run"); !strings.Contains(r.stderr, "item 1 (h1): xname: is required") {
		t.Errorf("own schema: %s", r.stderr)
	}
	for text, want := range map[string]string{"{": "not valid JSON", `{"$ref":"http://elsewhere/x.json"}`: "must stand alone", `{"type":7}`: "ComputeNode"} {
		if err := os.WriteFile(filepath.Join(dir, "ComputeNode.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := run(t.Context(), App{}, "create", "node", "--file", bad, "--schema-dir", dir, "--dry-run"); r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("schema %s: exit %d, %s", text, r.code, r.stderr)
		}
	}
	if r := run(t.Context(), App{}, "create", "bmc", "--data", "{}", "--schema-dir", "/nowhere", "--dry-run"); r.code != exitUsage {
		t.Errorf("no folder: exit %d, %s", r.code, r.stderr)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestInventoryUpdate(t *testing.T) {
	f := newFake(t).answer("PUT /inventory/ComputeNode/{id}", aNode()).answer("PATCH /inventory/ComputeNode/{id}", aNode(), api.Errorf(api.Precondition, "", "it is version 4"))
	r := f.run("update", "node", "x1000c0s0b0n1", "--data", `{"hostname":"n1","architecture":"x86_64"}`, "--if-version", "3", "-o", "name")
	if r.code != 0 || r.stdout != "x1000c0s0b0n1\n" || f.header.Get("If-Match") != `"3"` ||
		f.asked[0] != `PUT /inventory/ComputeNode/x1000c0s0b0n1 {"hostname":"n1","architecture":"x86_64"}` {
		t.Errorf("put: exit %d, %q, %q, asked %q, If-Match %q", r.code, r.stdout, r.stderr, f.asked, f.header.Get("If-Match"))
	}
	r = f.run("update", "node", "x1000c0s0b0n1", "--patch", "--file", file(t, "{\n\"bmc\": null}\n"))
	if r.code != 0 || !strings.Contains(r.stdout, "HOSTNAME") || f.asked[1] != `PATCH /inventory/ComputeNode/x1000c0s0b0n1 {"bmc":null}` {
		t.Errorf("patch: exit %d, %q, %q, asked %q", r.code, r.stdout, r.stderr, f.asked[1])
	}
	if r := f.run("update", "node", "x1000c0s0b0n1", "--patch", "--data", "{}", "--if-version", "3"); r.code != exitConflict || !strings.Contains(r.stderr, "it is version 4") {
		t.Errorf("precondition: exit %d, %s", r.code, r.stderr)
	}
	asked := len(f.asked)
	for line, want := range map[string]string{
		`update node x --data {"hostname":"a"} --dry-run`: "architecture: is required", `update node x --data [{},{}]`: "more than one object",
		`update node x --data {"a`: "JSON", `update node x --data []`: "no object", `update node x --patch --schema-dir d --data {}`: "none of the others can be",
	} {
		if r := f.run(strings.Fields(line)...); r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("orchd %s: exit %d, %q, want %q", line, r.code, r.stderr, want)
		}
	}
	if r := f.run("update", "node", "x", "--data", `{"hostname":"a","architecture":"b"}`, "--dry-run"); r.code != 0 || len(f.asked) != asked {
		t.Errorf("dry run: exit %d, %s, asked %q", r.code, r.stderr, f.asked[asked:])
	}
}

func TestInventoryDelete(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("DELETE /inventory/ComputeNode/x1000c0s0b0n1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	f.answer("DELETE /inventory/ComputeNode/x1000c0s0b0n2", inventory.DeletedNode{ID: nodeID, Collections: []string{"Partition 1", "job7"}}).
		answer("DELETE /inventory/ComputeNode/{id}", api.Errorf(api.NotFound, "", "node not found"))
	r := f.run("delete", "node", "x1000c0s0b0n9", "x1000c0s0b0n1", "x1000c0s0b0n2")
	want := "ComputeNode x1000c0s0b0n9: node not found\nComputeNode x1000c0s0b0n1 is gone\nComputeNode x1000c0s0b0n2 is gone\nit is still listed in: Partition 1, job7\n" +
		"orchd delete: 1 object of 3 unknown\n"
	if r.code != exitNotFound || r.stderr != want || len(f.asked) != 3 {
		t.Errorf("exit %d, asked %q:\ngot  %s\nwant %s", r.code, f.asked, r.stderr, want)
	}
	if r := f.run("rm", "node", "x1000c0s0b0n1"); r.code != 0 {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
	f.answer("DELETE /inventory/BMC/{id}", api.Errorf(api.Forbidden, "", "a viewer may not"))
	if r := f.run("delete", "bmc", "x1000c0s0b0", "x1000c0s0b1"); r.code != exitNotAllowed || len(f.asked) != 5 {
		t.Errorf("forbidden: exit %d, asked %q", r.code, f.asked)
	}
}

// An input that cannot be read any more is no end of it.
func TestCreateTellsOfABrokenInput(t *testing.T) {
	f := newFake(t).post("ComputeNode", takeAll)
	for _, begin := range []string{`{"hostname":"h1"}` + "\n" + `{"host`, `[{"hostname":"h1"},{`} {
		a := App{Environ: []string{"ORCHD_ADDR=unix://" + f.socket}, Stdin: io.MultiReader(strings.NewReader(begin), brokenReader{})}
		if r := run(t.Context(), a, "create", "node", "--file", "-"); r.code == 0 || !strings.Contains(r.stderr, "the disk is gone") || !strings.Contains(r.stderr, "1 ComputeNode stored") {
			t.Errorf("%s: exit %d, %s", begin, r.code, r.stderr)
		}
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, fmt.Errorf("the disk is gone") }
