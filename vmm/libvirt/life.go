package libvirt

import (
	"context"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"github.com/orchd/orchd/api"
)

// Start switches a domain on, filtered if it should be.
func (d *Driver) Start(ctx context.Context, uuid string) error {
	if err := d.refuseOn(ctx, uuid); err != nil {
		return err
	}
	if err := d.refilter(ctx, uuid); err != nil {
		return err
	}
	return d.change(ctx, "start", uuid, startLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOff); err != nil {
			return err
		}
		return rpc.DomainCreate(dom)
	})
}

// Shutdown presses the ACPI power button.
func (d *Driver) Shutdown(ctx context.Context, uuid string) error {
	flags := golibvirt.DomainShutdownAcpiPowerBtn
	if d.address.isTest() {
		flags = golibvirt.DomainShutdownDefault
	}
	return d.change(ctx, "shutdown", uuid, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return err
		}
		return rpc.DomainShutdownFlags(dom, flags)
	})
}

// Destroy ends QEMU.
func (d *Driver) Destroy(ctx context.Context, uuid string) error {
	return d.change(ctx, "destroy", uuid, stopLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		err := rpc.DomainDestroyFlags(dom, golibvirt.DomainDestroyDefault)
		if err != nil && refuseUnless(rpc, dom, isOff) == nil {
			return nil
		}
		return err
	})
}

// Suspend stops the processors.
func (d *Driver) Suspend(ctx context.Context, uuid string) error {
	return d.change(ctx, "suspend", uuid, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return err
		}
		return rpc.DomainSuspend(dom)
	})
}

// Resume lets the processors go on. Ones that run already are let be.
func (d *Driver) Resume(ctx context.Context, uuid string) error {
	return d.change(ctx, "resume", uuid, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return err
		}
		state, _, err := rpc.DomainGetState(dom, 0)
		if err != nil {
			return err
		}
		switch golibvirt.DomainState(state) {
		case golibvirt.DomainPaused:
			return rpc.DomainResume(dom)
		case golibvirt.DomainPmsuspended: // the guest did this itself
			return rpc.DomainPmWakeup(dom, 0)
		}
		return nil
	})
}

// What DomainIsActive answers.
const (
	isOff int32 = 0
	isOn  int32 = 1
)

// refuseUnless gives Conflict if the domain is not as it must be. libvirt's own
// refusals are of several kinds, from driver to driver.
func refuseUnless(rpc *golibvirt.Libvirt, dom golibvirt.Domain, want int32) error {
	active, err := rpc.DomainIsActive(dom)
	switch {
	case err != nil:
		return err
	case active != want && want == isOff:
		return api.Errorf(api.Conflict, "libvirt", "the domain is not off")
	case active != want:
		return api.Errorf(api.Conflict, "libvirt", "the domain is off")
	}
	return nil
}

// change is a call on one domain.
func (d *Driver) change(ctx context.Context, op, vm string, limit time.Duration, f func(*golibvirt.Libvirt, golibvirt.Domain) error) error {
	id, err := parseUUID(vm)
	if err != nil {
		return err
	}
	return d.jobs.call(ctx, op, limit, func(rpc *golibvirt.Libvirt) error {
		dom, err := rpc.DomainLookupByUUID(id)
		if err != nil {
			return err
		}
		return f(rpc, dom)
	})
}
