package story

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// listed gets all items of a list from a host.
func listed[T any](h *house, host *lab.Host, path string) []T {
	h.t.Helper()
	return ask.Decode[api.Page[T]](h.t, h.do(host, http.StatusOK, "GET", path, nil)).Items
}

// TestPackagesThroughKills: a peer is killed again and again while it deploys the
// packages that come with orchd: what is there at the end is what one start makes.
func TestPackagesThroughKills(t *testing.T) {
	h := form(t, 1, lab.Sim)
	host := h.Host(0)
	h.client(host)
	for i := range 8 {
		host.Kill()
		host.Start()
		if i%2 == 1 { // once before it serves, once behind its first packages
			lab.Eventually(t, patience, func() error {
				a, err := h.try(t.Context(), host, "GET", "/v1/packages", nil)
				if err != nil || a.Status != http.StatusOK || len(ask.Decode[api.Page[api.Deployment]](t, a).Items) <= i/2 {
					return fmt.Errorf("not so far: %v", err)
				}
				return nil
			})
		}
	}
	host.Kill()
	host.Start()
	host.AwaitReady()
	names := []string{"aqua-ipfs", "decider", "registry", "trust-graph"}
	lab.Eventually(t, patience, func() error {
		var good []string
		for _, d := range listed[api.Deployment](h, host, "/v1/packages") {
			if !d.Deploying && d.Error == "" && d.State != api.PackageRemoved {
				good = append(good, d.Package)
			}
		}
		if slices.Sort(good); !slices.Equal(good, names) {
			return fmt.Errorf("deployed: %v, want %v", good, names)
		}
		return nil
	})
	var services, spells []string
	for _, s := range listed[api.Service](h, host, "/v1/services") {
		services = append(services, s.Alias)
	}
	for _, s := range listed[api.SpellView](h, host, "/v1/spells") {
		spells = append(spells, s.Alias)
	}
	slices.Sort(services)
	slices.Sort(spells)
	if want := []string{"aqua-ipfs", "connector", "decider", "registry", "trust-graph"}; !slices.Equal(services, want) {
		t.Errorf("services: %q, want %q", services, want)
	}
	if once := slices.Compact(slices.Clone(spells)); !slices.Equal(once, spells) || len(spells) < 6 {
		t.Errorf("spells: %q, want each once", spells)
	}
	if a := h.do(host, http.StatusOK, "POST", "/v1/services/trust-graph/roots", nil); len(a.Body) == 0 {
		t.Error("trust-graph says nothing of its roots")
	}
}

// tickScript notes the ticks that it is run for.
const tickScript = `
def run():
    kv.push("ticks", str(spell.trigger["tick"]))
`

// TestTicksThroughKills: the peer that has the cluster's spells in hand is killed, three
// times: another takes over after lease and deadline, and no tick is run twice.
func TestTicksThroughKills(t *testing.T) {
	h := form(t, 3, lab.Sim, lab.With("system_services.enable = []"))
	h.allVoters()
	h.do(h.Host(0), http.StatusCreated, "POST", "/v1/spells", api.SpellCreate{Alias: "ticker", Scope: api.ScopeCluster, Script: tickScript, CallTTL: 2,
		Grants: api.Grants{KV: true}, Trigger: api.Trigger{Clock: api.Clock{StartSec: 1, PeriodSec: 1}}})
	ran := 0
	for range 3 {
		asked := h.Host(0)
		seen := len(h.ticks(asked, ran+3))
		holder := h.holder(asked, "ticker")
		others := h.but(holder)
		holder.Kill()
		if ran = len(h.ticks(others[0], 0)); ran < seen { // asked after the kill: the answer may take its time
			t.Errorf("%s shows %d ticks after %s has shown %d", others[0].Name, ran, asked.Name, seen)
		}
		after := h.ticks(others[0], ran+3)
		t.Logf("%s was killed after %d ticks, now there are %v", holder.Name, ran, after)
		if now := h.holder(others[0], "ticker"); now == holder {
			t.Errorf("the newest run is %s's, who is dead", now.Name)
		}
		holder.Start()
		holder.AwaitReady()
		ran = len(h.ticks(h.Host(0), 0))
	}
	ticks := h.ticks(h.Host(0), ran)
	if once := slices.Compact(slices.Sorted(slices.Values(ticks))); !slices.Equal(once, ticks) {
		t.Errorf("the ticks are not in order, each once: %v", ticks)
	}
}

// ticks waits until the spell has noted so many, and gives them.
func (h *house) ticks(host *lab.Host, least int) (ticks []int) {
	h.t.Helper()
	lab.Eventually(h.t, 2*time.Minute, func() error {
		a, err := h.try(h.t.Context(), host, "GET", "/v1/spells/ticker/kv/ticks?scope=cluster", nil)
		if err != nil || a.Status != http.StatusOK {
			return fmt.Errorf("no ticks: %v, %d %s", err, a.Status, a.Body)
		}
		ticks = nil
		for _, text := range ask.Decode[api.KVEntry](h.t, a).List {
			n, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			ticks = append(ticks, n)
		}
		if len(ticks) < least {
			return fmt.Errorf("%d ticks, want %d", len(ticks), least)
		}
		return nil
	})
	return ticks
}

