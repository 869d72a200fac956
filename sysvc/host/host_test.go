package host_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/host"
	"github.com/orchd/orchd/sysvc/run/runtest"
	"github.com/orchd/orchd/sysvc/worker"
)

var all = api.Grants{KV: true, Call: []string{"*"}, HTTP: []string{"ipfs:5001", "example.org"}, Read: []string{"vms"}, VMs: true, Now: true}

// place is a cluster with a few things in it, and what a spell may do there.
type place struct {
	*testing.T
	world   *runtest.World
	cluster *runtest.Cluster
	hosts   *host.Hosts
	lines   host.Lines
	answers map[string]*http.Response
	asked   []*http.Request
}

func newPlace(t *testing.T) *place {
	p := &place{T: t, world: runtest.New("a"), answers: map[string]*http.Response{}}
	p.cluster = p.world.Peer("a")
	p.cluster.Delay = 0
	p.hosts = host.New(host.Config{Cluster: p.cluster, HTTP: p.http})
	p.world.Spell(spell("mine", all))
	p.world.Spell(spell("other", all))
	foreign := spell("foreign", all)
	foreign.Account = "theirs"
	p.world.Spell(foreign)
	p.world.Service(service("store", all))
	p.world.Deal(api.Deal{ID: "d1", Name: "web", Account: "default"})
	p.world.Deal(api.Deal{ID: "d2", Name: "web", Account: "theirs"})
	return p
}

func spell(alias string, g api.Grants) api.Spell {
	return api.Spell{ID: alias + "-id", Alias: alias, Scope: "a", Account: "default", Grants: g, Digest: "digest of " + alias, Script: "script of " + alias, CallTTL: 5}
}

func service(alias string, g api.Grants) api.Service {
	return api.Service{ID: alias + "-id", Alias: alias, Scope: api.ScopeCluster, Account: "default", Store: alias + "-store", Grants: g, CallTTL: 5,
		Modules: []api.Module{{Name: "m", Kind: api.ModuleStarlark, Digest: "m-digest"}}, Access: api.Access{Viewer: []string{"look"}, Admin: []string{"reset"}}}
}

// http answers with what was laid out for an address.
func (p *place) http(_ context.Context, allowed []string, r *http.Request) (*http.Response, error) {
	if !host.Allows(allowed, r.URL) {
		p.Errorf("%s is not granted, and was asked", r.URL)
	}
	p.asked = append(p.asked, r)
	answer := p.answers[r.URL.String()]
	if answer == nil {
		return nil, errors.New("connection refused")
	}
	return answer, nil
}

func (p *place) run(alias string, g api.Grants) worker.Host {
	run := api.SpellRun{Number: 3, Firing: api.Firing{Kind: "clock", Tick: 7}}
	h, err := p.cluster.Claim(p.Context(), "a", "life")
	if err != nil {
		p.Fatal(err)
	}
	run.Term = h.Term
	s, _ := p.world.View().Spell(alias + "-id")
	s.Grants, s.Package = g, "pkg"
	_, _, w, forget := p.hosts.ForRun(s, run, &p.lines)
	p.Cleanup(forget)
	return w
}

// do calls a function of the host, and gives its result as JSON.
func (p *place) do(w worker.Host, name, args string) string {
	p.Helper()
	raw, err := w.Do(p.Context(), name, json.RawMessage(args))
	if err != nil {
		return "error: " + err.Error()
	}
	return string(raw)
}

// steps are calls, one after the other: function, arguments, result. A result that ends
// in ... is how it begins.
func (p *place) steps(w worker.Host, all ...string) {
	p.Helper()
	for i := 0; i < len(all); i += 3 {
		got, want := p.do(w, all[i], all[i+1]), all[i+2]
		if begin, open := strings.CutSuffix(want, "..."); got != want && !(open && strings.HasPrefix(got, begin)) {
			p.Errorf("%s %s\n got %s\nwant %s", all[i], all[i+1], got, want)
		}
	}
}

