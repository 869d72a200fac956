package libvirt

import (
	"context"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// dimmStep is what Linux adds and takes away of memory: a section of it.
const dimmStep = 128

// Hotplug gives a domain that is on processors and memory. What goes and what
// does not was tried on libvirt 9.0 with QEMU 7.2: processors up to the most that
// the domain was started with; memory as DIMMs, if it was started with room for
// them. Neither can be taken back, for that takes a guest that agrees.
func (d *Driver) Hotplug(ctx context.Context, b vmm.Build) error {
	next, err := factsOf(b, "", d.cfg.Disks, false)
	if err != nil {
		return err
	}
	return d.change(ctx, "hotplug", b.Mark.VM, startLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return err
		}
		now, err := running(rpc, dom)
		if err != nil {
			return err
		}
		if now.Devices == nil {
			now.Devices = &libvirtxml.DomainDeviceList{}
		}
		old, err := markedIn(rpc, dom)
		if err != nil {
			return err
		}
		if !old.adopted {
			if err := sameButRoom(now, next); err != nil {
				return err
			}
		}
		vcpus, mib, err := missingIn(now, next)
		if err != nil {
			return err
		}
		if err := plugIn(rpc, dom, vcpus, mib); err != nil {
			return err
		}
		next.adopted, next.filter = old.adopted, old.filter
		return settle(rpc, dom, next)
	})
}

// sameButRoom gives Conflict if a domain that is on is to become other things
// than larger: those take a restart.
func sameButRoom(now *libvirtxml.Domain, next facts) error {
	was := facts{name: now.Name}
	readDevices(now.Devices, &was)
	refuse := func(what string) error {
		return api.Errorf(api.Conflict, "libvirt.hotplug", "its %s changes too, which takes a restart: stop it and start it again", what)
	}
	switch {
	case was.name != next.name:
		return refuse("name")
	case was.disk != next.disk || was.seed != next.seed:
		return refuse("disks")
	case was.nic.mac != next.nic.mac || was.nic.bridge != next.nic.bridge || was.nic.network != next.nic.network:
		return refuse("interface")
	}
	return nil
}

// missingIn is how many processors a running domain should have in all, and how
// many MiB it lacks; 0: nothing to do.
func missingIn(now *libvirtxml.Domain, next facts) (vcpus, mib uint, err error) {
	conflict := func(format string, args ...any) (uint, uint, error) {
		return 0, 0, api.Errorf(api.Conflict, "libvirt.hotplug", format+": stop it and start it again", args...)
	}
	current, most := processors(now.VCPU)
	switch {
	case next.vcpus < current:
		return conflict("processors cannot be taken from a guest that is on (%d to %d)", current, next.vcpus)
	case next.vcpus > most:
		return conflict("it was started with room for %d processors, not %d", most, next.vcpus)
	case next.vcpus > current:
		vcpus = next.vcpus
	}
	var has uint
	if now.Memory != nil {
		has = mebibytes(now.Memory.Value, now.Memory.Unit)
	}
	switch {
	case next.memoryMiB == has:
		return vcpus, 0, nil
	case next.memoryMiB < has:
		return conflict("memory cannot be taken from a guest that is on (%d MiB to %d)", has, next.memoryMiB)
	case now.MaximumMemory == nil:
		return conflict("it was started without room for more memory, as guests of less than %d MiB are", minMemoryForRoom)
	case mebibytes(now.MaximumMemory.Value, now.MaximumMemory.Unit) < next.memoryMiB:
		return conflict("it was started with room for %d MiB, not %d", mebibytes(now.MaximumMemory.Value, now.MaximumMemory.Unit), next.memoryMiB)
	case len(now.Devices.Memorydevs) >= int(now.MaximumMemory.Slots):
		return conflict("it has got more memory %d times since it was started, and can no more", len(now.Devices.Memorydevs))
	case (next.memoryMiB-has)%dimmStep != 0:
		return conflict("memory grows in steps of %d MiB while a guest is on, and %d MiB more is none", dimmStep, next.memoryMiB-has)
	}
	return vcpus, next.memoryMiB - has, nil
}

// plugIn adds to what runs, and to nothing else.
func plugIn(rpc *golibvirt.Libvirt, dom golibvirt.Domain, vcpus, mib uint) error {
	if mib > 0 {
		dimm := libvirtxml.DomainMemorydev{Model: "dimm", Target: &libvirtxml.DomainMemorydevTarget{
			Size: &libvirtxml.DomainMemorydevTargetSize{Value: mib, Unit: "MiB"},
			Node: &libvirtxml.DomainMemorydevTargetNode{},
		}}
		text, err := dimm.Marshal()
		if err != nil {
			return api.Errorf(api.Internal, "libvirt.hotplug", "%w", err)
		}
		if err := rpc.DomainAttachDeviceFlags(dom, text, uint32(golibvirt.DomainDeviceModifyLive)); err != nil {
			return err
		}
	}
	if vcpus == 0 {
		return nil
	}
	err := rpc.DomainSetVcpusFlags(dom, uint32(vcpus), uint32(golibvirt.DomainVCPULive))
	if err != nil && mib > 0 && answered(err) {
		return api.Errorf(api.Internal, "libvirt.hotplug", "it has its memory, but not its processors: %w", err)
	}
	return err
}

// settle writes down what the domain is now: for its next start, and in its
// mark. Nothing else of the definition changes.
func settle(rpc *golibvirt.Libvirt, dom golibvirt.Domain, next facts) error {
	d, err := definition(rpc, dom)
	if err != nil {
		return err
	}
	resize(d, next.vcpus, next.memoryMiB)
	if err := redefine(rpc, d); err != nil {
		return err
	}
	return setMark(rpc, dom, next.marked)
}
