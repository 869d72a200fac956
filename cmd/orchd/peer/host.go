package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/vmm"
	"github.com/orchd/orchd/vmm/libvirt"
	"github.com/orchd/orchd/vmm/sim"
)

// newcomer is what a host that is about to be a peer says of itself.
func newcomer(ctx context.Context, cfg Config) (api.PeerUpdate, error) {
	driver, err := resolve(ctx, cfg)
	if err != nil {
		return api.PeerUpdate{}, err
	}
	u := api.PeerUpdate{
		Addresses: api.PeerAddresses{API: cfg.at(cfg.APIListen), Raft: cfg.at(cfg.RaftListen), Gossip: cfg.at(cfg.GossipListen)},
		Capacity:  cfg.Capacity, Reserve: cfg.Reserve, Ratios: cfg.Ratios, Labels: cfg.Labels, Driver: driver, Software: cfg.Version, Level: fsm.Level(),
	}
	hv, err := openHypervisor(cfg, driver, uuid.Nil.String(), slog.New(slog.DiscardHandler))
	if err != nil || hv == nil {
		return u, err
	}
	defer hv.Close()
	info, err := patiently(ctx, func() (vmm.HostInfo, error) { return hv.Host(ctx) })
	if err != nil {
		return u, fmt.Errorf("ask %s what this host has: %w", driver, unanswered(err))
	}
	u.Capacity, u.HostUUID = overridden(cfg.Capacity, info.Capacity), info.UUID
	return u, rememberDriver(cfg.DataDir, driver)
}

// overridden is what the driver found, with the configured figures in force.
func overridden(by, found api.Resources) api.Resources {
	for _, f := range []struct{ by, found *int64 }{{&by.VCPUs, &found.VCPUs}, {&by.MemoryMiB, &found.MemoryMiB}, {&by.DiskGiB, &found.DiskGiB}} {
		if *f.by > 0 {
			*f.found = *f.by
		}
	}
	return found
}

// at is how others reach a port that listens on that address.
func (c Config) at(listen string) string {
	return c.Advertise + listen[strings.LastIndex(listen, ":"):]
}

// resolve turns auto into a driver: libvirt if somebody listens at its socket, else none.
func resolve(ctx context.Context, cfg Config) (string, error) {
	if cfg.Driver != "auto" {
		return cfg.Driver, nil
	}
	driver, err := patiently(ctx, func() (string, error) { return libvirt.Detect(ctx, cfg.LibvirtURI) })
	if libvirt.IsAbsent(err) {
		return api.DriverNone, nil
	}
	return driver, unanswered(err)
}

// firstAnswer is how long a hypervisor may take to answer for the first time: libvirtd
// tries each QEMU that is installed before it does, which takes long on a busy host.
const firstAnswer = time.Minute

// patiently asks again while a hypervisor that is there does not answer.
func patiently[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		answer, err := ask()
		if !api.IsKind(err, api.Unavailable) || libvirt.IsAbsent(err) {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, err
		case <-again.C:
		}
	}
}

// unanswered says what to do about a hypervisor that does not answer.
func unanswered(err error) error {
	var silent *api.Error
	if !errors.As(err, &silent) || silent.Kind != api.Unavailable {
		return err
	}
	return &api.Error{Kind: api.Unavailable, Msg: fmt.Sprintf("%s (%v): see \"systemctl status libvirtd\", or say --driver none for a host that runs no virtual machines", silent.Msg, silent.Err), Err: err}
}

// sayDriver tells a person what this host will run, above all when that is nothing.
func sayDriver(progress io.Writer, driver string) {
	switch driver {
	case api.DriverNone:
		fmt.Fprintln(progress, "No libvirtd answers on this host (or driver none was asked for): it takes full part in the cluster and runs no virtual machines.\n"+
			"  To change that: start libvirtd, set vmm.driver = \"libvirt\", and restart orchd")
	case api.DriverSim:
		fmt.Fprintln(progress, "Driver sim: the virtual machines of this host are pretended, in memory.")
	}
}

// driverFile keeps what auto was resolved to: a libvirt peer whose libvirtd is
// down at a restart must not become one that runs nothing.
func driverFile(dataDir string) string { return filepath.Join(dataDir, "tls", "driver") }

