package libvirt

import (
	"context"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// Define makes the domain, checked by libvirt against its schema, and has its
// network hand out its address.
func (d *Driver) Define(ctx context.Context, b vmm.Build) error {
	f, err := d.facts(ctx, b)
	if err != nil {
		return err
	}
	text, err := buildXML(f)
	if err != nil {
		return err
	}
	id, err := parseUUID(b.Mark.VM)
	if err != nil {
		return err
	}
	return d.jobs.call(ctx, "define", changeLimit, func(rpc *golibvirt.Libvirt) error {
		// To define again would change the domain in place: it must not exist.
		_, err := rpc.DomainLookupByUUID(id)
		if err == nil {
			return api.Errorf(api.Conflict, "libvirt.define", "a domain with UUID %s exists", b.Mark.VM)
		}
		if !is(err, golibvirt.ErrNoDomain) {
			return err
		}
		if err := reserve(rpc, b); err != nil {
			return err
		}
		dom, err := rpc.DomainDefineXMLFlags(text, golibvirt.DomainDefineValidate)
		if err != nil {
			if answered(err) {
				_ = unreserve(rpc, b.Mark.VM, nil) // Clean does it too
			}
			return err
		}
		return rpc.DomainSetAutostart(dom, 0)
	})
}

// facts are those of the domain of b as this host makes it.
func (d *Driver) facts(ctx context.Context, b vmm.Build) (facts, error) {
	kind, err := d.domainKind(ctx)
	if err != nil {
		return facts{}, err
	}
	filtered := false
	if b.NIC != nil && b.NIC.Filter {
		if filtered, err = d.filters(ctx); err != nil {
			return facts{}, err
		}
	}
	return factsOf(b, kind, d.cfg.Disks, filtered)
}

// Undefine removes a domain that is off, with what libvirt itself keeps of it
// and of its address.
func (d *Driver) Undefine(ctx context.Context, uuid string) error {
	flags := golibvirt.DomainUndefineManagedSave | golibvirt.DomainUndefineSnapshotsMetadata
	if !d.address.isTest() { // whose driver knows these two only
		flags |= golibvirt.DomainUndefineNvram | golibvirt.DomainUndefineCheckpointsMetadata
	}
	return d.change(ctx, "undefine", uuid, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		// libvirt would undefine a running domain too, and lose it when it ends.
		if err := refuseUnless(rpc, dom, isOff); err != nil {
			return err
		}
		if err := unreserve(rpc, uuid, nil); err != nil {
			return err
		}
		return rpc.DomainUndefineFlags(dom, flags)
	})
}

// Reshape makes a domain that is off as b says. Each part of it may have been
// done before: the mark, which tells that all is done, is written with the last.
func (d *Driver) Reshape(ctx context.Context, b vmm.Build) error {
	next, err := d.facts(ctx, b)
	if err != nil {
		return err
	}
	if err := d.reshapeDisk(ctx, b); err != nil {
		return err
	}
	return d.change(ctx, "reshape", b.Mark.VM, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOff); err != nil {
			return err
		}
		old, err := markedIn(rpc, dom)
		if err != nil {
			return err
		}
		if old.adopted {
			return reshapeAdopted(rpc, dom, b)
		}
		text, err := reshaped(rpc, dom, next)
		if err != nil {
			return err
		}
		if err := rename(rpc, dom, b.Name); err != nil {
			return err
		}
		if err := reserve(rpc, b); err != nil {
			return err
		}
		if err := unreserve(rpc, b.Mark.VM, &b); err != nil {
			return err
		}
		// With the UUID and the name of the old definition it takes that one's place.
		_, err = rpc.DomainDefineXMLFlags(text, golibvirt.DomainDefineValidate)
		return err
	})
}

// reshapeDisk makes the disk of a domain that is off as large as it should be.
// That of an adopted domain is left alone until a larger one is asked for: its
// record says how large all of its disks are together.
func (d *Driver) reshapeDisk(ctx context.Context, b vmm.Build) error {
	var old marked
	var disks int
	err := d.change(ctx, "look", b.Mark.VM, askLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOff); err != nil {
			return err
		}
		var err error
		if old, err = markedIn(rpc, dom); err != nil || !old.adopted {
			return err
		}
		x, err := definition(rpc, dom)
		if err == nil {
			disks = len(disksOf(x))
		}
		return err
	})
	if err != nil {
		return err
	}
	if !old.adopted {
		return d.growDisk(ctx, b)
	}
	was := recordOf(old.record)
	switch {
	case was == nil || was.Spec.DiskGiB >= b.Spec.DiskGiB:
		return nil
	case disks > 1:
		return api.Errorf(api.Conflict, "libvirt.disk", "it was adopted with %d disks: which of them is to grow is not known", disks)
	}
	return d.growDisk(ctx, b)
}

// reshaped is the text of a domain as next says. What its disk lies over is
// written in the disk, and stays as it is whatever became of the image.
func reshaped(rpc *golibvirt.Libvirt, dom golibvirt.Domain, next facts) (string, error) {
	x, err := definition(rpc, dom)
	if err != nil {
		return "", err
	}
	var now facts
	readDevices(x.Devices, &now)
	if now.disk == next.disk {
		next.backing, next.backingFormat = now.backing, now.backingFormat
	}
	return buildXML(next)
}

