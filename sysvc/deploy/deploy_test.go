package deploy_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/deploy"
	"github.com/orchd/orchd/sysvc/pack"
)

// shelf gives modules their digests, as a depot does; packages put theirs at the same time.
type shelf struct{}

func (shelf) Put(content []byte) (string, error) {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

// names is a package with all that there can be: a service that is initialised, one
// that is not, a spell.
const names = `name = "names"
version = "1.0.0"
scope = "peer"
[settings]
root = "one"
[grants]
kv = true
[[services]]
alias = "names"
modules = [{ name = "names", file = "names.star" }]
[[services]]
alias = "helper"
modules = [{ name = "helper", file = "helper.star" }]
[[spells]]
alias = "renew"
file = "renew.star"
kv = { count = 1 }
trigger = { clock = { start_sec = 1, period_sec = 60 } }
[[init]]
service = "names"
function = "set_root"
args = { root = "$root" }
`

// load makes a package of a manifest in which texts are replaced: old, new, old, new.
func load(t *testing.T, manifest string, replace ...string) pack.Package {
	t.Helper()
	p, err := pack.Load(fstest.MapFS{
		"package.toml": {Data: []byte(strings.NewReplacer(replace...).Replace(manifest))},
		"names.star":   {Data: []byte("def set_root(root): pass")},
		"helper.star":  {Data: []byte("def help(): pass")},
		"renew.star":   {Data: []byte("def run(): pass")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// with is a package under another setting of root.
func with(t *testing.T, p pack.Package, root string) pack.Package {
	t.Helper()
	p, err := p.With(map[string]any{"root": root})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// life is one life of a peer's deployer.
type life struct {
	*deploy.Deployer
	end func() // and wait until it has ended
}

// compiles is a check that finds nothing.
func compiles(context.Context, pack.Package) error { return nil }

// begin starts a deployer. It ends with the test, when it is ended, or when the peer dies.
func begin(t *testing.T, p *peer, change func(*deploy.Config), packages ...pack.Package) life {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p.dead, p.die, p.wants = false, cancel, len(packages) > 0
	cfg := deploy.Config{Cluster: p, Modules: shelf{}, Call: p.call, Check: compiles, Wanted: packages, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(&cfg)
	}
	d, ended := deploy.New(cfg), make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	end := func() {
		cancel()
		if err, first := <-ended; first {
			close(ended)
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(end)
	return life{d, end}
}

// after lets time pass; nothing happens in it that is not due.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wantServices compares the services of a scope: "alias root", or "(wanted alias)" for
// one without, where root is what its store was last initialised with.
func wantServices(t *testing.T, b *book, scope string, want ...string) {
	t.Helper()
	var got []string
	v := b.view()
	for s := range v.Services() {
		if s.Scope != scope {
			continue
		}
		text := s.Alias
		if text == "" {
			text = "(" + s.Wanted + ")"
		}
		if root := v.t.kv[s.Store+"/set_root"]; root != "" {
			text += " " + root
		}
		got = append(got, text)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("services of %s: got %q, want %q", scope, got, want)
	}
}

func wantRow(t *testing.T, b *book, peer, pkg, want string) {
	t.Helper()
	if got := said(b.view().t.deployments[peer+"/"+pkg]); got != want {
		t.Errorf("row of %s: got %q, want %q", peer, got, want)
	}
}

func wantWrites(t *testing.T, b *book, since int, want ...string) {
	t.Helper()
	if got := b.writes[since:]; !slices.Equal(got, want) {
		t.Errorf("writes:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestInstall: first the services, then their init, then their aliases, then the spell.
// A second start writes nothing, and neither does an hour.
func TestInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a")
		l := begin(t, b.peer("a"), nil, load(t, names))
		after(time.Minute)
		<-l.Done()
		wantWrites(t, b, 0,
			"a: row names 1.0.0 created 0 deploying",
			"a: create names/names", "a: create names/helper", "a: move names/helper", // before init, which may call it
			"a: move names/names", "a: cast names/renew", "a: row names 1.0.0 created 0")
		if want := []string{"new names.set_root"}; !slices.Equal(b.calls, want) {
			t.Errorf("calls: %q, want %q", b.calls, want)
		}
		wantServices(t, b, "a", "helper", `names {"root":"one"}`)
		l.end()

		before := b.written()
		l = begin(t, b.peer("a"), nil, load(t, names))
		after(time.Hour)
		<-l.Done()
		wantWrites(t, b, before)
		if len(b.calls) != 1 || len(l.Failed()) != 0 {
			t.Errorf("second start: calls %q, failed %v", b.calls, l.Failed())
		}
	})
}

// TestUpdate: the new services are made beside the old, and take over their values.
func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a")
		l := begin(t, b.peer("a"), nil, load(t, names))
		after(time.Minute)
		l.end()
		b.set(func(tb *tables) {
			s, _ := view{t: *tb}.ServiceAt("a", "names")
			tb.kv[s.Store+"/learnt"] = "kept"
		})
		before := b.written()
		begin(t, b.peer("a"), nil, with(t, load(t, names, "1.0.0", "1.1.0"), "two"))
		after(time.Minute)
		wantWrites(t, b, before,
			"a: row names 1.1.0 updated 0 deploying",
			"a: create names/names", "a: create names/helper", "a: move names/names", "a: move names/helper",
			"a: remove service names/(names)", "a: remove service names/(helper)", "a: row names 1.1.0 updated 0")
		wantServices(t, b, "a", "helper", `names {"root":"two"}`)
		if want := []string{"new names.set_root", "new names.set_root"}; !slices.Equal(b.calls, want) {
			t.Errorf("calls: %q, want %q", b.calls, want)
		}
		v := b.view()
		if s, _ := v.ServiceAt("a", "names"); v.t.kv[s.Store+"/learnt"] != "kept" {
			t.Error("the new service has not the values of the old")
		}
	})
}

// TestFolderThatIsBroken: of a package whose folder cannot be read what is there stays,
// here and for the cluster, until the folder is mended.
func TestFolderThatIsBroken(t *testing.T) {
	for _, scope := range []string{"peer", api.ScopeCluster} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook("a", "b")
			good, at := load(t, names, `scope = "peer"`, fmt.Sprintf("scope = %q", scope)), scope
			if scope == "peer" {
				at = "a"
			}
			l := begin(t, b.peer("a"), nil, good)
			after(time.Minute)
			l.end()
			begin(t, b.peer("b"), nil)
			broken := pack.Faulty("names", errors.New("names/package.toml:3: skope is an unknown key"))
			l = begin(t, b.peer("a"), nil, broken)
			after(10 * time.Minute)
			<-l.Done()
			wantServices(t, b, at, "helper", `names {"root":"one"}`)
			if row := b.view().t.deployments["a/names"]; row.State != api.PackageFailed || !row.Enabled || !strings.Contains(row.Error, "skope") || row.Scope != at {
				t.Errorf("the row says %+v", row)
			}
			if f := l.Failed(); len(f) != 1 || !strings.Contains(f[0].Error, "skope") {
				t.Errorf("failed: %+v", f)
			}
			l.end()
			l = begin(t, b.peer("a"), nil, with(t, good, "two"))
			after(time.Minute)
			wantServices(t, b, at, "helper", `names {"root":"two"}`)
			l.end()
		})
	}
	synctest.Test(t, func(t *testing.T) { // that was never there
		b := newBook("a")
		begin(t, b.peer("a"), nil, pack.Faulty("names", errors.New("no file package.toml")))
		after(time.Minute)
		if row := b.view().t.deployments["a/names"]; row.State != api.PackageFailed || row.Scope != "a" || row.Error != "no file package.toml" {
			t.Errorf("the row says %+v", row)
		}
	})
}

// TestCodeThatDoesNotCompile takes the place of nothing.
func TestCodeThatDoesNotCompile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a")
		old := load(t, names)
		l := begin(t, b.peer("a"), nil, old)
		after(time.Minute)
		l.end()
		wrong, before := errors.New("service names: names.star:2:1: got newline, want ':'"), b.written()
		var mended atomic.Bool
		l = begin(t, b.peer("a"), func(c *deploy.Config) {
			c.Check = func(context.Context, pack.Package) error {
				if mended.Load() {
					return nil
				}
				return wrong
			}
		}, with(t, old, "two"))
		after(time.Second / 2)
		<-l.Done()
		wantWrites(t, b, before, "a: row names 1.0.0 updated 0 deploying", "a: row names 1.0.0 failed 0 (1) "+wrong.Error())
		wantServices(t, b, "a", "helper", `names {"root":"one"}`)
		mended.Store(true)
		after(time.Minute)
		wantServices(t, b, "a", "helper", `names {"root":"two"}`)
	})
}

