package deploy_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/pack"
)

// shared is the package names at the cluster's scope, in a version and with a setting.
func shared(t *testing.T, version, root string) pack.Package {
	t.Helper()
	return with(t, load(t, names, `scope = "peer"`, `scope = "cluster"`, "1.0.0", version, "count = 1", `root = "$root"`), root)
}

const inCluster = api.ScopeCluster

// TestClusterOnce: three peers that are told the same make it once.
func TestClusterOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a", "b", "c")
		for _, id := range []string{"a", "b", "c"} {
			begin(t, b.peer(id), nil, shared(t, "1.0.0", "one"))
			after(time.Minute)
		}
		wantServices(t, b, inCluster, "helper", `names {"root":"one"}`)
		wantRow(t, b, "a", "names", "names 1.0.0 created 1")
		wantRow(t, b, "b", "names", "names 1.0.0 existing 1")
		wantRow(t, b, "c", "names", "names 1.0.0 existing 1")
		before := b.written()
		after(time.Hour)
		wantWrites(t, b, before)
		if len(b.calls) != 1 {
			t.Errorf("calls %q: init is the cluster's, once", b.calls)
		}
	})
}

// TestClusterTogether: as above, but they begin at once.
func TestClusterTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a", "b", "c")
		for _, id := range []string{"a", "b", "c"} {
			begin(t, b.peer(id), nil, shared(t, "1.0.0", "one"))
		}
		after(time.Minute)
		wantServices(t, b, inCluster, "helper", `names {"root":"one"}`)
		before := b.written()
		after(time.Hour)
		wantWrites(t, b, before)
		if before > 20 {
			t.Errorf("%d writes: %q", before, b.writes)
		}
	})
}

// TestNewerVersionHasTheSay, whoever has it.
func TestNewerVersionHasTheSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a", "b")
		begin(t, b.peer("a"), nil, shared(t, "1.9.0", "one"))
		after(time.Minute)
		newer := begin(t, b.peer("b"), nil, shared(t, "1.10.0", "two"))
		after(time.Minute)
		wantServices(t, b, inCluster, "helper", `names {"root":"two"}`)
		wantRow(t, b, "a", "names", "names 1.9.0 existing 1 [other peers run version 1.10.0 of it, which is newer]")
		wantRow(t, b, "b", "names", "names 1.10.0 updated 2")

		// It goes back when nobody has the newer one any more.
		newer.end()
		begin(t, b.peer("b"), nil)
		after(time.Minute)
		wantServices(t, b, inCluster, "helper", `names {"root":"one"}`)
		wantRow(t, b, "a", "names", "names 1.9.0 updated 3")
		wantRow(t, b, "b", "names", "names 1.10.0 removed 2 disabled [other peers enable it: it stays]")
	})
}

// TestOtherSettings: of one version runs what was configured last.
func TestOtherSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a", "b")
		first := begin(t, b.peer("a"), nil, shared(t, "1.0.0", "one"))
		after(time.Minute)
		begin(t, b.peer("b"), nil, shared(t, "1.0.0", "two"))
		after(time.Minute)
		wantServices(t, b, inCluster, "helper", `names {"root":"two"}`)
		wantRow(t, b, "a", "names", "names 1.0.0 existing 1 [other peers run it with other settings]")
		first.end()
		before := b.written()
		first = begin(t, b.peer("a"), nil, shared(t, "1.0.0", "one"))
		after(time.Hour)
		wantWrites(t, b, before) // a restart is no change of its configuration
		first.end()
		begin(t, b.peer("a"), nil, shared(t, "1.0.0", "three"))
		after(time.Minute)
		wantServices(t, b, inCluster, "helper", `names {"root":"three"}`)
		wantRow(t, b, "b", "names", "names 1.0.0 existing 2 [other peers run it with other settings]")
	})
}

// TestLastOneRemoves: a package of the cluster is there while any member enables it.
func TestLastOneRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a", "b", "c")
		lives := map[string]life{}
		for _, id := range []string{"a", "b"} {
			lives[id] = begin(t, b.peer(id), nil, shared(t, "1.0.0", "one"))
			after(time.Minute)
		}
		begin(t, b.peer("c"), nil)
		for _, id := range []string{"a", "b"} {
			wantServices(t, b, inCluster, "helper", `names {"root":"one"}`)
			lives[id].end()
			after(time.Hour) // that it is away is no reason
			wantServices(t, b, inCluster, "helper", `names {"root":"one"}`)
			lives[id] = begin(t, b.peer(id), nil)
			after(time.Minute)
		}
		wantServices(t, b, inCluster)
		wantRow(t, b, "a", "names", "names 1.0.0 removed 1 disabled")
		wantRow(t, b, "b", "names", "names 1.0.0 removed 1 disabled")
		before := b.written()
		after(time.Hour)
		wantWrites(t, b, before)
	})
}

// TestLastOneIsForgotten: what only a peer enabled that is no member any more goes.
func TestLastOneIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a", "b")
		l := begin(t, b.peer("a"), nil, shared(t, "1.0.0", "one"))
		begin(t, b.peer("b"), nil)
		after(time.Minute)
		l.end()
		wantServices(t, b, inCluster, "helper", `names {"root":"one"}`)
		b.set(func(tb *tables) { tb.peers = []string{"b"} })
		after(time.Minute)
		wantServices(t, b, inCluster)
	})
}

