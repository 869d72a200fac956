package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// TestCalls: arguments go in and results come out as they stand.
func TestCalls(t *testing.T) {
	f, _, ask := startFake(t)
	for body, want := range map[string]string{
		``:                              `{}`,
		" \n":                           `{}`,
		`{"a":1.5,"b":[null,1e3]}`:      `{"a":1.5,"b":[null,1e3]}`,
		`[1, "zwei", {"c":-0.25}]`:      `[1, "zwei", {"c":-0.25}]`,
		`{"n":12345678901234567890}`:    `{"n":12345678901234567890}`,
		`{"html":"<b>","nul":"\u2028"}`: `{"html":"<b>","nul":"\u2028"}`,
	} {
		res := ask("POST", "/v1/services/registry/register", body)
		if got := read(t, res); res.StatusCode != 200 || got != want || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s %s, want %s", body, res.StatusCode, res.Header.Get("Content-Type"), got, want)
		}
	}
	for _, body := range []string{`1`, `"a"`, `null`, `{"a":1} {}`, `{"a":`, `[1,]`, strings.Repeat("[", 40) + strings.Repeat("]", 40)} {
		checkRefused(t, ask, "POST", "/v1/services/registry/register", body, 400, "malformed", "")
	}
	checkRefused(t, ask, "POST", "/v1/services/registry/register", `{"a":1,"a":2}`, 422, "invalid", "/a")
	checkRefused(t, ask, "POST", "/v1/services/registry/register", `{"a":"`+strings.Repeat("a", 1<<20)+`"}`, 413, "too-large", "-")
	checkRefused(t, ask, "POST", "/v1/services/registry/register?account=x", `{}`, 400, "malformed", "/query/account")
	nothingWritten(t, f)
}

// TestWhoCallsWhat holds each kind of function against each role.
func TestWhoCallsWhat(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct {
		function string
		allowed  []string
	}{
		{"lookup", []string{"viewer", "controller", "operator", "admin", "viewer@other", "operator@other", "admin@other"}},
		{"register", []string{"operator", "admin", "operator@other", "admin@other"}},
		{"set_root", []string{"admin"}},
	} {
		for _, who := range []string{"viewer", "controller", "operator", "admin", "viewer@other", "operator@other", "admin@other"} {
			f.called = nil
			want := 403
			if slices.Contains(c.allowed, who) {
				want = 200
			}
			res := ask("POST", "/v1/services/registry/"+c.function, "", "Authorization", "Bearer "+who)
			if res.StatusCode != want || (want == 200) != (len(f.called) == 1) {
				t.Errorf("%s as %s: got %d, called %v, want %d", c.function, who, res.StatusCode, f.called, want)
			}
		}
	}
	for _, function := range []string{"_hidden", "a-b", "9", strings.Repeat("f", 64), "a%2Fb"} {
		checkRefused(t, ask, "POST", "/v1/services/registry/"+function, "", 404, "not-found", "-")
	}
	checkRefused(t, ask, "POST", "/v1/services/nobody/lookup", "", 404, "not-found", "-")
	checkRefused(t, ask, "POST", "/v1/services/ipfs/lookup?scope=cluster", "", 404, "not-found", "-")
	if res := ask("POST", "/v1/services/ipfs/lookup?scope=h1", ""); res.StatusCode != 200 {
		t.Errorf("in the scope of a peer by name: got %d", res.StatusCode)
	}
}

// TestFailuresOfFunctions have codes of their own, and the function's words.
func TestFailuresOfFunctions(t *testing.T) {
	f, _, ask := startFake(t)
	for kind, want := range map[api.Kind]int{api.ServiceFailed: 422, api.ServiceDeadline: 504, api.Unavailable: 503, api.NotFound: 404, api.TooMany: 429} {
		f.call = func(api.Service, string, json.RawMessage) (json.RawMessage, error) {
			return nil, &api.Error{Kind: kind, Msg: "name is taken"}
		}
		p := problemIn(t, ask("POST", "/v1/services/registry/lookup", ""))
		if p.Status != want || p.Code != kind.Code() || p.Detail != "name is taken" {
			t.Errorf("%s: got %+v", kind.Code(), p)
		}
	}
}