// TestInitFails: the old service answers on, the new one is kept for the next try, which
// comes later and later; when the update is given up it goes.
func TestInitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a")
		old := load(t, names)
		l := begin(t, b.peer("a"), nil, old)
		after(time.Minute)
		l.end()
		b.fail("set_root", true)
		before, began := b.written(), len(b.calls)
		l = begin(t, b.peer("a"), nil, with(t, old, "two"))
		after(30 * time.Second) // tries after 0, 1, 3, 7 and 15 s, and a little
		<-l.Done()
		if tries := len(b.calls) - began; tries != 5 {
			t.Errorf("%d tries in 30 s, want 5", tries)
		}
		wantServices(t, b, "a", "(helper)", "(names)", "helper", `names {"root":"one"}`)
		wantRow(t, b, "a", "names", "names 1.0.0 failed 0 (5) init of names: set_root: it does not like it")
		if f := l.Failed(); len(f) != 1 || f[0].Attempts != 5 || f[0].Error == "" {
			t.Errorf("failed: %+v", f)
		}
		after(time.Hour)
		if tries := len(b.calls) - began; tries < 15 || tries > 22 {
			t.Errorf("%d tries in an hour, want one each 5 minutes at the end", tries)
		}
		if per := b.written() - before; per > len(b.calls)-began+5 {
			t.Errorf("%d writes for %d tries: each writes its row alone", per, len(b.calls)-began)
		}
		b.fail("set_root", false)
		after(5 * time.Minute)
		wantServices(t, b, "a", "helper", `names {"root":"two"}`)
		wantRow(t, b, "a", "names", "names 1.0.0 updated 0")
		if len(l.Failed()) != 0 {
			t.Errorf("failed still: %+v", l.Failed())
		}
		l.end()

		b.fail("set_root", true)
		l = begin(t, b.peer("a"), nil, with(t, old, "three"))
		after(time.Minute)
		l.end()
		wantServices(t, b, "a", "(helper)", "(names)", "helper", `names {"root":"two"}`)
		b.fail("set_root", false)
		begin(t, b.peer("a"), nil, with(t, old, "two"))
		after(time.Minute)
		wantServices(t, b, "a", "helper", `names {"root":"two"}`)
		wantRow(t, b, "a", "names", "names 1.0.0 updated 0")
	})
}

