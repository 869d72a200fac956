package fsm

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// registryOf is the service of a package, in one version of it.
func registryOf(scope, blueprint string) api.ServiceDeploy {
	return api.ServiceDeploy{Scope: scope, Alias: "registry", Package: "registry", Account: api.DefaultAccount, Blueprint: blueprint, Grants: api.Grants{KV: true},
		Modules: []api.Module{{Name: "m", Kind: api.ModuleStarlark, Digest: blueprint, Bytes: 3}}}
}

func (l *log) service(id string) api.Service {
	l.t.Helper()
	s, ok := l.m.Read().Service(id)
	if !ok {
		l.t.Fatalf("no service %s", id)
	}
	return s
}

// values are those of a store, as text.
func (l *log) values(store string) string {
	var all []string
	for e := range kvIn(l.m.Read(), store, "") {
		text := e.Text
		if e.Kind == api.KVList {
			text = strings.Join(e.List, "+")
		}
		all = append(all, e.Key+"="+text)
	}
	return strings.Join(all, " ")
}

func setKV(store string, by api.KVWriter, pairs ...string) api.KVChange {
	c := api.KVChange{Store: store, By: by}
	for k := 0; k < len(pairs); k += 2 {
		c.Ops = append(c.Ops, api.KVOp{Verb: api.KVSet, Key: pairs[k], Text: pairs[k+1]})
	}
	return c
}

// TestServiceTakesThePlaceOfAnother: the alias moves in one step, and the values with it.
func TestServiceTakesThePlaceOfAnother(t *testing.T) {
	l := newLog(t, "a", "b")
	a := ActorOfPeer("a")
	one := l.must(a, deployService, registryOf(api.ScopeCluster, testSums[0])).Key
	if s := l.service(one); s.Alias != "" || s.Wanted != "registry" || s.Store != one || s.CallTTL != api.DefaultCallTTL || s.Version != 1 {
		t.Errorf("while it is made: %+v", s)
	}
	if _, has := l.m.Read().ServiceAt(api.ScopeCluster, "registry"); has {
		t.Error("it has its alias before it is ready")
	}
	if again := l.must(ActorOfPeer("b"), deployService, registryOf(api.ScopeCluster, testSums[0])).Key; again != one {
		t.Errorf("another peer makes it a second time: %s and %s", one, again)
	}
	l.must(a, moveAlias, serviceID{one})
	l.must(a, changeKV, setKV(one, api.KVBySelf, "names", "old", "root", "old"))
	if again := l.must(a, deployService, registryOf(api.ScopeCluster, testSums[0])).Key; again != one {
		t.Errorf("it is made again as %s", again)
	}

	two := l.must(a, deployService, registryOf(api.ScopeCluster, testSums[1])).Key
	l.must(a, changeKV, setKV(two, api.KVBySelf, "root", "new"))
	if s, _ := l.m.Read().ServiceAt(api.ScopeCluster, "registry"); s.ID != one || l.values(one) != "names=old root=old" {
		t.Errorf("while the new one is made %s answers, with %s", s.ID, l.values(one))
	}
	l.must(a, moveAlias, serviceID{two})
	if s, _ := l.m.Read().ServiceAt(api.ScopeCluster, "registry"); s.ID != two || s.Store != one {
		t.Errorf("it answers now: %+v", s)
	}
	if s := l.service(one); s.Alias != "" || s.Wanted != "registry" {
		t.Errorf("the old one: %+v", s)
	}
	if got := l.values(one); got != "names=old root=new" || l.values(two) != "" {
		t.Errorf("it has %q, and in the store that it was made with %q", got, l.values(two))
	}
	version := l.service(two).Version
	l.must(a, moveAlias, serviceID{two})
	if l.service(two).Version != version {
		t.Error("an alias that is there already was moved")
	}
	left := ""
	l.refused(api.Precondition, ActorOfPeer("b"), removeService, serviceRemoval{ID: two, IfAlias: &left}) // as it was while the new one was made
	l.must(a, removeService, serviceRemoval{ID: one, IfAlias: &left})
	if got := l.values(one); got != "names=old root=new" {
		t.Errorf("with the old one went values of the new one: %q is left", got)
	}
	l.must(a, removeService, serviceID{two})
	l.must(a, removeService, serviceID{two})
	if n := spellKV.size(l.m.published.Load()); n != 0 {
		t.Errorf("%d values are left of a service that is gone", n)
	}
}

