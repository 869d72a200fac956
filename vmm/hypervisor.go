package vmm

import (
	"context"
	"io"

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
	// Clean removes every file of a VM: disks of all epochs, seed, console logs.
	Clean(ctx context.Context, vm string) error
	// PutSeed stores the NoCloud image of a VM, which its domain has as a second, read-only disk.
	PutSeed(ctx context.Context, vm string, iso []byte) error
	// Reshape makes a domain that is off, and its disk, as b says: its name, its
	// processors, memory, interface and mark. A disk that is to be smaller stays as
	// it is.
	// Of one that was adopted its name, processors, memory and mark change, and
	// nothing else. Conflict when it is on.
	Reshape(ctx context.Context, b Build) error
	// Hotplug gives a domain that is on the processors and the memory of b, and
	// the mark of b, for good; Conflict, with the reason, when that takes a
	// restart, or when it is off: then nothing has changed.
	Hotplug(ctx context.Context, b Build) error

	// Start switches a domain on.
	Start(ctx context.Context, uuid string) error
	// Shutdown presses the guest's power button (ACPI); the guest may not care.
	Shutdown(ctx context.Context, uuid string) error
	// Destroy switches a domain off at once. One that is off already is no error.
	Destroy(ctx context.Context, uuid string) error
	// Suspend stops a domain's processors.
	Suspend(ctx context.Context, uuid string) error
	// Resume lets them go on.
	Resume(ctx context.Context, uuid string) error

	// SnapshotDisk keeps the disk of a domain, on or off, as it is now, under id.
	// To keep it again under an id that is there is no error and changes nothing.
	SnapshotDisk(ctx context.Context, b Build, id string) error
	// RevertDisk makes the disk of a domain that is off as it was under id, which
	// is kept; NotFound when nothing is.
	RevertDisk(ctx context.Context, b Build, id string) error
	// DropSnapshot forgets what was kept under id; to forget it twice is no error.
	DropSnapshot(ctx context.Context, b Build, id string) error
	// CopyDisk writes the disk of a domain that is off, made whole, as qcow2 to a
	// new file; Conflict when there is such a file.
	CopyDisk(ctx context.Context, b Build, to string) error

	// Console opens the serial console of a domain that is on. Whoever opens it
	// last has it: the one before is closed.
	Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error)
	// ConsoleLog opens what a VM's console has said, up to the last max bytes.
	ConsoleLog(ctx context.Context, vm string, max int64) (io.ReadCloser, error)
	// Screenshot is what a domain that is on shows on its screen, as PNG.
	Screenshot(ctx context.Context, uuid string) ([]byte, error)
	// Stats are the counters of every domain of this cluster that is on.
	Stats(ctx context.Context) ([]Stats, error)
	// Seen are the addresses that a domain that is on was seen to use on this host.
	Seen(ctx context.Context, uuid string) ([]api.VMAddress, error)

	// Strangers describes the domains without our mark.
	Strangers(ctx context.Context) ([]api.ForeignDomain, error)
	// Adopt puts our mark on a stranger, on or off, without touching the guest.
	Adopt(ctx context.Context, uuid string, mark Mark, record api.VM) error
	// DiskFiles are the names of all files in the folder of disks.
	DiskFiles(ctx context.Context) ([]string, error)

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

	// StrangerMarks are the strangers by UUID, each with the id of the cluster whose
	// mark it carries, empty when it carries none that reads. It costs no further
	// question, and tells which of them the log has made one of our VMs.
	StrangerMarks map[string]string
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

// PauseCause is why the processors of a domain are stopped.
type PauseCause uint8

// The causes of a pause.
const (
	ByWord  PauseCause = iota // somebody asked for it, or nobody knows
	IOError                   // the disk could not be written or read
)

// Domain is a domain of this cluster as the hypervisor has it.
type Domain struct {
	UUID   string
	Name   string
	Mark   Mark
	Power  Power
	Cause  Cause      // when off
	Paused PauseCause // when paused
}

// NIC is the one interface of a domain.
type NIC struct {
	MAC     string
	Bridge  string   // bridge of the host, or
	Network string   // network of its libvirt
	IPs     []string // that it may use; and that libvirt's network hands out for its MAC
	Filter  bool     // what it sends from elsewhere is dropped
	MTU     int64    // 0: the default
}

// Build is all that a domain is made from.
type Build struct {
	Mark   Mark
	Name   string     // of the domain: DomainName
	Spec   api.VMSpec //
	Image  *api.Image // what Spec.Image names; nil without one. Its Path is where the file lies on this host
	NIC    *NIC       // nil: none
	Seeded bool       // it has a NoCloud image: SeedName
	Record api.VM     // kept in the mark, so that a cluster that has lost its state can learn it again
}

// Stats are counters of one domain since it was switched on.
type Stats struct {
	UUID                          string
	CPUSeconds                    float64
	MemoryBytes                   int64 // that QEMU holds just now
	DiskReadBytes, DiskWriteBytes int64
	NetReceiveBytes, NetSendBytes int64
}
