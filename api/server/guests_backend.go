package server

import (
	"context"
	"io"
	"iter"
	"net/netip"

	"github.com/orchd/orchd/api"
)

// CatalogueView is what virtual machines are made of and who has them, in one
// unchanging state. Rows come in key order, beginning after the key after. Who may
// see which is the server's business, as for virtual machines.
type CatalogueView interface {
	Size(ref string) (api.Size, error)              // by id or name
	Sizes(after string) iter.Seq[api.Size]          // keyed by id
	SSHKey(account, ref string) (api.SSHKey, error) // by id, or by name in the account
	SSHKeys(after string) iter.Seq[api.SSHKey]      // keyed by id
	// Account is an account and what it holds now.
	Account(name string) (api.AccountView, error)
	Usages(after string) iter.Seq[api.Usage] // keyed by account/month
	// ImageView is an image, by id or name, and who has a copy of it.
	ImageView(ref string) (api.ImageView, error)
	Leases(after string) iter.Seq[api.Lease] // keyed by IP
}

// GuestView is what is kept about single virtual machines beside their rows.
type GuestView interface {
	// Why is how the owner of a virtual machine was chosen.
	Why(vm string) (api.Why, error)
	DiskSnapshots(vm string) iter.Seq[api.DiskSnapshot]    // of one virtual machine, by creation
	DiskSnapshot(vm, ref string) (api.DiskSnapshot, error) // by id or name
}

// CatalogueWrites change what virtual machines are made of and who has them. Where
// a kind has a version, ifVersion 0 means any.
type CatalogueWrites interface {
	CreateSize(ctx context.Context, c api.SizeCreate) (Done[api.Size], error)
	UpdateSize(ctx context.Context, id string, ifVersion uint64, u api.SizeUpdate) (Done[api.Size], error)
	DeleteSize(ctx context.Context, id string) error
	CreateSSHKey(ctx context.Context, c api.SSHKeyCreate) (Done[api.SSHKey], error)
	DeleteSSHKey(ctx context.Context, id string) error
	CreateAccount(ctx context.Context, c api.AccountCreate) (Done[api.Account], error)
	UpdateAccount(ctx context.Context, name string, ifVersion uint64, u api.AccountUpdate) (Done[api.Account], error)
	DeleteAccount(ctx context.Context, name string) error
}

// GuestWrites change virtual machines and what hangs on them.
type GuestWrites interface {
	CreateVM(ctx context.Context, c api.VMCreate) (Done[api.VM], error)
	UpdateVM(ctx context.Context, id string, ifVersion uint64, u api.VMUpdate) (Done[api.VM], error)
	// ActOnVM asks for one of the verbs of api.VMAct; it answers the operation.
	ActOnVM(ctx context.Context, id string, ifVersion uint64, act api.VMAct) (Done[api.Operation], error)
	// DeleteVM answers the operation; a VM whose deletion is in hand gives the same one again.
	DeleteVM(ctx context.Context, id string, ifVersion uint64) (Done[api.Operation], error)
	// ExportVM makes an image that is pending until the owner has copied the disk.
	ExportVM(ctx context.Context, vm string, e api.VMExport) (Done[api.Image], error)
	CreateDiskSnapshot(ctx context.Context, vm string, c api.DiskSnapshotCreate) (Done[api.DiskSnapshot], error)
	RestoreDiskSnapshot(ctx context.Context, vm, snapshot string) (Done[api.Operation], error)
	DeleteDiskSnapshot(ctx context.Context, vm, snapshot string) (Done[api.Operation], error)
	// CancelOperation ends what has not been done yet; Conflict when it is too late.
	CancelOperation(ctx context.Context, id string) (Done[api.Operation], error)
	// AdoptVM makes a virtual machine of a domain that some peer has.
	AdoptVM(ctx context.Context, a api.VMAdopt) (Done[api.VM], error)
	// LosePeer takes a caller's word that a host is off for good.
	LosePeer(ctx context.Context, id string, l api.PeerLost) (Done[api.Peer], error)
}

// Guests is what is done on a virtual machine's own host, or where the content of
// an image lies; any peer can be asked for it.
type Guests interface {
	// Console opens the serial console; who opens it last has it. ctx lasts as long as
	// it does. Reading ends with io.EOF when the guest is switched off or somebody else
	// has taken the console over, with Unavailable when its host is lost; Close ends a
	// Read that waits.
	Console(ctx context.Context, vm api.VM) (io.ReadWriteCloser, error)
	// ConsoleLog opens what the console has said, up to the last max bytes.
	ConsoleLog(ctx context.Context, vm api.VM, max int64) (io.ReadCloser, error)
	// Screenshot is what the guest shows on its screen, as PNG.
	Screenshot(ctx context.Context, vm api.VM) ([]byte, error)
	// PutImage stores the content of an image that waits for it, and gives the image
	// as it is then. When reading body fails, the image goes on waiting and the error
	// is that of body.
	PutImage(ctx context.Context, image api.Image, body io.Reader) (Done[api.Image], error)
	// OpenImage reads the content of an image from an offset, from whichever peer has it.
	OpenImage(ctx context.Context, image api.Image, offset int64) (io.ReadCloser, error)
	// ForeignDomains lists the domains on a peer, by name or id, or on all of them, that
	// are none of this cluster's virtual machines.
	ForeignDomains(ctx context.Context, peer string) ([]api.ForeignDomain, error)
	// Findings is in what hosts and records disagree.
	Findings(ctx context.Context) ([]api.Finding, error)
	// VMSeed is a document of NoCloud (meta-data, user-data, vendor-data or
	// network-config) for the virtual machine that holds an address; NotFound when none does.
	VMSeed(ctx context.Context, addr netip.Addr, file string) ([]byte, error)
}