// TestRemovalOfWhatOthersWant: who removes what is there of a package says what others wanted
// when he decided that. It stays when that has changed.
func TestRemovalOfWhatOthersWant(t *testing.T) {
	l := newLog(t, "a", "b")
	a, b := ActorOfPeer("a"), ActorOfPeer("b")
	pkg := registryOf(api.ScopeCluster, testSums[0])
	service := l.must(a, deployService, pkg).Key
	spell := l.must(a, deploySpell, spellWrite{Package: pkg.Package, Alias: "renew", Scope: api.ScopeCluster, Script: "x"}).Key
	none := ""
	wishes := func() *string { return new(api.WishesOfOthers(l.m.Read().Deployments(), pkg.Package, "a")) }

	nobody := wishes()
	l.must(a, reportDeployment, api.Deployment{Peer: "a", Package: pkg.Package, Scope: api.ScopeCluster, State: api.PackageRemoved})
	if *wishes() != *nobody {
		t.Error("a peer's own word is taken for that of another")
	}
	wish := api.Deployment{Peer: "b", Package: pkg.Package, Scope: api.ScopeCluster, State: api.PackageExisting, Enabled: true, Digest: "d"}
	l.must(b, reportDeployment, wish)
	l.refused(api.Precondition, a, deleteSpell, spellRemoval{spell, nobody})
	l.refused(api.Precondition, a, removeService, serviceRemoval{service, &none, nobody})
	if _, there := l.m.Read().Spell(spell); !there || l.service(service).ID == "" {
		t.Error("what b wants was removed")
	}

	wish.Note = "nothing new"
	known := wishes()
	l.must(b, reportDeployment, wish)
	l.must(a, deleteSpell, spellRemoval{spell, known})
	l.must(a, removeService, serviceRemoval{service, &none, known})
}

func TestServiceRefusals(t *testing.T) {
	l := newLog(t, "a", "b")
	l.makeAccount("co-op")
	a, b := ActorOfPeer("a"), ActorOfPeer("b")
	with := func(change func(*api.ServiceDeploy)) api.ServiceDeploy {
		d := registryOf("a", testSums[0])
		change(&d)
		return d
	}
	for name, c := range map[string]struct {
		kind api.Kind
		body api.ServiceDeploy
	}{
		"a reserved alias":      {api.Invalid, with(func(d *api.ServiceDeploy) { d.Alias = "self" })},
		"no modules":            {api.Invalid, with(func(d *api.ServiceDeploy) { d.Modules = nil })},
		"one name twice":        {api.Invalid, with(func(d *api.ServiceDeploy) { d.Modules = append(d.Modules, d.Modules[0]) })},
		"an unknown kind":       {api.Invalid, with(func(d *api.ServiceDeploy) { d.Modules = []api.Module{{Name: "m", Kind: "elf", Digest: testSums[0]}} })},
		"no digest":             {api.Invalid, with(func(d *api.ServiceDeploy) { d.Blueprint = "x" })},
		"a long call":           {api.Invalid, with(func(d *api.ServiceDeploy) { d.CallTTL = 3601 })},
		"an account of nobody":  {api.Invalid, with(func(d *api.ServiceDeploy) { d.Account = "nobody" })},
		"the scope of another":  {api.Forbidden, with(func(d *api.ServiceDeploy) { d.Scope = "b" })},
		"a scope of nobody":     {api.Forbidden, with(func(d *api.ServiceDeploy) { d.Scope = "c" })},
		"a spell has the alias": {api.Conflict, with(func(d *api.ServiceDeploy) { d.Alias = "spelled" })},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a spell has the alias" {
				l.must(a, deploySpell, spellWrite{Package: "p", Scope: "a", Alias: "spelled", Script: "x"})
			}
			l.refused(c.kind, a, deployService, c.body)
		})
	}
	l.refused(api.Forbidden, admin, deployService, registryOf(api.ScopeCluster, testSums[0]))
	mine := l.must(a, deployService, registryOf("a", testSums[0])).Key
	l.refused(api.Forbidden, b, moveAlias, serviceID{mine})
	l.refused(api.Forbidden, b, removeService, serviceID{mine})
	l.refused(api.Forbidden, admin, removeService, serviceID{mine})
	l.refused(api.Forbidden, admin, removeService, serviceID{"gone"})
	l.refused(api.NotFound, a, moveAlias, serviceID{"gone"})
	theirs := l.must(b, deployService, registryOf("b", testSums[0])).Key
	l.must(a, moveAlias, serviceID{mine})
	l.must(b, moveAlias, serviceID{theirs}) // the alias is that of another in each scope
	l.refused(api.Conflict, a, deployService, with(func(d *api.ServiceDeploy) { d.Package = "other" }))
	other := l.must(a, deployService, with(func(d *api.ServiceDeploy) { d.Alias = "late" })).Key
	l.must(a, deploySpell, spellWrite{Package: "p", Scope: "a", Alias: "late", Script: "x"})
	l.refused(api.Conflict, a, moveAlias, serviceID{other})

	l.must(admin, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{Suspended: true}})
	l.refused(api.Forbidden, a, deployService, with(func(d *api.ServiceDeploy) { d.Account, d.Alias = "co-op", "new" }))
	servicesHold(t, 0, l.m.Read())
}

