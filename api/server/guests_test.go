package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// Paths of what belongs to the account other, by name and by id, as routes have them.
var others = map[string][]string{
	"/v1/vms/{id}":        {"/v1/vms/db1", "/v1/vms/" + otherID, "/v1/vms/db1?account=other"},
	"/v1/operations/{id}": {"/v1/operations/" + otherOpID},
	"/v1/images/{name}":   {"/v1/images/theirs", "/v1/images/" + otherImageID},
	"/v1/ssh-keys/{name}": {"/v1/ssh-keys/bert", "/v1/ssh-keys/" + otherKeyID, "/v1/ssh-keys/bert?account=other"},
	"/v1/accounts/{name}": {"/v1/accounts/other"},
	"/v1/spells/{alias}":  {"/v1/spells/theirs", "/v1/spells/" + otherSpellID, "/v1/spells/theirs?scope=h1"},
	"/v1/deals/{name}":    {"/v1/deals/theirs", "/v1/deals/" + otherDealID, "/v1/deals/theirs?account=other"},
	"/v1/vms/{id}/snapshots/{snapshot}": {"/v1/vms/db1/snapshots/theirs", "/v1/vms/" + otherID + "/snapshots/" + otherSnapID,
		"/v1/vms/web1/snapshots/theirs", "/v1/vms/web1/snapshots/" + otherSnapID},
}

const otherOpID = "55555555-5555-4555-8555-555555555556"

