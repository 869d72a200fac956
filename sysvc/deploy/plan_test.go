package deploy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/pack"
)

// echo is a package with a service, which is initialised, and a spell.
func echo(t *testing.T, scope string) want {
	t.Helper()
	p, err := pack.Load(fstest.MapFS{
		"package.toml": {Data: []byte(`name = "echo"
version = "2.0.0"
scope = "` + scope + `"
services = [{ alias = "echo", modules = [{ name = "echo", file = "echo.star" }] }]
spells = [{ alias = "tick", file = "tick.star", trigger = { clock = { start_sec = 1 } } }]
init = [{ service = "echo", function = "begin" }]
`)},
		"echo.star": {}, "tick.star": {Data: []byte("def run(): pass")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return want{p, p.ScopeOn("me"), p.Digest(), p.InitDigest()}
}

// TestPlan: what is done in which order, from what is there.
func TestPlan(t *testing.T) {
	own, cluster := echo(t, "peer"), echo(t, api.ScopeCluster)
	service := func(w want, alias, blueprint string) api.Service {
		return api.Service{ID: alias + blueprint[:2], Scope: w.scope, Alias: alias, Wanted: "echo", Package: "echo", Blueprint: blueprint}
	}
	is := own.Services[0].Blueprint
	tick := func(w want) api.Spell {
		s := w.Spells[0]
		return api.Spell{ID: "t", Scope: w.scope, Alias: "tick", Package: "echo", Account: "default", Script: s.Script, CallTTL: s.CallTTL,
			Trigger: api.Trigger{Clock: s.Trigger.Clock, Events: []api.EventMatch{}, Overlap: api.OverlapQueue}}
	}
	row := func(w want, peer string, change func(*api.Deployment)) api.Deployment {
		d := api.Deployment{Peer: peer, Package: "echo", Version: w.Version, Scope: w.scope, Digest: w.digest, State: api.PackageCreated, Enabled: true, Init: w.init}
		if w.scope == api.ScopeCluster {
			d.Order = 1
		}
		if change != nil {
			change(&d)
		}
		return d
	}
	whole := func(w want, rows ...api.Deployment) present {
		return present{services: []api.Service{service(w, "echo", is)}, spells: []api.Spell{tick(w)}, rows: rows, alive: map[string]bool{"me": true, "you": true}}
	}
	broken := func(w want, rows ...api.Deployment) present {
		p := whole(w, rows...)
		p.services = nil
		return p
	}
	older := service(own, "echo", "0ld")
	displaced := service(own, "", "0ld")
	for name, c := range map[string]struct {
		wants *want
		p     present
		want  string // steps
	}{
		"nothing there":                      {&own, present{}, "announce create:echo initialise move:echo cast:tick report"},
		"all there":                          {&own, whole(own, row(own, "me", nil)), ""},
		"all there, nobody said so":          {&own, whole(own), "announce initialise report"},
		"old service":                        {&own, present{services: []api.Service{older}, spells: []api.Spell{tick(own)}}, "announce create:echo initialise move:echo remove-service:echo report"},
		"made, not moved":                    {&own, present{services: []api.Service{service(own, "", is), older}, rows: []api.Deployment{row(own, "me", func(d *api.Deployment) { d.Deploying, d.Init = true, "" })}}, "create:echo initialise move:echo cast:tick remove-service:echo report"},
		"moved, the old still there":         {&own, present{services: []api.Service{displaced, service(own, "echo", is)}, spells: []api.Spell{tick(own)}, rows: []api.Deployment{row(own, "me", func(d *api.Deployment) { d.Deploying = true })}}, "remove-service: report"},
		"init not done":                      {&own, whole(own, row(own, "me", func(d *api.Deployment) { d.State, d.Init = api.PackageFailed, "" })), "initialise report"},
		"init done otherwise":                {&own, whole(own, row(own, "me", func(d *api.Deployment) { d.Init = "other" })), "announce initialise report"},
		"alias taken":                        {&own, present{strange: map[string]string{"echo": "a spell"}}, "announce refuse report"},
		"no longer wanted":                   {nil, whole(own, row(own, "me", nil)), "remove-spell:tick remove-service:echo report"},
		"gone":                               {nil, present{rows: []api.Deployment{row(own, "me", func(d *api.Deployment) { d.State, d.Enabled, d.Init = api.PackageRemoved, false, "" })}}, ""},
		"nothing of mine":                    {nil, whole(cluster, row(cluster, "you", nil)), ""},
		"the cluster has it":                 {&cluster, whole(cluster, row(cluster, "you", nil)), "report"},
		"another is at it":                   {&cluster, broken(cluster, row(cluster, "you", func(d *api.Deployment) { d.Deploying = true })), ""},
		"another was at it, is away":         {&cluster, broken(cluster, row(cluster, "gone", func(d *api.Deployment) { d.Deploying = true })), "announce create:echo initialise move:echo report"},
		"away in the middle of other wishes": {&cluster, broken(cluster, row(cluster, "gone", func(d *api.Deployment) { d.Version, d.Digest, d.Deploying = "2.0.1", "x", true })), "announce create:echo initialise move:echo report"},
		"away, but had finished":             {&cluster, broken(cluster, row(cluster, "gone", func(d *api.Deployment) { d.Version, d.Digest = "2.0.1", "x" })), "report"},
		"another wants it newer":             {&cluster, broken(cluster, row(cluster, "you", func(d *api.Deployment) { d.Version, d.Digest = "2.0.1", "x" })), "report"},
		"another has it older":               {&cluster, broken(cluster, row(cluster, "you", func(d *api.Deployment) { d.Version, d.Digest = "1.9.0", "x" })), "announce create:echo initialise move:echo report"},
		"another was told last":              {&cluster, broken(cluster, row(cluster, "me", nil), row(cluster, "you", func(d *api.Deployment) { d.Digest, d.Order = "x", 2 })), "report"},
		"I was told last":                    {&cluster, broken(cluster, row(cluster, "me", func(d *api.Deployment) { d.Order = 3 }), row(cluster, "you", func(d *api.Deployment) { d.Digest, d.Order = "x", 2 })), "announce create:echo initialise move:echo report"},
		"others enable it":                   {nil, whole(cluster, row(cluster, "me", nil), row(cluster, "you", nil)), "report"},
		"nobody else enables it":             {nil, whole(cluster, row(cluster, "me", nil), row(cluster, "you", func(d *api.Deployment) { d.State, d.Enabled = api.PackageRemoved, false })), "remove-spell:tick remove-service:echo report"},
		"no member knows it":                 {nil, whole(cluster), "remove-spell:tick remove-service:echo report"},
	} {
		w := wanted{self: "me", packages: map[string]want{}}
		if c.wants != nil {
			w.packages["echo"] = *c.wants
		}
		var got []string
		for _, s := range plan(w, map[string]present{"echo": c.p}) {
			text := s.do.String()
			if s.alias != "" || s.do == removeService {
				text += ":" + s.alias
			}
			got = append(got, text)
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// TestSpellDiffers: what makes a spell another one, and what does not.
func TestSpellDiffers(t *testing.T) {
	w := echo(t, "peer")
	s := w.Spells[0]
	row := api.Spell{Scope: "me", Alias: "tick", Package: "echo", Account: "default", Script: s.Script, CallTTL: s.CallTTL, Trigger: s.Trigger}
	for name, change := range map[string]func(*api.Spell, *pack.Spell){
		"= nothing": func(*api.Spell, *pack.Spell) {},
		"= usual words": func(r *api.Spell, _ *pack.Spell) {
			r.Trigger.Overlap, r.Trigger.Missed = api.OverlapQueue, api.MissedSkip
		},
		"= empty for none": func(r *api.Spell, _ *pack.Spell) { r.Trigger.Events, r.Grants.Call = []api.EventMatch{}, []string{} },
		"script":           func(r *api.Spell, _ *pack.Spell) { r.Script += "\n" },
		"trigger":          func(r *api.Spell, _ *pack.Spell) { r.Trigger.Clock.PeriodSec = 5 },
		"grants":           func(r *api.Spell, _ *pack.Spell) { r.Grants.KV = true },
		"account":          func(r *api.Spell, _ *pack.Spell) { r.Account = "other" },
		"deadline":         func(r *api.Spell, _ *pack.Spell) { r.CallTTL = 5 },
		"values":           func(_ *api.Spell, s *pack.Spell) { s.KV = map[string]json.RawMessage{"a": json.RawMessage("1")} },
	} {
		r, changed := row, s
		change(&r, &changed)
		m := matter{want: w}
		if got, want := m.differs(r, changed), !strings.HasPrefix(name, "="); got != want {
			t.Errorf("%s: differs %v, want %v", name, got, want)
		}
	}
}

// TestBySay: the newer version before the later word.
func TestBySay(t *testing.T) {
	rows := []api.Deployment{{Version: "1.10.0", Peer: "a"}, {Version: "1.9.0", Order: 9, Peer: "b"}, {Version: "1.10.0", Order: 1, Peer: "c"}, {Version: "1.10.0", Order: 1, Peer: "d"}}
	slices.SortFunc(rows, bySay)
	var order []string
	for _, d := range rows {
		order = append(order, d.Peer)
	}
	if got := strings.Join(order, ""); got != "bacd" {
		t.Errorf("order %s, want bacd", got)
	}
}
