package peer

import (
	"context"
	"iter"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/vmm"
)

// records is the cluster as this host's vmm sees it.
type records struct{ *Peer }

// wanted is one state as vmm sees it.
type wanted struct {
	fsm.Reader
	peer string
}

func (w wanted) Mine() iter.Seq[api.VM]              { return w.VMsOn(w.peer) }
func (w wanted) Sighted() map[string]uint64          { return w.SightingsOf(w.peer) }
func (w wanted) Row(id string) (api.VM, bool)        { return w.VM(id) }
func (w wanted) Image(name string) (api.Image, bool) { return w.Reader.Image(name) }

func (w wanted) Snapshots() iter.Seq[api.DiskSnapshot]   { return w.SnapshotsInHand(w.peer) }
func (w wanted) Network(name string) (api.Network, bool) { return w.Reader.Network(name) }

// Open is the kind of the newest operation on a VM while it waits for a report.
func (w wanted) Open(id string) string {
	vm, _ := w.VM(id)
	op, ok := w.Operation(vm.Status.Operation)
	if !ok || op.State.Done() {
		return ""
	}
	return op.Kind
}

func (r records) Wanted() (vmm.Wanted, <-chan struct{}) {
	now := r.machine.Read()
	return wanted{now, r.identity.PeerID}, now.VMsChanged()
}

func (r records) Confirmed(ctx context.Context) (vmm.Wanted, error) {
	if err := r.node.ReadIndex(ctx); err != nil {
		return nil, err
	}
	return wanted{r.machine.Read(), r.identity.PeerID}, nil
}

func (r records) Begin(ctx context.Context, vm string, epoch uint64) error {
	return r.writer.BeginVM(r.asPeer(ctx), vm, epoch)
}

func (r records) Report(ctx context.Context, report api.VMReport) error {
	return r.writer.ReportVM(r.asPeer(ctx), report)
}

func (r records) Gone(ctx context.Context, vm string, epoch uint64) error {
	return r.writer.BuryVM(r.asPeer(ctx), vm, epoch)
}

func (r records) Saw(ctx context.Context, s api.Sighting) error {
	return r.writer.SawDomain(r.asPeer(ctx), s)
}

func (r records) Facts(ctx context.Context, f api.VMFacts) error {
	return r.writer.VMFacts(r.asPeer(ctx), f)
}

func (r records) Progress(ctx context.Context, p api.VMProgress) error {
	return r.writer.VMProgress(r.asPeer(ctx), p)
}

func (r records) Snapshotted(ctx context.Context, report api.DiskSnapshotReport) error {
	return r.writer.ReportDiskSnapshot(r.asPeer(ctx), report)
}

func (r records) Host(ctx context.Context, h vmm.Host) error {
	return r.writer.UpdatePeer(r.asPeer(ctx), r.describe(h))
}
