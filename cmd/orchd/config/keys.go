package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// key is one thing that can be set.
type key struct {
	path  string // "api.listen": table and name in the file
	parse parser
	flag  string // name of the flag that sets it; empty: none
	value func(*Config) any
}

// A parser takes a value as the file has it (string, int64, ...) or as the
// environment or a flag has it (always a string).
type parser func(any) (any, error)

// keys is everything that can be set, in the order in which it is shown.
var keys = []key{
	{"name", text, "name", func(c *Config) any { return c.Name }},
	{"data_dir", text, "data-dir", func(c *Config) any { return c.DataDir }},
	{"advertise", text, "advertise", func(c *Config) any { return c.Advertise }},
	{"voters", whole, "", func(c *Config) any { return c.Voters }},
	{"labels", labels, "", func(c *Config) any { return c.Labels }},
	{"api.listen", text, "api-listen", func(c *Config) any { return c.API.Listen }},
	{"api.plain_listen", text, "", func(c *Config) any { return c.API.PlainListen }},
	{"boot.listen", text, "", func(c *Config) any { return c.Boot.Listen }},
	{"auth.jwt_secret_file", text, "", func(c *Config) any { return c.Auth.JWTSecretFile }},
	{"auth.jwks_file", text, "", func(c *Config) any { return c.Auth.JWKSFile }},
	{"auth.jwks_url", text, "", func(c *Config) any { return c.Auth.JWKSURL }},
	{"auth.issuer", text, "", func(c *Config) any { return c.Auth.Issuer }},
	{"auth.audience", text, "", func(c *Config) any { return c.Auth.Audience }},
	{"auth.anonymous_read", truth, "", func(c *Config) any { return c.Auth.AnonymousRead }},
	{"auth.smd_anonymous", truth, "", func(c *Config) any { return c.Auth.SMDAnonymous }},
	{"auth.jwt_role", text, "", func(c *Config) any { return c.Auth.JWTRole }},
	{"raft.listen", text, "raft-listen", func(c *Config) any { return c.Raft.Listen }},
	{"raft.profile", text, "", func(c *Config) any { return c.Raft.Profile }},
	{"raft.snapshot_threshold", whole, "", func(c *Config) any { return c.Raft.SnapshotThreshold }},
	{"raft.trailing_logs", whole, "", func(c *Config) any { return c.Raft.TrailingLogs }},
	{"raft.ballast_mib", whole, "", func(c *Config) any { return c.Raft.BallastMiB }},
	{"gossip.listen", text, "gossip-listen", func(c *Config) any { return c.Gossip.Listen }},
	{"vmm.driver", text, "driver", func(c *Config) any { return c.VMM.Driver }},
	{"vmm.libvirt_uri", text, "", func(c *Config) any { return c.VMM.LibvirtURI }},
	{"vmm.virt_type", text, "", func(c *Config) any { return c.VMM.VirtType }},
	{"vmm.filter", text, "", func(c *Config) any { return c.VMM.Filter }},
	{"vmm.capacity.vcpus", whole, "", func(c *Config) any { return c.VMM.Capacity.VCPUs }},
	{"vmm.capacity.memory", size, "", func(c *Config) any { return c.VMM.Capacity.Memory }},
	{"vmm.capacity.disk", size, "", func(c *Config) any { return c.VMM.Capacity.Disk }},
	{"vmm.reserve.vcpus", whole, "", func(c *Config) any { return c.VMM.Reserve.VCPUs }},
	{"vmm.reserve.memory", size, "", func(c *Config) any { return c.VMM.Reserve.Memory }},
	{"vmm.reserve.disk", size, "", func(c *Config) any { return c.VMM.Reserve.Disk }},
	{"vmm.overcommit.vcpus_percent", whole, "", func(c *Config) any { return c.VMM.Overcommit.VCPUs }},
	{"vmm.overcommit.memory_percent", whole, "", func(c *Config) any { return c.VMM.Overcommit.Memory }},
	{"vmm.overcommit.disk_percent", whole, "", func(c *Config) any { return c.VMM.Overcommit.Disk }},
	{"images.max_size", size, "", func(c *Config) any { return c.Images.MaxSize }},
	{"images.allow", text, "", func(c *Config) any { return c.Images.Allow }},
	{"images.ports", text, "", func(c *Config) any { return c.Images.Ports }},
	{"snapshot.interval", duration, "", func(c *Config) any { return c.Snapshot.Interval }},
	{"snapshot.retain", whole, "", func(c *Config) any { return c.Snapshot.Retain }},
	{"system_services.enable", texts, "enable-system-services", func(c *Config) any { return c.SystemServices.Enable }},
	{"system_services.on_failure", text, "", func(c *Config) any { return c.SystemServices.OnFailure }},
	{"system_services.packages_dir", text, "", func(c *Config) any { return c.SystemServices.PackagesDir }},
	{"system_services.keep_disabled", truth, "", func(c *Config) any { return c.SystemServices.KeepDisabled }},
	{"system_services.aqua_ipfs.local_api_multiaddr", text, "", func(c *Config) any { return c.SystemServices.AquaIPFS.LocalAPI }},
	{"system_services.aqua_ipfs.external_api_multiaddr", text, "", func(c *Config) any { return c.SystemServices.AquaIPFS.ExternalAPI }},
	{"system_services.decider.decider_period_sec", whole, "", func(c *Config) any { return c.SystemServices.Decider.Period }},
	{"system_services.decider.worker_period_sec", whole, "", func(c *Config) any { return c.SystemServices.Decider.WorkerPeriod }},
	{"system_services.decider.network_api_endpoint", text, "", func(c *Config) any { return c.SystemServices.Decider.Endpoint }},
	{"system_services.decider.worker_ipfs_multiaddr", text, "", func(c *Config) any { return c.SystemServices.Decider.WorkerIPFS }},
	{"system_services.registry.registry_period_sec", whole, "", func(c *Config) any { return c.SystemServices.Registry.Period }},
	{"system_services.registry.expired_period_sec", whole, "", func(c *Config) any { return c.SystemServices.Registry.Expired }},
	{"system_services.registry.renew_period_sec", whole, "", func(c *Config) any { return c.SystemServices.Registry.Renew }},
	{"system_services.registry.replicate_period_sec", whole, "", func(c *Config) any { return c.SystemServices.Registry.Replicate }},
	{"system_services.trust_graph.root", texts, "", func(c *Config) any { return c.SystemServices.TrustGraph.Root }},
	{"system_services.trust_graph.max_chain_length", whole, "", func(c *Config) any { return c.SystemServices.TrustGraph.MaxChain }},
	{"system_services.trust_graph.certs", texts, "", func(c *Config) any { return c.SystemServices.TrustGraph.Certs }},
	{"nameserver.listen", text, "", func(c *Config) any { return c.Nameserver.Listen }},
	{"nameserver.domain", text, "", func(c *Config) any { return c.Nameserver.Domain }},
	{"log.level", text, "", func(c *Config) any { return c.Log.Level }},
	{"log.format", text, "", func(c *Config) any { return c.Log.Format }},
}

