package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// inventoryStatuses are all that these clients ever get; the last two only with
// an Idempotency-Key.
var inventoryStatuses = []int{200, 201, 204, 400, 401, 403, 404, 405, 409, 412, 413, 503, 507, 422, 429}

// TestInventoryBadBodies sends what no kind takes to every route that takes a
// body: 400 or 413 it is, in a problem that does not repeat what was sent.
func TestInventoryBadBodies(t *testing.T) {
	f, _, ask := startFake(t)
	const sent = "Hunter3-Hunter3"
	bodies := map[string]string{
		"empty":               ``,
		"space":               "  \n",
		"no JSON":             `hostname=` + sent,
		"cut off":             `{"hostname":"` + sent,
		"trailing":            `{"hostname":"` + sent + `"} {}`,
		"null":                `null`,
		"number":              `7`,
		"text":                `"` + sent + `"`,
		"list of texts":       `["` + sent + `"]`,
		"list of lists":       `[[]]`,
		"nothing":             `{}` + sent,
		"unknown field":       `{"` + "colour" + `":"` + sent + `"}`,
		"other case":          `{"HOSTNAME":"` + sent + `"}`,
		"key twice":           `{"description":"a","description":"` + sent + `"}`,
		"wrong type":          `{"description":{"a":"` + sent + `"}}`,
		"too deep":            `{"description":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
		"invalid UTF-8":       "{\"description\":\"" + sent + "\xff\"}",
		"half a surrogate":    `{"description":"` + sent + `\ud800"}`,
		"NUL":                 `{"description":"` + sent + `\u0000"}`,
		"huge number":         `{"version":1e999}`,
		"negative":            `{"version":-1}`,
		"no UUID":             `{"id":"` + sent + `"}`,
		"list of bad objects": `[{"hostname":"n","architecture":"a"},{"hostname":7}]`,
	}
	for _, facade := range inventoryRoutes {
		e := exampleOf(facade)
		if e.body == "" {
			continue
		}
		for name, body := range bodies {
			res := ask(facade.method, e.path, body)
			p := problemIn(t, res)
			if p.Status != 400 {
				t.Errorf("%s to %s %s: got %d, want 400", name, facade.method, e.path, p.Status)
			}
			if text := fmt.Sprint(p); strings.Contains(text, sent) {
				t.Errorf("%s to %s %s: the answer repeats what was sent: %s", name, facade.method, e.path, text)
			}
		}
	}
	if res := ask("POST", "/ComputeNode", `{"hostname":"`+strings.Repeat("a", maxFacadeBody)+`"}`); res.StatusCode != 413 {
		t.Errorf("64 MiB and more: got %d, want 413", res.StatusCode)
	}
	if res := ask("POST", "/ComputeNode", "["+strings.Repeat(`{"hostname":"n","architecture":"a"},`, 10000)+`{"hostname":"n","architecture":"a"}]`); res.StatusCode != 400 {
		t.Errorf("10,001 nodes: got %d, want 400", res.StatusCode)
	}
	nothingWritten(t, f)
}

// TestInventoryBadFields points at what is wrong.
func TestInventoryBadFields(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct{ path, body, pointer string }{
		{"/ComputeNode", `{"architecture":"a"}`, "/hostname"},
		{"/ComputeNode", `{"hostname":"n"}`, "/architecture"},
		{"/ComputeNode", `{"hostname":"n","architecture":"a","xname":"x1000c0s0b0n300"}`, "/xname"},
		{"/ComputeNode", `{"hostname":"n","architecture":"a","boot_mac":"zz"}`, "/boot_mac"},
		{"/ComputeNode", `{"hostname":"n","architecture":"a","network_interfaces":[{"interface_name":"e","mac_address":"02:00:00:00:00:09","ipv4_address":"1.2.3"}]}`, "/network_interfaces/0/ipv4_address"},
		{"/ComputeNode", `[{"hostname":"n","architecture":"a"},{"hostname":"n"}]`, "/1/architecture"},
		{"/nodes/" + nodeID, `{"hostname":"n","architecture":"a","bmc":{"xname":"nonsense"}}`, "/bmc/xname"},
		{"/BMC", `{"xname":"` + nodeXName + `","username":"u","password":"p"}`, "/xname"},
		{"/NodeCollection", `{"name":"n","type":"zoo","nodes":[]}`, "/type"},
		{"/NodeCollection", `{"name":"n","type":"job"}`, "/nodes"},
		{"/NodeCollection", `{"name":"n","type":"job","nodes":["x1000c0s0b0n0","nonsense"]}`, "/nodes/1"},
	} {
		checkRefused(t, ask, "POST", c.path, c.body, 400, "invalid", c.pointer)
	}
	nothingWritten(t, f)
}

// TestInventoryStatuses throws everything at every route: methods, paths, roles,
// headers and failures of the backend. None but the known statuses comes back,
// and no redirect.
func TestInventoryStatuses(t *testing.T) {
	f := newFake()
	h := New(Config{}, f, slog.New(slog.DiscardHandler)).Handler()
	ask := askOf(h)
	refs := []string{"", "/", "/" + nodeID, "/" + bmcXName, "/" + nodeXName + "/", "/Partition%201", "//x", "/..", "/%2e%2e", "/%2F", "/%00", "/%ff", "/a|b", "/" + strings.Repeat("é", 90),
		"/" + nodeID + "/network_interfaces/0/allocate", "/" + nodeID + "/network_interfaces/99999999999999999999/allocate?network=lan"}
	queries := []string{"", "?limit=1&cursor=", "?cursor=AAEC", "?limit=-1", "?reveal=true", "?xname=%", "?consistency=local&missingIPV4=1", "?node=%00"}
	headers := [][]string{{}, {"Idempotency-Key", "k"}, {"If-Match", `"1"`}, {"If-Match", "*"}, {"Authorization", "Bearer controller"}, {"Authorization", ""}, {"Content-Type", "text/plain"}, {"Accept", "text/html"}}
	bodies := []string{"", newNode, newBMC, newCollection, `{"description":null}`, "[]"}
	seen := map[int]int{}
	for _, kind := range []string{"/ComputeNode", "/nodes", "/inventory/BMC", "/bmc", "/NodeCollection", "/inventory//NodeCollection"} {
		for _, method := range append(slices.Clone(methods), "OPTIONS", "BREW") {
			for i, ref := range refs {
				for j, query := range queries {
					if strings.Contains(ref, "?") {
						query = ""
					}
					f.fill()
					path := kind + ref + query
					res := ask(method, "http://h1"+path, bodies[(i+j)%len(bodies)], headers[(i+2*j)%len(headers)]...)
					seen[res.StatusCode]++
					if !slices.Contains(inventoryStatuses, res.StatusCode) || res.Header.Get("Refresh") != "" {
						t.Errorf("%s %s: got %d %s", method, path, res.StatusCode, read(t, res))
					}
					if res.StatusCode >= 400 && method != "HEAD" {
						problemIn(t, res)
					}
				}
			}
		}
	}
	for _, status := range []int{200, 201, 204, 400, 401, 403, 404, 405, 412} {
		if seen[status] == 0 {
			t.Errorf("status %d never came: %v", status, seen)
		}
	}
}

// TestBackendFailuresOnTheInventory: every kind of failure becomes a status that
// these clients know.
func TestBackendFailuresOnTheInventory(t *testing.T) {
	f, _, ask := startFake(t)
	for kind := range statusOf {
		if kind == api.ServiceFailed || kind == api.ServiceDeadline {
			continue // of calls of services, which no inventory makes
		}
		for _, facade := range inventoryRoutes {
			e := exampleOf(facade)
			f.fill()
			f.fail = &api.Error{Kind: kind, Msg: "as the test wants it"}
			status := ask(facade.method, e.path, e.body).StatusCode
			f.fail = nil
			if status == http.StatusInternalServerError && kind == api.Internal {
				continue // ours: the log tells why
			}
			if !slices.Contains(inventoryStatuses, status) {
				t.Errorf("%s of %s %s: got %d", kind.Code(), facade.method, facade.path, status)
			}
		}
	}
}

// FuzzInventoryQuery: any query gets a list or is told what is wrong with it.
func FuzzInventoryQuery(f *testing.F) {
	for _, seed := range []string{"", "xname=" + nodeXName + "&arch=x86_64", "limit=1&cursor=YQ", "missingIPV4=true&missingIPV6=0", "boot_mac=02:00:00:00:00:01", "%zz", "a;b", "node=x0c0", "reveal=true"} {
		f.Add(seed)
	}
	h := New(Config{}, newFake(), slog.New(slog.DiscardHandler)).Handler()
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"/ComputeNode", "/bmc", "/NodeCollection"} {
			r := httptest.NewRequest("GET", path, nil)
			r.URL = &url.URL{Path: path, RawQuery: query}
			r.Header.Set("Authorization", "Bearer viewer")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			switch body := w.Body.String(); w.Code {
			case 200:
				checkShape(t, path, body)
			case 400:
				problemIn(t, w.Result())
			default:
				t.Fatalf("%s?%q: got %d %s", path, query, w.Code, body)
			}
		}
	})
}
