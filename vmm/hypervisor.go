package vmm

import (
	"context"

	"github.com/orchd/orchd/api"
)

// Hypervisor is the little of a hypervisor that is used, with no decisions
// inside. Every call ends by a deadline of its own; an error of kind
// api.Unavailable then says that the outcome is unknown, and every other error
// that nothing has changed. api.NotFound: no such domain. api.Conflict: its
// state forbids it. api.Invalid: it can never succeed as asked.
type Hypervisor interface {
	// Driver is api.DriverLibvirt or api.DriverSim.
	Driver() string
	// Host says what the host has; an error when the hypervisor does not answer.
	Host(ctx context.Context) (HostInfo, error)
	// List gives every domain that carries this cluster's mark.
	List(ctx context.Context) (Listing, error)

	// MakeDisk makes the disk of one epoch of a VM; made is false when it was there already or none is asked for.
	MakeDisk(ctx context.Context, b Build) (made bool, err error)
	// DropDisk removes that disk.
	DropDisk(ctx context.Context, b Build) error
	// Define makes the domain, switched off; Conflict when its UUID or name is taken.
	Define(ctx context.Context, b Build) error
	// Undefine removes a domain that is off and leaves its files.
	Undefine(ctx context.Context, uuid string) error
	// Clean removes every file of a VM: disks of all epochs and console logs.
	Clean(ctx context.Context, vm string) error

	// Start switches a domain on.
	Start(ctx context.Context, uuid string) error
	// Shutdown presses the guest's power button (ACPI); the guest may not care.
	Shutdown(ctx context.Context, uuid string) error
	// Destroy switches a domain off at once. One that is off already is no error.
	Destroy(ctx context.Context, uuid string) error
	// Suspend stops a domain's processors.
	Suspend(ctx context.Context, uuid string) error

	// Watch calls wake when domains may have changed, and after each time that it
	// may have missed such a change; it returns when ctx ends.
	Watch(ctx context.Context, wake func())
	// Close lets go of the hypervisor. Guests go on.
	Close() error
}

// HostInfo is what a host has.
type HostInfo struct {
	Capacity api.Resources
	UUID     string // the hypervisor's id of the host, from its firmware or configuration
}

// Listing is what List found.
type Listing struct {
	Domains   []Domain
	Strangers int // domains without our mark: counted, never touched
}

// Power is whether a domain runs.
type Power uint8

// The powers.
const (
	Off     Power = iota
	Running       // also while it boots or shuts down
	Paused        // its processors are stopped
)

// Cause is why a domain is off, as far as the hypervisor knows.
type Cause uint8

// The causes.
const (
	Unknown Cause = iota // the host or its hypervisor was restarted, or it never ran
	ByGuest              // the guest switched itself off
	ByForce              // someone switched it off on the host
	Crashed              // it ended without being asked to
	NoStart              // the attempt to start it failed
)

// Domain is a domain of this cluster as the hypervisor has it.
type Domain struct {
	UUID  string
	Name  string
	Mark  Mark
	Power Power
	Cause Cause // when off
}

// Build is all that a domain is made from.
type Build struct {
	Mark  Mark
	Name  string     // of the domain: DomainName
	Spec  api.VMSpec //
	Image *api.Image // what Spec.Image names; nil without one
}
