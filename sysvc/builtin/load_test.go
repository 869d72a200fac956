package builtin_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
	"github.com/orchd/orchd/sysvc/pack"
)

// folder reads a package of this folder, with other settings where they are given.
func folder(t testing.TB, name string, settings map[string]any) pack.Package {
	t.Helper()
	p, err := pack.LoadDir(name)
	if err == nil {
		p, err = p.With(settings)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPackagesAreWhole(t *testing.T) {
	for name, want := range map[string]struct {
		scope   string
		aliases int
	}{
		"aqua-ipfs":   {pack.ScopePeer, 1},
		"decider":     {api.ScopeCluster, 4},
		"registry":    {api.ScopeCluster, 5},
		"trust-graph": {api.ScopeCluster, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := folder(t, name, nil)
			if p.Name != name || p.Scope != want.scope || len(p.Services)+len(p.Spells) != want.aliases {
				t.Errorf("got package %s of scope %s with %d services and %d spells", p.Name, p.Scope, len(p.Services), len(p.Spells))
			}
			if p.Account != api.DefaultAccount || p.Description == "" || p.Version == "" {
				t.Errorf("got account %q, description %q, version %q", p.Account, p.Description, p.Version)
			}
		})
	}
}

// TestEverythingIsNamed finds files that no package.toml names: they would do nothing.
func TestEverythingIsNamed(t *testing.T) {
	scripts, err := filepath.Glob("*/*.star")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, name := range []string{"aqua-ipfs", "decider", "registry", "trust-graph"} {
		p := folder(t, name, nil)
		for _, content := range p.Files {
			used[string(content)] = true
		}
		for _, s := range p.Spells {
			used[s.Script] = true
		}
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		if !used[string(text)] {
			t.Errorf("%s is part of no package", script)
		}
	}
}

// TestGrantedHosts: an address in the settings is one that the package may speak to, and
// an empty one is none.
func TestGrantedHosts(t *testing.T) {
	for name, c := range map[string]struct {
		pkg      string
		settings map[string]any
		want     []string
	}{
		"an IPFS node by default": {"aqua-ipfs", nil, []string{"127.0.0.1:5001"}},
		"an IPFS node elsewhere":  {"aqua-ipfs", map[string]any{"local_api_multiaddr": "/dns4/ipfs.example/tcp/5002"}, []string{"ipfs.example:5002"}},
		"no IPFS node":            {"aqua-ipfs", map[string]any{"local_api_multiaddr": ""}, nil},
		"no endpoint by default":  {"decider", nil, nil},
		"an endpoint":             {"decider", map[string]any{"network_api_endpoint": "https://deals.example/v1"}, []string{"deals.example:443"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := folder(t, c.pkg, c.settings).Grants.HTTP
			if len(got) != len(c.want) || len(got) > 0 && got[0] != c.want[0] {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestDefaultsOfTheConfiguration: what the node's configuration shows as defaults is what
// the packages have.
func TestDefaultsOfTheConfiguration(t *testing.T) {
	s := config.Default().SystemServices
	for name, want := range map[string]map[string]any{
		"aqua-ipfs": {"local_api_multiaddr": s.AquaIPFS.LocalAPI, "external_api_multiaddr": s.AquaIPFS.ExternalAPI},
		"decider": {"decider_period_sec": s.Decider.Period, "worker_period_sec": s.Decider.WorkerPeriod,
			"network_api_endpoint": s.Decider.Endpoint, "worker_ipfs_multiaddr": s.Decider.WorkerIPFS},
		"registry": {"registry_period_sec": s.Registry.Period, "expired_period_sec": s.Registry.Expired,
			"renew_period_sec": s.Registry.Renew, "replicate_period_sec": s.Registry.Replicate},
		"trust-graph": {"root": s.TrustGraph.Root, "max_chain_length": s.TrustGraph.MaxChain, "certs": s.TrustGraph.Certs},
	} {
		if got := folder(t, name, nil).Settings; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: the package has %v, the configuration %v", name, got, want)
		}
	}
}