// TestServiceSettingsAreRead: what the log carries of settings is compact JSON.
func TestServiceSettingsAreRead(t *testing.T) {
	l := newLog(t, "a")
	w := NewWriter(atOnce{l}, nil, marking{})
	d := registryOf("a", testSums[0])
	d.Modules[0].Settings = json.RawMessage(` { "a" : 1 } `)
	done, err := w.DeployService(as1(ActorOfPeer("a")), d)
	if err != nil || string(done.Object.Modules[0].Settings) != `{"a":1}` {
		t.Errorf("%+v, %v", done.Object, err)
	}
	d.Modules[0].Settings = json.RawMessage(`[1]`)
	if _, err := w.DeployService(as1(ActorOfPeer("a")), d); !api.IsKind(err, api.Invalid) {
		t.Errorf("settings that are no object: %v", err)
	}
}

// TestPeerTakesItsOwnAlong: what a peer had for itself goes when it is no member any
// more, and what the cluster has stays.
func TestPeerTakesItsOwnAlong(t *testing.T) {
	for name, leave := range map[string]func(*log){
		"removed": func(l *log) { l.must(admin, removePeer, peerRemove{"b"}) },
		"lost":    func(l *log) { l.must(admin, losePeer, peerLose{ID: "b", Name: "b"}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t, "a", "b")
			b := ActorOfPeer("b")
			for _, scope := range []string{"b", api.ScopeCluster} {
				s := l.must(b, deployService, registryOf(scope, testSums[0])).Key
				l.must(b, changeKV, setKV(s, api.KVBySelf, "k", "v"))
				l.must(b, deploySpell, spellWrite{Package: "p", Scope: scope, Alias: "sp", Script: "x", KV: map[string]string{"k": "v"}})
				l.must(b, claimScope, scopeClaim{scope, "one"})
				l.must(b, reportDeployment, api.Deployment{Peer: "b", Package: "p" + scope, Scope: scope, State: api.PackageCreated})
				sp, _ := l.m.Read().SpellAt(scope, "sp")
				l.must(b, runSpells, api.RunBatch{Scope: scope, Peer: "b", Term: 1, Begin: []api.RunBegin{{Spell: sp.ID, Version: 1, Firing: api.Firing{Kind: "manual"}}}})
				l.must(admin, pushMail, mailPush{sp.ID, "hello"})
			}
			leave(l)
			r := l.m.Read()
			for what, got := range map[string]int{"services": services.size(r.state), "spells": spells.size(r.state), "runs": spellRuns.size(r.state), "mail": spellMail.size(r.state),
				"holders": holders.size(r.state)} {
				if got != 1 {
					t.Errorf("%d %s are left, want those of the cluster alone", got, what)
				}
			}
			if n := deployments.size(r.state); n != 0 {
				t.Errorf("%d deployments are left", n)
			}
			sp, _ := r.SpellAt(api.ScopeCluster, "sp")
			if _, held := r.Holder(api.ScopeCluster); held == (name == "lost") || r.SpellStatus(sp.ID).Last.State == api.RunInterrupted != (name == "lost") {
				t.Errorf("the cluster's runs are held: %v, and %+v", held, r.SpellStatus(sp.ID))
			}
			servicesHold(t, 0, r)
		})
	}
}

func TestDeployments(t *testing.T) {
	l := newLog(t, "a", "b")
	a := ActorOfPeer("a")
	d := api.Deployment{Peer: "a", Package: "registry", Version: "1.0.0", Scope: api.ScopeCluster, State: api.PackageFailed, Enabled: true, Error: "no module", Attempts: 2, At: l.at}
	l.must(a, reportDeployment, d)
	before, waiting := l.m.Read().Hash(), l.m.Read().ServicesChanged()
	was, _ := l.m.Read().Deployment("a", "registry")
	d.At = l.at.Add(1)
	l.must(a, reportDeployment, d)
	if is, _ := l.m.Read().Deployment("a", "registry"); is != was || is.Error != "no module" {
		t.Errorf("the same again is written, %s: %+v", before, is)
	}
	select {
	case <-waiting:
		t.Error("and wakes who waits")
	default:
	}
	d.State, d.Error = api.PackageCreated, ""
	l.must(a, reportDeployment, d)
	if is, _ := l.m.Read().Deployment("a", "registry"); is.State != api.PackageCreated {
		t.Errorf("%+v", is)
	}
	l.refused(api.Forbidden, ActorOfPeer("b"), reportDeployment, d)
	l.refused(api.Forbidden, admin, reportDeployment, d)
	d.State = "dancing"
	l.refused(api.Invalid, a, reportDeployment, d)
}
