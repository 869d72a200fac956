package libvirt

import (
	"context"
	"path/filepath"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// What orchd cannot do with a domain that it has not made.
const (
	flagDiskElsewhere = "disk-not-in-pool"
	flagNoSeed        = "no-cloud-init"
)

// Strangers describes the domains without our mark. One that vanishes meanwhile is not there.
func (d *Driver) Strangers(ctx context.Context) ([]api.ForeignDomain, error) {
	return ask(ctx, d.questions, "strangers", listLimit, func(rpc *golibvirt.Libvirt) ([]api.ForeignDomain, error) {
		all, _, err := rpc.ConnectListAllDomains(1, 0)
		if err != nil {
			return nil, err
		}
		found := []api.ForeignDomain{}
		for _, dom := range all {
			m, state, err := d.markOf(rpc, dom)
			if err != nil {
				return nil, err
			}
			if state == vanished || state == ours && m.mark.Cluster == d.cfg.Cluster {
				continue
			}
			one, err := d.describe(rpc, dom, m)
			if is(err, golibvirt.ErrNoDomain) {
				continue
			}
			if err != nil {
				return nil, err
			}
			found = append(found, one)
		}
		return found, nil
	})
}

// describe tells of one stranger what its definition says.
func (d *Driver) describe(rpc *golibvirt.Libvirt, dom golibvirt.Domain, m marked) (api.ForeignDomain, error) {
	f := api.ForeignDomain{UUID: uuid.UUID(dom.UUID).String(), Name: dom.Name, Cluster: m.mark.Cluster, Record: recordOf(m.record)}
	state, reason, err := rpc.DomainGetState(dom, 0)
	if err != nil {
		return f, err
	}
	f.State = stateOf(golibvirt.DomainState(state), reason)
	x, err := running(rpc, dom)
	if err != nil {
		return f, err
	}
	vcpus, _ := processors(x.VCPU)
	f.VCPUs = int64(vcpus)
	if x.Memory != nil {
		f.MemoryMiB = int64(mebibytes(x.Memory.Value, x.Memory.Unit))
	}
	f.MACs, f.Disks = macsOf(x), disksOf(x)
	var bytes uint64
	for _, path := range f.Disks {
		_, capacity, _, err := rpc.DomainGetBlockInfo(dom, path, 0)
		if err == nil { // a file that is missing has no size
			bytes += capacity
		} else if !answered(err) {
			return f, err
		}
	}
	f.DiskGiB = int64((bytes + 1<<30 - 1) >> 30)
	f.Flags = d.flagsOf(f)
	return f, nil
}

// flagsOf says what orchd could not do with it.
func (d *Driver) flagsOf(f api.ForeignDomain) (flags []string) {
	seeded := false
	for _, path := range f.Disks {
		seeded = seeded || filepath.Base(path) == vmm.SeedName(f.UUID)
	}
	for _, path := range f.Disks {
		if filepath.Dir(path) != d.cfg.Disks {
			flags = append(flags, flagDiskElsewhere)
			break
		}
	}
	if !seeded {
		flags = append(flags, flagNoSeed)
	}
	return flags
}

func stateOf(state golibvirt.DomainState, reason int32) api.VMState {
	power, cause := powerOf(state, reason)
	switch {
	case power == vmm.Running:
		return api.VMRunning
	case power == vmm.Paused:
		return api.VMPaused
	case cause == vmm.Crashed:
		return api.VMCrashed
	}
	return api.VMStopped
}

// macsOf are the MACs of a domain's interfaces, in small letters.
func macsOf(x *libvirtxml.Domain) (macs []string) {
	if x.Devices == nil {
		return nil
	}
	for _, i := range x.Devices.Interfaces {
		if i.MAC != nil {
			macs = append(macs, strings.ToLower(i.MAC.Address))
		}
	}
	return macs
}

// disksOf are the paths of its disks, in files and on block devices.
func disksOf(x *libvirtxml.Domain) (paths []string) {
	if x.Devices == nil {
		return nil
	}
	for _, disk := range x.Devices.Disks {
		path := pathOf(disk.Source)
		if disk.Source != nil && disk.Source.Block != nil {
			path = disk.Source.Block.Dev
		}
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// Adopt puts our mark on a domain, on or off, and nothing else of it changes for
// its guest. From then on orchd alone decides when it starts. A domain that
// libvirt would forget at its end is written down first.
func (d *Driver) Adopt(ctx context.Context, uuid string, mark vmm.Mark, record api.VM) error {
	text, err := recordText(record)
	if err != nil {
		return err
	}
	return d.change(ctx, "adopt", uuid, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		old, state, err := d.markOf(rpc, dom)
		if err != nil {
			return err
		}
		next := marked{mark: mark, adopted: true, record: text}
		if state == ours {
			// What orchd has made once, for a cluster whose state was lost, it knows how to make again.
			next.adopted = old.adopted || !madeHere(old, mark)
			next.filter = old.filter
		}
		if state == ours && old.mark.Cluster == d.cfg.Cluster && old.mark.VM != mark.VM {
			return api.Errorf(api.Conflict, "libvirt.adopt", "the domain is VM %s of this cluster already", old.mark.VM)
		}
		if err := persist(rpc, dom); err != nil {
			return err
		}
		if err := rpc.DomainSetAutostart(dom, 0); err != nil {
			return err
		}
		return setMark(rpc, dom, next)
	})
}

// madeHere tells whether a domain with the mark old has its files where one of mark has them.
func madeHere(old marked, mark vmm.Mark) bool {
	return old.mark.VM == mark.VM && old.mark.Epoch == mark.Epoch
}

// persist defines a domain that runs and has no definition as it runs.
func persist(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
	persistent, err := rpc.DomainIsPersistent(dom)
	if err != nil || persistent == 1 {
		return err
	}
	text, err := rpc.DomainGetXMLDesc(dom, golibvirt.DomainXMLInactive|golibvirt.DomainXMLSecure)
	if err != nil {
		return err
	}
	_, err = rpc.DomainDefineXMLFlags(text, 0)
	return err
}
