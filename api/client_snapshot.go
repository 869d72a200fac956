package api

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// wholeState is how long a peer may take over work on all rows: a minute for some millions.
const wholeState = 10 * time.Minute

// WithPatience lets an attempt take d longer than ClientConfig.Attempt, for a call
// whose work is long and whose peer sends nothing meanwhile.
func WithPatience(d time.Duration) CallOption { return func(c *call) { c.wait = d } }

// VerifySnapshot has the peer that answers read a marked snapshot of its own whole.
// What is wrong with it is in the answer, not in the error.
func (c *Client) VerifySnapshot(ctx context.Context, id string, opts ...CallOption) (SnapshotCheck, error) {
	return ask[SnapshotCheck](ctx, c, http.MethodPost, at("/v1/snapshots", id, "verify"), nil, patiently(opts))
}

// RestoreSnapshot rolls the cluster back to a marked snapshot, or tells what that
// would change. Conflict when somebody was faster: nothing has changed then.
func (c *Client) RestoreSnapshot(ctx context.Context, id string, r RestoreCreate, opts ...CallOption) (Restore, error) {
	return ask[Restore](ctx, c, http.MethodPost, at("/v1/snapshots", id, "restore"), r, patiently(opts))
}

// DeleteSnapshot deletes the files that the peer that answers has of a marked
// snapshot. The other peers keep theirs. Conflict for its newest whole one. Where an
// attempt gets no answer the next goes to another peer: with the query parameter peer
// that one refuses.
func (c *Client) DeleteSnapshot(ctx context.Context, id string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at("/v1/snapshots", id), nil, nil, opts)
}

// ChangeRanges lists the files of changes that the peer that answers keeps, oldest first.
func (c *Client) ChangeRanges(ctx context.Context, opts ...CallOption) iter.Seq2[ChangeRange, error] {
	return list[ChangeRange](ctx, c, "/v1/changes", opts)
}

// patiently is opts of a call that works on a whole state.
func patiently(opts []CallOption) []CallOption {
	return append([]CallOption{WithPatience(wholeState)}, opts...)
}
