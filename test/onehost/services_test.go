package onehost

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/sysvc/builtin"
	"github.com/orchd/orchd/sysvc/pack"
	"github.com/orchd/orchd/test/lab"
)

// withPackages gives the peers the packages that come with orchd: the k-th those that
// the k-th list names, the last list for all further ones.
func withPackages(t testing.TB, lists ...[]string) func(int, *peer.Config) {
	t.Helper()
	program := os.Getenv("ORCHD_BIN")
	if program == "" {
		t.Fatal("ORCHD_BIN names no orchd program; run: make test")
	}
	return func(i int, c *peer.Config) {
		c.Worker = []string{program, peer.WorkerCommand}
		c.Packages = enabled(t, lists[min(i, len(lists)-1)]...)
	}
}

func enabled(t testing.TB, names ...string) []pack.Package {
	t.Helper()
	all, err := builtin.All()
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := builtin.Enabled(names, all)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range wanted {
		if wanted[i], err = p.With(nil); err != nil {
			t.Fatal(err)
		}
	}
	return wanted
}

// soon waits until f gives nil.
func soon(t testing.TB, what string, f func() error) {
	t.Helper()
	lab.Eventually(t, time.Minute, func() error {
		if err := f(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// idOf is the id of a peer.
func idOf(p *Peer) string {
	row, _ := p.Running.Machine().Read().Peer(p.Name)
	return row.ID
}

// deployed waits until each peer has each of its packages.
func deployed(t testing.TB, c *Cluster) {
	t.Helper()
	soon(t, "packages deployed", func() error {
		for _, p := range c.Peers {
			if p.Running == nil {
				continue
			}
			for _, want := range p.Config.Packages {
				d, ok := p.Running.Machine().Read().Deployment(idOf(p), want.Name)
				if !ok || d.State == api.PackageFailed || d.State == api.PackageRemoved {
					return fmt.Errorf("%s: %s: %+v", p.Name, want.Name, d)
				}
			}
		}
		return nil
	})
}

// callInto calls a function of a service and reads its result.
func callInto[T any](t *testing.T, p *Peer, service, function, args string) (result T) {
	t.Helper()
	answer, err := p.Client().CallService(t.Context(), service, function, json.RawMessage(args))
	if err != nil {
		t.Fatalf("%s.%s(%s): %v", service, function, args, err)
	}
	if err := json.Unmarshal(answer, &result); err != nil {
		t.Fatalf("%s.%s(%s): %s: %v", service, function, args, answer, err)
	}
	return result
}

// What three peers enable, each another list, is there once, whichever peer is asked;
// a peer that starts again writes nothing; what nobody enables any more goes.
func TestPackagesOfThreePeers(t *testing.T) {
	c := Start(t, 3, withPackages(t, []string{"registry", "aqua-ipfs"}, []string{"registry", "trust-graph"}, []string{"none"}))
	deployed(t, c)

	callInto[json.RawMessage](t, c.Peers[0], "registry", "register", `{"name":"db","endpoint":"10.1.2.3:5432","ttl":600}`)
	for _, p := range c.Peers {
		if got := callInto[[]any](t, p, "registry", "lookup", `{"name":"db"}`); !strings.Contains(fmt.Sprint(got), "10.1.2.3:5432") {
			t.Errorf("%s: lookup gives %v", p.Name, got)
		}
	}
	aliases := map[string]int{}
	for s := range c.Peers[2].Running.Machine().Read().Services() {
		aliases[s.Scope+"/"+s.Alias]++
	}
	want := map[string]int{"cluster/registry": 1, "cluster/trust-graph": 1, idOf(c.Peers[0]) + "/aqua-ipfs": 1}
	for alias, n := range want {
		if aliases[alias] != n {
			t.Errorf("%d services %s, want %d: %v", aliases[alias], alias, n, aliases)
		}
	}

	before := rowsOf(c, "services", "spells", "deployments")
	c.Peers[0].Stop()
	c.Peers[0].Start()
	c.Peers[0].WaitReady()
	deployed(t, c)
	if after := rowsOf(c, "services", "spells", "deployments"); after != before {
		t.Errorf("a start changed what was deployed:\n%s\nwas\n%s", after, before)
	}

	for _, p := range c.Peers {
		p.Stop()
		p.Config.Packages = enabled(t, "none")
	}
	for _, p := range c.Peers {
		p.Start()
	}
	soon(t, "all packages removed", func() error {
		for _, p := range c.Peers {
			for s := range p.Running.Machine().Read().Services() {
				return fmt.Errorf("%s: service %s is still there", p.Name, s.Alias)
			}
			for s := range p.Running.Machine().Read().Spells() {
				return fmt.Errorf("%s: spell %s is still there", p.Name, s.Alias)
			}
		}
		return nil
	})
}

// rowsOf are the rows of tables as the first peer that runs has them.
func rowsOf(c *Cluster, tables ...string) string {
	var text strings.Builder
	for _, p := range c.Peers {
		if p.Running == nil {
			continue
		}
		for _, table := range tables {
			rows, err := p.Running.Machine().Read().PublicRows(table)
			if err != nil {
				return err.Error()
			}
			for row := range rows {
				fmt.Fprintf(&text, "%s %s %s\n", table, row.Key, row.JSON())
			}
		}
		break
	}
	return text.String()
}

// tickScript notes each tick that it was run for.
const tickScript = `
def run():
    kv.push("ticks", str(spell.trigger["tick"]))
`

// ticksOf are the ticks that a spell has noted.
func ticksOf(t *testing.T, p *Peer, spell string) (ticks []int) {
	t.Helper()
	e, ok := p.Running.Machine().Read().KV(spell, "ticks")
	if !ok {
		return nil
	}
	for _, text := range e.List {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("tick %q: %v", text, err)
		}
		ticks = append(ticks, n)
	}
	return ticks
}

// A spell of the cluster runs on one peer at a time, and each of its ticks at most
// once, also when the peer that runs it ends.
func TestTicksOfTheClusterOnce(t *testing.T) {
	c := Start(t, 3, withPackages(t, []string{"none"}))
	spell, err := c.AnyClient().CreateSpell(t.Context(), api.SpellCreate{Alias: "ticker", Scope: api.ScopeCluster, Script: tickScript, CallTTL: 5,
		Grants: api.Grants{KV: true}, Trigger: api.Trigger{Clock: api.Clock{StartSec: 1, PeriodSec: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "the spell ticks", func() error {
		if n := len(ticksOf(t, c.Peers[0], spell.ID)); n < 3 {
			return fmt.Errorf("%d ticks", n)
		}
		return nil
	})
	holder, _ := c.Peers[0].Running.Machine().Read().Holder(api.ScopeCluster)
	at := slices.IndexFunc(c.Peers, func(p *Peer) bool { return idOf(p) == holder.Peer })
	c.Peers[at].Stop()
	other := c.Peers[(at+1)%3]
	had := len(ticksOf(t, other, spell.ID))
	soon(t, "another peer goes on", func() error {
		if n := len(ticksOf(t, other, spell.ID)); n < had+3 {
			return fmt.Errorf("%d ticks, %d before", n, had)
		}
		return nil
	})
	now, _ := other.Running.Machine().Read().Holder(api.ScopeCluster)
	if now.Peer == holder.Peer || now.Term <= holder.Term {
		t.Errorf("the holder is %+v, it was %+v", now, holder)
	}
	ticks := ticksOf(t, other, spell.ID)
	if sorted := slices.Compact(slices.Sorted(slices.Values(ticks))); !slices.Equal(sorted, ticks) {
		t.Errorf("ticks are not each once and in order: %v", ticks)
	}
}

// Scripts that go wrong on purpose are stopped and recorded, and nothing else suffers.
func TestRunawaySpells(t *testing.T) {
	c := Start(t, 1, withPackages(t, []string{"registry"}))
	deployed(t, c)
	for alias, s := range map[string]struct{ script, want string }{
		"loops":     {"def run():\n    while True:\n        pass\n", "step"},
		"grows":     {"def run():\n    a = [1]\n    while True:\n        a = a + a\n", "memory"},
		"ungranted": {"def run():\n    http.get(\"http://127.0.0.1:7700/\")\n", "not granted"},
	} {
		spell, err := c.AnyClient().CreateSpell(t.Context(), api.SpellCreate{Alias: alias, Script: s.script, CallTTL: 20})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.AnyClient().RunSpell(t.Context(), alias); err != nil {
			t.Fatalf("%s: %v", alias, err)
		}
		soon(t, alias+" has failed", func() error {
			r := c.Peers[0].Running.Machine().Read()
			if last := r.SpellStatus(spell.ID).Last; last.State != api.RunFailed {
				return fmt.Errorf("its run is %s", last.State)
			}
			if lines := r.SpellErrors(spell.ID); len(lines) == 0 || !strings.Contains(lines[len(lines)-1].Text, s.want) {
				return fmt.Errorf("its errors are %+v, want %q", lines, s.want)
			}
			return nil
		})
	}
	callInto[json.RawMessage](t, c.Peers[0], "registry", "lookup", `{"name":"none"}`)
}

// A deal becomes as many virtual machines as it asks for; one that is lost is replaced,
// surplus goes newest first, and there are never more than it asks for.
//
//race:out
func TestDeal(t *testing.T) {
	c := Start(t, 3, withPackages(t, []string{"decider"}))
	deployed(t, c)
	client := c.AnyClient()
	if _, err := client.CreateDeal(t.Context(), api.DealCreate{Name: "web", Spec: api.DealSpec{Count: 3, VCPUs: 1, MemoryMiB: 16}}); err != nil {
		t.Fatal(err)
	}
	most := 0
	workers := func() (running []string) {
		n := 0
		for vm := range c.Peers[0].Running.Machine().Read().VMs("") {
			if n++; vm.Status.State == api.VMRunning {
				running = append(running, vm.Name)
			}
		}
		most = max(most, n)
		slices.Sort(running)
		return running
	}
	has := func(want ...string) func() error {
		return func() error {
			if got := workers(); !slices.Equal(got, want) {
				return fmt.Errorf("running: %v, want %v", got, want)
			}
			return nil
		}
	}
	soon(t, "three workers", has("web-1", "web-2", "web-3"))
	if _, err := client.ReplaceDeal(t.Context(), "web", api.DealUpdate{Spec: api.DealSpec{Count: 2, VCPUs: 1, MemoryMiB: 16}}); err != nil {
		t.Fatal(err)
	}
	soon(t, "the newest goes", has("web-1", "web-2"))
	if _, err := client.DeleteVM(t.Context(), "web-1"); err != nil {
		t.Fatal(err)
	}
	soon(t, "who was deleted comes back", has("web-1", "web-2"))
	if _, err := client.DeactivateDeal(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	soon(t, "all go", has())
	if most > 3 {
		t.Errorf("there were %d workers at a time", most)
	}
}