// TestInitAlone: init runs again when its configuration changed, and nothing else happens.
func TestInitAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a")
		l := begin(t, b.peer("a"), nil, load(t, names))
		after(time.Minute)
		l.end()
		before := b.written()
		begin(t, b.peer("a"), nil, load(t, names, `args = { root = "$root" }`, `args = { root = "other" }`))
		after(time.Minute)
		wantWrites(t, b, before, "a: row names 1.0.0 updated 0 deploying", "a: row names 1.0.0 updated 0")
		wantServices(t, b, "a", "helper", `names {"root":"other"}`)
	})
}

// TestSpellChanges: script, trigger and declared values are replaced in place.
func TestSpellChanges(t *testing.T) {
	for name, replace := range map[string][]string{
		"trigger":  {"period_sec = 60", "period_sec = 61"},
		"declared": {"count = 1", "count = 2"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook("a")
				l := begin(t, b.peer("a"), nil, load(t, names))
				after(time.Minute)
				l.end()
				before := b.written()
				l = begin(t, b.peer("a"), nil, load(t, names, replace...))
				after(time.Minute)
				l.end()
				wantWrites(t, b, before, "a: row names 1.0.0 updated 0 deploying", "a: cast names/renew", "a: row names 1.0.0 updated 0")
				before = b.written()
				begin(t, b.peer("a"), nil, load(t, names, replace...))
				after(time.Minute)
				wantWrites(t, b, before)
			})
		})
	}
}

// TestSpellOfThePast: a spell whose end has passed cannot be deployed; one that is
// deployed stays.
func TestSpellOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a")
		ends := time.Now().Add(time.Hour).Unix()
		p := load(t, names, "start_sec = 1,", fmt.Sprintf("start_sec = 1, end_sec = %d,", ends))
		l := begin(t, b.peer("a"), nil, p)
		after(2 * time.Hour)
		l.end()
		before := b.written()
		l = begin(t, b.peer("a"), nil, p)
		after(time.Minute)
		l.end()
		wantWrites(t, b, before)
		begin(t, b.peer("a"), nil, load(t, names, "start_sec = 1,", "start_sec = 1, end_sec = 9,"))
		after(500 * time.Millisecond)
		wantRow(t, b, "a", "names", "names 1.0.0 failed 0 (1) spell renew: invalid config: end_sec is less than start_sec or in the past")
	})
}

