package sim

import (
	"context"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// Reshape changes what a domain that is off was made from.
func (d *Driver) Reshape(ctx context.Context, b vmm.Build) error {
	const op = "sim.reshape"
	return d.change(ctx, "Reshape", b.Mark.VM, func(dom *vmm.Domain) error {
		switch {
		case dom.Power != vmm.Off:
			return api.Errorf(api.Conflict, op, "the domain is not off")
		case dom.Name != b.Name && d.taken("", b.Name):
			return api.Errorf(api.Conflict, op, "a domain with this name exists")
		}
		dom.Name, dom.Mark = b.Name, b.Mark
		d.builds[dom.UUID] = b
		if now := d.disks[vmm.DiskName(b.Mark)]; now != nil {
			now.gib = max(now.gib, b.Spec.DiskGiB)
		}
		return nil
	})
}

// Hotplug adds processors and memory, and takes none away.
func (d *Driver) Hotplug(ctx context.Context, b vmm.Build) error {
	const op = "sim.hotplug"
	return d.change(ctx, "Hotplug", b.Mark.VM, func(dom *vmm.Domain) error {
		now := d.builds[dom.UUID]
		switch {
		case dom.Power == vmm.Off:
			return api.Errorf(api.Conflict, op, "the domain is off")
		case b.Spec.VCPUs < now.Spec.VCPUs || b.Spec.MemoryMiB < now.Spec.MemoryMiB:
			return api.Errorf(api.Conflict, op, "processors and memory of a guest that is on only grow")
		}
		now.Spec.VCPUs, now.Spec.MemoryMiB, now.Mark = b.Spec.VCPUs, b.Spec.MemoryMiB, b.Mark
		d.builds[dom.UUID], dom.Mark = now, b.Mark
		return nil
	})
}

// Build looks at what a domain is made from just now.
func (d *Driver) Build(uuid string) (vmm.Build, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.builds[uuid]
	return b, ok
}