func rememberDriver(dataDir, driver string) error {
	return writeFile(driverFile(dataDir), []byte(driver+"\n"), 0o644)
}

// driverInForce is the configured driver; for auto, what it was resolved to when this host became a peer.
func driverInForce(ctx context.Context, cfg Config) (string, error) {
	if cfg.Driver != "auto" {
		return cfg.Driver, nil
	}
	kept, err := os.ReadFile(driverFile(cfg.DataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return api.DriverNone, nil
	}
	return strings.TrimSpace(string(kept)), err
}

// openHypervisor opens a driver; nil for none.
func openHypervisor(cfg Config, driver, clusterID string, log *slog.Logger) (vmm.Hypervisor, error) {
	switch {
	case cfg.Hypervisor != nil:
		return cfg.Hypervisor, nil
	case driver == api.DriverSim:
		return sim.New(cfg.Capacity, ""), nil
	case driver == api.DriverLibvirt:
		return libvirt.New(libvirt.Config{URI: cfg.LibvirtURI, Cluster: clusterID, Disks: filepath.Join(cfg.DataDir, "disks"), VirtType: cfg.VirtType, Filter: cfg.Filter}, log)
	case driver == api.DriverNone:
		return nil, nil
	}
	return nil, fmt.Errorf("no driver %q", driver)
}

// openHost starts the driver of this host.
func (p *Peer) openHost(ctx context.Context) (err error) {
	if p.driver, err = driverInForce(ctx, p.cfg); err != nil {
		return err
	}
	if p.hypervisor, err = openHypervisor(p.cfg, p.driver, p.identity.ClusterID, p.log); err != nil || p.hypervisor == nil {
		return err
	}
	p.loop = vmm.New(vmm.Config{Cluster: p.identity.ClusterID, Peer: p.identity.PeerID, Name: p.identity.Name, Capacity: p.cfg.Capacity,
		Images: p.images, Seeds: seeds{p}},
		p.hypervisor, records{p}, p.log)
	return nil
}

// describe is this peer's word about itself, with that of its driver.
func (p *Peer) describe(h vmm.Host) api.PeerUpdate {
	if me, known := p.machine.Read().Peer(p.identity.PeerID); known && h.Problem != "" {
		h.Capacity, h.UUID = me.Capacity, me.HostUUID // in trouble it cannot tell; what it said before holds
	}
	return api.PeerUpdate{
		Addresses: p.addresses, Capacity: h.Capacity, Reserve: p.cfg.Reserve, Ratios: p.cfg.Ratios, Labels: p.cfg.Labels,
		Driver: p.driver, HostUUID: h.UUID, Problem: h.Problem, Software: p.cfg.Version, Level: fsm.Level(),
	}
}

// introduce tells the cluster once that this peer is here, with its addresses
// and program as they are now. With a driver vmm does it, and again when the host changes.
func (p *Peer) introduce(ctx context.Context) error {
	if p.loop != nil {
		return nil
	}
	for ctx.Err() == nil {
		if err := p.writer.UpdatePeer(p.asPeer(ctx), p.describe(vmm.Host{})); err == nil || api.IsKind(err, api.Forbidden) {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// loadEvery is how often gossip hears of this host's free room when nothing changes.
const loadEvery = 5 * time.Second

// gossip tells the others how full this host is and which snapshots it has written, whenever
// that changes.
func (p *Peer) gossip(ctx context.Context) error {
	for {
		now := p.machine.Read()
		load := cluster.Load{Up: p.hostReport().Up, Level: fsm.Level()}
		var marks <-chan struct{}
		load.Marking, load.Marked, marks = p.marks.progress()
		if me, ok := now.Peer(p.identity.PeerID); ok {
			load.Free = fsm.Free(now, me)
		}
		p.node.SetLoad(load)
		select {
		case <-ctx.Done():
			return nil
		case <-now.VMsChanged():
		case <-now.PeersChanged():
		case <-marks:
		case <-time.After(loadEvery):
		}
	}
}

// auditEvery is how often the running state hash is computed anew from the rows.
const auditEvery = 24 * time.Hour

// audit verifies the state hash once a day.
func (p *Peer) audit(ctx context.Context) error {
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := p.machine.Verify(); err != nil {
				p.log.Error("state hash is wrong", "err", err)
			}
		}
	}
}