// pathsOfOthers are the paths of a route with what belongs to the other account.
func pathsOfOthers(route string) (paths []string) {
	longest := ""
	for prefix := range others {
		if strings.HasPrefix(route, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	if longest == "" {
		return nil
	}
	for _, path := range others[longest] {
		path, query, asks := strings.Cut(path, "?")
		path += strings.TrimPrefix(route, longest)
		if asks {
			path += "?" + query
		}
		paths = append(paths, path)
	}
	return paths
}

// TestWhatBelongsToAnotherAccountIsNotThere asks each route that names an object for
// those of another account, as every role bound to this one.
func TestWhatBelongsToAnotherAccountIsNotThere(t *testing.T) {
	f, _, ask := startFake(t)
	asked := 0
	for _, rt := range routes {
		name := rt.method + " " + rt.path
		for _, path := range pathsOfOthers(rt.path) {
			for _, role := range examples[name].roles {
				f.fill()
				f.operations[otherOpID] = api.Operation{ID: otherOpID, Kind: "create", Account: "other", State: api.OpRunning, Version: 1}
				before := len(f.wroteSince(0))
				want := http.StatusNotFound
				if slices.Contains(wholes, name) {
					want = http.StatusForbidden
				}
				for _, key := range []string{"", "k"} {
					if key != "" && rt.method != get {
						continue // who brings a key may be asked about by its backend: it knows what the key did
					}
					res := ask(rt.method, path, examples[name].body, "Authorization", "Bearer "+role+"@default", "Idempotency-Key", key)
					if body := read(t, res); res.StatusCode != want || strings.Contains(body, "other") {
						t.Errorf("%s %s as %s of the account default: got %d %s, want %d", rt.method, path, role, res.StatusCode, body, want)
					}
				}
				if wrote := f.wroteSince(before); len(wrote) > 0 {
					t.Errorf("%s %s: the backend was asked: %v", rt.method, path, wrote)
				}
				asked++
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d requests were made: the table does not fit the routes", asked)
	}
}

// TestListsShowOneAccount: who is bound sees rows of its account and those of everybody.
func TestListsShowOneAccount(t *testing.T) {
	f, _, ask := startFake(t)
	f.operations[otherOpID] = api.Operation{ID: otherOpID, Kind: "create", Account: "other", State: api.OpRunning, Version: 1}
	for path, want := range map[string][3]int{ // for default, for other, for who is not bound
		"/v1/vms": {1, 1, 2}, "/v1/operations": {1, 1, 2}, "/v1/images": {2, 2, 3}, "/v1/ssh-keys": {1, 1, 2}, "/v1/ssh-keys?account=other": {0, 1, 1},
		"/v1/accounts": {1, 1, 2}, "/v1/usage": {2, 1, 3}, "/v1/usage?month=2026-01": {1, 1, 2}, "/v1/usage?account=other": {0, 1, 1},
		"/v1/sizes": {1, 1, 1}, "/v1/networks": {1, 1, 1},
		"/v1/spells": {2, 1, 3}, "/v1/spells?scope=h1": {1, 1, 2}, "/v1/spells?scope=nowhere": {0, 0, 0}, "/v1/deals": {1, 1, 2}, "/v1/deals?account=other": {0, 1, 1},
		"/v1/services": {2, 2, 2}, "/v1/services?scope=h1": {1, 1, 1}, "/v1/packages": {2, 2, 2}, "/v1/packages?package=registry": {1, 1, 1},
	} {
		for i, credential := range []string{"viewer@default", "viewer@other", "viewer"} {
			var page api.Page[json.RawMessage]
			if err := json.Unmarshal([]byte(read(t, ask("GET", path, "", "Authorization", "Bearer "+credential))), &page); err != nil || len(page.Items) != want[i] {
				t.Errorf("%s as %s: got %d rows (%v), want %d", path, credential, len(page.Items), err, want[i])
			}
		}
	}
}

// TestWritesCanBeRepeated sends each write of what this file is about twice with one
// key: it takes effect once and is answered alike; with another body it is refused.
func TestWritesCanBeRepeated(t *testing.T) {
	f, _, ask := startFake(t)
	tried := 0
	for name, e := range examples {
		method, path, _ := strings.Cut(name, " ")
		repeats := slices.ContainsFunc([]string{"/v1/vms", "/v1/sizes", "/v1/ssh-keys", "/v1/accounts", "/v1/images", "/v1/operations", "/v1/spells", "/v1/deals"}, func(p string) bool { return strings.HasPrefix(path, p) })
		if method == get || !repeats || strings.HasSuffix(path, "/content") || path == "/v1/spells/{alias}/run" || path == "/v1/vms/{id}" && method != del {
			continue
		}
		tried++
		t.Run(name, func(t *testing.T) {
			f.fill()
			first := ask(method, e.path, e.body, "Idempotency-Key", "k")
			body := read(t, first)
			again := ask(method, e.path, e.body, "Idempotency-Key", "k")
			over := first.StatusCode == 202 && again.StatusCode == 200 // the operation has ended meanwhile
			if got := read(t, again); again.StatusCode != first.StatusCode && !over || idIn(got) != idIn(body) {
				t.Errorf("again: got %d %s, want %d %s", again.StatusCode, got, first.StatusCode, body)
			}
			if first.Header.Get("Idempotency-Replayed") != "" || first.StatusCode != 204 && again.Header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("Idempotency-Replayed: got %q and %q", first.Header.Get("Idempotency-Replayed"), again.Header.Get("Idempotency-Replayed"))
			}
			if loc := again.Header.Get("Location"); loc != first.Header.Get("Location") {
				t.Errorf("Location: got %q, want %q", loc, first.Header.Get("Location"))
			}
			if e.body != "" && path != "/v1/vms" {
				if res := ask(method, e.path, " "+e.body, "Idempotency-Key", "k"); res.StatusCode != 422 {
					t.Errorf("another body: got %d, want 422", res.StatusCode)
				}
			}
		})
	}
	if tried < 20 {
		t.Errorf("only %d writes were tried", tried)
	}
}

func idIn(body string) string {
	var object struct{ ID, Name string }
	_ = json.Unmarshal([]byte(body), &object)
	return object.ID + " " + object.Name
}

// TestStatusOfAnAccount: who is bound to one learns nothing of the VMs of another.
func TestStatusOfAnAccount(t *testing.T) {
	_, _, ask := startFake(t)
	for bearer, want := range map[string][]string{"viewer": {"", vmID, otherID, peerID}, "viewer@default": {"", vmID}, "admin@other": {"", otherID}} {
		var st api.Status
		if err := json.Unmarshal([]byte(read(t, ask("GET", "/v1/status", "", "Authorization", "Bearer "+bearer))), &st); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range st.Warnings {
			got = append(got, w.VM)
		}
		if !slices.Equal(got, want) || bearer != "viewer" && st.VMs["running"] != 1 {
			t.Errorf("%s: warnings of %q and VMs %v, want %q", bearer, got, st.VMs, want)
		}
	}
}

// TestQueryIsPartOfTheKey: another parameter makes another request of it, but for how long
// to wait.
func TestQueryIsPartOfTheKey(t *testing.T) {
	_, _, ask := startFake(t)
	for _, c := range []struct {
		query string
		same  bool
	}{{"?account=default", true}, {"?account=default&wait=1s", true}, {"", false}} {
		if got := ask("POST", "/v1/vms/web1/pause"+c.query, "", "Idempotency-Key", "k").StatusCode; (got < 300) != c.same || !c.same && got != 422 {
			t.Errorf("pause%s: got %d; that it is the same request: %v", c.query, got, c.same)
		}
	}
}

// TestStopTimeoutIsPartOfTheKey: in the query it is as good as in the body.
func TestStopTimeoutIsPartOfTheKey(t *testing.T) {
	_, _, ask := startFake(t)
	for query, want := range map[string]int{"?timeout=5s": 202, "?timeout=6s": 422, "": 422} {
		if query != "?timeout=5s" {
			ask("POST", "/v1/vms/web1/stop?timeout=5s", "", "Idempotency-Key", "k"+query)
		}
		if got := ask("POST", "/v1/vms/web1/stop"+query, "", "Idempotency-Key", "k"+query).StatusCode; got != want {
			t.Errorf("stop%s: got %d, want %d", query, got, want)
		}
	}
}

func TestStopAndRestart(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct{ path, body, wrote string }{
		{"stop", "", ""}, // as old clients send it
		{"stop", "{}", ""},
		{"stop?timeout=1m30s", "", " 90s"},
		{"stop", `{"timeout":"1h"}`, " 3600s"},
		{"restart?timeout=1s", "{}", " 1s"},
		{"restart", `{"timeout":"2s"}`, " 2s"},
	} {
		before := len(f.wroteSince(0))
		verb, _, _ := strings.Cut(c.path, "?")
		res := ask("POST", "/v1/vms/web1/"+c.path, c.body)
		if got, want := strings.Join(f.wroteSince(before), ";"), "vm."+verb+" "+vmID+c.wrote; res.StatusCode != 202 || got != want {
			t.Errorf("%s %s: got %d, %q, want %q", c.path, c.body, res.StatusCode, got, want)
		}
		if op := res.Header.Get("Operation-Location"); !strings.HasPrefix(op, "/v1/operations/") {
			t.Errorf("Operation-Location: got %q", op)
		}
	}
}

func TestBadGuestBodies(t *testing.T) {
	f, _, ask := startFake(t)
	spec := func(more string) string { return `{"name":"n","spec":{` + more + `}}` }
	sized, amounts := `"size":"f1-s"`, `"vcpus":1,"memory_mib":64`
	long := strings.Repeat("é", 131073) // 262146 bytes, and fewer characters than the schema takes
	for _, c := range []struct{ name, method, path, body, pointer string }{
		{"size and vcpus", "POST", "/v1/vms", spec(sized + `,"vcpus":1`), "/spec/vcpus"},
		{"size and memory", "POST", "/v1/vms", spec(sized + `,"memory_mib":64`), "/spec/memory_mib"},
		{"no memory", "POST", "/v1/vms", spec(`"vcpus":1`), "/spec/memory_mib"},
		{"size no name", "POST", "/v1/vms", spec(`"size":"../x"`), "/spec/size"},
		{"network no name", "POST", "/v1/vms", spec(amounts + `,"network":"A B"`), "/spec/network"},
		{"key no name", "POST", "/v1/vms", spec(amounts + `,"ssh_keys":["a","B"]`), "/spec/ssh_keys/1"},
		{"key twice", "POST", "/v1/vms", spec(amounts + `,"ssh_keys":["a","a"]`), "/spec/ssh_keys/1"},
		{"65 keys", "POST", "/v1/vms", spec(amounts + `,"ssh_keys":[` + strings.TrimSuffix(strings.Repeat(`"a",`, 65), ",") + `]`), "/spec/ssh_keys"},
		{"user data too long", "POST", "/v1/vms", spec(amounts + `,"user_data":"` + long + `"`), "/spec/user_data"},
		{"restart", "POST", "/v1/vms", spec(amounts + `,"restart":"sometimes"`), "/spec/restart"},
		{"spread without a group", "POST", "/v1/vms", spec(amounts + `,"placement":{"spread":"peer"}`), "/spec/placement/group"},
		{"spread", "POST", "/v1/vms", spec(amounts + `,"placement":{"group":"g","spread":"moon"}`), "/spec/placement/spread"},
		{"spread label without one", "POST", "/v1/vms", spec(amounts + `,"placement":{"group":"g","spread":"label"}`), "/spec/placement/spread_label"},
		{"label without spread", "POST", "/v1/vms", spec(amounts + `,"placement":{"spread_label":"rack"}`), "/spec/placement/spread_label"},
		{"peer", "POST", "/v1/vms", spec(amounts + `,"placement":{"peer":"h 1"}`), "/spec/placement/peer"},
		{"placement label", "POST", "/v1/vms", spec(amounts + `,"placement":{"labels":{"a b":"c"}}`), "/spec/placement/labels/a b"},
		{"with", "POST", "/v1/vms", spec(amounts + `,"placement":{"with":"A"}`), "/spec/placement/with"},
		{"with and apart", "POST", "/v1/vms", spec(amounts + `,"placement":{"with":"a","apart_from":"a"}`), "/spec/placement/apart_from"},

		{"rename to a UUID", "PUT", "/v1/vms/web1", `{"name":"` + vmID + `"}`, "/name"},
		{"rename", "PATCH", "/v1/vms/web1", `{"name":"A"}`, "/name"},
		{"restart policy", "PATCH", "/v1/vms/web1", `{"restart":"sometimes"}`, "/restart"},
		{"protected no bool", "PATCH", "/v1/vms/web1", `{"protected":"yes"}`, "/protected"},
		{"spec in a patch", "PATCH", "/v1/vms/web1", `{"spec":{}}`, "/spec"},

		{"no duration", "POST", "/v1/vms/web1/stop", `{"timeout":"soon"}`, "/timeout"},
		{"too short", "POST", "/v1/vms/web1/stop", `{"timeout":"999ms"}`, "/timeout"},
		{"too long", "POST", "/v1/vms/web1/restart", `{"timeout":"61m"}`, "/timeout"},
		{"half a second", "POST", "/v1/vms/web1/stop", `{"timeout":"1.5s"}`, "/timeout"},
		{"twice", "POST", "/v1/vms/web1/stop?timeout=5s", `{"timeout":"5s"}`, "/timeout"},
		{"unknown field", "POST", "/v1/vms/web1/stop", `{"force":true}`, "/force"},
		{"resize to nothing", "POST", "/v1/vms/web1/resize", `{}`, ""},
		{"resize both ways", "POST", "/v1/vms/web1/resize", `{"size":"f1-s","vcpus":2}`, "/vcpus"},
		{"resize to none", "POST", "/v1/vms/web1/resize", `{"memory_mib":0}`, "/memory_mib"},
		{"export", "POST", "/v1/vms/web1/export", `{"image":"` + vmID + `"}`, "/image"},
		{"snapshot", "POST", "/v1/vms/web1/snapshots", `{"name":"A"}`, "/name"},

		{"adopt from nowhere", "POST", "/v1/vms/adopt", `{"peer":"h 1","domain":"old"}`, "/peer"},
		{"adopt nothing", "POST", "/v1/vms/adopt", `{"peer":"h1","domain":""}`, "/domain"},
		{"adopt as", "POST", "/v1/vms/adopt", `{"peer":"h1","domain":"old","name":"Old"}`, "/name"},
		{"recover as", "POST", "/v1/vms/adopt", `{"peer":"h1","domain":"old","name":"old","recover":true}`, "/recover"},
		{"lose another", "POST", "/v1/peers/h1/lost", `{"name":"h2"}`, "/name"},
		{"lose for no reason", "POST", "/v1/peers/h1/lost", `{"name":"h1","reason":"a\nb"}`, "/reason"},

		{"size", "POST", "/v1/sizes", `{"name":"s","vcpus":0,"memory_mib":64,"disk_gib":0}`, "/vcpus"},
		{"size name", "POST", "/v1/sizes", `{"name":"` + vmID + `","vcpus":1,"memory_mib":64,"disk_gib":0}`, "/name"},
		{"size of other amounts", "PATCH", "/v1/sizes/f1-s", `{"vcpus":2}`, "/vcpus"},
		{"private key", "POST", "/v1/ssh-keys", `{"name":"k","public_key":"-----BEGIN OPENSSH PRIVATE KEY-----\nHunter2"}`, "/public_key"},
		{"two keys", "POST", "/v1/ssh-keys", `{"name":"k","public_key":"ssh-ed25519 AAAA\nssh-ed25519 BBBB"}`, "/public_key"},
		{"key of account", "POST", "/v1/ssh-keys", `{"name":"k","account":"A","public_key":"ssh-ed25519 AAAA"}`, "/account"},
		{"account", "POST", "/v1/accounts", `{"name":"A"}`, "/name"},
		{"negative quota", "POST", "/v1/accounts", `{"name":"a","quota":{"vms":-1}}`, "/quota/vms"},
		{"reason alone", "PUT", "/v1/accounts/default", `{"reason":"why"}`, "/reason"},
		{"quota patch", "PATCH", "/v1/accounts/default", `{"quota":{"vms":-1}}`, "/quota/vms"},
		{"quota of words", "PATCH", "/v1/accounts/default", `{"quota":{"vms":"many"}}`, "/quota/vms"},
		{"unknown quota", "PATCH", "/v1/accounts/default", `{"quota":{"gpus":1}}`, "/quota/gpus"},
		{"suspend", "POST", "/v1/accounts/default/suspend", `{"reason":"` + strings.Repeat("a", 501) + `"}`, "/reason"},

		{"bridge and libvirt", "POST", "/v1/networks", `{"name":"n","cidr":"10.0.0.0/8","bridge":"br0","libvirt":"default"}`, "/libvirt"},
		{"network name", "POST", "/v1/networks", `{"name":"` + vmID + `","cidr":"10.0.0.0/8"}`, "/name"},
		{"bridge", "POST", "/v1/networks", `{"name":"n","cidr":"10.0.0.0/8","bridge":"br0/../x"}`, "/bridge"},
		{"pool of nobody", "POST", "/v1/networks", `{"name":"n","cidr":"10.0.0.0/8","pools":[{"peer":"","first":"10.0.0.1","last":"10.0.0.2"}]}`, "/pools/0/peer"},
		{"gateway6 alone", "POST", "/v1/networks", `{"name":"n","cidr":"10.0.0.0/8","gateway6":"fd00::1"}`, "/gateway6"},

		{"upload with a path", "POST", "/v1/images", `{"name":"i","source":"upload","path":"/a"}`, "/path"},
		{"path with a url", "POST", "/v1/images", `{"name":"i","path":"/a","url":"https://a/b"}`, "/url"},
		{"url without a sum", "POST", "/v1/images", `{"name":"i","url":"https://example.org/b"}`, "/sha256"},
		{"url with a bad sum", "POST", "/v1/images", `{"name":"i","url":"https://example.org/b","sha256":"abc"}`, "/sha256"},
		{"url over http", "POST", "/v1/images", `{"name":"i","url":"http://example.org/b","sha256":"` + strings.Repeat("a", 64) + `"}`, "/url"},
		{"url with a password", "POST", "/v1/images", `{"name":"i","url":"https://me:Hunter2@example.org/b","sha256":"` + strings.Repeat("a", 64) + `"}`, "/url"},
		{"url of a file", "POST", "/v1/images", `{"name":"i","url":"file:///etc/passwd","sha256":"` + strings.Repeat("a", 64) + `"}`, "/url"},
		{"url of no host", "POST", "/v1/images", `{"name":"i","url":"https:///b","sha256":"` + strings.Repeat("a", 64) + `"}`, "/url"},
		{"peer without a path", "POST", "/v1/images", `{"name":"i","source":"peer","peer":"h1"}`, "/path"},
		{"path of no peer", "POST", "/v1/images", `{"name":"i","source":"peer","path":"/a"}`, "/peer"},
		{"kernel with a source", "POST", "/v1/images", `{"name":"i","kind":"kernel","kernel":"/k","source":"upload"}`, "/source"},
		{"kernel with a format", "POST", "/v1/images", `{"name":"i","kind":"kernel","kernel":"/k","format":"raw"}`, "/format"},
		{"source vm", "POST", "/v1/images", `{"name":"i","source":"vm"}`, "/source"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkRefused(t, ask, c.method, c.path, c.body, 422, "invalid", c.pointer)
			if body := read(t, ask(c.method, c.path, c.body)); strings.Contains(body, "Hunter2") {
				t.Errorf("the value is repeated: %s", body)
			}
		})
	}
	nothingWritten(t, f)
}

func TestBadGuestParameters(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct{ method, path, pointer string }{
		{"POST", "/v1/vms/web1/stop?timeout=soon", "/query/timeout"},
		{"POST", "/v1/vms/web1/stop?timeout=2h", "/query/timeout"},
		{"POST", "/v1/vms/web1/stop?wait=soon", "/query/wait"},
		{"POST", "/v1/vms/web1/start?timeout=5s", "/query/timeout"},
		{"GET", "/v1/vms/web1/console-log?tail=0", "/query/tail"},
		{"GET", "/v1/vms/web1/console-log?tail=8388609", "/query/tail"},
		{"GET", "/v1/vms/web1/console-log?lines=5", "/query/lines"},
		{"GET", "/v1/vms/web1/screenshot?account=A", "/query/account"},
		{"GET", "/v1/vms/web1/known_hosts?consistency=maybe", "/query/consistency"},
		{"GET", "/v1/vms/web1/console?token=x", "/query/token"},
		{"GET", "/v1/usage?month=January", "/query/month"},
		{"GET", "/v1/usage?month=2026-13", "/query/month"},
		{"GET", "/v1/usage?cursor=%21", "/query/cursor"},
		{"GET", "/v1/findings?limit=0", "/query/limit"},
		{"PUT", "/v1/images/upload/content?wait=5s", "/query/wait"},
	} {
		body := ""
		if c.method == "POST" {
			body = "{}"
		}
		checkRefused(t, ask, c.method, c.path, body, 400, "malformed", c.pointer)
	}
	checkRefused(t, ask, "DELETE", "/v1/sizes/f1-s", "", 400, "malformed", "/header/If-Match", "If-Match", `"1"`)
	for _, path := range []string{"/v1/sizes/no", "/v1/sizes/a%2Fb", "/v1/ssh-keys/no", "/v1/accounts/no", "/v1/accounts/..%2Fx", "/v1/vms/no/why", "/v1/vms/web1/snapshots/no", "/v1/vms/no/snapshots", "/v1/vms/web1/snapshots/a%00b", "/v1/images/no/content"} {
		checkRefused(t, ask, "GET", path, "", 404, "not-found", "-")
	}
	nothingWritten(t, f)
}

// TestGuestVersions: what has a version tells it, and can be asked to still have it.
func TestGuestVersions(t *testing.T) {
	_, _, ask := startFake(t)
	for _, c := range []struct{ show, method, path, body string }{
		{"/v1/sizes/f1-s", "PATCH", "/v1/sizes/f1-s", `{"deprecated":true}`},
		{"/v1/accounts/default", "PUT", "/v1/accounts/default", `{"quota":{"vms":1}}`},
		{"/v1/accounts/default", "PATCH", "/v1/accounts/default", `{"quota":{"vms":2}}`},
		{"/v1/accounts/default", "POST", "/v1/accounts/default/suspend", ``},
		{"/v1/accounts/default", "POST", "/v1/accounts/default/resume", ``},
		{"/v1/vms/web1", "PATCH", "/v1/vms/web1", `{"protected":true}`},
		{"/v1/vms/web1", "POST", "/v1/vms/web1/restart", ``},
		{"/v1/vms/web1", "POST", "/v1/vms/web1/resize", `{"vcpus":3}`},
	} {
		checkRefused(t, ask, c.method, c.path, c.body, 412, "precondition", "-", "If-Match", `"99"`)
		tag := ask("GET", c.show, "").Header.Get("ETag")
		res := ask(c.method, c.path, c.body, "If-Match", tag)
		if res.StatusCode >= 300 || res.Header.Get("ETag") == "" {
			t.Errorf("%s %s with %s: got %d %s, ETag %q", c.method, c.path, tag, res.StatusCode, read(t, res), res.Header.Get("ETag"))
		}
	}
	for _, path := range []string{"/v1/ssh-keys/anna", "/v1/images/debian", "/v1/networks/lan", "/v1/vms/web1/snapshots/before"} {
		if tag := ask("GET", path, "").Header.Get("ETag"); tag == "" {
			t.Errorf("%s: no ETag", path)
		}
	}
}

// TestUserDataStaysSealed: a word in the user-data of a create is in no answer, error
// or log, whatever the backend gives back.
func TestUserDataStaysSealed(t *testing.T) {
	const canary = "Canary-7d1f"
	f := newFake()
	var log bytes.Buffer
	ask := askOf(New(Config{}, f, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))).Handler())
	body := `{"name":"sealed","spec":{"size":"f1-s","user_data":"#cloud-config\npassword: ` + canary + `\n"}}`
	for _, c := range []struct{ method, path, body, key string }{
		{"POST", "/v1/vms?wait=1s", body, "k"},
		{"POST", "/v1/vms", body, "k"}, // replayed, or refused for its other path: the fake's own VM holds the canary by now
		{"POST", "/v1/vms", body + "x", ""},
		{"POST", "/v1/vms", strings.Replace(body, "f1-s", "F1", 1), ""},
		{"POST", "/v1/vms", strings.Replace(body, `"user_data":"`, `"user_data":{"a":"`, 1), ""},
		{"POST", "/v1/vms", strings.Replace(body, canary, canary+strings.Repeat("a", maxUserData), 1), ""},
		{"POST", "/v1/vms", strings.Replace(body, canary, canary+`\u0000`, 1), ""},
		{"GET", "/v1/vms", "", ""},
		{"GET", "/v1/vms/sealed", "", ""},
		{"PUT", "/v1/vms/sealed", `{"labels":{"a":"b"}}`, ""},
		{"PATCH", "/v1/vms/sealed", `{"labels":{"c":"d"}}`, ""},
		{"POST", "/v1/vms/sealed/stop", "", ""},
		{"POST", "/v1/vms/sealed/export", `{"image":"x"}`, ""},
		{"GET", "/v1/vms/sealed/console-log", "", ""},
		{"GET", "/v1/domains", "", ""},
	} {
		res := ask(c.method, c.path, c.body, "Idempotency-Key", c.key)
		if got := read(t, res); strings.Contains(got, canary) || strings.Contains(fmt.Sprint(res.Header), canary) {
			t.Errorf("%s %s: the answer tells: %d %s", c.method, c.path, res.StatusCode, got)
		}
	}
	held := false
	for _, vm := range f.vms {
		held = held || strings.Contains(vm.Spec.UserData, canary)
	}
	if !held {
		t.Error("the backend never got the user-data: nothing was tested")
	}
	if strings.Contains(log.String(), canary) {
		t.Errorf("the log tells: %s", log.String())
	}
}