func TestValues(t *testing.T) {
	p := newPlace(t)
	w := p.run("mine", all)
	p.steps(w,
		"kv.get", `{"key":"k"}`, `null`,
		"kv.exists", `{"key":"k"}`, `false`,
		"kv.set", `{"key":"k","text":"v"}`, `null`,
		"kv.get", `{"key":"k"}`, `"v"`,
		"kv.exists", `{"key":"k"}`, `true`,
		"kv.get_u32", `{"key":"k"}`, `error: kv.get_u32: k is a string, not a u32`,
		"kv.get_json", `{"key":"k"}`, `error: kv.get_json: k holds no JSON...`,
		"kv.set_json", `{"key":"j","value":{"a": [1, null]}}`, `null`,
		"kv.get", `{"key":"j"}`, `"{\"a\":[1,null]}"`,
		"kv.get_json", `{"key":"j"}`, `{"a":[1,null]}`,
		"kv.set_field", `{"key":"j","field":"b","value":"x"}`, `null`,
		"kv.get_field", `{"key":"j","field":"b"}`, `"x"`,
		"kv.set_field", `{"key":"j","field":"b","value":null}`, `null`,
		"kv.get_field", `{"key":"j","field":"b"}`, `null`,
		"kv.get_field", `{"key":"j","field":"a"}`, `[1,null]`,
		"kv.set_u32", `{"key":"n","n":4294967290}`, `null`,
		"kv.add_u32", `{"key":"n","n":5}`, `4294967295`,
		"kv.add_u32", `{"key":"n","n":1}`, `error: ...`,
		"kv.add_u32", `{"key":"n","n":-1}`, `error: kv.add_u32: argument n is to be a whole number...`,
		"kv.add_u32", `{"key":"new","n":2}`, `2`,
		"kv.get_u32", `{"key":"new"}`, `2`,
		"kv.push", `{"key":"l","text":"a"}`, `null`,
		"kv.push", `{"key":"l","text":"b"}`, `null`,
		"kv.push", `{"key":"l","text":"a"}`, `null`,
		"kv.push", `{"key":"l","text":"c"}`, `null`,
		"kv.list", `{"key":"l"}`, `["a","b","a","c"]`,
		"kv.list", `{"key":"none"}`, `[]`,
		"kv.pop", `{"key":"l"}`, `"c"`,
		"kv.take", `{"key":"l","i":1}`, `"b"`,
		"kv.take", `{"key":"l","i":9}`, `error: kv.take: there is no element 9: the list has 2...`,
		"kv.drop", `{"key":"l","text":"a"}`, `null`,
		"kv.pop", `{"key":"l"}`, `null`,
		"kv.pop", `{"key":"k"}`, `error: kv.pop: k is a string, not a list`,
		"kv.compare_and_set", `{"key":"c","old":null,"new":"1"}`, `true`,
		"kv.compare_and_set", `{"key":"c","old":null,"new":"2"}`, `false`,
		"kv.compare_and_set", `{"key":"c","old":"2","new":"3"}`, `false`,
		"kv.compare_and_set", `{"key":"c","old":"1","new":"3"}`, `true`,
		"kv.get", `{"key":"c"}`, `"3"`,
		"kv.compare_and_set", `{"key":"c","old":"3","new":null}`, `true`,
		"kv.exists", `{"key":"c"}`, `false`,
		"kv.keys", `{}`, `["j","k","l","n","new"]`,
		"kv.keys", `{"prefix":"n"}`, `["n","new"]`,
		"kv.items", `{}`, `{"j":"{\"a\":[1,null]}","k":"v","l":"[]","n":"4294967295","new":"2"}`,
		"kv.remove", `{"key":"k"}`, `null`,
		"kv.remove", `{"key":"k"}`, `null`,
		"kv.get", `{"key":"k"}`, `null`,
		"kv.set", `{"key":"","text":""}`, `error: kv.set: a key has 1 to 256 bytes...`,
		"kv.set", `{"key":"h_x","text":""}`, `error: kv.set: h_x is not the spell's to write...`,
		"kv.set", `{"key":"hw_counter","text":""}`, `error: kv.set: hw_counter is not the spell's to write...`,
		"kv.get_u32", `{"key":"hw_counter"}`, `3`,
		"kv.get_json", `{"key":"hw_trigger"}`, `{"kind":"clock","tick":7}`,
		"kv.set", `[1]`, `error: kv.set: the arguments are to be a JSON object...`,
		"no.such", `{}`, `error: no.such: there is no function no.such`,
	)
	if got := p.do(w, "kv.set", `{"key":"k","text":"`+strings.Repeat("x", api.MaxKVValue+1)+`"}`); !strings.Contains(got, "at most 65536") {
		t.Errorf("a large value: %.100s", got)
	}
}

