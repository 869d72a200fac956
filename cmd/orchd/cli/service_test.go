package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

const spellID = "59000000-0000-4000-8000-000000000001"

func aService() api.ServiceView {
	return api.ServiceView{
		Service: api.Service{ID: "5e000000-0000-4000-8000-000000000001", Scope: api.ScopeCluster, Alias: "registry", Package: "registry", Account: "default",
			Modules: []api.Module{{Name: "registry", Kind: api.ModuleStarlark}}, Grants: api.Grants{KV: true, Read: []string{"vms"}}, CallTTL: 60, CreatedAt: now.Add(-time.Hour)},
		Functions: []api.ServiceFunction{{Name: "list", Role: api.RoleViewer}, {Name: "lookup", Role: api.RoleViewer}, {Name: "register", Role: api.RoleOperator}},
	}
}

func aSpell() api.SpellView {
	return api.SpellView{
		Spell: api.Spell{ID: spellID, Scope: aPeer().ID, Alias: "beat", Account: "default", Script: "def run():\n    log(1)\n", CallTTL: 60, CreatedAt: now.Add(-time.Hour),
			Trigger: api.Trigger{Clock: api.Clock{StartSec: 1, PeriodSec: 60}, Connections: api.Connections{Connect: true}}},
		Status: api.SpellStatus{Counter: 9, Succeeded: 8, Failed: 1, Next: now.Add(time.Minute),
			Last: api.SpellRun{Number: 9, State: api.RunFailed, Error: "boom\n\x1b[31m", BeganAt: now.Add(-5 * time.Second)}},
	}
}

func aDeal() api.Deal {
	return api.Deal{ID: "dea10000-0000-4000-8000-000000000001", Name: "front", Account: "default", State: api.DealActive, Reason: "no host fits", CreatedAt: now.Add(-time.Hour),
		Spec:    api.DealSpec{Count: 3, Size: "f1-s", Image: "debian-12", Spread: "peer"},
		Workers: []api.DealVM{{Name: "front-1", VM: vmID, State: "running", SeenAt: now.Add(-time.Minute)}, {Name: "front-2", State: "failed"}}}
}

// system answers what the nouns of this file ask for.
func system(t *testing.T) *fake {
	gone := api.Deployment{Peer: aPeer().ID, Package: "aqua-ipfs", Version: "1.0.0", Scope: aPeer().ID, State: api.PackageFailed, Enabled: true, Error: "no peer has the module", Attempts: 3, At: now.Add(-time.Minute)}
	whole := api.Deployment{Peer: "p2", Package: "registry", Version: "1.0.0", Scope: api.ScopeCluster, State: api.PackageExisting, Enabled: true, Note: "other peers run it with other settings", At: now.Add(-time.Hour)}
	return newFake(t).
		answer("GET /v1/peers", page(aPeer())).
		answer("GET /v1/accounts", page(api.Account{Name: "default"})).
		answer("GET /v1/services", page(aService().Service)).
		answer("GET /v1/services/registry", aService()).
		answer("GET /v1/packages", page(whole, gone)).
		answer("GET /v1/spells", page(aSpell())).
		answer("GET /v1/spells/beat", aSpell()).
		answer("GET /v1/spells/beat/kv", page(api.KVEntry{Key: "hw_counter", Kind: api.KVU32, U32: 9, UpdatedAt: now}, api.KVEntry{Key: "w_names", Kind: api.KVList, List: []string{"anna", "bob"}, UpdatedAt: now},
			api.KVEntry{Key: "seen", Kind: api.KVString, Text: "a\nb", UpdatedAt: now})).
		answer("GET /v1/spells/beat/kv/w_names", api.KVEntry{Key: "w_names", Kind: api.KVList, List: []string{"anna", "bob"}}).
		answer("GET /v1/spells/beat/mailbox", page(api.Mail{Seq: 4, From: "token:a", Text: "look again", At: now})).
		answer("GET /v1/spells/beat/errors", page(api.SpellLine{Seq: 2, Run: 9, At: now, Text: "boom"})).
		answer("GET /v1/deals", page(aDeal())).
		answer("GET /v1/deals/front", aDeal())
}