// TestLongUserData: 256 KiB fit, however they are written.
func TestLongUserData(t *testing.T) {
	f, _, ask := startFake(t)
	for name, c := range map[string]struct {
		text  string
		times int
	}{"plain": {"a", maxUserData}, "newlines": {`\n`, maxUserData}, "escapes": {`\u0061`, maxUserData}, "two bytes each": {"é", maxUserData / 2}} {
		f.fill()
		res := ask("POST", "/v1/vms", `{"name":"n","spec":{"size":"f1-s","user_data":"`+strings.Repeat(c.text, c.times)+`"}}`)
		if body := read(t, res); res.StatusCode != 201 || len(body) > 2000 {
			t.Errorf("%s: got %d, %d bytes, want 201 without the data", name, res.StatusCode, len(body))
		}
	}
}

func TestImagesOfAccounts(t *testing.T) {
	f, _, ask := startFake(t)
	sum := strings.Repeat("a", 64)
	for _, c := range []struct {
		credential, body string
		status           int
		wrote            string
	}{
		{"operator@default", `{"name":"i"}`, 201, "image.create default/i upload"},
		{"operator@default", `{"name":"i","url":"https://example.org/i","sha256":"` + sum + `"}`, 201, "image.create default/i url"},
		{"operator@default", `{"name":"i","account":"other"}`, 403, ""},
		{"operator@default", `{"name":"i","path":"/img"}`, 403, ""},
		{"operator@default", `{"name":"i","source":"peer","peer":"h1","path":"/img"}`, 403, ""},
		{"operator@default", `{"name":"i","kind":"kernel","kernel":"/k"}`, 403, ""},
		{"admin@default", `{"name":"i","path":"/img"}`, 403, ""},
		{"operator", `{"name":"i"}`, 403, ""},
		{"operator", `{"name":"i","account":"other"}`, 201, "image.create other/i upload"},
		{"viewer@default", `{"name":"i"}`, 403, ""},
		{"admin", `{"name":"i"}`, 201, "image.create /i upload"},
		{"admin", `{"name":"i","path":"/img"}`, 201, "image.create /i path"},
		{"admin", `{"name":"i","source":"peer","peer":"h1","path":"/img","account":"other"}`, 201, "image.create other/i peer"},
		{"admin", `{"name":"i","kind":"kernel","kernel":"/k"}`, 201, "image.create /i "},
	} {
		f.fill()
		before := len(f.wroteSince(0))
		res := ask("POST", "/v1/images", c.body, "Authorization", "Bearer "+c.credential)
		if got := strings.Join(f.wroteSince(before), ";"); res.StatusCode != c.status || got != c.wrote {
			t.Errorf("%s as %s: got %d, %q, want %d, %q", c.body, c.credential, res.StatusCode, got, c.status, c.wrote)
		}
		if op := res.Header.Get("Operation-Location"); c.status == 201 && (strings.HasSuffix(c.wrote, "upload") || strings.HasSuffix(c.wrote, "url")) && op == "" {
			t.Errorf("%s: no Operation-Location", c.body)
		}
	}
	f.fill()
	checkRefused(t, ask, "DELETE", "/v1/images/debian", "", 403, "forbidden", "-", "Authorization", "Bearer operator@default")
	checkRefused(t, ask, "PUT", "/v1/images/debian/content", "x", 403, "forbidden", "-", "Authorization", "Bearer operator@default")
	if got := ask("GET", "/v1/images/debian/content", "", "Authorization", "Bearer viewer@other").StatusCode; got != 200 {
		t.Errorf("everybody's image: got %d, want 200", got)
	}
}

