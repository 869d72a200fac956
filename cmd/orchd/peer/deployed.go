package peer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/sysvc"
	"github.com/orchd/orchd/sysvc/modules"
	"github.com/orchd/orchd/sysvc/nameserver"
)

// modulesDir is where the modules of packages lie, by digest.
func (c Config) modulesDir() string { return filepath.Join(c.DataDir, "modules") }

// openServices opens what this host runs on the cluster's behalf; nothing runs yet.
func (p *Peer) openServices() (err error) {
	s := system{p}
	if p.modules, err = modules.Open(p.cfg.modulesDir(), s); err != nil {
		return fmt.Errorf("open modules: %w", err)
	}
	command := p.cfg.Worker
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program, to run workers with it: %w", err)
		}
		command = []string{self, WorkerCommand}
	}
	p.services, err = sysvc.Open(sysvc.Config{Cluster: s, Modules: p.modules, Packages: p.cfg.Packages, KeepDisabled: p.cfg.KeepDisabled,
		Worker: command, HTTP: s.ask, Log: p.log})
	return err
}

// WorkerCommand is the argument with which this program runs scripts and modules for
// another of its processes.
const WorkerCommand = "sysvc-worker"

// serveServices deploys packages and runs spells until ctx ends. It begins once this
// peer serves: a package that cannot be deployed must not keep a peer from that. And not
// before every peer knows what that is.
func (p *Peer) serveServices(ctx context.Context) error {
	if !p.awaitLevel(ctx, fsm.LevelServices) {
		return nil
	}
	if p.cfg.StopOnFailure {
		done := make(chan error, 1)
		watched, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { done <- p.services.Run(watched) }()
		select {
		case err := <-done:
			return err
		case <-p.services.Deployed():
		}
		if failed := p.services.Failed(); len(failed) > 0 {
			cancel()
			return errors.Join(notDeployed(failed), <-done)
		}
		return <-done
	}
	return p.services.Run(ctx)
}

// FailedPackages are those of this peer that are not deployed, by name.
func (p *Peer) FailedPackages() (names []string) {
	for _, d := range p.services.Failed() {
		names = append(names, d.Package)
	}
	return names
}

func notDeployed(failed []api.Deployment) error {
	var texts []string
	for _, d := range failed {
		texts = append(texts, d.Package+": "+d.Error)
	}
	return api.Errorf(api.Unavailable, "services", "system services could not be deployed, and system_services.on_failure is stop: %s", strings.Join(texts, "; "))
}

// serveNames answers DNS questions about names of the registry until ctx ends.
func (p *Peer) serveNames(ctx context.Context) error {
	if p.cfg.NameserverListen == "" {
		return nil
	}
	registry := nameserver.Registry{Cluster: system{p}}
	names, err := nameserver.New(nameserver.Config{Domain: p.cfg.NameserverDomain, Lookup: registry.Lookup, Beneath: registry.Beneath, Self: p.selfAddrs(), Log: p.log})
	if err == nil {
		err = names.ListenAndRun(ctx, p.cfg.NameserverListen)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("nameserver.listen: %w", err)
	}
	return nil
}

// selfAddrs is the address under which others reach this host, if it is no name.
func (p *Peer) selfAddrs() []netip.Addr {
	if addr, err := netip.ParseAddr(p.cfg.Advertise); err == nil {
		return []netip.Addr{addr}
	}
	return nil
}

var deploymentDesc = prometheus.NewDesc("orchd_package_deployed", "1 when this peer's package is as its configuration says.", []string{"package", "state"}, nil)

// collectPackages tells how the packages of this peer are.
func (c collector) collectPackages(out chan<- prometheus.Metric) {
	for d := range c.machine.Read().Deployments() {
		if d.Peer != c.identity.PeerID {
			continue
		}
		good := 1.0
		if d.State == api.PackageFailed {
			good = 0
		}
		out <- prometheus.MustNewConstMetric(deploymentDesc, prometheus.GaugeValue, good, d.Package, string(d.State))
	}
}