// TestListingsOfServices holds every listing in every format against its golden file.
func TestListingsOfServices(t *testing.T) {
	f := system(t)
	for _, command := range []string{"service list", "service show registry", "service functions registry", "package list", "spell list", "spell show beat", "spell errors beat", "deal list", "deal show front"} {
		t.Run(command, func(t *testing.T) {
			var all strings.Builder
			for _, format := range formats {
				r := f.run(append(strings.Fields(command), "-o", format)...)
				if r.code != exitDone || r.stderr != "" {
					t.Errorf("-o %s: exit %d, stderr %q", format, r.code, r.stderr)
				}
				all.WriteString("# -o " + format + "\n" + r.stdout)
			}
			golden(t, goldenName(command), all.String())
		})
	}
	for line, want := range map[string]string{
		"spell kv list beat --no-headers":      "hw_counter   u32      9          0s\nseen         string   a b        0s\nw_names      list     anna bob   0s\n",
		"spell kv get beat w_names":            "anna\nbob\n",
		"spell mailbox list beat --no-headers": "4   token:a   0s   look again\n",
		"spell show beat --script":             "def run():\n    log(1)\n",
	} {
		if r := f.run(split(line)...); r.stdout != want || r.code != 0 {
			t.Errorf("orchd %s: exit %d, %q, %q, want %q", line, r.code, r.stdout, r.stderr, want)
		}
	}
}

