// Package sim is a hypervisor in memory: for trying orchd out, and for tests,
// which can make it slow, broken, silent or mad.
//
// Its guests run as long as the process does. A process that starts again finds
// none, as a host does that was switched off.
package sim

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// Default is what a simulated host has unless it is told otherwise.
var Default = api.Resources{VCPUs: 32, MemoryMiB: 64 << 10, DiskGiB: 1 << 10}

// deadline ends a call that hangs, as the libvirt driver's deadlines do.
const deadline = 10 * time.Second

// Driver is a simulated hypervisor. All methods may be called at any time.
type Driver struct {
	uuid string

	mu        sync.Mutex
	capacity  api.Resources
	domains   map[string]*vmm.Domain // by UUID
	builds    map[string]vmm.Build   // what they were made from, where that is known
	adopted   map[string]bool        // those of them that somebody else has made
	since     map[string]time.Time   // when they were switched on
	strangers map[string]*api.ForeignDomain
	files     map[string]bool            // by name
	disks     map[string]*disk           // what is on disks, by name
	seeds     map[string][]byte          // by VM
	logs      map[string][]byte          // what consoles have said, by VM
	consoles  map[string]*console        // that are open, by VM
	used      map[string][]api.VMAddress // addresses that guests use, by VM
	faults    map[string]fault
	down      bool
	watchers  map[*func()]bool
}

// fault is what is wrong with one operation.
type fault struct {
	err   error
	delay time.Duration
	hang  bool
}

var _ vmm.Hypervisor = (*Driver)(nil)

// New makes a simulated host with the capacity and the host id given; what is
// zero of the capacity is as in Default.
func New(capacity api.Resources, uuid string) *Driver {
	capacity.VCPUs = cmp.Or(capacity.VCPUs, Default.VCPUs)
	capacity.MemoryMiB = cmp.Or(capacity.MemoryMiB, Default.MemoryMiB)
	capacity.DiskGiB = cmp.Or(capacity.DiskGiB, Default.DiskGiB)
	return &Driver{
		uuid:      uuid,
		capacity:  capacity,
		domains:   map[string]*vmm.Domain{},
		builds:    map[string]vmm.Build{},
		adopted:   map[string]bool{},
		since:     map[string]time.Time{},
		strangers: map[string]*api.ForeignDomain{},
		files:     map[string]bool{},
		disks:     map[string]*disk{},
		seeds:     map[string][]byte{},
		logs:      map[string][]byte{},
		consoles:  map[string]*console{},
		used:      map[string][]api.VMAddress{},
		faults:    map[string]fault{},
		watchers:  map[*func()]bool{},
	}
}

// Driver is api.DriverSim.
func (d *Driver) Driver() string { return api.DriverSim }

// Host gives the capacity as it was set, possible or not.
func (d *Driver) Host(ctx context.Context) (info vmm.HostInfo, err error) {
	err = d.call(ctx, "Host", func() error {
		info = vmm.HostInfo{Capacity: d.capacity, UUID: d.uuid}
		return nil
	})
	return info, err
}

// List gives the domains in the order of their UUIDs.
func (d *Driver) List(ctx context.Context) (l vmm.Listing, err error) {
	err = d.call(ctx, "List", func() error {
		for _, dom := range d.domains {
			l.Domains = append(l.Domains, *dom)
		}
		slices.SortFunc(l.Domains, func(a, b vmm.Domain) int { return strings.Compare(a.UUID, b.UUID) })
		l.Strangers, l.StrangerMarks = len(d.strangers), make(map[string]string, len(d.strangers))
		for uuid, s := range d.strangers {
			l.StrangerMarks[uuid] = s.Cluster
		}
		return nil
	})
	return l, err
}

// Define makes a domain that is off.
func (d *Driver) Define(ctx context.Context, b vmm.Build) error {
	return d.call(ctx, "Define", func() error {
		if d.taken(b.Mark.VM, b.Name) {
			return api.Errorf(api.Conflict, "sim.define", "a domain with this UUID or name exists")
		}
		d.domains[b.Mark.VM] = &vmm.Domain{UUID: b.Mark.VM, Name: b.Name, Mark: b.Mark}
		d.builds[b.Mark.VM] = b
		d.files[vmm.ConsoleName(b.Mark.VM)] = true
		d.wakeLocked()
		return nil
	})
}

// Undefine removes a domain that is off.
func (d *Driver) Undefine(ctx context.Context, uuid string) error {
	return d.change(ctx, "Undefine", uuid, func(dom *vmm.Domain) error {
		if dom.Power != vmm.Off {
			return api.Errorf(api.Conflict, "sim.undefine", "the domain is not off")
		}
		delete(d.domains, uuid)
		delete(d.builds, uuid)
		delete(d.adopted, uuid)
		return nil
	})
}

