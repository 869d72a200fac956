package api

import (
	"context"
	"io"
	"iter"
	"net/http"
	"strconv"
)

// ActOnVM does one of the verbs of VMAct to a virtual machine. WithWait waits for its
// end: see the operation's state.
func (c *Client) ActOnVM(ctx context.Context, ref string, act VMAct, opts ...CallOption) (Operation, error) {
	var body any
	switch {
	case act.Verb == ActResize:
		body = act.Resize
	case act.StopSeconds > 0:
		body = VMStop{Timeout: strconv.FormatInt(act.StopSeconds, 10) + "s"}
	}
	return ask[Operation](ctx, c, http.MethodPost, at("/v1/vms", ref, act.Verb), body, opts)
}

// ExportVM makes an image of the disk of a stopped virtual machine; its operation says
// when it can be used.
func (c *Client) ExportVM(ctx context.Context, ref string, e VMExport, opts ...CallOption) (Image, error) {
	return ask[Image](ctx, c, http.MethodPost, at("/v1/vms", ref, "export"), e, opts)
}

// AdoptVM makes a virtual machine of a domain that some peer has.
func (c *Client) AdoptVM(ctx context.Context, a VMAdopt, opts ...CallOption) (VM, error) {
	return ask[VM](ctx, c, http.MethodPost, "/v1/vms/adopt", a, opts)
}

// Why says how the owner of a virtual machine was chosen.
func (c *Client) Why(ctx context.Context, ref string, opts ...CallOption) (Why, error) {
	return ask[Why](ctx, c, http.MethodGet, at("/v1/vms", ref, "why"), nil, opts)
}

// KnownHosts are lines for a known_hosts file: the keys of the guest under its name
// and addresses.
func (c *Client) KnownHosts(ctx context.Context, ref string, opts ...CallOption) ([]byte, error) {
	answer, err := c.Raw(ctx, http.MethodGet, at("/v1/vms", ref, "known_hosts"), nil, opts...)
	return answer.Body, err
}

// ConsoleLog is what a virtual machine's console has said, up to the last tail bytes;
// 0: 64 KiB.
func (c *Client) ConsoleLog(ctx context.Context, ref string, tail int64, opts ...CallOption) ([]byte, error) {
	if tail > 0 {
		opts = append([]CallOption{WithQuery("tail", strconv.FormatInt(tail, 10))}, opts...)
	}
	answer, err := c.Raw(ctx, http.MethodGet, at("/v1/vms", ref, "console-log"), nil, opts...)
	return answer.Body, err
}

// Screenshot is what a virtual machine shows on its screen, as PNG.
func (c *Client) Screenshot(ctx context.Context, ref string, opts ...CallOption) ([]byte, error) {
	answer, err := c.Raw(ctx, http.MethodGet, at("/v1/vms", ref, "screenshot"), nil, opts...)
	return answer.Body, err
}

// VMConsole opens the serial console of a virtual machine; see Console.
func (c *Client) VMConsole(ctx context.Context, ref string, opts ...CallOption) (io.ReadWriteCloser, error) {
	return c.Console(ctx, at("/v1/vms", ref, "console"), opts...)
}

// DiskSnapshots lists the snapshots of a virtual machine's disk by creation.
func (c *Client) DiskSnapshots(ctx context.Context, vm string, opts ...CallOption) iter.Seq2[DiskSnapshot, error] {
	return list[DiskSnapshot](ctx, c, at("/v1/vms", vm, "snapshots"), opts)
}

// DiskSnapshot shows one, by name or id.
func (c *Client) DiskSnapshot(ctx context.Context, vm, ref string, opts ...CallOption) (DiskSnapshot, error) {
	return ask[DiskSnapshot](ctx, c, http.MethodGet, at(at("/v1/vms", vm, "snapshots"), ref), nil, opts)
}

// CreateDiskSnapshot keeps the disk of a virtual machine as it is now.
func (c *Client) CreateDiskSnapshot(ctx context.Context, vm string, s DiskSnapshotCreate, opts ...CallOption) (DiskSnapshot, error) {
	return ask[DiskSnapshot](ctx, c, http.MethodPost, at("/v1/vms", vm, "snapshots"), s, opts)
}

// RestoreDiskSnapshot makes the disk of a stopped virtual machine as it was.
func (c *Client) RestoreDiskSnapshot(ctx context.Context, vm, ref string, opts ...CallOption) (Operation, error) {
	return ask[Operation](ctx, c, http.MethodPost, at(at("/v1/vms", vm, "snapshots"), ref, "restore"), nil, opts)
}

// DeleteDiskSnapshot forgets what was kept.
func (c *Client) DeleteDiskSnapshot(ctx context.Context, vm, ref string, opts ...CallOption) (Operation, error) {
	return ask[Operation](ctx, c, http.MethodDelete, at(at("/v1/vms", vm, "snapshots"), ref), nil, opts)
}

// CancelOperation ends work that has not been done yet; Conflict when it is too late.
func (c *Client) CancelOperation(ctx context.Context, id string, opts ...CallOption) (Operation, error) {
	return ask[Operation](ctx, c, http.MethodDelete, at("/v1/operations", id), nil, opts)
}

// ImageView shows an image and who has a copy of it, by name or id.
func (c *Client) ImageView(ctx context.Context, ref string, opts ...CallOption) (ImageView, error) {
	return ask[ImageView](ctx, c, http.MethodGet, at("/v1/images", ref), nil, opts)
}

// ImageContentPath is the path of an image's content, for Upload and Download.
func ImageContentPath(ref string) string { return at("/v1/images", ref, "content") }

// LosePeer declares a host off for good.
func (c *Client) LosePeer(ctx context.Context, ref string, l PeerLost, opts ...CallOption) (Peer, error) {
	return ask[Peer](ctx, c, http.MethodPost, at("/v1/peers", ref, "lost"), l, opts)
}

// ForeignDomains lists the domains on a peer, or on all peers for "", that are none of
// the cluster's virtual machines.
func (c *Client) ForeignDomains(ctx context.Context, peer string, opts ...CallOption) iter.Seq2[ForeignDomain, error] {
	return list[ForeignDomain](ctx, c, "/v1/domains", append([]CallOption{WithQuery("peer", peer)}, opts...))
}

// Findings lists in what hosts and records disagree.
func (c *Client) Findings(ctx context.Context, opts ...CallOption) iter.Seq2[Finding, error] {
	return list[Finding](ctx, c, "/v1/findings", opts)
}
