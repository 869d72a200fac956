package peer

import (
	"context"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
)

// CreateVM places a virtual machine.
func (p *Peer) CreateVM(ctx context.Context, c api.VMCreate) (server.Done[api.VM], error) {
	if err := p.room("vm.create"); err != nil {
		return server.Done[api.VM]{}, err
	}
	return done(p.writer.CreateVM(ctx, c))
}

// UpdateVM replaces what a user may set of a VM.
func (p *Peer) UpdateVM(ctx context.Context, id string, ifVersion uint64, u api.VMUpdate) (server.Done[api.VM], error) {
	return done(p.writer.UpdateVM(ctx, id, ifVersion, u))
}

// ActOnVM asks for one of the verbs of a VM.
func (p *Peer) ActOnVM(ctx context.Context, id string, ifVersion uint64, act api.VMAct) (server.Done[api.Operation], error) {
	return done(p.writer.ActOnVM(ctx, id, ifVersion, act))
}

// DeleteVM wants a VM torn down.
func (p *Peer) DeleteVM(ctx context.Context, id string, ifVersion uint64) (server.Done[api.Operation], error) {
	return done(p.writer.DeleteVM(ctx, id, ifVersion))
}

// ExportVM makes an image of the disk of a VM that is off; its owner copies it.
func (p *Peer) ExportVM(ctx context.Context, vm string, e api.VMExport) (server.Done[api.Image], error) {
	if err := p.room("vm.export"); err != nil {
		return server.Done[api.Image]{}, err
	}
	return done(p.writer.ExportVM(ctx, vm, e))
}

// CreateDiskSnapshot keeps the disk of a VM as it is now.
func (p *Peer) CreateDiskSnapshot(ctx context.Context, vm string, c api.DiskSnapshotCreate) (server.Done[api.DiskSnapshot], error) {
	if err := p.room("vm.snapshot"); err != nil {
		return server.Done[api.DiskSnapshot]{}, err
	}
	return done(p.writer.CreateDiskSnapshot(ctx, vm, c))
}

// RestoreDiskSnapshot lets the disk of a VM that is off go back.
func (p *Peer) RestoreDiskSnapshot(ctx context.Context, vm, snapshot string) (server.Done[api.Operation], error) {
	return done(p.writer.RestoreDiskSnapshot(ctx, vm, snapshot))
}

// DeleteDiskSnapshot forgets a snapshot of a disk.
func (p *Peer) DeleteDiskSnapshot(ctx context.Context, vm, snapshot string) (server.Done[api.Operation], error) {
	return done(p.writer.DeleteDiskSnapshot(ctx, vm, snapshot))
}

// CancelOperation ends an operation that is not over.
func (p *Peer) CancelOperation(ctx context.Context, id string) (server.Done[api.Operation], error) {
	return done(p.writer.CancelOperation(ctx, id))
}

// AdoptVM makes a VM of a domain on some peer's hypervisor: what that says of the
// domain goes into the log, and the loop of that peer puts the mark on it.
func (p *Peer) AdoptVM(ctx context.Context, a api.VMAdopt) (server.Done[api.VM], error) {
	host, known := p.machine.Read().Peer(a.Peer)
	if !known {
		return server.Done[api.VM]{}, api.Errorf(api.NotFound, "vm.adopt", "no peer %q", a.Peer)
	}
	domains, err := p.ForeignDomains(ctx, host.ID)
	if err != nil {
		return server.Done[api.VM]{}, err
	}
	at := slices.IndexFunc(domains, func(d api.ForeignDomain) bool { return d.UUID == a.Domain || d.Name == a.Domain })
	if at < 0 {
		return p.adoptedAlready(ctx, host, a)
	}
	return done(p.writer.AdoptVM(ctx, host.ID, domains[at], a))
}

// adoptedAlready answers for a domain that its host does not list: the log knows if
// this is the retry of the request that adopted it, or if its UUID is a VM's, which is
// a conflict whether or not the host has put its mark on it yet.
func (p *Peer) adoptedAlready(ctx context.Context, host api.Peer, a api.VMAdopt) (server.Done[api.VM], error) {
	unseen := api.ForeignDomain{Name: a.Domain}
	if api.IsUUID(a.Domain) {
		unseen.UUID = a.Domain
	}
	again, err := done(p.writer.AdoptVM(ctx, host.ID, unseen, a))
	if _, adopted := p.machine.Read().VM(unseen.UUID); adopted || err == nil {
		return again, err
	}
	return server.Done[api.VM]{}, api.Errorf(api.NotFound, "vm.adopt", "peer %s has no domain %q that is not orchd's already; see: orchd domain list --peer %s", host.Name, a.Domain, host.Name)
}

// LosePeer takes a person's word that a host is off for good: its VMs are lost, its
// id is never admitted again, and raft counts it no more.
func (p *Peer) LosePeer(ctx context.Context, id string, l api.PeerLost) (server.Done[api.Peer], error) {
	if id == p.identity.PeerID {
		return server.Done[api.Peer]{}, api.Errorf(api.Conflict, "peer.lost", "this is the peer that you ask: it is not lost; to take it out of the cluster: orchd leave")
	}
	if err := p.mayLose(id); err != nil {
		return server.Done[api.Peer]{}, err
	}
	lost, err := done(p.writer.LosePeer(ctx, id, l))
	if err != nil {
		return lost, err
	}
	if err := p.dropped(ctx, id); err != nil {
		p.log.Warn("raft still counts a lost peer; the leader goes on trying to drop it", "peer", id, "err", err)
	}
	return lost, nil
}
