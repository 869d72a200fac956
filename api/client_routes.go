package api

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// pageSize is how many items List methods ask for at a time.
const pageSize = 1000

// at makes a path of fixed words and a reference, which may hold anything.
func at(prefix, ref string, suffix ...string) string {
	path := prefix + "/" + url.PathEscape(ref)
	for _, s := range suffix {
		path += "/" + s
	}
	return path
}

// ask makes a call and reads its answer.
func ask[T any](ctx context.Context, c *Client, method, path string, in any, opts []CallOption) (T, error) {
	var out T
	err := c.send(ctx, method, path, in, &out, opts)
	return out, err
}

// list walks through all pages of a list. It ends after the first error.
func list[T any](ctx context.Context, c *Client, path string, opts []CallOption) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		cursor := ""
		for {
			paged := append([]CallOption{WithQuery("limit", strconv.Itoa(pageSize)), WithQuery("cursor", cursor)}, opts...)
			page, err := ask[Page[T]](ctx, c, http.MethodGet, path, nil, paged)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if cursor = page.Next; cursor == "" {
				return
			}
		}
	}
}

// VMs lists virtual machines in id order.
func (c *Client) VMs(ctx context.Context, f VMFilter, opts ...CallOption) iter.Seq2[VM, error] {
	filters := []CallOption{WithQuery("peer", f.Peer), WithQuery("account", f.Account), WithQuery("state", string(f.State))}
	for key, value := range f.Labels {
		filters = append(filters, WithQuery("label", key+"="+value))
	}
	return list[VM](ctx, c, "/v1/vms", append(filters, opts...))
}

// VM shows a virtual machine, by id or name.
func (c *Client) VM(ctx context.Context, ref string, opts ...CallOption) (VM, error) {
	return ask[VM](ctx, c, http.MethodGet, at("/v1/vms", ref), nil, opts)
}

// CreateVM asks for a virtual machine; it is owned by a peer when this returns.
// WithWait waits until it runs, or has failed: see its state.
func (c *Client) CreateVM(ctx context.Context, v VMCreate, opts ...CallOption) (VM, error) {
	return ask[VM](ctx, c, http.MethodPost, "/v1/vms", v, opts)
}

// ReplaceVM sets all that a user may set.
func (c *Client) ReplaceVM(ctx context.Context, ref string, u VMUpdate, opts ...CallOption) (VM, error) {
	return ask[VM](ctx, c, http.MethodPut, at("/v1/vms", ref), u, opts)
}

// PatchVM changes what a user may set, by a merge patch (RFC 7396).
func (c *Client) PatchVM(ctx context.Context, ref string, patch json.RawMessage, opts ...CallOption) (VM, error) {
	return ask[VM](ctx, c, http.MethodPatch, at("/v1/vms", ref), patch, opts)
}

// DeleteVM deletes a virtual machine. The operation that it gives is done when
// the owner has torn it down; else the owner is silent, and it goes on.
func (c *Client) DeleteVM(ctx context.Context, ref string, opts ...CallOption) (Operation, error) {
	return ask[Operation](ctx, c, http.MethodDelete, at("/v1/vms", ref), nil, opts)
}

// StartVM starts a virtual machine.
func (c *Client) StartVM(ctx context.Context, ref string, opts ...CallOption) (Operation, error) {
	return c.act(ctx, ref, "start", opts)
}

// StopVM asks the guest to shut down.
func (c *Client) StopVM(ctx context.Context, ref string, opts ...CallOption) (Operation, error) {
	return c.act(ctx, ref, "stop", opts)
}

// ForceStopVM stops a virtual machine without asking the guest.
func (c *Client) ForceStopVM(ctx context.Context, ref string, opts ...CallOption) (Operation, error) {
	return c.act(ctx, ref, "force-stop", opts)
}

func (c *Client) act(ctx context.Context, ref, verb string, opts []CallOption) (Operation, error) {
	return ask[Operation](ctx, c, http.MethodPost, at("/v1/vms", ref, verb), nil, opts)
}

// Capacity asks every host whether need fits.
func (c *Client) Capacity(ctx context.Context, need Resources, opts ...CallOption) (Capacity, error) {
	amounts := []CallOption{
		WithQuery("vcpus", strconv.FormatInt(need.VCPUs, 10)),
		WithQuery("memory_mib", strconv.FormatInt(need.MemoryMiB, 10)),
		WithQuery("disk_gib", strconv.FormatInt(need.DiskGiB, 10)),
	}
	return ask[Capacity](ctx, c, http.MethodGet, "/v1/capacity", nil, append(amounts, opts...))
}

// Operations lists operations in id order.
func (c *Client) Operations(ctx context.Context, opts ...CallOption) iter.Seq2[Operation, error] {
	return list[Operation](ctx, c, "/v1/operations", opts)
}

// Operation shows an operation; WithWait waits until it is done.
func (c *Client) Operation(ctx context.Context, id string, opts ...CallOption) (Operation, error) {
	return ask[Operation](ctx, c, http.MethodGet, at("/v1/operations", id), nil, opts)
}

// Peers lists peers in id order.
func (c *Client) Peers(ctx context.Context, opts ...CallOption) iter.Seq2[PeerView, error] {
	return list[PeerView](ctx, c, "/v1/peers", opts)
}

// Peer shows a peer, by name or id.
func (c *Client) Peer(ctx context.Context, ref string, opts ...CallOption) (PeerView, error) {
	return ask[PeerView](ctx, c, http.MethodGet, at("/v1/peers", ref), nil, opts)
}

