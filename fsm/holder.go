package fsm

import (
	"context"
	"iter"
	"time"

	"github.com/orchd/orchd/api"
)

// holding is who has the runs of a scope in hand. A term goes from a claim to the next.
type holding struct {
	Scope    string    `json:"scope"`
	Peer     string    `json:"peer"`
	Life     string    `json:"life"`
	Term     uint64    `json:"term"`
	Renewed  time.Time `json:"renewed_at"`
	Released bool      `json:"released"` // nobody has: the next need not wait
}

var holders = &table[holding]{
	name:        "holders",
	bookkeeping: true,
	key:         func(h *holding) string { return h.Scope },
}

func (h holding) holder() api.Holder {
	return api.Holder{Scope: h.Scope, Peer: h.Peer, Life: h.Life, Term: h.Term, Renewed: h.Renewed}
}

// inCharge refuses what the run of a spell asks for when another term has begun.
func (tx *Txn) inCharge() error {
	if tx.Fence == nil {
		return nil
	}
	h, there := holders.one(tx.Reader, tx.Fence.Scope)
	if there && h.Term == tx.Fence.Term && !h.Released {
		return nil
	}
	return api.Errorf(api.Precondition, "fence", "the run of a spell that asks is no longer in charge: another has the runs of the scope %s in hand", clipped(tx.Fence.Scope))
}

type scopeClaim struct {
	Scope string `cbor:"1,keyasint"`
	Life  string `cbor:"2,keyasint"`
}

// applyClaim takes the runs of a scope in hand for the peer that asks. With its new
// term, those of older ones are cut off.
func applyClaim(tx *Txn, c scopeClaim) (object, error) {
	const op = "spell.claim"
	if err := tx.hosts(op, c.Scope); err != nil {
		return nothing, err
	}
	if c.Life == "" || len(c.Life) > maxGrantName {
		return nothing, api.Errorf(api.Invalid, op, "a claim must tell which life of the peer's process it comes from")
	}
	peer, _ := peerOf(tx.Actor)
	h, there := holders.one(tx.Reader, c.Scope)
	if there && h.Peer == peer && h.Life == c.Life && !h.Released {
		return object{table: holders, key: c.Scope}, nil
	}
	if free := h.freeAt(tx.Reader); there && h.Peer != peer && tx.Now.Before(free) {
		return nothing, api.Errorf(api.Conflict, op, "peer %s has the runs of the scope %s in hand, or had until lately; they are free at %s", h.Peer, c.Scope, free.Format(time.RFC3339))
	}
	interruptRuns(tx, c.Scope)
	holders.put(tx, holding{Scope: c.Scope, Peer: peer, Life: c.Life, Term: h.Term + 1, Renewed: tx.Now})
	wakeServices(tx)
	return object{table: holders, key: c.Scope}, nil
}

// freeAt is when another peer may take the runs of a scope in hand: when the holder has
// not said for a lease that it has, and the last run that it began must have ended.
func (h holding) freeAt(r Reader) time.Time {
	if h.Released {
		return time.Time{}
	}
	var longest int64
	for running := range spellRuns.all(r, "running", h.Scope) {
		if s, there := spells.one(r, running.Spell); there {
			longest = max(longest, s.CallTTL)
		}
	}
	return h.Renewed.Add(api.HolderLease + time.Duration(longest)*time.Second)
}

// releaseHolder gives back the cluster's runs that a peer has in hand which is off for good.
func releaseHolder(tx *Txn, peer string) {
	h, there := holders.one(tx.Reader, api.ScopeCluster)
	if !there || h.Peer != peer || h.Released {
		return
	}
	interruptRuns(tx, h.Scope)
	h.Released = true
	holders.put(tx, h)
	wakeServices(tx)
}

// Holder is who has the runs of a scope in hand; false when nobody has, and then it is
// who had them last.
func (r Reader) Holder(scope string) (api.Holder, bool) {
	h, there := holders.one(r, scope)
	return h.holder(), there && !h.Released
}

// Holders lists who has the runs of scopes in hand, by scope.
func (r Reader) Holders() iter.Seq[api.Holder] {
	return func(yield func(api.Holder) bool) {
		for h := range holders.each(r, "") {
			if !h.Released && !yield(h.holder()) {
				return
			}
		}
	}
}

// Claim takes the runs of a scope in hand for one life of the peer that asks; Conflict
// when another peer has them, or had them too lately. The same life has them already.
func (w *Writer) Claim(ctx context.Context, scope, life string) (Done[api.Holder], error) {
	d, err := propose[holding](ctx, w, claimScope, scopeClaim{scope, life})
	return as(d, d.Object.holder()), err
}
