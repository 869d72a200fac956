package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// problemIn reads the problem of a refused request and checks its shape.
func problemIn(t *testing.T, res *http.Response) api.Problem {
	t.Helper()
	body := read(t, res)
	var p api.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("status %d, and the answer is no problem document: %v: %s", res.StatusCode, err, body)
	}
	if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type: got %q, want application/problem+json", got)
	}
	if p.Status != res.StatusCode || p.Title == "" || p.Detail == "" || p.Type != "/docs#"+p.Code || p.RequestID != res.Header.Get("X-Request-Id") {
		t.Errorf("problem is incomplete: %+v", p)
	}
	return p
}

const goodSpec = `"spec":{"vcpus":1,"memory_mib":64}`

func TestBadBodies(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code, pointer            string
	}{
		{"empty", "POST", "/v1/vms", ``, 400, "malformed", ""},
		{"no JSON", "POST", "/v1/vms", `name=web1`, 400, "malformed", ""},
		{"cut off", "POST", "/v1/vms", `{"name":"n"`, 400, "malformed", ""},
		{"list", "POST", "/v1/vms", `[]`, 400, "malformed", ""},
		{"null", "POST", "/v1/vms", `null`, 400, "malformed", ""},
		{"trailing data", "POST", "/v1/vms", `{"name":"n",` + goodSpec + `} {}`, 400, "malformed", ""},
		{"trailing brace", "POST", "/v1/vms", `{"name":"n",` + goodSpec + `}}`, 400, "malformed", ""},
		{"too deep", "POST", "/v1/vms", `{"name":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, 400, "malformed", ""},
		{"two megabytes", "POST", "/v1/vms", `{"name":"` + strings.Repeat("a", 2<<20) + `"}`, 413, "too-large", "-"},

		{"no name", "POST", "/v1/vms", `{` + goodSpec + `}`, 422, "invalid", "/name"},
		{"no spec", "POST", "/v1/vms", `{"name":"n"}`, 422, "invalid", "/spec"},
		{"no vcpus", "POST", "/v1/vms", `{"name":"n","spec":{"memory_mib":64}}`, 422, "invalid", "/spec/vcpus"},
		{"null spec", "POST", "/v1/vms", `{"name":"n","spec":null}`, 422, "invalid", "/spec"},
		{"unknown field", "POST", "/v1/vms", `{"name":"n",` + goodSpec + `,"colour":"red"}`, 422, "invalid", "/colour"},
		{"unknown inner field", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":1,"memory_mib":64,"a/b~c.d[e]":1}}`, 422, "invalid", "/spec/a~1b~0c.d[e]"},
		{"other case", "POST", "/v1/vms", `{"name":"n","spec":{"VCPUS":1,"vcpus":1,"memory_mib":64}}`, 422, "invalid", "/spec/VCPUS"},
		{"key twice", "POST", "/v1/vms", `{"name":"n","name":"m",` + goodSpec + `}`, 422, "invalid", "/name"},
		{"2^63", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":9223372036854775808,"memory_mib":64}}`, 422, "invalid", "/spec/vcpus"},
		{"2^63-1", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":9223372036854775807,"memory_mib":64}}`, 422, "invalid", "/spec/vcpus"},
		{"huge", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":1e400,"memory_mib":64}}`, 422, "invalid", "/spec/vcpus"},
		{"negative", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":-1,"memory_mib":64}}`, 422, "invalid", "/spec/vcpus"},
		{"zero", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":0,"memory_mib":64}}`, 422, "invalid", "/spec/vcpus"},
		{"fraction", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":1.5,"memory_mib":64}}`, 422, "invalid", "/spec/vcpus"},
		{"exponent", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":1e0,"memory_mib":64}}`, 422, "invalid", "/spec/vcpus"},
		{"number as text", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":"1","memory_mib":64}}`, 422, "invalid", "/spec/vcpus"},
		{"text as number", "POST", "/v1/vms", `{"name":7,` + goodSpec + `}`, 422, "invalid", "/name"},
		{"300 characters", "POST", "/v1/vms", `{"name":"` + strings.Repeat("a", 300) + `",` + goodSpec + `}`, 422, "invalid", "/name"},
		{"capital", "POST", "/v1/vms", `{"name":"Web",` + goodSpec + `}`, 422, "invalid", "/name"},
		{"path as name", "POST", "/v1/vms", `{"name":"../etc",` + goodSpec + `}`, 422, "invalid", "/name"},
		{"newline after name", "POST", "/v1/vms", `{"name":"web\n",` + goodSpec + `}`, 422, "invalid", "/name"},
		{"uuid as name", "POST", "/v1/vms", `{"name":"` + vmID + `",` + goodSpec + `}`, 422, "invalid", "/name"},
		{"invalid UTF-8", "POST", "/v1/vms", "{\"name\":\"a\xff\"," + goodSpec + `}`, 422, "invalid", "/name"},
		{"half a surrogate pair", "POST", "/v1/vms", `{"name":"n","labels":{"k":"\ud800"},` + goodSpec + `}`, 422, "invalid", "/labels/k"},
		{"NUL", "POST", "/v1/vms", `{"name":"n","labels":{"k":"a\u0000b"},` + goodSpec + `}`, 422, "invalid", "/labels/k"},
		{"escape character", "POST", "/v1/vms", `{"name":"n","labels":{"k":"a\u001b[31m"},` + goodSpec + `}`, 422, "invalid", "/labels/k"},
		{"control character in a key", "POST", "/v1/vms", `{"name":"n","labels":{"k\u0001x":"v"},` + goodSpec + `}`, 422, "invalid", "/labels/k\x01x"},
		{"newline in a label", "POST", "/v1/vms", `{"name":"n","labels":{"k":"a\nb"},` + goodSpec + `}`, 422, "invalid", "/labels/k"},
		{"empty label key", "POST", "/v1/vms", `{"name":"n","labels":{"":"v"},` + goodSpec + `}`, 422, "invalid", "/labels/"},
		{"long label key", "POST", "/v1/vms", `{"name":"n","labels":{"` + strings.Repeat("k", 64) + `":"v"},` + goodSpec + `}`, 422, "invalid", "/labels/" + strings.Repeat("k", 64)},
		{"long label", "POST", "/v1/vms", `{"name":"n","labels":{"a.b/c":"` + strings.Repeat("é", 256) + `"},` + goodSpec + `}`, 422, "invalid", "/labels/a.b~1c"},
		{"label of a number", "POST", "/v1/vms", `{"name":"n","labels":{"a.b/c":1},` + goodSpec + `}`, 422, "invalid", "/labels/a.b~1c"},
		{"65 labels", "POST", "/v1/vms", `{"name":"n","labels":{` + manyLabels(65) + `},` + goodSpec + `}`, 422, "invalid", "/labels"},
		{"image no name", "POST", "/v1/vms", `{"name":"n","spec":{"vcpus":1,"memory_mib":64,"image":"/etc/passwd"}}`, 422, "invalid", "/spec/image"},
		{"account no name", "POST", "/v1/vms", `{"name":"n","account":"A",` + goodSpec + `}`, 422, "invalid", "/account"},

		{"replace with spec", "PUT", "/v1/vms/web1", `{` + goodSpec + `}`, 422, "invalid", "/spec"},
		{"replace labels by a list", "PUT", "/v1/vms/web1", `{"labels":["a"]}`, 422, "invalid", "/labels"},
		{"patch a label to a number", "PATCH", "/v1/vms/web1", `{"labels":{"a":1}}`, 422, "invalid", "/labels/a"},
		{"patch a bad label", "PATCH", "/v1/vms/web1", `{"labels":{"a b":"c"}}`, 422, "invalid", "/labels/a b"},

		{"role", "POST", "/v1/tokens", `{"role":"root"}`, 422, "invalid", "/role"},
		{"ttl", "POST", "/v1/tokens", `{"role":"viewer","ttl":"soon"}`, 422, "invalid", "/ttl"},
		{"negative ttl", "POST", "/v1/tokens", `{"role":"viewer","ttl":"-1h"}`, 422, "invalid", "/ttl"},
		{"long ttl", "POST", "/v1/tokens", `{"role":"viewer","ttl":"9000h"}`, 422, "invalid", "/ttl"},
		{"uses", "POST", "/v1/tokens", `{"role":"peer","uses":0}`, 422, "invalid", "/uses"},

		{"disk without path", "POST", "/v1/images", `{"name":"i","kind":"disk","source":"path"}`, 422, "invalid", "/path"},
		{"disk with kernel", "POST", "/v1/images", `{"name":"i","kind":"disk","path":"/a","kernel":"/b"}`, 422, "invalid", "/kernel"},
		{"kernel without kernel", "POST", "/v1/images", `{"name":"i","kind":"kernel"}`, 422, "invalid", "/kernel"},
		{"relative path", "POST", "/v1/images", `{"name":"i","kind":"disk","path":"a"}`, 422, "invalid", "/path"},
		{"climbing path", "POST", "/v1/images", `{"name":"i","kind":"disk","path":"/a/../b"}`, 422, "invalid", "/path"},
		{"two lines of command line", "POST", "/v1/images", `{"name":"i","kind":"kernel","kernel":"/k","cmdline":"a\nb"}`, 422, "invalid", "/cmdline"},
		{"voucher", "POST", "/v1/images", `{"name":"i","voucher":{"key":"KEY","signature":"` + strings.Repeat("0", 128) + `"}}`, 422, "invalid", "/voucher/key"},
		{"format", "POST", "/v1/images", `{"name":"i","kind":"disk","path":"/a","format":"vmdk"}`, 422, "invalid", "/format"},

		{"join with too much", "POST", "/v1/join", `{"token":"` + strings.Repeat("a", maxJoin) + `"}`, 413, "too-large", "-"},
		{"join without anything", "POST", "/v1/join", `{}`, 422, "invalid", "/token"},
		{"join with no base64", "POST", "/v1/join", strings.Replace(joinBody, `"csr":"AAAA"`, `"csr":"!!"`, 1), 422, "invalid", "/csr"},
		{"join at no address", "POST", "/v1/join", strings.Replace(joinBody, `10.0.0.2:7701`, `nowhere`, 1), 422, "invalid", "/host/addresses/raft"},
		{"join with negative capacity", "POST", "/v1/join", strings.Replace(joinBody, `"vcpus":4`, `"vcpus":-4`, 1), 422, "invalid", "/host/capacity/vcpus"},
		{"join with no time", "POST", "/v1/join", strings.Replace(joinBody, `2026-01-02T03:04:05Z`, `yesterday`, 1), 422, "invalid", "/clock"},
	} {
		t.Run(c.name, func(t *testing.T) { checkRefused(t, ask, c.method, c.path, c.body, c.status, c.code, c.pointer) })
	}
	nothingWritten(t, f)
}

func manyLabels(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(`"k%d":"v"`, i))
	}
	return strings.Join(parts, ",")
}

// checkRefused asks, and wants a problem that points at a field; "-" for none.
func checkRefused(t *testing.T, ask func(method, path, body string, headers ...string) *http.Response, method, path, body string, status int, code, pointer string, headers ...string) {
	t.Helper()
	p := problemIn(t, ask(method, path, body, headers...))
	if p.Status != status || p.Code != code {
		t.Errorf("got %d %s, want %d %s: %+v", p.Status, p.Code, status, code, p)
	}
	found := slices.ContainsFunc(p.Errors, func(e api.FieldError) bool { return e.Pointer == pointer && e.Detail != "" })
	if pointer != "-" && !found {
		t.Errorf("pointers: got %+v, want one at %q", p.Errors, pointer)
	}
}

func TestBadParameters(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct {
		name, method, path string
		status             int
		code, pointer      string
		headers            []string
	}{
		{"unknown", "GET", "/v1/vms?colour=red", 400, "malformed", "/query/colour", nil},
		{"unknown on a write", "DELETE", "/v1/vms/web1?force=true", 400, "malformed", "/query/force", nil},
		{"unknown on a page without any", "GET", "/healthz?x=1", 400, "malformed", "/query/x", nil},
		{"no number", "GET", "/v1/vms?limit=many", 400, "malformed", "/query/limit", nil},
		{"zero", "GET", "/v1/vms?limit=0", 400, "malformed", "/query/limit", nil},
		{"too many", "GET", "/v1/vms?limit=10001", 400, "malformed", "/query/limit", nil},
		{"cursor", "GET", "/v1/vms?cursor=%21%21", 400, "malformed", "/query/cursor", nil},
		{"cursor of control characters", "GET", "/v1/vms?cursor=AAEC", 400, "malformed", "/query/cursor", nil},
		{"state", "GET", "/v1/vms?state=happy", 400, "malformed", "/query/state", nil},
		{"label", "GET", "/v1/vms?label=a", 400, "malformed", "/query/label", nil},
		{"second label", "GET", "/v1/vms?label=a=1&label=%00=1", 400, "malformed", "/query/label", nil},
		{"consistency", "GET", "/v1/vms?consistency=maybe", 400, "malformed", "/query/consistency", nil},
		{"wait", "POST", "/v1/vms/web1/start?wait=soon", 400, "malformed", "/query/wait", nil},
		{"long wait", "POST", "/v1/vms/web1/start?wait=11m", 400, "malformed", "/query/wait", nil},
		{"negative wait", "GET", "/v1/operations/" + opID + "?wait=-1s", 400, "malformed", "/query/wait", nil},
		{"negative need", "GET", "/v1/capacity?vcpus=-1", 400, "malformed", "/query/vcpus", nil},
		{"2^63 needed", "GET", "/v1/capacity?memory_mib=9223372036854775808", 400, "malformed", "/query/memory_mib", nil},
		{"key too long", "POST", "/v1/vms/web1/start", 400, "malformed", "/header/Idempotency-Key", []string{"Idempotency-Key", strings.Repeat("k", 129)}},
		{"key not ASCII", "POST", "/v1/vms/web1/start", 400, "malformed", "/header/Idempotency-Key", []string{"Idempotency-Key", "clé"}},
		{"If-Match without quotes", "DELETE", "/v1/vms/web1", 400, "malformed", "/header/If-Match", []string{"If-Match", "3"}},
		{"If-Match of a word", "DELETE", "/v1/vms/web1", 400, "malformed", "/header/If-Match", []string{"If-Match", `"three"`}},

		{"If-Match where there are no versions", "DELETE", "/v1/images/debian", 400, "malformed", "/header/If-Match", []string{"If-Match", `"1"`}},

		{"long id", "GET", "/v1/vms/" + strings.Repeat("a", 300), 404, "not-found", "-", nil},
		{"endless path", "GET", "/v1/vms/" + strings.Repeat("a", 3000), 404, "not-found", "-", nil},
		{"id of invalid UTF-8", "GET", "/v1/vms/%ff", 404, "not-found", "-", nil},
		{"id with NUL", "POST", "/v1/vms/a%00b/start", 404, "not-found", "-", []string{"Idempotency-Key", "k"}},
		{"id with slash", "DELETE", "/v1/vms/..%2f..%2fetc", 404, "not-found", "-", []string{"Idempotency-Key", "k"}},
		{"token id with newline", "DELETE", "/v1/tokens/a%0Ab", 404, "not-found", "-", nil},
		{"no such schema", "GET", "/schemas/..%2fdocs.html", 404, "not-found", "-", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkRefused(t, ask, c.method, c.path, "", c.status, c.code, c.pointer, c.headers...)
		})
	}
	nothingWritten(t, f)
}

func nothingWritten(t *testing.T, f *fake) {
	t.Helper()
	if wrote := f.wroteSince(0); len(wrote) > 0 {
		t.Errorf("the backend was asked to change something: %v", wrote)
	}
}

func TestProblemsNeverRepeatTheValue(t *testing.T) {
	f, _, ask := startFake(t)
	const secret = "Hunter2-Hunter2"
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/vms", `{"name":"` + secret + `",` + goodSpec + `}`},
		{"POST", "/v1/vms", `{"name":"n","spec":{"vcpus":"` + secret + `","memory_mib":64}}`},
		{"POST", "/v1/vms", `{"name":"n","labels":{"k":"` + secret + `\u0000"},` + goodSpec + `}`},
		{"POST", "/v1/vms", `{"name":"n",` + goodSpec + `,"password":"` + secret + `"}`},
		{"POST", "/v1/vms", `"` + secret + `"`},
		{"POST", "/v1/vms", secret},
		{"POST", "/v1/tokens", `{"role":"` + secret + `"}`},
		{"POST", "/v1/tokens", `{"role":"viewer","ttl":"` + secret + `"}`},
		{"POST", "/v1/join", strings.Replace(joinBody, "2026-01-02", secret, 1)},
		{"GET", "/v1/vms?state=" + secret, ""},
		{"GET", "/v1/vms?limit=" + secret, ""},
		{"GET", "/v1/operations/" + opID + "?wait=" + secret, ""},
	} {
		res := ask(c.method, c.path, c.body)
		if body := read(t, res); res.StatusCode < 400 || strings.Contains(body, secret) {
			t.Errorf("%s %s: got %d %s, want a refusal that does not repeat the value", c.method, c.path, res.StatusCode, body)
		}
	}
	nothingWritten(t, f)
}

// FuzzStrictJSON: whatever the decoder takes, every other reader takes alike.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"a":2}`, `{"a":[1,{"b.c[0]":null}]}`, `{"n":-9223372036854775808}`, "{\"\xff\":1}", `{"a":"\ud800"}`, `{} {}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		tree, fields, err := parseJSON(body)
		if err != nil || len(fields) > 0 {
			return
		}
		var again map[string]any
		if err := json.Unmarshal(body, &again); err != nil {
			t.Fatalf("taken, but encoding/json says %v: %q", err, body)
		}
		if len(again) != len(tree) {
			t.Fatalf("keys: got %d, want %d: %q", len(tree), len(again), body)
		}
		for key := range again {
			if _, ok := tree[escapeKey(key)]; !ok {
				t.Fatalf("key %q is lost: %q", key, body)
			}
		}
	})
}