// holder is the host that began the newest run of a spell.
func (h *house) holder(asked *lab.Host, alias string) *lab.Host {
	h.t.Helper()
	s := ask.Decode[api.SpellView](h.t, h.do(asked, http.StatusOK, "GET", "/v1/spells/"+alias+"?scope=cluster", nil))
	for _, p := range listed[api.PeerView](h, asked, "/v1/peers") {
		for _, host := range h.Hosts() {
			if p.ID == s.Status.Last.Peer && p.Name == host.Name {
				return host
			}
		}
	}
	h.t.Fatalf("the newest run of %s is of a peer %q that nobody knows", alias, s.Status.Last.Peer)
	return nil
}

// saysPackage is a package of the operator's own, in one version: its service says the
// version, and its init succeeds or not.
const saysPackage = `
name = "says"
version = "%[1]s"
scope = "cluster"
[grants]
kv = true
[[services]]
alias = "says"
modules = [{ name = "says", file = "says.star" }]
[[init]]
service = "says"
function = "ready"
`

const saysScript = `
def version():
    return {"version": "%[1]s", "kept": kv.get("kept")}

def keep(value):
    kv.set("kept", value)
    return {}

def ready():
    if not %[2]s:
        return {"success": False, "error": "not today"}
    return {}
`

// configures writes a host's own list of packages, and its version of "says", to be read at
// its next start.
func (h *house) configures(host *lab.Host, enable []string, version string, ready bool) {
	h.t.Helper()
	file, folder := filepath.Join(host.Dir(), "orchd.toml"), filepath.Join(host.Dir(), "packages", "says")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), "system_services.")
	list, says := strings.Join(enable, `", "`), map[bool]string{true: "True", false: "False"}[ready]
	for path, content := range map[string]string{
		file:                                  fmt.Sprintf("%ssystem_services.packages_dir = %q\nsystem_services.enable = [\"%s\"]\n", before, filepath.Dir(folder), list),
		filepath.Join(folder, "package.toml"): fmt.Sprintf(saysPackage, version),
		filepath.Join(folder, "says.star"):    fmt.Sprintf(saysScript, version, says),
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
}

// says waits until the service "says" answers at a host as wanted.
func (h *house) says(host *lab.Host, want string) {
	h.t.Helper()
	lab.Eventually(h.t, patience, func() error {
		a, err := h.try(h.t.Context(), host, "POST", "/v1/services/says/version", nil)
		if err != nil || a.Status != http.StatusOK || !strings.Contains(string(a.Body), want) {
			return fmt.Errorf("%s: want %s: %v, %d %s", host.Name, want, err, a.Status, a.Body)
		}
		return nil
	})
}

// TestUpdateWhoseInitFails: three peers, each with its own list. A package is updated on
// one of them by a version that cannot be initialised: the old service goes on answering
// everywhere, also when the peer is killed half way; the version after that takes over
// with what was kept, and nothing is there twice.
func TestUpdateWhoseInitFails(t *testing.T) {
	h := form(t, 3, lab.Sim, lab.With(`system_services.enable = ["none"]`))
	h.allVoters()
	lists := [][]string{{"registry", "says"}, {"trust-graph", "says"}, {"aqua-ipfs"}}
	for i, host := range h.Hosts() {
		host.Stop()
		h.configures(host, lists[i], "1.0.0", true)
	}
	for _, host := range h.Hosts() {
		host.Start()
	}
	first, last := h.Host(0), h.Host(2)
	h.says(last, `"1.0.0"`) // who does not have the package can call it
	h.do(last, http.StatusOK, "POST", "/v1/services/says/keep", map[string]string{"value": "gold"})

	first.Stop()
	h.configures(first, lists[0], "1.1.0", false)
	for range 3 { // killed when the failure is first shown, then wherever it stands by the time that it answers again
		first.Start()
		lab.Eventually(t, patience, func() error {
			for _, d := range listed[api.Deployment](h, last, "/v1/packages?package=says") {
				if d.Version == "1.1.0" && strings.Contains(d.Error, "not today") {
					return nil
				}
			}
			return errors.New("no failed update is shown")
		})
		for _, host := range h.Hosts() {
			h.says(host, `"1.0.0"`)
		}
		first.Kill()
	}
	h.configures(first, lists[0], "1.2.0", true)
	first.Start()
	for _, host := range h.Hosts() {
		h.says(host, `"1.2.0"`)
		h.says(host, `"gold"`)
	}
	lab.Eventually(t, patience, func() error {
		var aliases []string
		for _, s := range listed[api.Service](h, last, "/v1/services") {
			if s.Scope != api.ScopeCluster {
				s.Scope = "peer"
			}
			aliases = append(aliases, s.Scope+"/"+s.Alias)
		}
		slices.Sort(aliases)
		if want := []string{"cluster/registry", "cluster/says", "cluster/trust-graph", "peer/aqua-ipfs"}; !slices.Equal(aliases, want) {
			return fmt.Errorf("services: %q", aliases)
		}
		return nil
	})
}
