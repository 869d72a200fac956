package story

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
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