// TestServiceVerbsAsk holds what each verb sends: line -> the one request that changes something.
func TestServiceVerbsAsk(t *testing.T) {
	script := filepath.Join(t.TempDir(), "beat.star")
	if err := os.WriteFile(script, []byte("def run(): pass"), 0o600); err != nil {
		t.Fatal(err)
	}
	install := func(more string) string { return `POST /v1/spells {"alias":"beat",` + more + `}` }
	const body = `"script":"def run(): pass"`
	for _, c := range []struct {
		line   string
		answer any
		want   string
	}{
		{"spell install beat --file FILE", aSpell(), install(body)},
		{"spell install beat --file FILE --every 60s --kv limit=5 --kv word=five --kv 'o={\"a\":1.5}' --call-ttl 2m", aSpell(),
			install(body + `,"kv":{"limit":5,"o":{"a":1.5},"word":"five"},"trigger":{"clock":{"start_sec":1,"period_sec":60}},"call_ttl":120`)},
		{"spell install beat --file FILE --scope cluster --account co-op --at 2027-01-01T03:00:00Z --every 24h --until 2028-01-01T00:00:00Z --missed run-once --overlap allow --retry", aSpell(),
			install(`"scope":"cluster","account":"co-op",` + body + `,"trigger":{"clock":{"start_sec":1798772400,"end_sec":1830297600,"period_sec":86400},"overlap":"allow","missed":"run-once","retry":true}`)},
		{"spell install beat --file FILE --once --grant kv --grant call=registry --grant http=10.0.0.9:80 --grant read=vms --grant vms --grant now --grant any_account", aSpell(),
			install(body + `,"trigger":{"clock":{"start_sec":1}},"grants":{"kv":true,"call":["registry"],"http":["10.0.0.9:80"],"read":["vms"],"vms":true,"any_account":true,"now":true}`)},
		{"spell install beat --file FILE --on-connect --on-disconnect --on-event table=vms,where=status.state=failed,verb=update --on-event table=deals", aSpell(),
			install(body + `,"trigger":{"connections":{"connect":true,"disconnect":true},"events":[{"table":"vms","verb":"update","where":{"status.state":"failed"}},{"table":"deals"}]}`)},
		{"spell remove beat --scope h2", struct{}{}, "DELETE /v1/spells/beat?scope=h2"},
		{"spell trigger beat --every 5m", aSpell(), `PUT /v1/spells/beat/trigger {"clock":{"start_sec":1,"period_sec":300}}`},
		{"spell trigger beat --never --scope cluster", aSpell(), `PUT /v1/spells/beat/trigger?scope=cluster {}`},
		{"spell run beat", api.SpellRun{Number: 10, State: api.RunRunning}, "POST /v1/spells/beat/run"},
		{"spell kv set beat w_limit 5", api.KVEntry{}, `PUT /v1/spells/beat/kv/w_limit {"text":"5"}`},
		{"spell kv set beat w_limit 5 --u32", api.KVEntry{}, `PUT /v1/spells/beat/kv/w_limit {"u32":5}`},
		{"spell kv set beat w_a/b x y --list", api.KVEntry{}, `PUT /v1/spells/beat/kv/w_a%2Fb {"list":["x","y"]}`},
		{"spell kv remove beat w_limit", struct{}{}, "DELETE /v1/spells/beat/kv/w_limit"},
		{"spell mailbox push beat 'look again'", struct{}{}, `POST /v1/spells/beat/mailbox {"text":"look again"}`},
		{"spell mailbox push beat @FILE", struct{}{}, `POST /v1/spells/beat/mailbox {"text":"def run(): pass"}`},
		{"deal create front --count 3 --size f1-s --image debian-12 --ssh-key anna,bob --spread label:rack", aDeal(),
			`POST /v1/deals {"name":"front","spec":{"count":3,"size":"f1-s","image":"debian-12","ssh_keys":["anna","bob"],"spread":"rack"}}`},
		{"deal create front --count 3 --cpu 2 --memory 4GiB --disk 20GiB --inactive --account co-op", aDeal(),
			`POST /v1/deals {"name":"front","account":"co-op","spec":{"count":3,"vcpus":2,"memory_mib":4096,"disk_gib":20},"inactive":true}`},
		{"deal update front --count 5", aDeal(), `PATCH /v1/deals/front {"spec":{"count":5}}`},
		{"deal update front --size f1-m --account co-op", aDeal(), `PATCH /v1/deals/front?account=co-op {"spec":{"memory_mib":null,"size":"f1-m","vcpus":null}}`},
		{"deal update front --cpu 2 --memory 4GiB", aDeal(), `PATCH /v1/deals/front {"spec":{"memory_mib":4096,"size":null,"vcpus":2}}`},
		{"deal activate front", aDeal(), "POST /v1/deals/front/activate"},
		{"deal deactivate front", aDeal(), "POST /v1/deals/front/deactivate"},
		{"deal delete front --account co-op", aDeal(), "DELETE /v1/deals/front?account=co-op"},
	} {
		f := newFake(t).answer("/", c.answer)
		r := f.run(split(strings.ReplaceAll(c.line, "FILE", script))...)
		if writes := slices.DeleteFunc(slices.Clone(f.asked), func(s string) bool { return strings.HasPrefix(s, "GET ") }); r.code != 0 || len(writes) != 1 || writes[0] != c.want {
			t.Errorf("orchd %s: exit %d %s\nasked %v\nwant  %s", c.line, r.code, r.stderr, f.asked, c.want)
		}
		if once := strings.HasSuffix(c.want, "/run"); (f.keys[0] == "") != once {
			t.Errorf("orchd %s: Idempotency-Key %q", c.line, f.keys[0])
		}
	}
}