// Values of others can be read within the account, and by nobody else.
func TestValuesOfOthers(t *testing.T) {
	p := newPlace(t)
	p.steps(p.run("other", all), "kv.set", `{"key":"k","text":"theirs"}`, `null`)
	_, _, store := p.hosts.ForService(service("store", all), api.Actor{})
	p.steps(store, "kv.push", `{"key":"l","text":"e"}`, `null`)
	w := p.run("mine", all)
	p.steps(w,
		"kv.get", `{"key":"k","of":"other"}`, `"theirs"`,
		"kv.get", `{"key":"k","of":"mine"}`, `null`,
		"kv.list", `{"key":"l","of":"store"}`, `["e"]`,
		"kv.keys", `{"of":"store"}`, `["l"]`,
		"kv.get", `{"key":"k","of":"foreign"}`, `error: kv.get: foreign belongs to account "theirs", and this spell acts for "default"`,
		"kv.get", `{"key":"k","of":"nobody"}`, `error: kv.get: there is no spell or service "nobody"...`,
	)
	any := all
	any.AnyAccount = true
	p.steps(p.run("mine", any), "kv.get", `{"key":"k","of":"foreign"}`, `null`)
}

func TestMailbox(t *testing.T) {
	p := newPlace(t)
	mine := p.run("mine", all)
	_, _, store := p.hosts.ForService(service("store", all), api.Actor{})
	p.steps(mine,
		"mailbox.push", `{"alias":"foreign","text":"hello"}`, `error: mailbox.push: foreign belongs to account...`,
		"mailbox.push", `{"alias":"store","text":"hello"}`, `error: mailbox.push: store is a service...`)
	mine = p.run("mine", all)
	p.steps(mine, "mailbox.push", `{"alias":"other","text":"one"}`, `null`, "mailbox.push", `{"alias":"other","text":"two"}`, `null`)
	other := p.run("other", all)
	p.steps(other, "mailbox.pop", `{}`, `{"from":"spell:mine","text":"one"}`, "mailbox.pop", `{}`, `{"from":"spell:mine","text":"two"}`, "mailbox.pop", `{}`, `null`)
	p.steps(store, "mailbox.pop", `{}`, `error: mailbox.pop: only spells have a mailbox`)
}

