package peer

import (
	"context"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/fsm"
)

// showing is a write's outcome in the server's words, with an object that it shows.
func showing[T, U any](d fsm.Done[T], object U) server.Done[U] {
	return server.Done[U]{Object: object, Replayed: d.Replayed, Gone: d.Gone, Index: d.Index, Version: d.Version}
}

// done is a write's outcome in the server's words.
func done[T any](d fsm.Done[T], err error) (server.Done[T], error) {
	return showing(d, d.Object), err
}

// CreateToken makes a credential. One for a peer comes with the command to paste on the new host.
func (p *Peer) CreateToken(ctx context.Context, c api.TokenCreate) (server.Done[api.NewToken], error) {
	pin, err := ca.Hash(authorities(p.machine.Read())) // of the one that signs
	if err != nil {
		return server.Done[api.NewToken]{}, err
	}
	d, err := p.writer.CreateToken(ctx, c, pin)
	if err == nil && d.Object.Role == api.RolePeer {
		d.Object.Join = "orchd join " + p.addresses.API + " --token " + d.Object.Token
	}
	return done(d, err)
}

// DeleteToken revokes a credential.
func (p *Peer) DeleteToken(ctx context.Context, id string) error {
	return p.writer.DeleteToken(ctx, id)
}

// SetSchedulable cordons or uncordons a peer.
func (p *Peer) SetSchedulable(ctx context.Context, id string, on bool) (server.Done[api.PeerView], error) {
	d, err := p.writer.SetSchedulable(ctx, id, on)
	if err != nil {
		return server.Done[api.PeerView]{}, err
	}
	now := p.machine.Read()
	return showing(d, p.look(now).of(now, d.Object)), nil
}

// Authenticate finds who a bearer token speaks for, by this peer's own tables:
// a revoked token is refused from when this peer has applied that. A token that
// is not known here may be new, so this peer catches up before it says so; Unavailable
// when it cannot.
func (p *Peer) Authenticate(ctx context.Context, bearer string) (api.Actor, error) {
	actor, ok := p.machine.Read().TokenActor(bearer, p.cfg.Now())
	if !ok {
		if err := p.node.ReadIndex(ctx); err != nil {
			return api.Actor{}, api.Errorf(api.Unavailable, "auth", "this peer does not know the token, and cannot ask the others whether there is such a one: %w", err)
		}
		actor, ok = p.machine.Read().TokenActor(bearer, p.cfg.Now())
	}
	if !ok {
		return api.Actor{}, api.Errorf(api.Unauthenticated, "auth", "the token is not known, or it has expired; make one with: orchd token create --role operator")
	}
	return actor, nil
}

// asPeer is ctx with this peer as the one who asks.
func (p *Peer) asPeer(ctx context.Context) context.Context {
	return api.WithCaller(ctx, api.Caller{Actor: fsm.ActorOfPeer(p.identity.PeerID)})
}