func TestFunctionsOfAService(t *testing.T) {
	f, _, ask := startFake(t)
	var shown api.ServiceView
	if err := json.Unmarshal([]byte(read(t, ask("GET", "/v1/services/registry", ""))), &shown); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(shown.Functions), "[{lookup viewer} {register operator} {set_root admin}]"; got != want || shown.Alias != "registry" || shown.Reason != "" {
		t.Errorf("got %s of %q (%s), want %s", got, shown.Alias, shown.Reason, want)
	}
	f.silent = &api.Error{Kind: api.Unavailable, Msg: "h2 is silent"}
	if got := read(t, ask("GET", "/v1/services/registry", "")); !strings.Contains(got, "h2 is silent") || !strings.Contains(got, serviceID) {
		t.Errorf("while its peer is silent: got %s", got)
	}
}

func TestScopesAndGrantsOfSpells(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct {
		credential, more string
		status           int
		wrote            string
	}{
		{"operator@default", ``, 201, "spell.create " + peerID + " default/n"},
		{"operator@default", `,"scope":"h1"`, 201, "spell.create " + peerID + " default/n"},
		{"operator@default", `,"scope":"` + peerID + `"`, 201, "spell.create " + peerID + " default/n"},
		{"operator@default", `,"account":"other"`, 403, ""},
		{"operator", `,"account":"other"`, 201, "spell.create " + peerID + " other/n"},
		{"operator", `,"scope":"cluster"`, 403, ""},
		{"admin@default", `,"scope":"cluster"`, 403, ""},
		{"admin", `,"scope":"cluster"`, 201, "spell.create cluster default/n"},
		{"operator@default", `,"grants":{"kv":true,"vms":true,"call":["registry"],"now":true}`, 201, "spell.create " + peerID + " default/n"},
		{"operator@default", `,"grants":{"http":["127.0.0.1:5001"]}`, 403, ""},
		{"operator", `,"grants":{"read":["vms"]}`, 403, ""},
		{"admin@default", `,"grants":{"any_account":true}`, 403, ""},
		{"admin", `,"grants":{"http":["127.0.0.1:5001"],"read":["vms"],"any_account":true}`, 201, "spell.create " + peerID + " default/n"},
		{"viewer", ``, 403, ""},
	} {
		f.fill()
		before := len(f.wroteSince(0))
		res := ask("POST", "/v1/spells", `{"alias":"n","script":"def run(): pass"`+c.more+`}`, "Authorization", "Bearer "+c.credential)
		if got := strings.Join(f.wroteSince(before), ";"); res.StatusCode != c.status || got != c.wrote {
			t.Errorf("%s as %s: got %d %s, %q, want %d, %q", c.more, c.credential, res.StatusCode, read(t, res), got, c.status, c.wrote)
		}
	}
	f.fill()
	before := len(f.wroteSince(0))
	for _, c := range []struct{ method, path, body string }{{"DELETE", "/v1/spells/whole", ""}, {"PUT", "/v1/spells/whole/trigger", `{}`}} {
		checkRefused(t, ask, c.method, c.path, c.body, 403, "forbidden", "-", "Authorization", "Bearer operator@default")
	}
	if wrote := f.wroteSince(before); len(wrote) > 0 {
		t.Errorf("refused, and yet the backend was asked: %v", wrote)
	}
	if res := ask("DELETE", "/v1/spells/whole", ""); res.StatusCode != 204 {
		t.Errorf("by an admin: got %d", res.StatusCode)
	}
}

