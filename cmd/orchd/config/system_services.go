package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
)

// SystemServices says what this host runs on the cluster's behalf.
type SystemServices struct {
	Enable       []string `koanf:"enable"`        // names of packages; or all, or none
	OnFailure    string   `koanf:"on_failure"`    // degrade: a package that cannot be deployed is reported and tried again; stop: the peer ends
	PackagesDir  string   `koanf:"packages_dir"`  // the operator's own packages, a folder each; it need not exist
	KeepDisabled bool     `koanf:"keep_disabled"` // what is no longer enabled stays as it is

	AquaIPFS   AquaIPFS   `koanf:"aqua_ipfs"`
	Decider    Decider    `koanf:"decider"`
	Registry   Registry   `koanf:"registry"`
	TrustGraph TrustGraph `koanf:"trust_graph"`

	// Settings are those that the file or the environment gives to packages: by the
	// package's name, with _ for -, and the setting's. What is not given here is as the
	// package says.
	Settings map[string]map[string]any `koanf:"-"`
}

// AquaIPFS is where the IPFS node's HTTP API is, as multiaddrs.
type AquaIPFS struct {
	LocalAPI    string `koanf:"local_api_multiaddr"`    // as this host reaches it
	ExternalAPI string `koanf:"external_api_multiaddr"` // as others do
}

// Decider says how deals become workers.
type Decider struct {
	Period       int64  `koanf:"decider_period_sec"`
	WorkerPeriod int64  `koanf:"worker_period_sec"`
	Endpoint     string `koanf:"network_api_endpoint"`  // where deals are polled from beside this cluster's own API; empty: nowhere
	WorkerIPFS   string `koanf:"worker_ipfs_multiaddr"` // where workers fetch images by CID from; empty: nowhere
}

// Registry is the four periods of the registry, in seconds.
type Registry struct {
	Period    int64 `koanf:"registry_period_sec"`
	Expired   int64 `koanf:"expired_period_sec"`
	Renew     int64 `koanf:"renew_period_sec"`
	Replicate int64 `koanf:"replicate_period_sec"`
}

// TrustGraph is whom the cluster trusts beside what its package says.
type TrustGraph struct {
	Root     []string `koanf:"root"`             // public keys, in hex, each with =WEIGHT or without
	MaxChain int64    `koanf:"max_chain_length"` // certificates between a root and a key
	Certs    []string `koanf:"certs"`            // certificates, as trust-graph's insert_cert takes them
}

// Where things are unless told otherwise.
const (
	defaultPackages = "/etc/orchd/packages"
	defaultIPFS     = "/ip4/127.0.0.1/tcp/5001"
)

func defaultSystemServices() SystemServices {
	return SystemServices{
		Enable:      []string{"aqua-ipfs", "trust-graph", "registry", "decider"},
		OnFailure:   "degrade",
		PackagesDir: defaultPackages,
		AquaIPFS:    AquaIPFS{LocalAPI: defaultIPFS, ExternalAPI: defaultIPFS},
		Decider:     Decider{Period: 120, WorkerPeriod: 900, WorkerIPFS: defaultIPFS},
		Registry:    Registry{Period: 3600, Expired: 86400, Renew: 43200, Replicate: 3600},
		TrustGraph:  TrustGraph{MaxChain: 5},
	}
}

// servicesTable is the table of the file below which each package has one of its own.
const servicesTable = "system_services"

// packageTables are the tables of the packages that come with orchd.
var packageTables = []string{"aqua_ipfs", "decider", "registry", "trust_graph"}

// ownPackage finds the key of an operator's own package: "system_services.PACKAGE.KEY".
// The package itself says later whether it has such a setting.
func ownPackage(path string) (key, bool) {
	parts := strings.Split(path, ".")
	if len(parts) != 3 || parts[0] != servicesTable {
		return key{}, false
	}
	for _, name := range packageTables {
		if parts[1] == name {
			return key{}, false
		}
	}
	if !api.ValidName(strings.ReplaceAll(parts[1], "_", "-")) || parts[2] == "" {
		return key{}, false
	}
	return key{path, anything, "", func(c *Config) any { return c.SystemServices.Settings[parts[1]][parts[2]] }}, true
}