func TestWrongUsageOfServiceVerbs(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"spell install beat", `required flag(s) "file" not set`},
		{"spell install beat --file /nowhere.star", "--file: read @FILE: open /nowhere.star"},
		{"spell install beat --file - --every 1500ms", "--every wants whole seconds, got 1.5s"},
		{"spell install beat --file - --at tomorrow", "--at wants a time, as 2026-11-01T03:12:00Z"},
		{"spell install beat --file - --until 2028-01-01T00:00:00Z", "--until goes with --every"},
		{"spell install beat --file - --once --every 5s", "[every once] were all set"},
		{"spell install beat --file - --on-event where=a=b", "--on-event wants a table"},
		{"spell install beat --file - --on-event table=vms,when=now", "--on-event wants table=TABLE"},
		{"spell install beat --file - --on-event table=vms,verb=vanish", "--on-event wants table=TABLE"},
		{"spell install beat --file - --grant root", "want kv, vms, now, any_account"},
		{"spell install beat --file - --grant call", "want kv, vms, now, any_account"},
		{"spell install beat --file - --kv x", "--kv wants KEY=VALUE"},
		{"spell install beat --file - --overlap never", "want queue or allow"},
		{"spell trigger beat", "at least one of the flags"},
		{"spell trigger beat --never --once", "[never once] were all set"},
		{"spell kv set beat w_a b c", "with --list they are the elements"},
		{"spell kv set beat w_a -1 --u32", "unknown shorthand flag"},
		{"spell kv set beat w_a 4294967296 --u32", "--u32 wants a whole number"},
		{"service call registry", "want: orchd service call ALIAS FUNCTION [NAME=VALUE...]"},
		{"service call registry lookup x", "want NAME=VALUE"},
		{"service call registry lookup a=b --args {}", "not by both"},
		{"service call registry lookup --args 5", "--args wants a JSON object"},
		{"service call registry lookup --args {", "the body is no JSON"},
		{"deal create front --count 3", "at least one of the flags"},
		{"deal create front --size s", `required flag(s) "count" not set`},
		{"deal create front --count 1 --size s --cpu 1", "[cpu size] were all set"},
		{"deal update front", "at least one of the flags"},
		{"package list --state happy", "want created, existing, updated, removed or failed"},
	} {
		f := newFake(t)
		r := run(t.Context(), App{Stdin: strings.NewReader("def run(): pass"), Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}, split(c.line)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) || r.stdout != "" || len(f.asked) > 0 {
			t.Errorf("orchd %s: exit %d, %q, asked %v; want 2 and %q", c.line, r.code, r.stderr, f.asked, c.want)
		}
		if lines := strings.Count(r.stderr, "\n"); lines > 3 {
			t.Errorf("orchd %s: %d lines of error:\n%s", c.line, lines, r.stderr)
		}
	}
}

func TestServiceCall(t *testing.T) {
	const path = "POST /v1/services/5e000000-0000-4000-8000-000000000001/"
	for _, c := range []struct {
		line, result   string
		asked, printed string
	}{
		{"service call registry lookup name=web1.default.vm", `[{"a":1.50}]`, path + `lookup {"name":"web1.default.vm"}`, "[\n  {\n    \"a\": 1.50\n  }\n]\n"},
		{"service call registry lookup n=5 t=true 'l=[1,2]' s=x=y", `"done"`, path + `lookup {"l":[1,2],"n":5,"s":"x=y","t":true}`, "done\n"},
		{"service call registry lookup", `null`, path + `lookup {}`, "null\n"},
		{"service call registry lookup --args '[\"a\", 1.5]' -o json", `"x"`, path + `lookup ["a", 1.5]`, "\"x\"\n"},
		{"service call registry lookup -o yaml", `{"b":1,"a":"x"}`, path + `lookup {}`, "b: 1\na: x\n"},
	} {
		f := system(t).text(path+"lookup", c.result)
		r := f.run(split(c.line)...)
		if asked := f.asked[len(f.asked)-1]; r.code != 0 || r.stdout != c.printed || asked != c.asked {
			t.Errorf("orchd %s: exit %d, %q, %q\nasked %s\nwant  %s", c.line, r.code, r.stdout, r.stderr, asked, c.asked)
		}
		if f.keys[0] != "" {
			t.Errorf("a call has the key %q: net/http would take it for leave to call twice", f.keys[0])
		}
	}
	for _, c := range []struct {
		err  *api.Error
		code int
		want string
	}{
		{&api.Error{Kind: api.ServiceFailed, Msg: "name is taken"}, exitFailed, "orchd service call: name is taken\n"},
		{&api.Error{Kind: api.ServiceDeadline, Msg: "lookup took longer than 60 s"}, exitUnreachable, "orchd service call: lookup took longer than 60 s\na call of registry may take 1m0s"},
		{&api.Error{Kind: api.Forbidden, Msg: "for an admin"}, exitNotAllowed, "orchd service call: for an admin\nuse a token"},
	} {
		if r := system(t).answer(path+"lookup", c.err).run("service", "call", "registry", "lookup"); r.code != c.code || !strings.HasPrefix(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%s: exit %d, %q, want %q", c.err.Kind.Code(), r.code, r.stderr, c.want)
		}
	}
	f := system(t)
	if r := f.run("service", "call", "registry", "lokup"); r.code != exitNotFound || !strings.Contains(r.stderr, "has no function lokup that can be called\ndid you mean lookup?") || f.count("POST") > 0 {
		t.Errorf("misspelt: exit %d, %q", r.code, r.stderr)
	}
}