// Start switches a domain on; Conflict when it is on.
func (d *Driver) Start(ctx context.Context, uuid string) error {
	return d.change(ctx, "Start", uuid, func(dom *vmm.Domain) error {
		if dom.Power != vmm.Off {
			return api.Errorf(api.Conflict, "sim.start", "the domain is not off")
		}
		if missing := d.missing(uuid); missing != "" {
			dom.Cause = vmm.NoStart
			return api.Errorf(api.Internal, "sim.start", "there is no file %s", missing)
		}
		d.switchOn(dom)
		return nil
	})
}

// Shutdown is obeyed at once.
func (d *Driver) Shutdown(ctx context.Context, uuid string) error {
	return d.change(ctx, "Shutdown", uuid, func(dom *vmm.Domain) error {
		if dom.Power == vmm.Off {
			return api.Errorf(api.Conflict, "sim.shutdown", "the domain is off")
		}
		if dom.Power == vmm.Running && !d.faults["guest"].hang {
			d.switchOff(dom, vmm.ByGuest)
		}
		return nil
	})
}

// Destroy switches a domain off.
func (d *Driver) Destroy(ctx context.Context, uuid string) error {
	return d.change(ctx, "Destroy", uuid, func(dom *vmm.Domain) error {
		if dom.Power != vmm.Off {
			d.switchOff(dom, vmm.ByForce)
		}
		return nil
	})
}

// Suspend pauses a domain.
func (d *Driver) Suspend(ctx context.Context, uuid string) error {
	return d.change(ctx, "Suspend", uuid, func(dom *vmm.Domain) error {
		if dom.Power == vmm.Off {
			return api.Errorf(api.Conflict, "sim.suspend", "the domain is off")
		}
		dom.Power, dom.Paused = vmm.Paused, vmm.ByWord
		return nil
	})
}

// Resume lets a paused domain go on.
func (d *Driver) Resume(ctx context.Context, uuid string) error {
	return d.change(ctx, "Resume", uuid, func(dom *vmm.Domain) error {
		if dom.Power == vmm.Off {
			return api.Errorf(api.Conflict, "sim.resume", "the domain is off")
		}
		dom.Power, dom.Paused = vmm.Running, vmm.ByWord
		return nil
	})
}

// Watch calls wake after every change until ctx ends.
func (d *Driver) Watch(ctx context.Context, wake func()) {
	d.mu.Lock()
	d.watchers[&wake] = true
	d.mu.Unlock()
	wake()
	<-ctx.Done()
	d.mu.Lock()
	delete(d.watchers, &wake)
	d.mu.Unlock()
}

// Close does nothing.
func (d *Driver) Close() error { return nil }

// taken tells whether a domain, ours or not, has that UUID or name.
func (d *Driver) taken(uuid, name string) bool {
	for _, dom := range d.domains {
		if dom.UUID == uuid || dom.Name == name {
			return true
		}
	}
	for _, s := range d.strangers {
		if s.UUID == uuid || s.Name == name {
			return true
		}
	}
	return false
}

// switchOn and switchOff change the power of a domain and all that hangs on it.
func (d *Driver) switchOn(dom *vmm.Domain) {
	dom.Power, dom.Cause, dom.Paused = vmm.Running, vmm.Unknown, vmm.ByWord
	d.since[dom.UUID] = time.Now()
	d.sayLocked(dom.UUID, []byte("sim guest up\r\n"))
}

func (d *Driver) switchOff(dom *vmm.Domain, why vmm.Cause) {
	dom.Power, dom.Cause, dom.Paused = vmm.Off, why, vmm.ByWord
	delete(d.since, dom.UUID)
	d.hangUpLocked(dom.UUID)
}

// change is call on one domain.
func (d *Driver) change(ctx context.Context, op, uuid string, f func(*vmm.Domain) error) error {
	return d.call(ctx, op, func() error {
		dom, ok := d.domains[uuid]
		if !ok {
			return api.Errorf(api.NotFound, "sim."+strings.ToLower(op), "no domain %s", uuid)
		}
		before := *dom
		err := f(dom)
		if _, still := d.domains[uuid]; !still || *dom != before {
			d.wakeLocked()
		}
		return err
	})
}

// call does one operation, with whatever is wrong with it just now.
func (d *Driver) call(ctx context.Context, op string, f func() error) error {
	d.mu.Lock()
	fault, down := d.faults[op], d.down
	d.mu.Unlock()
	wait := fault.delay
	if fault.hang || wait > deadline {
		wait = deadline
	}
	if err := pause(ctx, wait); err != nil {
		return unknown(op, err)
	}
	switch {
	case down:
		return api.Errorf(api.Unavailable, "sim."+strings.ToLower(op), "the simulated hypervisor is down")
	case fault.hang || fault.delay > deadline:
		return unknown(op, context.DeadlineExceeded)
	case fault.err != nil:
		return fault.err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return f()
}

func unknown(op string, err error) error {
	return &api.Error{Kind: api.Unavailable, Op: "sim." + strings.ToLower(op), Msg: "no answer", Err: err}
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Driver) wakeLocked() {
	for wake := range d.watchers {
		(*wake)()
	}
}