// isOwnPackage tells whether a path is the table of an operator's own package.
func isOwnPackage(path string) bool {
	_, is := ownPackage(path + ".x")
	return is
}

// anything takes a setting of a package as the file has it. What the environment has is
// a number or true and false where it looks like one.
func anything(v any) (any, error) {
	s, isText := v.(string)
	if !isText {
		return v, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if b, err := truth(s); err == nil {
		return b, nil
	}
	return s, nil
}

// texts takes an array of texts, or one text with commas.
func texts(v any) (any, error) {
	switch v := v.(type) {
	case string:
		var all []string
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				all = append(all, part)
			}
		}
		return all, nil
	case []any:
		all := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("want texts in quotes, got %v", e)
			}
			all[i] = s
		}
		return all, nil
	}
	return nil, fmt.Errorf(`want an array such as ["a", "b"], got %v`, v)
}

// packageSettings are the settings of packages that the layers give.
func packageSettings(layers []layer) map[string]map[string]any {
	all := map[string]map[string]any{}
	for _, l := range layers {
		for path, v := range l.values {
			if parts := strings.Split(path, "."); len(parts) == 3 && parts[0] == servicesTable {
				if all[parts[1]] == nil {
					all[parts[1]] = map[string]any{}
				}
				all[parts[1]][parts[2]] = v
			}
		}
	}
	return all
}

func (s SystemServices) valid() error {
	errs := []error{oneOf("system_services.on_failure", s.OnFailure, "degrade", "stop")}
	if s.PackagesDir != "" && !filepath.IsAbs(s.PackagesDir) {
		errs = append(errs, fmt.Errorf("system_services.packages_dir: %q is not an absolute path", s.PackagesDir))
	}
	for _, name := range s.Enable {
		if (name == "all" || name == "none") && len(s.Enable) > 1 {
			errs = append(errs, fmt.Errorf("system_services.enable: %q stands alone, or not at all", name))
		}
	}
	for path, seconds := range map[string]int64{
		"system_services.decider.decider_period_sec": s.Decider.Period, "system_services.decider.worker_period_sec": s.Decider.WorkerPeriod,
		"system_services.registry.registry_period_sec": s.Registry.Period, "system_services.registry.expired_period_sec": s.Registry.Expired,
		"system_services.registry.renew_period_sec": s.Registry.Renew, "system_services.registry.replicate_period_sec": s.Registry.Replicate,
		"system_services.trust_graph.max_chain_length": s.TrustGraph.MaxChain,
	} {
		errs = append(errs, atLeast(path, seconds, 1))
	}
	return errors.Join(errs...)
}

// foreign are variables of the system that these packages come from, and what to set instead.
var foreign = map[string]string{
	"FLUENCE_ENV_AQUA_IPFS_EXTERNAL_API_MULTIADDR": "system_services.aqua_ipfs.external_api_multiaddr",
	"FLUENCE_ENV_AQUA_IPFS_LOCAL_API_MULTIADDR":    "system_services.aqua_ipfs.local_api_multiaddr",
	"FLUENCE_ENV_CONNECTOR_API_ENDPOINT":           "system_services.decider.network_api_endpoint",
	"FLUENCE_ENV_CONNECTOR_JOIN_ALL_DEALS":         "system_services.enable",
	"FLUENCE_ENV_DECIDER_IPFS_MULTIADDR":           "system_services.decider.worker_ipfs_multiaddr",
}

// ForeignVariables says of each variable beginning with FLUENCE_ that orchd does not
// read it, and which one it reads.
func ForeignVariables(environ []string) (warnings []string) {
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		rest, is := strings.CutPrefix(name, "FLUENCE_")
		if !is {
			continue
		}
		warning := name + " is set, and orchd does not read it"
		if path, known := foreign[name]; known {
			warning += "; set " + variable(path) + " instead"
		} else if path := strings.ToLower(strings.ReplaceAll(rest, "__", ".")); isKey(path) {
			warning += "; set " + variable(path) + " instead"
		} else {
			warning += ", nor anything in its place"
		}
		warnings = append(warnings, warning)
	}
	return warnings
}

func isKey(path string) bool {
	_, known := keyAt(path)
	return known
}