func TestRegistry(t *testing.T) {
	const path = "POST /v1/services/5e000000-0000-4000-8000-000000000001/"
	answer := `[{"name":"db","account":"default","expires_at":1793534400,"endpoint":"10.0.0.9:5432","address":"10.0.0.9"},{"name":"web1.default.vm","account":"default","expires_at":0,"endpoint":"10.1.0.2","address":"10.1.0.2"}]`
	f := system(t).text(path+"lookup", answer)
	want := "NAME              ENDPOINT        ACCOUNT   EXPIRES\ndb                10.0.0.9:5432   default   2026-11-01T12:00:00Z\nweb1.default.vm   10.1.0.2        default   -\n"
	if r := f.run("registry", "lookup", "db"); r.code != 0 || r.stdout != want || f.asked[1] != path+`lookup {"name":"db"}` {
		t.Errorf("lookup: exit %d, %q, %q, asked %v", r.code, r.stdout, r.stderr, f.asked)
	}
	f = system(t)
	f.answer(path+"list", []record{{Name: "a", Endpoint: "1"}, {Name: "b", Endpoint: "2"}}, []record{{Name: "c", Endpoint: "3"}}, []record{})
	if r := f.run("registry", "list", "-o", "name"); r.code != 0 || r.stdout != "a\nb\nc\n" || f.asked[len(f.asked)-2] != path+`list {"after":"c","prefix":""}` && f.asked[len(f.asked)-1] != path+`list {"after":"c","prefix":""}` {
		t.Errorf("list: exit %d, %q, %q, asked %v", r.code, r.stdout, r.stderr, f.asked)
	}
	if r := system(t).text(path+"lookup", "[]").run("registry", "lookup", "no"); r.code != exitNotFound || !strings.Contains(r.stderr, "does not know no\nsee what it knows: orchd registry list") {
		t.Errorf("unknown: exit %d, %q", r.code, r.stderr)
	}
	none := newFake(t).answer("GET /v1/services/registry", &api.Error{Kind: api.NotFound, Msg: `no service "registry"`})
	if r := none.run("registry", "list"); r.code != exitNotFound || !strings.Contains(r.stderr, "see orchd package list") {
		t.Errorf("no registry: exit %d, %q", r.code, r.stderr)
	}
}

