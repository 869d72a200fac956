package peer

import (
	"context"

	"github.com/orchd/orchd/api"
)

// TransferLeadership has another voter lead, by its id; the one furthest ahead where
// that is empty. Who asked for it is recorded in the log afterwards: the leader may be
// wanted out of the way because it can write nothing.
func (p *Peer) TransferLeadership(ctx context.Context, to string) (api.Leadership, error) {
	was, _ := p.node.Leader()
	if err := p.node.TransferLeadership(ctx, to); err != nil {
		return api.Leadership{}, err
	}
	leader, term := p.node.Leader()
	p.log.Info("leadership was handed over", "was", p.nameOf(was), "leader", p.nameOf(leader), "actor", api.CallerOf(ctx).Actor.ID)
	if err := p.record(ctx, "leader", leader); err != nil {
		p.log.Warn("that leadership was handed over could not be recorded in the log", "err", err)
	}
	return api.Leadership{Leader: p.nameOf(leader), Was: p.nameOf(was), Term: term}, nil
}