// CordonPeer keeps new virtual machines off a peer.
func (c *Client) CordonPeer(ctx context.Context, ref string, opts ...CallOption) (PeerView, error) {
	return ask[PeerView](ctx, c, http.MethodPost, at("/v1/peers", ref, "cordon"), nil, opts)
}

// UncordonPeer lets a peer have new virtual machines again.
func (c *Client) UncordonPeer(ctx context.Context, ref string, opts ...CallOption) (PeerView, error) {
	return ask[PeerView](ctx, c, http.MethodPost, at("/v1/peers", ref, "uncordon"), nil, opts)
}

// RemovePeer takes a peer out of the cluster; Conflict while it owns virtual machines.
func (c *Client) RemovePeer(ctx context.Context, ref string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at("/v1/peers", ref), nil, nil, opts)
}

// Tokens lists credentials, without their secrets.
func (c *Client) Tokens(ctx context.Context, opts ...CallOption) iter.Seq2[Token, error] {
	return list[Token](ctx, c, "/v1/tokens", opts)
}

// CreateToken makes a credential. Its secret is in this answer and nowhere else.
func (c *Client) CreateToken(ctx context.Context, t TokenCreate, opts ...CallOption) (NewToken, error) {
	return ask[NewToken](ctx, c, http.MethodPost, "/v1/tokens", t, opts)
}

// DeleteToken revokes a credential.
func (c *Client) DeleteToken(ctx context.Context, id string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at("/v1/tokens", id), nil, nil, opts)
}

// Keys shows certificates, keys by name, and how far rotations are.
func (c *Client) Keys(ctx context.Context, opts ...CallOption) (Keys, error) {
	return ask[Keys](ctx, c, http.MethodGet, "/v1/keys", nil, opts)
}

// RotateKey begins to replace a key of the cluster. It goes on by itself; Keys says how far it is.
func (c *Client) RotateKey(ctx context.Context, r KeyRotate, opts ...CallOption) (KeyRotation, error) {
	return ask[KeyRotation](ctx, c, http.MethodPost, "/v1/keys/rotate", r, opts)
}

// ExportKeys gives a copy of all keys of the cluster, encrypted to an age recipient.
func (c *Client) ExportKeys(ctx context.Context, to KeyExport, opts ...CallOption) (KeyCopy, error) {
	return ask[KeyCopy](ctx, c, http.MethodPost, "/v1/keys/export", to, opts)
}

// TransferLeadership has another voter lead: the named one or, for "", the one furthest ahead.
func (c *Client) TransferLeadership(ctx context.Context, peer string, opts ...CallOption) (Leadership, error) {
	return ask[Leadership](ctx, c, http.MethodPost, "/v1/raft/transfer-leader", LeaderTransfer{peer}, opts)
}

// Join asks to become a peer. The same token with the same key gets the same
// answer until the token expires.
func (c *Client) Join(ctx context.Context, r JoinRequest, opts ...CallOption) (JoinAnswer, error) {
	return ask[JoinAnswer](ctx, c, http.MethodPost, "/v1/join", r, opts)
}

// Images lists images in id order.
func (c *Client) Images(ctx context.Context, opts ...CallOption) iter.Seq2[Image, error] {
	return list[Image](ctx, c, "/v1/images", opts)
}

// Image shows an image, by name or id.
func (c *Client) Image(ctx context.Context, ref string, opts ...CallOption) (Image, error) {
	return ask[Image](ctx, c, http.MethodGet, at("/v1/images", ref), nil, opts)
}

// CreateImage names an image that lies on the peers.
func (c *Client) CreateImage(ctx context.Context, i ImageCreate, opts ...CallOption) (Image, error) {
	return ask[Image](ctx, c, http.MethodPost, "/v1/images", i, opts)
}

// DeleteImage forgets an image; its files stay.
func (c *Client) DeleteImage(ctx context.Context, ref string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at("/v1/images", ref), nil, nil, opts)
}

// Accounts lists accounts by name.
func (c *Client) Accounts(ctx context.Context, opts ...CallOption) iter.Seq2[Account, error] {
	return list[Account](ctx, c, "/v1/accounts", opts)
}

// Snapshots lists the snapshots of the peer that answers, oldest first.
func (c *Client) Snapshots(ctx context.Context, opts ...CallOption) iter.Seq2[Snapshot, error] {
	return list[Snapshot](ctx, c, "/v1/snapshots", opts)
}

// Snapshot shows a snapshot of the peer that answers.
func (c *Client) Snapshot(ctx context.Context, id string, opts ...CallOption) (Snapshot, error) {
	return ask[Snapshot](ctx, c, http.MethodGet, at("/v1/snapshots", id), nil, opts)
}

// TakeSnapshot has every peer write its state; it returns when the files of the
// peer that answers are verified.
func (c *Client) TakeSnapshot(ctx context.Context, opts ...CallOption) (Snapshot, error) {
	return ask[Snapshot](ctx, c, http.MethodPost, "/v1/snapshots", nil, opts)
}

// Status is the health of the cluster, as the peer that answers sees it.
func (c *Client) Status(ctx context.Context, opts ...CallOption) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/v1/status", nil, opts)
}

// Ready is nil once a peer can serve; else it says what is missing. It asks each address once.
func (c *Client) Ready(ctx context.Context, opts ...CallOption) error {
	return c.send(ctx, http.MethodGet, "/readyz", nil, nil, append([]CallOption{WithOneRound()}, opts...))
}
