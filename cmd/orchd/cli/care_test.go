package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm/vmmtest"
)

func aFinding() api.Finding {
	return api.Finding{Code: "domain-without-record", Peer: "h2", Name: "mail", Detail: "a domain that is none of this cluster's", Action: "orchd vm adopt mail --peer h2"}
}

func TestDoctor(t *testing.T) {
	warning := api.Warning{Code: "peer-silent", Peer: "h3", Detail: "not heard for 40s", Action: "look at h3"}
	noFindings := page[api.Finding]()
	for _, c := range []struct {
		name     string
		status   any
		findings any
		args     []string
		code     int
		stdout   string
	}{
		{"well", aStatus(), noFindings, nil, 0, "all is well\n"},
		{"warned", aStatus(warning), noFindings, nil, 1, "! h3: not heard for 40s\n  do: look at h3\n"},
		{"found", aStatus(), page(aFinding()), nil, 1, "! h2: mail: a domain that is none of this cluster's\n  do: orchd vm adopt mail --peer h2\n"},
		{"both", aStatus(warning), page(aFinding()), []string{"-o", "name"}, 1, "peer-silent\ndomain-without-record\n"},
		{"csv", aStatus(warning), noFindings, []string{"-o", "csv", "--no-headers"}, 1, "peer-silent,h3,,,not heard for 40s,look at h3\n"},
		{"json", aStatus(), noFindings, []string{"-o", "json"}, 0, "{\n  \"warnings\": [],\n  \"findings\": []\n}\n"},
		{"not asked", aStatus(warning), &api.Error{Kind: api.Forbidden, Msg: "for admins"}, nil, exitNotAllowed, "! h3: not heard for 40s\n  do: look at h3\n"},
		{"not asked, else well", aStatus(), &api.Error{Kind: api.Forbidden, Msg: "for admins"}, nil, exitNotAllowed, ""},
	} {
		f := newFake(t).answer("GET /v1/status", c.status).answer("GET /v1/findings", c.findings)
		r := f.run(append([]string{"doctor"}, c.args...)...)
		if r.code != c.code || r.stdout != c.stdout {
			t.Errorf("%s: exit %d, %q, %q; want %d, %q", c.name, r.code, r.stdout, r.stderr, c.code, c.stdout)
		}
	}
	r := newFake(t).answer("GET /v1/status", aStatus(warning)).answer("GET /v1/findings", page(aFinding())).run("doctor", "-o", "json")
	var got diagnosis
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || len(got.Warnings) != 1 || len(got.Findings) != 1 || r.code != 1 {
		t.Errorf("json: exit %d, %v, %s", r.code, err, r.stdout)
	}
	if r := run(t.Context(), App{Environ: []string{"ORCHD_ADDR=127.0.0.1:1"}}, "doctor"); r.code != exitUnreachable || r.stdout != "" {
		t.Errorf("nobody there: exit %d, %q", r.code, r.stdout)
	}
}

func lostDomain(name, peer string) api.ForeignDomain {
	return api.ForeignDomain{Peer: peer, UUID: "uuid-" + name, Name: name + "-0b9f2d1e", State: api.VMRunning, VCPUs: 2, MemoryMiB: 4096,
		Record: &api.VM{ID: "id-" + name, Name: name, Account: "default"}}
}

