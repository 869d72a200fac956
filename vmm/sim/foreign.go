package sim

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// Strangers gives them as they were planted, in the order of their UUIDs.
func (d *Driver) Strangers(ctx context.Context) (all []api.ForeignDomain, err error) {
	err = d.call(ctx, "Strangers", func() error {
		for _, s := range d.strangers {
			all = append(all, *s)
		}
		slices.SortFunc(all, func(a, b api.ForeignDomain) int { return strings.Compare(a.UUID, b.UUID) })
		return nil
	})
	return all, err
}

// Adopt makes a stranger one of our domains.
func (d *Driver) Adopt(ctx context.Context, uuid string, mark vmm.Mark, record api.VM) error {
	return d.call(ctx, "Adopt", func() error {
		s, there := d.strangers[uuid]
		if !there {
			return api.Errorf(api.NotFound, "sim.adopt", "no foreign domain %s", uuid)
		}
		delete(d.strangers, uuid)
		d.adopted[uuid] = true
		d.builds[uuid] = vmm.Build{Mark: mark, Name: s.Name, Spec: api.VMSpec{VCPUs: s.VCPUs, MemoryMiB: s.MemoryMiB, DiskGiB: s.DiskGiB}, Record: record}
		dom := &vmm.Domain{UUID: uuid, Name: s.Name, Mark: mark}
		switch s.State {
		case api.VMRunning:
			dom.Power = vmm.Running
		case api.VMPaused:
			dom.Power = vmm.Paused
		case api.VMCrashed:
			dom.Cause = vmm.Crashed
		}
		if dom.Power != vmm.Off {
			d.since[uuid] = time.Now()
		}
		d.domains[uuid] = dom
		d.wakeLocked()
		return nil
	})
}

// Stats count with time alone.
func (d *Driver) Stats(ctx context.Context) (all []vmm.Stats, err error) {
	err = d.call(ctx, "Stats", func() error {
		for uuid, since := range d.since {
			seconds := time.Since(since).Seconds()
			all = append(all, vmm.Stats{UUID: uuid, CPUSeconds: seconds, MemoryBytes: d.builds[uuid].Spec.MemoryMiB << 20,
				DiskReadBytes: int64(seconds) << 20, DiskWriteBytes: int64(seconds) << 20,
				NetReceiveBytes: int64(seconds) << 10, NetSendBytes: int64(seconds) << 10})
		}
		slices.SortFunc(all, func(a, b vmm.Stats) int { return strings.Compare(a.UUID, b.UUID) })
		return nil
	})
	return all, err
}

// Seen is what the guest was told to use, or else what its interface was made for.
func (d *Driver) Seen(ctx context.Context, uuid string) (all []api.VMAddress, err error) {
	err = d.change(ctx, "Seen", uuid, func(dom *vmm.Domain) error {
		if dom.Power == vmm.Off {
			return api.Errorf(api.Conflict, "sim.seen", "the domain is off")
		}
		if used, told := d.used[uuid]; told {
			all = slices.Clone(used)
			return nil
		}
		if nic := d.builds[uuid].NIC; nic != nil {
			for _, ip := range nic.IPs {
				all = append(all, api.VMAddress{IP: ip, MAC: nic.MAC})
			}
		}
		return nil
	})
	return all, err
}

// Use is the guest that uses these addresses and no others.
func (d *Driver) Use(vm string, addresses ...api.VMAddress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used[vm] = addresses
}