// TestTakenOver: a peer that is away in the middle of its work holds up no other that
// wants the same, and finds all done when it comes back.
func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a", "b")
		p := b.peer("a")
		p.left = 2
		begin(t, p, nil, shared(t, "1.0.0", "one"))
		after(time.Minute)
		wantServices(t, b, inCluster, "(names)")
		b.set(func(tb *tables) { b.down["a"] = true })
		begin(t, b.peer("b"), nil, shared(t, "1.0.0", "one"))
		after(time.Minute)
		wantServices(t, b, inCluster, "helper", `names {"root":"one"}`)
		b.set(func(tb *tables) { b.down["a"] = false })
		begin(t, b.peer("a"), nil, shared(t, "1.0.0", "one"))
		after(time.Minute)
		wantServices(t, b, inCluster, "helper", `names {"root":"one"}`)
		if len(b.calls) != 1 {
			t.Errorf("calls: %q", b.calls)
		}
	})
}

// story is peers that are told this and that, and die, in an order that a seed gives.
type story struct {
	t     *testing.T
	b     *book
	rng   *rand.Rand
	lives map[string]life
	wants map[string][]pack.Package
}

var all = []string{"a", "b", "c"}

// restart starts a peer with some configuration, which it may have had before.
func (s *story) restart(id string) {
	if l, runs := s.lives[id]; runs {
		l.end()
	}
	if _, configured := s.wants[id]; !configured || s.rng.IntN(2) == 0 {
		s.wants[id] = nil
		if s.rng.IntN(5) > 0 {
			s.wants[id] = append(s.wants[id], shared(s.t, s.pick("1.0.0", "1.0.0", "1.1.0"), s.pick("one", "two", "three")))
		}
	}
	p := s.b.peer(id)
	seed := s.rng.Uint64()
	slow := rand.New(rand.NewPCG(seed, 1))
	// Both are called by one goroutine at a time: each peer has one package.
	p.pause = func() { time.Sleep(time.Duration(slow.IntN(3000)) * time.Millisecond) }
	late := rand.New(rand.NewPCG(seed, 2))
	p.lag = func() int { return late.IntN(4) }
	if s.rng.IntN(4) == 0 {
		p.left = 1 + s.rng.IntN(8)
	}
	s.lives[id] = begin(s.t, p, nil, s.wants[id]...)
}

func (s *story) pick(words ...string) string { return words[s.rng.IntN(len(words))] }

// made is all that is there of a package, once it is.
func made(p pack.Package) string {
	var all []string
	for _, row := range p.Services {
		all = append(all, row.Alias+" "+row.Blueprint)
	}
	for _, row := range p.Spells {
		all = append(all, row.Alias+" "+row.KVDigest())
	}
	slices.Sort(all)
	return strings.Join(append(all, string(p.Init[0].Args)), "\n")
}

// there is the same of what is there.
func (s *story) there(v view) string {
	var all []string
	for row := range v.Services() {
		all = append(all, row.Alias+" "+row.Blueprint)
	}
	for row := range v.Spells() {
		all = append(all, row.Alias+" "+row.KVDigest)
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	names, _ := v.ServiceAt(inCluster, "names")
	return strings.Join(append(all, v.t.kv[names.Store+"/set_root"]), "\n")
}

// wanted is what may be there in the end: of those who want the newest version what one wants.
func (s *story) wanted() (may []string) {
	newest := ""
	for _, p := range slices.Concat(slices.Collect(maps.Values(s.wants))...) {
		if pack.Newer(p.Version, newest) > 0 {
			may, newest = nil, p.Version
		}
		if p.Version == newest {
			may = append(may, made(p))
		}
	}
	return may
}

// TestPeersConverge: whatever three peers are told and whenever they die, in the end
// there is what one of those wants that want the newest version, all of it, and nobody
// writes any more.
func TestPeersConverge(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			s := &story{t, newBook(all...), rand.New(rand.NewPCG(seed, 0)), map[string]life{}, map[string][]pack.Package{}}
			for range 4 + s.rng.IntN(8) {
				s.restart(all[s.rng.IntN(len(all))])
				after(time.Duration(s.rng.IntN(20_000)) * time.Millisecond)
			}
			for _, id := range all { // in the end all are there
				if l, runs := s.lives[id]; runs {
					l.end()
				}
				s.lives[id] = begin(t, s.b.peer(id), nil, s.wants[id]...)
			}
			began := s.b.written()
			after(10 * time.Minute)
			calm := s.b.written()
			after(2 * time.Hour)
			s.check(seed, began, calm)
		})
		if t.Failed() {
			return
		}
	}
}

func (s *story) check(seed uint64, began, calm int) {
	s.t.Helper()
	may := s.wanted()
	v := s.b.view()
	if got := s.there(v); len(may) == 0 && got != "" || len(may) > 0 && !slices.Contains(may, got) {
		s.t.Errorf("there is %q, want one of %q", got, may)
	}
	if wrote := s.b.writes[calm:]; len(wrote) > 0 {
		s.t.Errorf("after ten minutes still: %q", wrote)
	}
	if len(s.b.robbed) > 0 {
		s.t.Errorf("an alias was taken from who answered: %q", s.b.robbed)
	}
	if wrote := calm - began; wrote > 60 {
		s.t.Errorf("%d writes until all was calm", wrote)
	}
	for _, d := range v.t.deployments {
		if d.Deploying || d.State == api.PackageFailed || d.Enabled != (len(s.wants[d.Peer]) > 0) {
			s.t.Errorf("row of %s: %s", d.Peer, said(d))
		}
	}
	if s.t.Failed() {
		s.t.Logf("seed %d:\n%s\n\nwrites:\n%s", seed, picture(s.b), strings.Join(s.b.writes, "\n"))
	}
}