// TestRecover takes in what carries a lost record, and nothing else; one that fails
// does not stop the rest.
func TestRecover(t *testing.T) {
	back := aVM()
	domains := page(lostDomain("web2", "h2"), api.ForeignDomain{Peer: "h1", UUID: "u", Name: "mail", State: api.VMRunning}, lostDomain("db1", "h3"), lostDomain("web1", "h1"))
	peer := func() *fake {
		return newFake(t).answer("GET /v1/domains", domains).answer("POST /v1/vms/adopt", back, &api.Error{Kind: api.Conflict, Msg: "the name is taken"}, back)
	}
	f := peer()
	if r := f.run("recover", "--from-hosts", "--dry-run", "-o", "name"); r.code != 0 || r.stdout != "default/db1\ndefault/web1\ndefault/web2\n" || len(f.asked) != 1 {
		t.Errorf("--dry-run: exit %d, %q, asked %v", r.code, r.stdout, f.asked)
	}
	f = peer()
	if r := f.run("recover", "--from-hosts"); r.code != exitUsage || len(f.asked) != 1 || !strings.Contains(r.stderr, "take in 3 virtual machines?") || !strings.Contains(r.stderr, "db1") {
		t.Errorf("nobody to ask: exit %d, %q, asked %v", r.code, r.stderr, f.asked)
	}
	f = peer()
	r := f.run("recover", "--from-hosts", "--yes", "-o", "name")
	want := []string{
		`POST /v1/vms/adopt {"peer":"h3","domain":"uuid-db1","recover":true}`,
		`POST /v1/vms/adopt {"peer":"h1","domain":"uuid-web1","recover":true}`,
		`POST /v1/vms/adopt {"peer":"h2","domain":"uuid-web2","recover":true}`,
	}
	if !slices.Equal(f.asked[1:], want) {
		t.Errorf("asked %v, want %v", f.asked[1:], want)
	}
	if r.code != exitConflict || r.stdout != "web1\nweb1\n" {
		t.Errorf("exit %d, %q", r.code, r.stdout)
	}
	for _, want := range []string{"2 of 3: web1-0b9f2d1e on h1: the name is taken\n", "3 of 3: default/web1 is back, running on h2\n", "orchd recover: 2 of 3 virtual machines are back\nmend what is told above"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("stderr %q: no %q", r.stderr, want)
		}
	}
	f = newFake(t).answer("GET /v1/domains", page(lostDomain("web1", "h1"))).answer("POST /v1/vms/adopt", back)
	if r := f.screen("y\n", "recover", "--from-hosts"); r.code != 0 || !strings.Contains(r.stderr, "all 1 virtual machine are back") && !strings.Contains(r.stderr, "is back") {
		t.Errorf("yes: exit %d, saw %q", r.code, r.stderr)
	}
	f = newFake(t).answer("GET /v1/domains", page[api.ForeignDomain]())
	if r := f.run("recover", "--from-hosts", "--yes"); r.code != 0 || len(f.asked) != 1 {
		t.Errorf("nothing lost: exit %d, %q", r.code, r.stderr)
	}
}

// TestPeerLost takes the peer's name and nothing less.
func TestPeerLost(t *testing.T) {
	p := aPeer()
	lost := p.Peer
	lost.State = api.PeerGone
	path := "/v1/peers/" + p.ID + "/lost"
	peer := func() *fake {
		return newFake(t).answer("GET /v1/peers/h1", p).answer("GET /v1/vms", page(aVM())).answer("POST "+path, lost)
	}
	for _, c := range []struct {
		name, typed string
		args        []string
		code        int
		asks        bool
	}{
		{"by flag", "", []string{"--yes-i-am-sure", "h1", "--reason", "burnt"}, 0, true},
		{"by the wrong flag", "", []string{"--yes-i-am-sure", "h2"}, exitUsage, false},
		{"typed", "h1\n", nil, 0, true},
		{"typed yes", "yes\n", nil, exitUsage, false},
		{"typed nothing", "\n", nil, exitUsage, false},
	} {
		f := peer()
		r := f.screen(c.typed, append([]string{"peer", "lost", "h1"}, c.args...)...)
		posted := slices.IndexFunc(f.asked, func(s string) bool { return strings.HasPrefix(s, "POST ") })
		if r.code != c.code || (posted >= 0) != c.asks || !strings.Contains(r.stderr, "owns 1 virtual machine (web1)") {
			t.Errorf("%s: exit %d, saw %q, asked %v", c.name, r.code, r.stderr, f.asked)
		}
		if c.args != nil && c.asks && f.asked[posted] != "POST "+path+` {"name":"h1","reason":"burnt"}` {
			t.Errorf("%s: asked %s", c.name, f.asked[posted])
		}
	}
	f := peer()
	if r := f.run("peer", "lost", "h1"); r.code != exitUsage || !strings.Contains(r.stderr, "give the peer's name with --yes-i-am-sure NAME") || len(f.asked) != 2 {
		t.Errorf("nobody to ask: exit %d, %q", r.code, r.stderr)
	}
}