func TestSpellRunWaits(t *testing.T) {
	begun := api.SpellRun{Number: 10, State: api.RunRunning}
	status := func(last api.SpellRun, running ...api.SpellRun) api.SpellView {
		return api.SpellView{Status: api.SpellStatus{Last: last, Running: running}}
	}
	ended := func(state api.RunState, text string) api.SpellRun {
		return api.SpellRun{Number: 10, State: state, Error: text}
	}
	for _, c := range []struct {
		name    string
		answers []any
		code    int
		stdout  string
		stderr  string
	}{
		{"succeeds", []any{status(begun, begun), status(ended(api.RunSucceeded, ""))}, 0, "succeeded", ""},
		{"fails", []any{status(ended(api.RunFailed, "boom"))}, 1, "failed", "run 10 of beat failed: boom\nall of it: orchd spell errors beat"},
		{"is cut off", []any{status(ended(api.RunInterrupted, ""))}, 1, "interrupted", "run 10 of beat interrupted"},
		{"not yet seen", []any{status(api.SpellRun{Number: 9, State: api.RunSucceeded}), status(ended(api.RunSucceeded, ""))}, 0, "succeeded", ""},
		{"newer ones began", []any{status(api.SpellRun{Number: 12, State: api.RunRunning})}, 0, "ended", ""},
		{"fails, and newer ones began", []any{status(api.SpellRun{Number: 14, State: api.RunRunning})}, 1, "failed", "run 10 of beat failed: ten went wrong"},
		{"goes on", []any{status(begun, begun)}, 6, "", "run 10 of beat goes on after 700ms"},
	} {
		wrong := []api.SpellLine{{Seq: 1, Run: 9, Text: "nine went wrong"}}
		if strings.HasPrefix(c.name, "fails,") {
			wrong = append(wrong, api.SpellLine{Seq: 2, Run: 10, Text: "ten went wrong"})
		}
		f := newFake(t).answer("POST /v1/spells/beat/run", begun).answer("GET /v1/spells/beat", c.answers...).
			answer("GET /v1/spells/beat/errors", api.Page[api.SpellLine]{Items: wrong})
		r := f.run("spell", "run", "beat", "--wait", "--timeout", "700ms")
		if r.code != c.code || !strings.Contains(r.stdout, c.stdout) || !strings.Contains(r.stderr, c.stderr) {
			t.Errorf("%s: exit %d, %q, %q; want %d, %q, %q", c.name, r.code, r.stdout, r.stderr, c.code, c.stdout, c.stderr)
		}
	}
}

func TestTabOfServices(t *testing.T) {
	f := system(t)
	for _, c := range []struct{ line, want string }{
		{"service show ", "registry"},
		{"service call registry lo", "lookup"},
		{"service list --scope ", "cluster h1"},
		{"spell show ", "beat"},
		{"spell kv get beat ", "hw_counter w_names seen"},
		{"spell install x --overlap ", "queue allow"},
		{"deal show ", "front"},
		{"deal list --state ", "active inactive ending"},
		{"package list --state f", "failed"},
		{"package list --peer ", "h1"},
	} {
		args := strings.Split(c.line, " ")
		r := f.run(append([]string{"__completeNoDesc"}, args...)...)
		var got []string
		for _, word := range strings.Fields(r.stdout) {
			if !strings.HasPrefix(word, ":") && !strings.HasPrefix(word, "--") && strings.HasPrefix(word, args[len(args)-1]) {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("orchd %s<Tab>: got %v, want %s\n%s", c.line, got, c.want, r.stderr)
		}
	}
}

// TestPackagesOnDisk: the package that new writes is good, and check says what is wrong with another.
func TestPackagesOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hello")
	if r := run(t.Context(), App{}, "package", "new", dir); r.code != 0 || !strings.Contains(r.stderr, "orchd package check "+dir) {
		t.Fatalf("new: exit %d, %q", r.code, r.stderr)
	}
	r := run(t.Context(), App{}, "package", "check", dir, "--no-headers")
	if want := "hello        service   greet\nhello-beat   spell     every 1m0s\n"; r.code != 0 || r.stdout != want || !strings.Contains(r.stderr, "hello 0.1.0 is a good package") {
		t.Errorf("check: exit %d, %q, %q, want %q", r.code, r.stdout, r.stderr, want)
	}
	if r := run(t.Context(), App{}, "package", "new", dir); r.code != exitUsage || !strings.Contains(r.stderr, "has something in it already") {
		t.Errorf("new where one is: exit %d, %q", r.code, r.stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "beat.star"), []byte("def run():\n    nonsense(1)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t.Context(), App{}, "package", "check", dir); r.code != exitUsage || !strings.Contains(r.stderr, " beat.star:2:5") || !strings.Contains(r.stderr, "nonsense") {
		t.Errorf("a script that does not compile: exit %d, %q", r.code, r.stderr)
	}
	if r := run(t.Context(), App{}, "package", "check", filepath.Dir(dir)); r.code != exitUsage || r.stdout != "" {
		t.Errorf("no package: exit %d, %q", r.code, r.stderr)
	}
}
