package vmm

import (
	"context"
	"iter"

	"github.com/orchd/orchd/api"
)

// Records is what the cluster tells and hears about this host's virtual
// machines. Every error of a write that is api.Conflict means that the VM is no
// longer ours at that epoch; api.Unavailable means that the outcome is unknown.
type Records interface {
	// Wanted is the view of this peer's own tables, and a channel that is
	// closed when they may have changed since: a VM, or a disk snapshot in hand.
	Wanted() (Wanted, <-chan struct{})
	// Confirmed is the same view, read linearizably; an error without quorum.
	Confirmed(ctx context.Context) (Wanted, error)
	// Begin claims (vm, epoch) in the log. To claim what is claimed already is no error.
	Begin(ctx context.Context, vm string, epoch uint64) error
	// Report says what one VM of ours is doing; it ends the operation that waited for this.
	Report(ctx context.Context, r api.VMReport) error
	// Gone says that the teardown of a VM has ended: no domain, no file.
	Gone(ctx context.Context, vm string, epoch uint64) error
	// Saw says that a domain of a VM is here that should not be, or is here no more.
	Saw(ctx context.Context, s api.Sighting) error
	// Facts says what was found out about the inside of a guest of ours.
	Facts(ctx context.Context, f api.VMFacts) error
	// Progress says how far the step in hand of a VM's operation is.
	Progress(ctx context.Context, p api.VMProgress) error
	// Snapshotted says what became of a disk snapshot that was in hand.
	Snapshotted(ctx context.Context, r api.DiskSnapshotReport) error
	// Host says that this host's capacity, id or trouble has changed.
	Host(ctx context.Context, h Host) error
}

// Wanted is one unchanging view of the replicated state.
type Wanted interface {
	// Mine are the VMs that this peer owns. One that is to be deleted stays
	// among them, with Desired deleted, until its Gone is committed.
	Mine() iter.Seq[api.VM]
	// Sighted is what this peer has reported with Saw and not withdrawn: by VM,
	// the epoch of the domain.
	Sighted() map[string]uint64
	// Row is any VM's row.
	Row(id string) (api.VM, bool)
	// Buried is the epoch up to which a VM's tombstone covers its domains.
	Buried(id string) (epoch uint64, found bool)
	// Image is the catalogue's image of that name.
	Image(name string) (api.Image, bool)
	// Network is the network of that name.
	Network(name string) (api.Network, bool)
	// Snapshots are the disk snapshots of VMs that this peer owns which are to be
	// made, gone back to or forgotten.
	Snapshots() iter.Seq[api.DiskSnapshot]
	// Open is the kind of the newest operation on a VM while that waits for a
	// report; empty when none does. It is how a start that a user asks for differs
	// from a wish of yesterday.
	Open(id string) (kind string)
}

// Host is what the cluster keeps of this host's driver.
type Host struct {
	Capacity api.Resources
	UUID     string // the hypervisor's id of the host; empty if it has none
	Problem  string // why the driver cannot work; empty when it can
}