func TestNothingIsGranted(t *testing.T) {
	p := newPlace(t)
	w := p.run("mine", api.Grants{})
	for name, needs := range map[string]string{
		"kv.set": "kv.set needs kv = true", "kv.get": "kv.get needs kv = true", "kv.pop": "kv.pop needs kv = true", "mailbox.pop": "mailbox.pop needs kv = true",
		"mailbox.push": "mailbox.push needs kv = true", "now": "now needs now = true", "orchd.vm_create": "orchd.vm_create needs vms = true",
		"orchd.vm_delete": "orchd.vm_delete needs vms = true", "orchd.vm_act": "orchd.vm_act needs vms = true", "orchd.deal_report": "orchd.deal_report needs vms = true",
		"orchd.deal_create": "orchd.deal_create needs vms = true", "orchd.read": `orchd.read of vms needs read = ["vms"]`,
		"http.get": `http.get of ipfs:5001 needs http = ["ipfs:5001"]`, "http.post": `http.post of ipfs:5001 needs http = ["ipfs:5001"]`,
	} {
		got := p.do(w, name, `{"key":"k","text":"v","table":"vms","url":"http://ipfs:5001/api"}`)
		if want := "error: not granted: " + needs + " under [grants] of package.toml"; got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	alone, _ := p.world.View().Spell("mine-id") // of no package: somebody installed it
	alone.Grants = api.Grants{}
	_, _, byHand, over := p.hosts.ForRun(alone, api.SpellRun{}, &host.Lines{})
	defer over()
	for name, needs := range map[string]string{"now": "now needs --grant now", "orchd.read": "orchd.read of vms needs --grant read=vms"} {
		if got, want := p.do(byHand, name, `{"table":"vms"}`), "error: not granted: "+needs+", when it is installed"; got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	if _, _, _, err := w.Enter(t.Context(), "store"); err == nil || err.Error() != `not granted: call of store needs call = ["store"] under [grants] of package.toml` {
		t.Errorf("call: %v", err)
	}
	p.steps(w, "orchd.self", `{}`, `{"peer":"a","scope":"a"}`, "log", `{"text":"always"}`, `null`, "error", `{"args":["a",1,{"b":2}]}`, `null`)
	if log := p.lines.Log(); len(log) != 1 || log[0].Text != "always" || log[0].Run != 3 || p.lines.Errors() != `a 1 {"b":2}` {
		t.Errorf("log %+v, errors %q", log, p.lines.Errors())
	}
}

func TestVMsAndDeals(t *testing.T) {
	p := newPlace(t)
	w := p.run("mine", all)
	p.steps(w,
		"orchd.vm_create", `{"vm":{"name":"v1","spec":{"vcpus":1}}}`, `{"id":"default-v1","name":"v1","account":"default"...`,
		"orchd.vm_create", `{"vm":{"name":"v1","account":"theirs"}}`, `error: not granted: orchd.vm_create for account theirs needs any_account = true under [grants] of package.toml`,
		"orchd.vm_act", `{"name":"v1","action":"stop"}`, `null`,
		"orchd.read", `{"table":"vms","filter":{"name":"v1"}}`, `[{"id":"default-v1"...`,
		"orchd.read", `{"table":"vms","filter":{"name":"v2"}}`, `[]`,
		"orchd.read", `{"table":"tokens"}`, `error: not granted: orchd.read of tokens needs read = ["tokens"]...`,
		"orchd.vm_delete", `{"name":"v1","account":"theirs"}`, `error: not granted...`,
		"orchd.vm_delete", `{}`, `error: orchd.vm_delete: argument name is missing`,
		"orchd.vm_delete", `{"name":"v1"}`, `null`,
		"orchd.deal_report", `{"report":{"id":"d1","reason":"busy"}}`, `null`,
		"orchd.deal_report", `{"report":{"id":"d2","reason":"busy"}}`, `error: not granted...`,
		"orchd.deal_report", `{"report":{"id":"d3"}}`, `error: orchd.deal_report: there is no deal "d3"`,
		"orchd.deal_create", `{"deal":{"name":"x","spec":{"count":2}}}`, `{"id":"default-x"...`,
		"orchd.deal_update", `{"name":"x","update":{"spec":{"count":3}}}`, `null`,
		"orchd.deal_delete", `{"name":"x"}`, `null`,
	)
	any := all
	any.AnyAccount = true
	p.steps(p.run("mine", any), "orchd.vm_create", `{"vm":{"name":"v1","account":"theirs"}}`, `{"id":"theirs-v1"...`, "orchd.deal_report", `{"report":{"id":"d2"}}`, `null`)
}

// What a run does is refused once another has the scope.
func TestFence(t *testing.T) {
	p := newPlace(t)
	w := p.run("mine", all)
	p.steps(w, "kv.push", `{"key":"l","text":"a"}`, `null`)
	if _, err := p.cluster.Claim(t.Context(), "a", "another life"); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string]string{
		"kv.set": `{"key":"k","text":"v"}`, "kv.pop": `{"key":"l"}`, "orchd.vm_create": `{"vm":{"name":"v"}}`, "mailbox.push": `{"alias":"other","text":"t"}`,
		"orchd.deal_report": `{"report":{"id":"d1"}}`,
	} {
		if _, err := w.Do(t.Context(), name, json.RawMessage(args)); !api.IsKind(err, api.Precondition) {
			t.Errorf("%s of an old term: %v", name, err)
		}
	}
}

// Callers that race: nothing is counted or popped twice, and nothing is lost.
func TestRaces(t *testing.T) {
	p := newPlace(t)
	svc := service("store", all)
	const callers, each = 4, 40
	var mu sync.Mutex
	popped, won := []string{}, 0
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := range each {
				_, _, w := p.hosts.ForService(svc, api.Actor{})
				do := func(name, args string) string {
					raw, err := w.Do(t.Context(), name, json.RawMessage(args))
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
					return string(raw)
				}
				do("kv.add_u32", `{"key":"n","n":1}`)
				do("kv.push", fmt.Sprintf(`{"key":"l","text":"%d-%d"}`, c, i))
				do("kv.set_field", fmt.Sprintf(`{"key":"j","field":"%d-%d","value":1}`, c, i))
				element := do("kv.pop", `{"key":"l"}`)
				set := do("kv.compare_and_set", fmt.Sprintf(`{"key":"once%d","old":null,"new":"%d"}`, i, c))
				mu.Lock()
				popped = append(popped, element)
				if set == "true" {
					won++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	v := p.world.View()
	if n, _ := v.KV(svc.Store, "n"); n.U32 != callers*each {
		t.Errorf("counted %d, want %d", n.U32, callers*each)
	}
	slices.Sort(popped)
	if distinct := slices.Compact(slices.Clone(popped)); len(distinct) != callers*each || slices.Contains(distinct, "null") {
		t.Errorf("popped %d of %d", len(distinct), callers*each)
	}
	j, _ := v.KV(svc.Store, "j")
	if n := strings.Count(j.Text, ":"); n != callers*each {
		t.Errorf("%d fields are there, want %d", n, callers*each)
	}
	if won != each {
		t.Errorf("%d compares won, want %d", won, each)
	}
}

func answer(status int, body string, header ...string) *http.Response {
	r := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestHTTP(t *testing.T) {
	p := newPlace(t)
	w := p.run("mine", all)
	p.answers["http://ipfs:5001/id"] = answer(200, "peer", "X-One", "1")
	p.answers["http://ipfs:5001/raw"] = answer(200, "\xff\x00")
	p.answers["http://ipfs:5001/big"] = answer(200, strings.Repeat("x", 1<<20+1))
	p.answers["https://example.org/"] = answer(302, "", "Location", "http://ipfs:5001/there")
	p.answers["http://ipfs:5001/there"] = answer(201, "there")
	p.answers["http://ipfs:5001/inner"] = answer(307, "", "Location", "http://127.0.0.1:8080/secret")
	p.answers["http://ipfs:5001/circle"] = answer(301, "", "Location", "/circle")
	p.answers["http://ipfs:5001/put"] = answer(204, "")
	p.steps(w,
		"http.get", `{"url":"http://ipfs:5001/id"}`, `{"body":"peer","headers":{"x-one":"1"},"status":200}`,
		"http.get", `{"url":"http://ipfs:5001/raw"}`, `{"body":"","body_base64":"/wA=","headers":{},"status":200}`,
		"http.get", `{"url":"http://ipfs:5001/big"}`, `error: http.get: the answer has more than 1048576 bytes`,
		"http.post", `{"url":"https://example.org/","body":"b","headers":{"Authorization":"secret","X-Two":"2"}}`, `{"body":"there","headers":{},"status":201}`,
		"http.get", `{"url":"http://ipfs:5001/inner"}`, `error: not granted: http.get of 127.0.0.1:8080 needs http = ["127.0.0.1:8080"]...`,
		"http.get", `{"url":"http://ipfs:5001/circle"}`, `error: http.get: http://ipfs:5001/circle leads on through more than 5 redirects`,
		"http.get", `{"url":"http://ipfs:5001/gone"}`, `error: http.get: http://ipfs:5001/gone: connection refused...`,
		"http.get", `{"url":"file:///etc/passwd"}`, `error: http.get: argument url is to be...`,
		"http.get", `{"url":"http://ipfs/id"}`, `error: not granted...`,
		"http.request", `{"method":"put","url":"http://ipfs:5001/put","body_base64":"/wA="}`, `{"body":"","headers":{},"status":204}`,
	)
	redirected := p.asked[slices.IndexFunc(p.asked, func(r *http.Request) bool { return r.URL.Path == "/there" })]
	if redirected.Method != "GET" || redirected.Header.Get("Authorization") != "" || redirected.Header.Get("X-Two") != "2" {
		t.Errorf("redirected as %s with %v", redirected.Method, redirected.Header)
	}
	last := p.asked[len(p.asked)-1]
	if body, _ := io.ReadAll(last.Body); last.Method != "PUT" || string(body) != "\xff\x00" {
		t.Errorf("sent %s %q", last.Method, body)
	}
}

func TestAllows(t *testing.T) {
	for address, want := range map[string]bool{
		"http://ipfs:5001/x": true, "http://IPFS:5001": true, "http://ipfs:5002": false, "https://example.org": true, "http://example.org": true, "http://example.org.": true,
		"https://example.org:8443": false, "https://evil-example.org": false, "https://example.org.evil": false, "http://user@example.org": true, "http://[::1]:80": true, "http://": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := host.Allows([]string{"ipfs:5001", "example.org", "[::1]:80"}, u); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// pool stands for the workers: it gives what it was told to.
type pool func(context.Context, worker.Call) (json.RawMessage, error)

func (p pool) Call(ctx context.Context, c worker.Call) (json.RawMessage, error) { return p(ctx, c) }

func TestCallContract(t *testing.T) {
	p := newPlace(t)
	for name, c := range map[string]struct {
		result string
		err    error
		want   string
		kind   api.Kind
	}{
		"a value":                   {result: `{"a":1}`, want: `{"a":1}`},
		"null":                      {result: `null`, want: `null`},
		"success":                   {result: `{"success":true,"error":""}`, want: `{"success":true,"error":""}`},
		"failure":                   {result: ` {"success":false,"error":"no such name"}`, want: "service.call: no such name", kind: api.ServiceFailed},
		"failure with another kind": {result: `{"success":false,"error":{"code":5}}`, want: `service.call: {"code":5}`, kind: api.ServiceFailed},
		"no error beside it":        {result: `{"success":false}`, want: `{"success":false}`},
		"not JSON":                  {result: `{"a":`, want: "service.call: return invalid result", kind: api.ServiceFailed},
		"nothing":                   {result: ``, want: "service.call: return invalid result", kind: api.ServiceFailed},
		"too much":                  {result: `"` + strings.Repeat("x", api.MaxCallResult) + `"`, want: "service.call: return invalid result", kind: api.ServiceFailed},
		"a script's error":          {err: &worker.ScriptError{Msg: "division by zero"}, want: "service.call: division by zero", kind: api.ServiceFailed},
		"deadline":                  {err: worker.ErrDeadline, want: "service.call: store.f took longer than 5s...", kind: api.ServiceDeadline},
		"memory":                    {err: worker.ErrMemory, want: "service.call: store.f was stopped...", kind: api.ServiceFailed},
		"no function":               {err: worker.ErrNoFunction, want: "service.call: there is no function store.f", kind: api.NotFound},
		"busy":                      {err: worker.ErrBusy, want: "service.call: all workers...", kind: api.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			told := pool(func(ctx context.Context, call worker.Call) (json.RawMessage, error) {
				if deadline, has := ctx.Deadline(); !has || time.Until(deadline) > 5*time.Second {
					t.Error("the call has no deadline, or too late a one")
				}
				if call.Function != "f" || string(call.Args) != "{}" {
					t.Errorf("called %s(%s)", call.Function, call.Args)
				}
				return json.RawMessage(c.result), c.err
			})
			got, err := p.hosts.Call(t.Context(), told, service("store", all), "f", nil, api.Actor{Role: api.RoleOperator})
			text := string(got)
			if err != nil {
				text = err.Error()
			}
			begin, open := strings.CutSuffix(c.want, "...")
			if text != c.want && !(open && strings.HasPrefix(text, begin)) || err != nil && !api.IsKind(err, c.kind) {
				t.Errorf("got %.200s\nwant %s", text, c.want)
			}
		})
	}
}

func TestWhoMayCall(t *testing.T) {
	p := newPlace(t)
	viewer, operator, admin := api.Actor{Role: api.RoleViewer}, api.Actor{Role: api.RoleOperator}, api.Actor{Role: api.RoleAdmin}
	for _, c := range []struct {
		caller   api.Actor
		function string
		kind     api.Kind
		ok       bool
	}{
		{viewer, "look", 0, true}, {viewer, "f", api.Forbidden, false}, {viewer, "reset", api.Forbidden, false},
		{operator, "look", 0, true}, {operator, "f", 0, true}, {operator, "reset", api.Forbidden, false},
		{admin, "look", 0, true}, {admin, "f", 0, true}, {admin, "reset", 0, true},
		{api.Actor{Role: api.RoleAdmin, Account: "theirs"}, "reset", api.Forbidden, false},
		{api.Actor{Role: api.RolePeer}, "reset", 0, true},
		{api.Actor{}, "look", api.Forbidden, false},
		{admin, "_inner", api.NotFound, false}, {admin, "", api.Invalid, false},
	} {
		_, err := p.hosts.Call(t.Context(), pool(func(context.Context, worker.Call) (json.RawMessage, error) { return json.RawMessage("1"), nil }), service("store", all), c.function, json.RawMessage(`[1]`), c.caller)
		if (err == nil) != c.ok || err != nil && !api.IsKind(err, c.kind) {
			t.Errorf("%+v calls %q: %v", c.caller, c.function, err)
		}
	}
	for _, args := range []string{`1`, `{`, `"x"`} {
		if _, err := p.hosts.Call(t.Context(), nil, service("store", all), "f", json.RawMessage(args), admin); !api.IsKind(err, api.Invalid) {
			t.Errorf("arguments %s: %v", args, err)
		}
	}
}

// A call of a service by a spell carries the run's fence, and ends in the spell's log.
func TestEnter(t *testing.T) {
	p := newPlace(t)
	w := p.run("mine", all)
	if _, _, _, err := w.Enter(t.Context(), "store"); !api.IsKind(err, api.Invalid) {
		t.Fatalf("a call of no function: %v", err)
	}
	store := service("store", all)
	store.Package = "p"
	p.world.Service(store)
	w = p.run("mine", all)
	program, about, inner, err := host.EnterFor(t.Context(), w, "store", "f")
	if err != nil {
		t.Fatal(err)
	}
	if want := []worker.Module{{Name: "m", Kind: api.ModuleStarlark, Digest: "m-digest"}}; !reflect.DeepEqual(program.Modules, want) || about.Caller != (api.Actor{ID: "spell:mine", Role: api.RoleOperator, Account: "default"}) {
		t.Errorf("program %+v, caller %+v", program, about.Caller)
	}
	p.steps(inner, "kv.set", `{"key":"k","text":"v"}`, `null`, "log", `{"text":"hello"}`, `null`)
	if e, _ := p.world.View().KV("store-store", "k"); e.Text != "v" {
		t.Errorf("the service's own value is %q", e.Text)
	}
	if log := p.lines.Log(); len(log) != 1 || log[0].Text != "store: hello" {
		t.Errorf("log %+v", log)
	}
	if _, _, _, err := host.EnterFor(t.Context(), w, "store", "reset"); !api.IsKind(err, api.Forbidden) {
		t.Errorf("an operator's spell calls a function for admins: %v", err)
	}
	if _, _, _, err := host.EnterFor(t.Context(), w, "nobody", "f"); !api.IsKind(err, api.NotFound) {
		t.Errorf("no such service: %v", err)
	}
	if _, err := p.cluster.Claim(t.Context(), "a", "another life"); err != nil {
		t.Fatal(err)
	}
	if _, err := inner.Do(t.Context(), "kv.set", json.RawMessage(`{"key":"k","text":"w"}`)); !api.IsKind(err, api.Precondition) {
		t.Errorf("a service called in an old term: %v", err)
	}
	deep := p.run("mine", all)
	for i := range 9 {
		if _, _, deep, err = host.EnterFor(t.Context(), deep, "store", "f"); err != nil {
			if i != 8 {
				t.Errorf("call %d: %v", i, err)
			}
			return
		}
	}
	t.Error("calls go on without end")
}

type modules map[string]string

func (m modules) Module(_ context.Context, digest string) ([]byte, error) {
	if text, has := m[digest]; has {
		return []byte(text), nil
	}
	return nil, errors.New("no such module")
}

func TestSource(t *testing.T) {
	p := newPlace(t)
	source := p.hosts.Source(modules{"m-digest": "module"})
	_, _, _, over := p.hosts.ForRun(api.Spell{Alias: "mine", Script: "def run(): mine()"}, api.SpellRun{}, &host.Lines{})
	sum := sha256.Sum256([]byte("def run(): mine()"))
	mine := hex.EncodeToString(sum[:])
	program, forget := p.hosts.Script("one", "def run(): pass")
	again, forgetAgain := p.hosts.Script("two", "def run(): pass")
	if !program.Spell || program.Modules[0].Digest != again.Modules[0].Digest {
		t.Errorf("programs %+v, %+v", program, again)
	}
	forget()
	forget() // once is enough
	for digest, want := range map[string]string{"m-digest": "module", mine: "def run(): mine()", program.Modules[0].Digest: "def run(): pass"} {
		if text, err := source.Module(t.Context(), digest); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", digest, text, err)
		}
	}
	forgetAgain()
	over()
	if _, err := source.Module(t.Context(), mine); err == nil {
		t.Error("a script whose run is over is still there")
	}
	if _, err := source.Module(t.Context(), program.Modules[0].Digest); err == nil {
		t.Error("a script that nobody compiles any more is still there")
	}
}
