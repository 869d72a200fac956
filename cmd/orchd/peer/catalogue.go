package peer

import (
	"context"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
)

// Size finds a size by id or name.
func (v view) Size(ref string) (api.Size, error) {
	s, ok := v.Reader.Size(ref)
	return orMissing(s, ok, "size", ref)
}

// SSHKey finds a key by id, or by name in an account.
func (v view) SSHKey(account, ref string) (api.SSHKey, error) {
	k, ok := v.Reader.SSHKey(account, ref)
	return orMissing(k, ok, "ssh-key", ref)
}

// Account is an account and what it holds.
func (v view) Account(name string) (api.AccountView, error) {
	a, ok := v.Reader.Account(name)
	return orMissing(a, ok, "account", name)
}

// ImageView is an image and who has a copy of it.
func (v view) ImageView(ref string) (api.ImageView, error) {
	i, err := v.Image(ref)
	out := api.ImageView{Image: i}
	for _, id := range v.ImagePeers(i.ID) {
		if host, known := v.Reader.Peer(id); known {
			out.Peers = append(out.Peers, host.Name)
		}
	}
	slices.Sort(out.Peers)
	return out, err
}

// Why is how the owner of a VM was chosen.
func (v view) Why(vm string) (api.Why, error) {
	w, ok := v.Reader.Why(vm)
	return orMissing(w, ok, "placement of VM", vm)
}

// DiskSnapshot finds a snapshot of a VM's disk.
func (v view) DiskSnapshot(vm, ref string) (api.DiskSnapshot, error) {
	s, ok := v.Reader.DiskSnapshot(vm, ref)
	return orMissing(s, ok, "snapshot", ref)
}

func orMissing[T any](row T, ok bool, kind, ref string) (T, error) {
	if !ok {
		return row, api.Errorf(api.NotFound, kind, "no %s %q", kind, ref)
	}
	return row, nil
}

// CreateSize names an amount of resources.
func (p *Peer) CreateSize(ctx context.Context, c api.SizeCreate) (server.Done[api.Size], error) {
	if err := p.room("size.create"); err != nil {
		return server.Done[api.Size]{}, err
	}
	return done(p.writer.CreateSize(ctx, c))
}

// UpdateSize deprecates a size, or takes that back.
func (p *Peer) UpdateSize(ctx context.Context, id string, ifVersion uint64, u api.SizeUpdate) (server.Done[api.Size], error) {
	return done(p.writer.UpdateSize(ctx, id, ifVersion, u))
}

// DeleteSize forgets a size; VMs keep their amounts.
func (p *Peer) DeleteSize(ctx context.Context, id string) error { return p.writer.DeleteSize(ctx, id) }

// CreateSSHKey keeps a public key for an account.
func (p *Peer) CreateSSHKey(ctx context.Context, c api.SSHKeyCreate) (server.Done[api.SSHKey], error) {
	if err := p.room("sshkey.create"); err != nil {
		return server.Done[api.SSHKey]{}, err
	}
	return done(p.writer.CreateSSHKey(ctx, c))
}

// DeleteSSHKey forgets a key; guests that have it keep it.
func (p *Peer) DeleteSSHKey(ctx context.Context, id string) error {
	return p.writer.DeleteSSHKey(ctx, id)
}

// CreateAccount makes an account.
func (p *Peer) CreateAccount(ctx context.Context, c api.AccountCreate) (server.Done[api.Account], error) {
	if err := p.room("account.create"); err != nil {
		return server.Done[api.Account]{}, err
	}
	return done(p.writer.CreateAccount(ctx, c))
}

// UpdateAccount changes the quota of an account, suspends it or lets it go on.
func (p *Peer) UpdateAccount(ctx context.Context, name string, ifVersion uint64, u api.AccountUpdate) (server.Done[api.Account], error) {
	return done(p.writer.UpdateAccount(ctx, name, ifVersion, u))
}

// DeleteAccount forgets an account that holds nothing.
func (p *Peer) DeleteAccount(ctx context.Context, name string) error {
	return p.writer.DeleteAccount(ctx, name)
}
