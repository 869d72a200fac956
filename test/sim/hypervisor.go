package sim

import (
	"context"
	"sync"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
	"github.com/orchd/orchd/vmm/sim"
)

// machines is what really runs, on all hosts, by the word of their hypervisors:
// nothing here comes out of the log.
type machines struct {
	world *world

	mu    sync.Mutex
	holds map[string]map[string]bool // address to the VMs whose domains have it
	has   map[string][]string        // VM's domain on a host ("vm host") to its addresses
}

func newMachines(w *world) *machines {
	return &machines{world: w, holds: map[string]map[string]bool{}, has: map[string][]string{}}
}

// driver is embedded under a name that is none of its methods.
type driver = sim.Driver

// hypervisor is a host's: the simulated one, for one life of the peer, behind the host's freezing.
type hypervisor struct {
	*driver
	host *host
	life int
	all  *machines
}

var _ vmm.Hypervisor = (*hypervisor)(nil)

// gate holds a call while the host is frozen, and refuses one of a process that is dead.
func (h *hypervisor) gate(ctx context.Context) error {
	if err := h.host.thaw(ctx); err != nil {
		return api.Errorf(api.Unavailable, "sim", "no answer: %w", err)
	}
	if h.host.lifeNow() != h.life {
		return api.Errorf(api.Unavailable, "sim", "the process was killed")
	}
	return nil
}

// List and the others ask the driver behind the gate.
func (h *hypervisor) List(ctx context.Context) (l vmm.Listing, err error) {
	if err = h.gate(ctx); err == nil {
		l, err = h.driver.List(ctx)
	}
	return l, err
}

func (h *hypervisor) Define(ctx context.Context, b vmm.Build) error {
	if err := h.gate(ctx); err != nil {
		return err
	}
	err := h.driver.Define(ctx, b)
	if err == nil && b.NIC != nil {
		h.all.plugged(b.Mark.VM, h.host.name, b.NIC.IPs)
	}
	return err
}

func (h *hypervisor) Undefine(ctx context.Context, uuid string) error {
	if err := h.gate(ctx); err != nil {
		return err
	}
	err := h.driver.Undefine(ctx, uuid)
	if err == nil {
		h.all.unplugged(uuid, h.host.name)
	}
	return err
}

func (h *hypervisor) Start(ctx context.Context, uuid string) error {
	if err := h.gate(ctx); err != nil {
		return err
	}
	err := h.driver.Start(ctx, uuid)
	if err == nil {
		h.all.started(uuid, h.host)
	}
	return err
}

func (h *hypervisor) Resume(ctx context.Context, uuid string) error {
	if err := h.gate(ctx); err != nil {
		return err
	}
	err := h.driver.Resume(ctx, uuid)
	if err == nil {
		h.all.started(uuid, h.host)
	}
	return err
}

func (h *hypervisor) Destroy(ctx context.Context, uuid string) error {
	if err := h.gate(ctx); err != nil {
		return err
	}
	return h.driver.Destroy(ctx, uuid)
}

func (h *hypervisor) Shutdown(ctx context.Context, uuid string) error {
	if err := h.gate(ctx); err != nil {
		return err
	}
	return h.driver.Shutdown(ctx, uuid)
}

// started checks that a guest which has just been switched on runs nowhere else.
func (m *machines) started(vm string, at *host) {
	m.world.count("guest start")
	for _, other := range m.world.all() {
		if d, there := other.driver.Domain(vm); other != at && there && d.Power == vmm.Running {
			m.world.violation("VM %s was started on %s while it runs on %s at epoch %d", vm, at.name, other.name, d.Mark.Epoch)
		}
	}
}

// plugged notes the addresses of a domain; no other VM's domain may have one of them.
func (m *machines) plugged(vm, host string, ips []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.has[vm+" "+host] = ips
	for _, ip := range ips {
		if m.holds[ip] == nil {
			m.holds[ip] = map[string]bool{}
		}
		for other := range m.holds[ip] {
			if other != vm {
				m.world.violation("address %s was given to the domain of VM %s while that of VM %s has it", ip, vm, other)
			}
		}
		m.holds[ip][vm] = true
	}
}

func (m *machines) unplugged(vm, host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ips := m.has[vm+" "+host]
	delete(m.has, vm+" "+host)
	for other := range m.has {
		if len(other) > len(vm) && other[:len(vm)] == vm {
			return // another host still has a domain of it
		}
	}
	for _, ip := range ips {
		delete(m.holds[ip], vm)
	}
}