// TestNewThingsWait: a create with ?wait shows what came of it.
func TestNewThingsWait(t *testing.T) {
	f, _, ask := startFake(t)
	res := ask("POST", "/v1/vms/web1/snapshots?wait=5s", `{"name":"s"}`)
	var snapshot api.DiskSnapshot
	if err := json.Unmarshal([]byte(read(t, res)), &snapshot); err != nil || res.StatusCode != 201 || snapshot.State != api.DiskSnapshotReady {
		t.Errorf("got %d %+v %v, want it ready", res.StatusCode, snapshot, err)
	}
	if want := "/v1/vms/" + vmID + "/snapshots/" + snapshot.ID; res.Header.Get("Location") != want || res.Header.Get("Operation-Location") == "" {
		t.Errorf("headers: got %v, want Location %s and Operation-Location", res.Header, want)
	}
	f.hold = true
	begun := time.Now()
	res = ask("DELETE", "/v1/operations/"+opID+"?wait=20ms", "")
	if res.StatusCode != 202 || time.Since(begun) < 20*time.Millisecond {
		t.Errorf("what takes longer: got %d after %v, want 202", res.StatusCode, time.Since(begun))
	}
	f.finish(opID, api.OpSucceeded)
	checkRefused(t, ask, "DELETE", "/v1/operations/"+opID, "", 409, "conflict", "-")
}