func TestBadServiceBodies(t *testing.T) {
	f, _, ask := startFake(t)
	spell := func(more string) string { return `{"alias":"n","script":"def run(): pass"` + more + `}` }
	trigger := func(clock string) string { return `{"clock":` + clock + `}` }
	const end, period = "invalid config: end_sec is less than start_sec or in the past", "invalid config: period is too big"
	const chain = "a blockchain trigger is not supported: orchd follows no chain; use clock, connections or events"
	for _, c := range []struct{ method, path, body, pointer, detail string }{
		{"POST", "/v1/spells", `{"alias":"self","script":"x"}`, "/alias", "reserved"},
		{"POST", "/v1/spells", `{"alias":"spell","script":"x"}`, "/alias", "reserved"},
		{"POST", "/v1/spells", `{"alias":"` + spellID + `","script":"x"}`, "/alias", "no UUID"},
		{"POST", "/v1/spells", `{"alias":"n","script":""}`, "/script", "def"},
		{"POST", "/v1/spells", `{"alias":"n"}`, "/script", "required"},
		{"POST", "/v1/spells", `{"alias":"n","script":"` + strings.Repeat("é", 40000) + `"}`, "/script", "64 KiB"},
		{"POST", "/v1/spells", `{"alias":"n","script":"def run():\n  syntax error"}`, "/script", "2:1: got an error"},
		{"POST", "/v1/spells", spell(`,"scope":"h9"`), "/scope", "no such peer"},
		{"POST", "/v1/spells", spell(`,"scope":"h 9"`), "/scope", "one peer"},
		{"POST", "/v1/spells", spell(`,"account":"A"`), "/account", "name"},
		{"POST", "/v1/spells", spell(`,"call_ttl":3601`), "/call_ttl", "3600"},
		{"POST", "/v1/spells", spell(`,"call_ttl":1.5`), "/call_ttl", "whole number"},
		{"POST", "/v1/spells", spell(`,"kv":{"` + strings.Repeat("k", 257) + `":1}`), "/kv/" + strings.Repeat("k", 257), "256 bytes"},
		{"POST", "/v1/spells", spell(`,"kv":{"a\u0007":1}`), "/kv/a\x07", "control"},
		{"POST", "/v1/spells", spell(`,"kv":{"a":"` + strings.Repeat("v", 70000) + `"}`), "/kv/a", "64 KiB"},
		{"POST", "/v1/spells", spell(`,"trigger":` + trigger(`{"start_sec":1,"end_sec":5}`)), "/trigger/clock", end},
		{"POST", "/v1/spells", spell(`,"trigger":` + trigger(`{"start_sec":9223372036854775807}`)), "/trigger/clock", "the year 9999"},
		{"POST", "/v1/spells", spell(`,"trigger":` + trigger(`{"start_sec":99999999999,"end_sec":99999999998}`)), "/trigger/clock", end},
		{"POST", "/v1/spells", spell(`,"trigger":` + trigger(`{"start_sec":1,"period_sec":3153600001}`)), "/trigger/clock", period},
		{"POST", "/v1/spells", spell(`,"trigger":{"blockchain":{"start_block":1}}`), "/trigger/blockchain", chain},
		{"POST", "/v1/spells", spell(`,"trigger":{"clocks":{}}`), "/trigger/clocks", "unexpected"},
		{"POST", "/v1/spells", spell(`,"trigger":{"overlap":"never"}`), "/trigger/overlap", "queue"},
		{"POST", "/v1/spells", spell(`,"trigger":{"events":[{"table":"VMs"}]}`), "/trigger/events/0/table", "such as vms"},
		{"POST", "/v1/spells", spell(`,"trigger":{"events":[{"verb":"update"}]}`), "/trigger/events/0/table", "required"},
		{"POST", "/v1/spells", spell(`,"trigger":{"events":[{"table":"vms","where":{"":"x"}}]}`), "/trigger/events/0/where/", "field"},
		{"PUT", "/v1/spells/beat/trigger", trigger(`{"start_sec":1,"end_sec":5}`), "/clock", end},
		{"PUT", "/v1/spells/beat/trigger", `{"blockchain":{}}`, "/blockchain", chain},
		{"PUT", "/v1/spells/beat/trigger", trigger(`{"start_sec":-1}`), "/clock/start_sec", ""},

		{"PUT", "/v1/spells/beat/kv/w_a", `{}`, "", "one of"},
		{"PUT", "/v1/spells/beat/kv/w_a", `{"text":"a","u32":1}`, "", "one of"},
		{"PUT", "/v1/spells/beat/kv/w_a", `{"u32":4294967296}`, "/u32", ""},
		{"PUT", "/v1/spells/beat/kv/w_a", `{"u32":1.5}`, "/u32", "whole number"},
		{"PUT", "/v1/spells/beat/kv/w_a", `{"list":[]}`, "/list", ""},
		{"PUT", "/v1/spells/beat/kv/w_a", `{"text":"` + strings.Repeat("é", 40000) + `"}`, "/text", "64 KiB"},
		{"POST", "/v1/spells/beat/mailbox", `{"text":"` + strings.Repeat("é", 40000) + `"}`, "/text", "64 KiB"},
		{"POST", "/v1/spells/beat/mailbox", `{}`, "/text", "required"},

		{"POST", "/v1/deals", `{"name":"A","spec":{"count":1,"size":"f1-s"}}`, "/name", ""},
		{"POST", "/v1/deals", `{"name":"d","spec":{"count":1001,"size":"f1-s"}}`, "/spec/count", "1000"},
		{"POST", "/v1/deals", `{"name":"d","spec":{"count":1}}`, "/spec/vcpus", "or a size"},
		{"POST", "/v1/deals", `{"name":"d","spec":{"count":1,"vcpus":1}}`, "/spec/memory_mib", "or a size"},
		{"POST", "/v1/deals", `{"name":"d","spec":{"count":1,"size":"f1-s","vcpus":1}}`, "/spec/vcpus", "leave out"},
		{"POST", "/v1/deals", `{"name":"d","spec":{"count":1,"size":"../x"}}`, "/spec/size", "size"},
		{"POST", "/v1/deals", `{"name":"d","spec":{"count":1,"size":"f1-s","spread":"label:moon"}}`, "/spec/spread", "key of a label"},
		{"POST", "/v1/deals", `{"name":"d","spec":{"count":1,"size":"f1-s","ssh_keys":["a","B"]}}`, "/spec/ssh_keys/1", "SSH key"},
		{"PUT", "/v1/deals/front", `{"spec":{"count":1,"size":"f1-s"},"state":"ending"}`, "/state", ""},
		{"PATCH", "/v1/deals/front", `{"spec":{"size":null}}`, "/spec/vcpus", "or a size"},
		{"PATCH", "/v1/deals/front", `{"spec":{"count":-1}}`, "/spec/count", ""},
		{"PATCH", "/v1/deals/front", `{"name":"x"}`, "/name", "unexpected"},
	} {
		t.Run(c.method+" "+c.path+" "+c.body[:min(len(c.body), 80)], func(t *testing.T) {
			p := problemIn(t, ask(c.method, c.path, c.body))
			at := slices.IndexFunc(p.Errors, func(e api.FieldError) bool { return e.Pointer == c.pointer && strings.Contains(e.Detail, c.detail) })
			if p.Status != 422 || p.Code != "invalid" || at < 0 {
				t.Errorf("got %+v, want 422 and %q at %q", p, c.detail, c.pointer)
			}
			if strings.HasPrefix(c.detail, "invalid config") && p.Errors[max(at, 0)].Detail != c.detail {
				t.Errorf("got %q, want exactly %q", p.Errors[max(at, 0)].Detail, c.detail)
			}
		})
	}
	nothingWritten(t, f)
}

