package api

import (
	"context"
	"iter"
	"net/http"
)

// Sizes lists sizes in id order.
func (c *Client) Sizes(ctx context.Context, opts ...CallOption) iter.Seq2[Size, error] {
	return list[Size](ctx, c, "/v1/sizes", opts)
}

// Size shows a size, by name or id.
func (c *Client) Size(ctx context.Context, ref string, opts ...CallOption) (Size, error) {
	return ask[Size](ctx, c, http.MethodGet, at("/v1/sizes", ref), nil, opts)
}

// CreateSize names an amount of resources.
func (c *Client) CreateSize(ctx context.Context, s SizeCreate, opts ...CallOption) (Size, error) {
	return ask[Size](ctx, c, http.MethodPost, "/v1/sizes", s, opts)
}

// UpdateSize deprecates a size, or takes that back.
func (c *Client) UpdateSize(ctx context.Context, ref string, u SizeUpdate, opts ...CallOption) (Size, error) {
	return ask[Size](ctx, c, http.MethodPatch, at("/v1/sizes", ref), u, opts)
}

// DeleteSize forgets a size; virtual machines keep what they have.
func (c *Client) DeleteSize(ctx context.Context, ref string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at("/v1/sizes", ref), nil, nil, opts)
}

// SSHKeys lists SSH keys in id order; WithAccount lists those of one account.
func (c *Client) SSHKeys(ctx context.Context, opts ...CallOption) iter.Seq2[SSHKey, error] {
	return list[SSHKey](ctx, c, "/v1/ssh-keys", opts)
}

// SSHKey shows an SSH key, by id or by its name in an account.
func (c *Client) SSHKey(ctx context.Context, ref string, opts ...CallOption) (SSHKey, error) {
	return ask[SSHKey](ctx, c, http.MethodGet, at("/v1/ssh-keys", ref), nil, opts)
}

// CreateSSHKey stores a public key.
func (c *Client) CreateSSHKey(ctx context.Context, k SSHKeyCreate, opts ...CallOption) (SSHKey, error) {
	return ask[SSHKey](ctx, c, http.MethodPost, "/v1/ssh-keys", k, opts)
}

// DeleteSSHKey forgets a public key; guests that have it keep it.
func (c *Client) DeleteSSHKey(ctx context.Context, ref string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at("/v1/ssh-keys", ref), nil, nil, opts)
}

// Account shows an account and what it holds now.
func (c *Client) Account(ctx context.Context, name string, opts ...CallOption) (AccountView, error) {
	return ask[AccountView](ctx, c, http.MethodGet, at("/v1/accounts", name), nil, opts)
}

// CreateAccount makes an account.
func (c *Client) CreateAccount(ctx context.Context, a AccountCreate, opts ...CallOption) (Account, error) {
	return ask[Account](ctx, c, http.MethodPost, "/v1/accounts", a, opts)
}

// ReplaceAccount sets all that can be set of an account.
func (c *Client) ReplaceAccount(ctx context.Context, name string, u AccountUpdate, opts ...CallOption) (Account, error) {
	return ask[Account](ctx, c, http.MethodPut, at("/v1/accounts", name), u, opts)
}

// SuspendAccount keeps the virtual machines of an account off and lets it make nothing new.
func (c *Client) SuspendAccount(ctx context.Context, name, reason string, opts ...CallOption) (Account, error) {
	return ask[Account](ctx, c, http.MethodPost, at("/v1/accounts", name, "suspend"), map[string]string{"reason": reason}, opts)
}

// ResumeAccount lets them go on as they were wanted.
func (c *Client) ResumeAccount(ctx context.Context, name string, opts ...CallOption) (Account, error) {
	return ask[Account](ctx, c, http.MethodPost, at("/v1/accounts", name, "resume"), nil, opts)
}

// DeleteAccount forgets an account that holds nothing.
func (c *Client) DeleteAccount(ctx context.Context, name string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at("/v1/accounts", name), nil, nil, opts)
}

// Usages lists what accounts have had, by account and month; filter with
// WithAccount and WithQuery("month", "2026-11").
func (c *Client) Usages(ctx context.Context, opts ...CallOption) iter.Seq2[Usage, error] {
	return list[Usage](ctx, c, "/v1/usage", opts)
}

// Networks lists networks in id order.
func (c *Client) Networks(ctx context.Context, opts ...CallOption) iter.Seq2[Network, error] {
	return list[Network](ctx, c, "/v1/networks", opts)
}

// Network shows a network, by name or id.
func (c *Client) Network(ctx context.Context, ref string, opts ...CallOption) (Network, error) {
	return ask[Network](ctx, c, http.MethodGet, at("/v1/networks", ref), nil, opts)
}

// CreateNetwork declares a network.
func (c *Client) CreateNetwork(ctx context.Context, n NetworkCreate, opts ...CallOption) (Network, error) {
	return ask[Network](ctx, c, http.MethodPost, "/v1/networks", n, opts)
}

// DeleteNetwork forgets a network of which no address is held.
func (c *Client) DeleteNetwork(ctx context.Context, ref string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at("/v1/networks", ref), nil, nil, opts)
}

// Leases lists the addresses that virtual machines hold, by address.
func (c *Client) Leases(ctx context.Context, opts ...CallOption) iter.Seq2[Lease, error] {
	return list[Lease](ctx, c, "/v1/leases", opts)
}