func TestDiskSnapshotPages(t *testing.T) {
	f, _, ask := startFake(t)
	for n := range 5 {
		id := fmt.Sprintf("e2000000-0000-4000-8000-%012d", 100+n)
		f.snapshots[id] = api.DiskSnapshot{ID: id, Name: fmt.Sprintf("s%d", n), VM: vmID, Account: "default", State: api.DiskSnapshotReady,
			CreatedAt: day(20).AddDate(0, 0, n/2)} // some at the same moment
	}
	var names []string
	for cursor := ""; ; {
		var page api.Page[api.DiskSnapshot]
		if err := json.Unmarshal([]byte(read(t, ask("GET", "/v1/vms/web1/snapshots?limit=2&cursor="+cursor, ""))), &page); err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Items {
			names = append(names, s.Name)
			delete(f.snapshots, s.ID) // the next page begins behind it all the same
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if got, want := fmt.Sprint(names), "[before s0 s1 s2 s3 s4]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFindingPages(t *testing.T) {
	f, _, ask := startFake(t)
	f.findings = nil
	for n := range 5 {
		f.findings = append(f.findings, api.Finding{Code: "host-silent", Peer: fmt.Sprint(n), Detail: "x", Action: "y"})
	}
	var peers []string
	for cursor := ""; ; {
		var page api.Page[api.Finding]
		if err := json.Unmarshal([]byte(read(t, ask("GET", "/v1/findings?limit=2&cursor="+cursor, ""))), &page); err != nil {
			t.Fatal(err)
		}
		for _, x := range page.Items {
			peers = append(peers, x.Peer)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if got := strings.Join(peers, ""); got != "01234" {
		t.Errorf("got %s, want 01234", got)
	}
}

func TestKnownHosts(t *testing.T) {
	f, _, ask := startFake(t)
	vm := f.vms[vmID]
	vm.Status.Addresses = append(vm.Status.Addresses, api.VMAddress{IP: "fd00::2"}, api.VMAddress{IP: "no address\nevil"})
	vm.Status.SSHHostKeys = append(vm.Status.SSHHostKeys, api.HostKey{Type: "ecdsa-sha2-nistp256", Key: "AAAAE2"}, api.HostKey{Type: "ssh-rsa", Key: "AAAA\nevil ssh-rsa BBBB"})
	f.vms[vmID] = vm
	res := ask("GET", "/v1/vms/web1/known_hosts", "", "Authorization", "Bearer viewer@default")
	want := ""
	for _, host := range []string{"web1", "10.1.0.2", "fd00::2"} {
		want += host + " ecdsa-sha2-nistp256 AAAAE2\n" + host + " ssh-ed25519 AAAAC3\n"
	}
	if got := read(t, res); got != want || res.Header.Get("Content-Type") != typeText {
		t.Errorf("got %s\n%s\nwant\n%s", res.Header.Get("Content-Type"), got, want)
	}
	checkRefused(t, ask, "GET", "/v1/vms/db1/known_hosts", "", 404, "not-found", "-")
}

func TestConsoleLogAndScreenshot(t *testing.T) {
	_, _, ask := startFake(t)
	for path, want := range map[string]string{"console-log": "boot\nlogin: ", "console-log?tail=7": "login: ", "screenshot": "\x89PNG\r\n\x1a\n"} {
		res := ask("GET", "/v1/vms/web1/"+path, "")
		if got := read(t, res); got != want || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %q %v, want %q", path, got, res.Header, want)
		}
	}
}

// TestPatchesOfAccounts: null and nothing are not the same.
func TestPatchesOfAccounts(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct{ body, want string }{
		{`{}`, "{{10 20 0 0 0} false }"},
		{`{"quota":null}`, "{{0 0 0 0 0} false }"},
		{`{"quota":{"vms":5}}`, "{{5 20 0 0 0} false }"},
		{`{"quota":{"vms":null}}`, "{{0 20 0 0 0} false }"},
		{`{"suspended":true,"reason":"unpaid"}`, "{{10 20 0 0 0} true unpaid}"},
	} {
		f.fill()
		before := len(f.wroteSince(0))
		res := ask("PATCH", "/v1/accounts/default", c.body)
		if got, want := strings.Join(f.wroteSince(before), ";"), "account.update default 4 "+c.want; res.StatusCode != 200 || got != want {
			t.Errorf("%s: got %d, %q, want %q", c.body, res.StatusCode, got, want)
		}
	}
	before := len(f.wroteSince(0)) // suspended by now
	ask("PATCH", "/v1/accounts/default", `{"suspended":false}`)
	if got, want := strings.Join(f.wroteSince(before), ";"), "account.update default 5 {{10 20 0 0 0} false }"; got != want {
		t.Errorf("let go: got %q, want %q", got, want)
	}
}

// TestBodiesAreBoundedInTotal: beyond the bound a request is asked to come again.
func TestBodiesAreBoundedInTotal(t *testing.T) {
	f, s, ask := startFake(t)
	s.bodies = newBodies(64 << 10)
	body := `{"name":"n","spec":{"size":"f1-s","user_data":"` + strings.Repeat("a", 100<<10) + `"}}`
	res := ask("POST", "/v1/vms", body)
	if res.Header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", res.Header)
	}
	if p := problemIn(t, res); p.Status != 503 {
		t.Errorf("got %+v, want 503", p)
	}
	nothingWritten(t, f)
	if s.bodies.left != 64<<10 {
		t.Errorf("%d bytes are left, want all", s.bodies.left)
	}
	if res := ask("POST", "/v1/vms", strings.Replace(body, strings.Repeat("a", 90<<10), "", 1)); res.StatusCode != 201 {
		t.Errorf("a small one: got %d", res.StatusCode)
	}
	if s.bodies.left != 64<<10 {
		t.Errorf("%d bytes are left, want all", s.bodies.left)
	}
}

// TestStrangersLeaveRoomForOthers: what comes without a credential, or is no more than a
// read, takes nothing of the room for the bodies of the others.
func TestStrangersLeaveRoomForOthers(t *testing.T) {
	f, s, ask := startFake(t)
	newFakeStates(f)
	s.bodies, s.strangers = newBodies(0), newBodies(64<<10)
	large := strings.Repeat("a", 900<<10)
	for _, path := range []string{"GET /v1/vms", "GET /hsm/v2/State/Components", "GET /ComputeNode", "GET /healthz", "HEAD /v1/peers"} {
		method, path, _ := strings.Cut(path, " ")
		if got := ask(method, path, large).StatusCode; got != 200 {
			t.Errorf("%s %s: got %d, want 200", method, path, got)
		}
		if got := ask(method, path, large+large).StatusCode; got != 413 {
			t.Errorf("%s %s with a body of 1.8 MB: got %d, want 413", method, path, got)
		}
	}
	if got := ask("POST", "/v1/join", joinBody, "Authorization", "").StatusCode; got != 200 {
		t.Errorf("a join: got %d, want 200", got)
	}
	if got := ask("POST", "/v1/join", large, "Authorization", "").StatusCode; got != 503 {
		t.Errorf("a large body of a stranger: got %d, want 503", got)
	}
	if s.strangers.left != 64<<10 {
		t.Errorf("%d bytes are left, want all", s.strangers.left)
	}
}

// unread fails the test when somebody reads a body before its sender was judged.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, fmt.Errorf("not to be read")
}

func TestBodiesOfViewersAreNotRead(t *testing.T) {
	_, s, _ := startFake(t)
	for _, path := range []string{"PUT /ComputeNode/" + nodeID, "PATCH /inventory/ComputeNode/" + nodeID, "POST /ComputeNode", "POST /v1/vms", "PUT /v1/images/upload/content"} {
		method, path, _ := strings.Cut(path, " ")
		r, _ := http.NewRequest(method, path, unread{t})
		r.Header.Set("Authorization", "Bearer viewer")
		r.RemoteAddr = "192.0.2.1:1"
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != 403 {
			t.Errorf("%s %s: got %d, want 403", method, path, w.Code)
		}
	}
}

func TestBulkWritesAreBounded(t *testing.T) {
	f, _, ask := startFake(t)
	newFakeStates(f)
	ids := ""
	for n := range maxItems + 1 {
		ids += fmt.Sprintf(`,"x%dc0s0b0n0"`, n)
	}
	for path, body := range map[string]string{
		"PATCH /hsm/v2/State/Components/BulkStateData": `{"ComponentIDs":[` + ids[1:] + `],"State":"Ready"}`,
		"POST /hsm/v2/State/Components":                `{"Components":[` + strings.TrimSuffix(strings.Repeat(`{"ID":"x0c0s0b0n0"},`, maxItems+1), ",") + `]}`,
		"PATCH /hsm/v2/State/Components/BulkNID":       `{"Components":[` + strings.TrimSuffix(strings.Repeat(`{"ID":"x0c0s0b0n0","NID":1},`, maxItems+1), ",") + `]}`,
		"POST /hsm/v2/Inventory/RedfishEndpoints":      `{"RedfishEndpoints":[` + strings.TrimSuffix(strings.Repeat(`{"ID":"x0c0s0b0"},`, maxItems+1), ",") + `]}`,
	} {
		method, path, _ := strings.Cut(path, " ")
		res := ask(method, path, body)
		if got := read(t, res); res.StatusCode != 400 || !strings.Contains(got, "10000 at once") {
			t.Errorf("%s %s: got %d %.200s, want 400 that names the bound", method, path, res.StatusCode, got)
		}
	}
	nothingWritten(t, f)
}

// TestStreamsAreDescribed: the OpenAPI document tells of what is no JSON.
func TestStreamsAreDescribed(t *testing.T) {
	_, s, _ := startFake(t)
	op := func(method, path string) *huma.Operation {
		t.Helper()
		return operationAt(t, s.docs.openapi, route{method: method, path: path})
	}
	put := op("PUT", "/v1/images/{name}/content")
	if put.RequestBody == nil || put.RequestBody.Content[typeContent] == nil || put.Responses["200"].Content["application/json"].Schema.Ref != "#/components/schemas/Image" {
		t.Errorf("upload: got %+v", put)
	}
	if got := op("GET", "/v1/images/{name}/content"); got.Responses["206"] == nil || got.Responses["200"].Content[typeContent] == nil {
		t.Errorf("download: got %+v", got.Responses)
	}
	console := op("GET", "/v1/vms/{id}/console")
	if console.Responses["101"] == nil || console.Responses["426"] == nil || !strings.Contains(console.Description, api.ConsoleProtocol) {
		t.Errorf("console: got %+v", console)
	}
	if got := op("GET", "/v1/vms/{id}/screenshot").Responses["200"].Content["image/png"]; got == nil {
		t.Error("screenshot: no image/png")
	}
	if user := s.docs.openapi.Components.Schemas.Map()["VMSpec"].Properties["user_data"]; user == nil || !user.WriteOnly {
		t.Errorf("user_data: got %+v, want it write-only", user)
	}
}
