package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// The operations that can be spoilt have the names of vmm.Hypervisor's methods.

// Fail makes an operation fail without effect; nil mends it.
func (d *Driver) Fail(op string, err error) {
	d.spoil(op, func(f *fault) { f.err = err })
}

// Delay makes an operation slow; 0 mends it. Beyond ten seconds it ends as libvirt's would: outcome unknown.
func (d *Driver) Delay(op string, by time.Duration) {
	d.spoil(op, func(f *fault) { f.delay = by })
}

// Hang makes an operation end in nothing but its deadline, until Mend.
func (d *Driver) Hang(op string) { d.spoil(op, func(f *fault) { f.hang = true }) }

// Deafen makes guests ignore their power button, until Mend.
func (d *Driver) Deafen() { d.Hang("guest") }

// Mend ends all faults and brings the hypervisor up.
func (d *Driver) Mend() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.faults)
	d.down = false
	d.wakeLocked()
}

// Down makes every call fail as if nobody listened, until Mend. Guests go on.
func (d *Driver) Down() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = true
	d.wakeLocked()
}

// Nonsense makes Host answer with figures that no host has, until SetCapacity.
func (d *Driver) Nonsense() { d.SetCapacity(api.Resources{VCPUs: -3, MemoryMiB: -1, DiskGiB: 1 << 62}) }

// SetCapacity changes what the host has.
func (d *Driver) SetCapacity(r api.Resources) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = r
	d.wakeLocked()
}

// PowerOff is the guest that switches itself off.
func (d *Driver) PowerOff(vm string) { d.set(vm, vmm.Off, vmm.ByGuest) }

// Crash is the guest's process that dies.
func (d *Driver) Crash(vm string) { d.set(vm, vmm.Off, vmm.Crashed) }

// Reboot is the host that loses power: everything is off and nobody knows why.
func (d *Driver) Reboot() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dom := range d.domains {
		dom.Power, dom.Cause = vmm.Off, vmm.Unknown
	}
	d.wakeLocked()
}

// Plant is a domain that somebody made by hand.
func (d *Driver) Plant(dom vmm.Domain) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.domains[dom.UUID] = &dom
	d.wakeLocked()
}

// PlantStranger is a domain that is none of ours.
func (d *Driver) PlantStranger() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strange++
}

// Uproot is a domain that somebody removes by hand, running or not.
func (d *Driver) Uproot(uuid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.domains, uuid)
	d.wakeLocked()
}

// Domain looks at one domain.
func (d *Driver) Domain(uuid string) (vmm.Domain, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dom, ok := d.domains[uuid]
	if !ok {
		return vmm.Domain{}, false
	}
	return *dom, true
}

// Files are the names of all files, in order.
func (d *Driver) Files() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.files))
}

func (d *Driver) spoil(op string, change func(*fault)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.faults[op]
	change(&f)
	d.faults[op] = f
}

func (d *Driver) set(vm string, p vmm.Power, c vmm.Cause) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dom, ok := d.domains[vm]; ok {
		dom.Power, dom.Cause = p, c
		d.wakeLocked()
	}
}