// refuseOn gives Conflict if the domain is on, and NotFound if there is none.
func (d *Driver) refuseOn(ctx context.Context, vm string) error {
	return d.change(ctx, "look", vm, askLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		return refuseUnless(rpc, dom, isOff)
	})
}

// markedIn is the mark of a domain.
func markedIn(rpc *golibvirt.Libvirt, dom golibvirt.Domain) (marked, error) {
	element, err := rpc.DomainGetMetadata(dom, int32(golibvirt.DomainMetadataElement), golibvirt.OptString{namespace}, 0)
	if err != nil {
		return marked{}, err
	}
	m, err := parseMark(element)
	if err != nil {
		return m, api.Errorf(api.Conflict, "libvirt.mark", "%w", err)
	}
	return m, nil
}

// setMark writes the mark into a domain: into what runs, if it does, and into its definition.
func setMark(rpc *golibvirt.Libvirt, dom golibvirt.Domain, m marked) error {
	text, err := markText(m)
	if err != nil {
		return api.Errorf(api.Invalid, "libvirt.mark", "the mark cannot be written: %w", err)
	}
	active, err := rpc.DomainIsActive(dom)
	if err != nil {
		return err
	}
	where := golibvirt.DomainAffectConfig
	if active == isOn {
		where |= golibvirt.DomainAffectLive
	}
	return rpc.DomainSetMetadata(dom, int32(golibvirt.DomainMetadataElement),
		golibvirt.OptString{text}, golibvirt.OptString{markKey}, golibvirt.OptString{namespace}, where)
}

// rename gives a domain that is off another name.
func rename(rpc *golibvirt.Libvirt, dom golibvirt.Domain, name string) error {
	if dom.Name == name {
		return nil
	}
	_, err := rpc.DomainRename(dom, golibvirt.OptString{name}, 0)
	return err
}

// reshapeAdopted changes name, processors, memory and mark of a domain that
// orchd has not made, and nothing else of it.
func reshapeAdopted(rpc *golibvirt.Libvirt, dom golibvirt.Domain, b vmm.Build) error {
	if err := rename(rpc, dom, b.Name); err != nil {
		return err
	}
	d, err := definition(rpc, dom)
	if err != nil {
		return err
	}
	d.Name = b.Name
	resize(d, uint(b.Spec.VCPUs), uint(b.Spec.MemoryMiB))
	if err := redefine(rpc, d); err != nil {
		return err
	}
	record, err := recordText(b.Record)
	if err != nil {
		return err
	}
	return setMark(rpc, dom, marked{mark: b.Mark, adopted: true, record: record})
}

// definition is what a domain is made from when it is switched on next.
func definition(rpc *golibvirt.Libvirt, dom golibvirt.Domain) (*libvirtxml.Domain, error) {
	return description(rpc, dom, golibvirt.DomainXMLInactive|golibvirt.DomainXMLSecure)
}

// redefine puts a definition in the place of the old one: the next start is from it.
func redefine(rpc *golibvirt.Libvirt, d *libvirtxml.Domain) error {
	text, err := d.Marshal()
	if err != nil {
		return api.Errorf(api.Internal, "libvirt.xml", "domain %s cannot be written: %w", d.Name, err)
	}
	_, err = rpc.DomainDefineXMLFlags(text, golibvirt.DomainDefineValidate)
	return err
}

// running is what a domain that is on is made of.
func running(rpc *golibvirt.Libvirt, dom golibvirt.Domain) (*libvirtxml.Domain, error) {
	return description(rpc, dom, 0)
}

func description(rpc *golibvirt.Libvirt, dom golibvirt.Domain, flags golibvirt.DomainXMLFlags) (*libvirtxml.Domain, error) {
	text, err := rpc.DomainGetXMLDesc(dom, flags)
	if err != nil {
		return nil, err
	}
	var d libvirtxml.Domain
	if err := d.Unmarshal(text); err != nil {
		return nil, api.Errorf(api.Internal, "libvirt.xml", "read domain %s: %w", dom.Name, err)
	}
	return &d, nil
}

// resize sets processors and memory of a definition. Room beyond them is kept where it fits.
func resize(d *libvirtxml.Domain, vcpus, memoryMiB uint) {
	_, most := processors(d.VCPU)
	if d.VCPU == nil {
		d.VCPU = &libvirtxml.DomainVCPU{}
	}
	d.VCPU.Current, d.VCPU.Value = vcpus, max(vcpus, most)
	d.VCPUs = nil
	was := uint(0)
	if d.Memory != nil {
		was = mebibytes(d.Memory.Value, d.Memory.Unit)
	}
	if was == memoryMiB {
		return
	}
	d.Memory = &libvirtxml.DomainMemory{Value: memoryMiB, Unit: "MiB"}
	d.CurrentMemory = nil
	if d.MaximumMemory != nil && mebibytes(d.MaximumMemory.Value, d.MaximumMemory.Unit) < memoryMiB {
		d.MaximumMemory.Value, d.MaximumMemory.Unit = 2*memoryMiB, "MiB"
	}
	if d.Devices != nil {
		d.Devices.Memorydevs = nil
	}
	if d.CPU != nil && d.CPU.Numa != nil && len(d.CPU.Numa.Cell) == 1 {
		d.CPU.Numa.Cell[0].Memory, d.CPU.Numa.Cell[0].Unit = memoryMiB, "MiB"
	}
}