func TestBadServiceParameters(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct{ method, path, pointer string }{
		{"GET", "/v1/services?colour=red", "/query/colour"},
		{"GET", "/v1/packages?state=happy", "/query/state"},
		{"GET", "/v1/spells/beat/log?since=-1", "/query/since"},
		{"GET", "/v1/spells/beat/log?cursor=YQ", "/query/cursor"},
		{"GET", "/v1/spells/beat/kv?cursor=%21", "/query/cursor"},
		{"GET", "/v1/deals?state=happy", "/query/state"},
		{"GET", "/v1/deals/front?scope=h1", "/query/scope"},
		{"POST", "/v1/spells/beat/run?wait=5s", "/query/wait"},
	} {
		checkRefused(t, ask, c.method, c.path, "", 400, "malformed", c.pointer)
	}
	checkRefused(t, ask, "DELETE", "/v1/deals/front", "", 400, "malformed", "/header/If-Match", "If-Match", `"5"`)
	for _, path := range []string{"/v1/services/no", "/v1/services/a%2Fb", "/v1/spells/no/log", "/v1/spells/beat?scope=a%20b", "/v1/spells/beat/kv/no", "/v1/spells/beat/kv/a%00b", "/v1/deals/no"} {
		checkRefused(t, ask, "GET", path, "", 404, "not-found", "-")
	}
	nothingWritten(t, f)
}

