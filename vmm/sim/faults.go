package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

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
func (d *Driver) PowerOff(vm string) {
	d.set(vm, func(dom *vmm.Domain) { d.switchOff(dom, vmm.ByGuest) })
}

// Crash is the guest's process that dies.
func (d *Driver) Crash(vm string) {
	d.set(vm, func(dom *vmm.Domain) { d.switchOff(dom, vmm.Crashed) })
}

// BreakDisk is the guest that is paused because its disk could not be written.
func (d *Driver) BreakDisk(vm string) {
	d.set(vm, func(dom *vmm.Domain) { dom.Power, dom.Paused = vmm.Paused, vmm.IOError })
}

// Reboot is the host that loses power: everything is off and nobody knows why.
func (d *Driver) Reboot() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dom := range d.domains {
		d.switchOff(dom, vmm.Unknown)
	}
	d.wakeLocked()
}

// Plant is a domain that somebody made by hand.
func (d *Driver) Plant(dom vmm.Domain) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.domains[dom.UUID] = &dom
	if dom.Power != vmm.Off {
		d.since[dom.UUID] = time.Now()
	}
	d.wakeLocked()
}

// PlantStranger is a domain that is none of ours.
func (d *Driver) PlantStranger() {
	id := uuid.NewString()
	d.PlantForeign(api.ForeignDomain{UUID: id, Name: "stranger-" + id[:8], State: api.VMRunning, VCPUs: 1, MemoryMiB: 64})
}

// PlantForeign is one as it is described, perhaps of another cluster.
func (d *Driver) PlantForeign(f api.ForeignDomain) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strangers[f.UUID] = &f
	d.wakeLocked()
}

// PlantFile is a file that somebody puts into the folder of disks.
func (d *Driver) PlantFile(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[name] = true
}

// LoseFile is one that somebody removes from it.
func (d *Driver) LoseFile(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name)
	delete(d.disks, name)
}

// Uproot is a domain that somebody removes by hand, running or not.
func (d *Driver) Uproot(uuid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.domains, uuid)
	delete(d.builds, uuid)
	delete(d.adopted, uuid)
	delete(d.strangers, uuid)
	d.hangUpLocked(uuid)
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

func (d *Driver) set(vm string, change func(*vmm.Domain)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dom, ok := d.domains[vm]; ok {
		change(dom)
		d.wakeLocked()
	}
}