// TestJoinAdopts what runs on this host, once the peer is ready, and leaves alone what
// is not for it.
func TestJoinAdopts(t *testing.T) {
	domain := func(name string, change func(*api.ForeignDomain)) api.ForeignDomain {
		d := api.ForeignDomain{Peer: "h9", UUID: "uuid-" + name, Name: name, State: api.VMRunning}
		change(&d)
		return d
	}
	f := newFake(t).
		answer("GET /readyz", struct{}{}).
		answer("GET /v1/domains", page(
			domain("mail", func(*api.ForeignDomain) {}),
			domain("taken", func(*api.ForeignDomain) {}),
			domain("off", func(d *api.ForeignDomain) { d.State = api.VMStopped }),
			domain("theirs", func(d *api.ForeignDomain) { d.Cluster = "another" }),
			domain("lost", func(d *api.ForeignDomain) { d.Record = &api.VM{Name: "web1"} }),
			domain("news", func(*api.ForeignDomain) {}))).
		answer("POST /v1/vms/adopt", aVM(), &api.Error{Kind: api.Conflict, Msg: "the name is taken"}, aVM())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	d := &recorder{serving: make(chan struct{})}
	ended := make(chan result, 1)
	go func() {
		ended <- run(ctx, App{Daemon: d, Environ: daemonEnv(t)}, "join", "h1:7700", "--token", "a.b.c", "--adopt", "--data-dir", filepath.Dir(f.socket))
	}()
	vmmtest.Eventually(t, func() error {
		if n := f.count("POST /v1/vms/adopt"); n != 3 {
			return fmt.Errorf("%d of 3 adoptions were asked for", n)
		}
		return nil
	})
	stop()
	if r := <-ended; r.code != 0 || !strings.Contains(r.stderr, "domain not adopted") || !strings.Contains(r.stderr, "the name is taken") {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
	if strings.Join(d.did, " ") != "join h1:7700 serve" {
		t.Errorf("did %v", d.did)
	}
	for _, want := range []string{"GET /v1/domains?limit=1000&peer=h9", `POST /v1/vms/adopt {"peer":"h9","domain":"uuid-mail"}`, `POST /v1/vms/adopt {"peer":"h9","domain":"uuid-taken"}`, `POST /v1/vms/adopt {"peer":"h9","domain":"uuid-news"}`} {
		if f.count(want) != 1 {
			t.Errorf("asked %v: no %s", f.requests(), want)
		}
	}
}

func TestWhy(t *testing.T) {
	why := api.Why{VM: vmID, Account: "default", Epoch: 1, Owner: "h2", Asked: api.Placement{Group: "web", Spread: api.SpreadLabel, SpreadLabel: "rack"}, At: now, Candidates: []api.Candidate{
		{Peer: "h4", Status: api.NotApplicable, Reasons: []string{"memory: 4096 MiB wanted, 100 free"}},
		{Peer: "h3", Status: api.AssignedToOther, Rank: 2, Free: api.Resources{VCPUs: 4, MemoryMiB: 8192, DiskGiB: 100}, Reasons: []string{"has the image"}},
		{Peer: "h2", Status: api.Assigned, Rank: 1, Free: api.Resources{VCPUs: 4, MemoryMiB: 8192, DiskGiB: 100}, Reasons: []string{"has the image", "no other of web in rack r2"}},
		{Peer: "h1", Status: api.NoResponseFromHost},
	}}
	f := newFake(t).answer("GET /v1/vms/web1/why", why)
	r := f.run("vm", "why", "web1")
	golden(t, "vm-why.golden", r.stderr+r.stdout)
	if r := f.run("vm", "why", "web1", "-o", "json"); !strings.Contains(r.stdout, `"epoch": 1`) || r.stderr != "" {
		t.Errorf("json: %q, %q", r.stdout, r.stderr)
	}
}