// keyAt finds the key that a path sets.
func keyAt(path string) (key, bool) {
	for _, k := range keys {
		if k.path == path {
			return k, true
		}
	}
	return ownPackage(path)
}

func paths() []string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.path
	}
	return all
}

// variable is the environment variable that sets a path: ORCHD_API__LISTEN for api.listen.
func variable(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
}

func text(v any) (any, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	return nil, fmt.Errorf("want a text in quotes, got %v", v)
}

func truth(v any) (any, error) {
	switch v {
	case true, "true":
		return true, nil
	case false, "false":
		return false, nil
	}
	return nil, fmt.Errorf("want true or false, got %q", fmt.Sprint(v))
}

func whole(v any) (any, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, nil
		}
	}
	return nil, fmt.Errorf("want a whole number, got %q", fmt.Sprint(v))
}

// duration takes what time.ParseDuration takes; a bare 0 needs no unit.
func duration(v any) (any, error) {
	d, err := time.ParseDuration(fmt.Sprint(v))
	if err != nil {
		return nil, fmt.Errorf("want a duration such as 90s, 15m or 1h, got %q", fmt.Sprint(v))
	}
	return d, nil
}

func size(v any) (any, error) { return ParseSize(fmt.Sprint(v)) }

// labels takes a table of texts, or "k=v,k2=v2" from the environment.
func labels(v any) (any, error) {
	if s, ok := v.(string); ok {
		return labelsOf(strings.Split(s, ","))
	}
	table, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf(`want a table such as { rack = "r1" }, got %v`, v)
	}
	for name, value := range table {
		if reflect.ValueOf(value).Kind() != reflect.String {
			return nil, fmt.Errorf("label %s: want a text in quotes, got %v", name, value)
		}
	}
	return table, nil
}

func labelsOf(pairs []string) (any, error) {
	table := map[string]any{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("want labels as KEY=VALUE,KEY=VALUE, got %q", pair)
		}
		table[name] = value
	}
	return table, nil
}