// TestValuesOfSpells: who may write what, versions, and lists that are set whole.
func TestValuesOfSpells(t *testing.T) {
	f, _, ask := startFake(t)
	for _, key := range []string{"seen", "h_a", "hw_counter", "hw_trigger"} {
		checkRefused(t, ask, "PUT", "/v1/spells/beat/kv/"+key, `{"text":"a"}`, 403, "forbidden", "-")
		checkRefused(t, ask, "DELETE", "/v1/spells/beat/kv/"+key, "", 403, "forbidden", "-")
	}
	nothingWritten(t, f)
	for _, c := range []struct{ key, body, match, wrote string }{
		{"w_new", `{"text":"a b"}`, "", "kv set w_new a b0"},
		{"hw_new", `{"u32":4294967295}`, "", "kv set_u32 hw_new 4294967295"},
		{"w_%2Fpath", `{"text":""}`, "", "kv set w_/path 0"},
		{"w_names", `{"list":["b","c"]}`, "", "kv remove w_names 0 push w_names b0 push w_names c0"},
		{"w_names", `{"list":["d"]}`, `"2"`, "kv remove w_names 0 push w_names d0"},
		{"w_fresh", `{"list":["e"]}`, "", "kv compare w_fresh 0 push w_fresh e0"},
		{"w_limit", `{"u32":8}`, `"4"`, "kv set_u32 w_limit 8"},
	} {
		before := len(f.wroteSince(0))
		res := ask("PUT", "/v1/spells/beat/kv/"+c.key, c.body, "If-Match", c.match)
		if got := strings.Join(f.wroteSince(before), ";"); res.StatusCode != 200 || got != c.wrote || res.Header.Get("ETag") == "" {
			t.Errorf("%s %s: got %d %s, %q, want %q", c.key, c.body, res.StatusCode, read(t, res), got, c.wrote)
		}
	}
	if got := f.values[spellID+"/w_names"].List; fmt.Sprint(got) != "[d]" {
		t.Errorf("w_names: got %v, want [d]", got)
	}
	for _, body := range []string{`{"u32":8}`, `{"list":["a"]}`} {
		checkRefused(t, ask, "PUT", "/v1/spells/beat/kv/w_limit", body, 412, "precondition", "-", "If-Match", `"99"`)
		checkRefused(t, ask, "PUT", "/v1/spells/beat/kv/w_none", body, 412, "precondition", "-", "If-Match", `"99"`)
	}
	checkRefused(t, ask, "DELETE", "/v1/spells/beat/kv/w_limit", "", 412, "precondition", "-", "If-Match", `"99"`)
	checkRefused(t, ask, "DELETE", "/v1/spells/beat/kv/w_none", "", 404, "not-found", "-")
}

// TestPagesOfSpells reads what is kept of a spell page by page.
func TestPagesOfSpells(t *testing.T) {
	_, _, ask := startFake(t)
	for path, want := range map[string]string{
		"/v1/spells/beat/log?limit=1":          "one two three",
		"/v1/spells/beat/log?since=1":          "two three",
		"/v1/spells/beat/log?limit=1&since=2":  "three",
		"/v1/spells/beat/errors?limit=2":       "one two three",
		"/v1/spells/beat/mailbox?limit=1":      "first second",
		"/v1/spells/beat/kv?limit=1":           "hw_counter seen w_limit w_names",
		"/v1/spells/beat/kv?prefix=w_&limit=1": "w_limit w_names",
		"/v1/packages?limit=1":                 "aqua-ipfs registry",
	} {
		var got []string
		for cursor := ""; ; {
			var page api.Page[struct{ Text, Key, Package string }]
			if err := json.Unmarshal([]byte(read(t, ask("GET", path+"&cursor="+cursor, ""))), &page); err != nil {
				t.Fatal(err)
			}
			for _, x := range page.Items {
				if x.Key != "" {
					x.Text = "" // of a value
				}
				got = append(got, x.Text+x.Key+x.Package)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", path, got, want)
		}
	}
}

// TestServiceVersions: what has a version tells it, and can be asked to still have it.
func TestServiceVersions(t *testing.T) {
	_, _, ask := startFake(t)
	for _, c := range []struct{ show, method, path, body string }{
		{"/v1/spells/beat", "PUT", "/v1/spells/beat/trigger", `{}`},
		{"/v1/deals/front", "PUT", "/v1/deals/front", `{"spec":{"count":1,"size":"f1-s"}}`},
		{"/v1/deals/front", "PATCH", "/v1/deals/front", `{"spec":{"count":2}}`},
		{"/v1/deals/front", "POST", "/v1/deals/front/deactivate", ``},
		{"/v1/spells/beat/kv/w_limit", "PUT", "/v1/spells/beat/kv/w_limit", `{"u32":1}`},
	} {
		checkRefused(t, ask, c.method, c.path, c.body, 412, "precondition", "-", "If-Match", `"99"`)
		tag := ask("GET", c.show, "").Header.Get("ETag")
		if res := ask(c.method, c.path, c.body, "If-Match", tag); res.StatusCode != 200 || res.Header.Get("ETag") == tag {
			t.Errorf("%s %s with %s: got %d, ETag %q", c.method, c.path, tag, res.StatusCode, res.Header.Get("ETag"))
		}
	}
	if res := ask("GET", "/v1/services/registry", ""); res.Header.Get("ETag") != `"7"` {
		t.Errorf("service: got ETag %s", res.Header.Get("ETag"))
	}
}