// TestAliasIsTaken: by a spell where a service is wanted, and by another package.
func TestAliasIsTaken(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*tables)
		want string
	}{
		"by a spell": {
			func(tb *tables) { tb.spells["x"] = api.Spell{ID: "x", Scope: "a", Alias: "names"} },
			"alias names is held by a spell of no package: remove that, or do not enable this package",
		},
		"by a service": {
			func(tb *tables) {
				tb.services["x"] = api.Service{ID: "x", Scope: "a", Alias: "renew", Package: "other"}
			},
			"alias renew is held by a service of package other: remove that, or do not enable this package",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook("a")
				b.set(c.set)
				keep := func(cfg *deploy.Config) { cfg.KeepDisabled = true }
				l := begin(t, b.peer("a"), keep, load(t, names))
				after(500 * time.Millisecond)
				<-l.Done()
				wantRow(t, b, "a", "names", "names 1.0.0 failed 0 (1) "+c.want)
				b.set(func(tb *tables) { delete(tb.spells, "x"); delete(tb.services, "x") })
				after(time.Minute)
				wantServices(t, b, "a", "helper", `names {"root":"one"}`)
			})
		})
	}
}

// TestRemoval: what is no longer enabled goes, and what is no longer in the package.
func TestRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a")
		own := api.Spell{ID: "own", Scope: "a", Alias: "own"} // of a person
		b.set(func(tb *tables) { tb.spells["own"] = own })
		l := begin(t, b.peer("a"), nil, load(t, names))
		after(time.Minute)
		l.end()
		smaller := load(t, names, "[[services]]\nalias = \"helper\"\nmodules = [{ name = \"helper\", file = \"helper.star\" }]\n", "")
		before := b.written()
		l = begin(t, b.peer("a"), nil, smaller)
		after(time.Minute)
		l.end()
		wantWrites(t, b, before, "a: row names 1.0.0 updated 0 deploying", "a: remove service names/helper", "a: row names 1.0.0 updated 0")

		before = b.written()
		l = begin(t, b.peer("a"), func(cfg *deploy.Config) { cfg.KeepDisabled = true })
		after(time.Minute)
		l.end()
		wantWrites(t, b, before, "a: row names 1.0.0 existing 0 disabled [no longer enabled; keep_disabled leaves it as it is]")

		before = b.written()
		l = begin(t, b.peer("a"), nil)
		after(time.Minute)
		<-l.Done()
		l.end()
		wantWrites(t, b, before, "a: remove spell names/renew", "a: remove service names/names", "a: row names 1.0.0 removed 0 disabled")

		before = b.written()
		l = begin(t, b.peer("a"), nil)
		after(time.Hour)
		l.end()
		wantWrites(t, b, before)
		begin(t, b.peer("a"), nil, smaller)
		after(time.Minute)
		wantRow(t, b, "a", "names", "names 1.0.0 created 0")
		if _, there := b.view().t.spells["own"]; !there {
			t.Error("a spell of no package was removed")
		}
	})
}

// TestRemovalBehindAWish: what one peer is about to remove, because nobody wants it, stays
// where another says in between that it wants it and finds it as it should be.
func TestRemovalBehindAWish(t *testing.T) {
	for late, c := range map[string]struct {
		asks int // when it is about to do that: it asks when it starts and when it begins with the package, then it writes
		left []string
	}{
		"the spell":   {3, []string{"service cluster/helper(helper)", "service cluster/names(names)", "spell cluster/renew"}},
		"the service": {4, []string{"service cluster/helper(helper)", "service cluster/names(names)"}},
	} {
		t.Run(late, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook("a", "b")
				pkg := load(t, names, `scope = "peer"`, `scope = "cluster"`)
				l := begin(t, b.peer("a"), nil, pkg)
				after(time.Minute)
				l.end()

				a, asked := b.peer("a"), 0
				a.pause = func() {
					if asked++; asked == c.asks {
						wish := b.view().t.deployments["a/names"] // what b would say, which finds all of it there
						wish.Peer, wish.State = "b", api.PackageExisting
						b.set(func(t *tables) { t.deployments["b/names"] = wish })
					}
				}
				begin(t, a, nil)
				after(time.Minute)
				if asked < c.asks {
					t.Fatalf("asked %d times", asked)
				}
				var left []string
				for _, line := range strings.Split(picture(b), "\n") {
					if !strings.HasPrefix(line, "row") {
						left = append(left, strings.Join(strings.Fields(line)[:2], " "))
					}
				}
				if !slices.Equal(left, c.left) {
					t.Errorf("left: %q, want %q", left, c.left)
				}
				if row := said(b.view().t.deployments["a/names"]); !strings.Contains(row, "disabled") {
					t.Errorf("row of who does not want it: %s", row)
				}
			})
		})
	}
}

// TestGivenUp: an install that never came to its end is taken back when it is no longer wanted.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a")
		b.fail("set_root", true)
		l := begin(t, b.peer("a"), nil, load(t, names))
		after(time.Minute)
		l.end()
		wantServices(t, b, "a", "(names)", "helper")
		begin(t, b.peer("a"), nil)
		after(time.Minute)
		wantServices(t, b, "a")
		wantRow(t, b, "a", "names", "names 1.0.0 removed 0 disabled")
	})
}

// TestSideBySide: a package that takes long holds up no other.
func TestSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("a")
		p := b.peer("a")
		slow := func(cfg *deploy.Config) {
			cfg.Call = func(ctx context.Context, s api.Service, function string, args json.RawMessage) error {
				if s.Package == "slow" {
					<-ctx.Done()
					return ctx.Err()
				}
				return p.call(ctx, s, function, args)
			}
		}
		other := load(t, names, `name = "names"`+"\nversion", `name = "slow"`+"\nversion", `"names"`+"\nmodules", `"slow"`+"\nmodules",
			`"helper"`, `"slow-helper"`, `"renew"`, `"slow-renew"`, `service = "names"`, `service = "slow"`)
		l := begin(t, p, slow, other, load(t, names))
		after(time.Minute)
		wantRow(t, b, "a", "names", "names 1.0.0 created 0")
		wantRow(t, b, "a", "slow", "slow 1.0.0 created 0 deploying")
		select {
		case <-l.Done():
			t.Error("done before every package was tried")
		default:
		}
		l.end()
		wantRow(t, b, "a", "slow", "slow 1.0.0 created 0 deploying") // who ends has not failed
	})
}

// picture is all that is there, with names in place of ids.
func picture(b *book) string {
	v, lines := b.view(), []string(nil)
	for s := range v.Services() {
		lines = append(lines, fmt.Sprintf("service %s/%s(%s) %s %.8s root %s", s.Scope, s.Alias, s.Wanted, s.Package, s.Blueprint, v.t.kv[s.Store+"/set_root"]))
	}
	for s := range v.Spells() {
		lines = append(lines, fmt.Sprintf("spell %s/%s %s %s %s", s.Scope, s.Alias, s.Package, s.KVDigest, text(s.Trigger)))
	}
	for _, key := range slices.Sorted(maps.Keys(v.t.deployments)) {
		lines = append(lines, "row "+key+" "+said(v.t.deployments[key]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestDeathAtEveryWrite: a peer that dies after any of its writes and starts again ends
// where one ends that lives, with nothing doubled.
func TestDeathAtEveryWrite(t *testing.T) {
	for name, c := range map[string]struct {
		before, then func(t *testing.T) []pack.Package
	}{
		"install": {
			func(t *testing.T) []pack.Package { return nil },
			func(t *testing.T) []pack.Package { return []pack.Package{load(t, names)} },
		},
		"update": {
			func(t *testing.T) []pack.Package { return []pack.Package{load(t, names)} },
			func(t *testing.T) []pack.Package {
				return []pack.Package{with(t, load(t, names, "count = 1", "count = 2"), "two")}
			},
		},
		"values alone": {
			func(t *testing.T) []pack.Package { return []pack.Package{load(t, names)} },
			func(t *testing.T) []pack.Package { return []pack.Package{load(t, names, "count = 1", "count = 2")} },
		},
		"removal": {
			func(t *testing.T) []pack.Package { return []pack.Package{load(t, names)} },
			func(t *testing.T) []pack.Package { return nil },
		},
		"another scope": {
			func(t *testing.T) []pack.Package { return []pack.Package{load(t, names)} },
			func(t *testing.T) []pack.Package {
				return []pack.Package{load(t, names, `scope = "peer"`, `scope = "cluster"`)}
			},
		},
	} {
		// run gives the end, and how many writes it took, of a peer that dies after a number of them.
		run := func(t *testing.T, dies int) (end string, writes int) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook("a")
				l := begin(t, b.peer("a"), nil, c.before(t)...)
				after(time.Minute)
				l.end()
				p, before := b.peer("a"), b.written()
				p.left = dies
				l = begin(t, p, nil, c.then(t)...)
				after(time.Minute)
				l.end()
				writes = b.written() - before
				if dies > 0 && writes != dies {
					t.Fatalf("died after %d writes, want %d", writes, dies)
				}
				begin(t, b.peer("a"), nil, c.then(t)...)
				after(time.Minute)
				end = picture(b)
			})
			return end, writes
		}
		t.Run(name, func(t *testing.T) {
			want, writes := run(t, -1)
			if writes < 3 {
				t.Fatalf("only %d writes", writes)
			}
			for dies := 1; dies <= writes; dies++ {
				if got, _ := run(t, dies); got != want {
					t.Errorf("dead after %d writes:\n%s\nwant\n%s", dies, got, want)
				}
			}
		})
	}
}
