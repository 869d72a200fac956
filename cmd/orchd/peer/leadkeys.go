package peer

import (
	"context"
	"fmt"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/fsm"
)

// This file is the leader's side of keys and certificates: it signs what is due, and
// takes the next step of each rotation. All that it goes by is in the tables, so the next
// leader goes on where this one ended.

const (
	keysTick     = time.Second
	signAtOnce   = 20               // certificates in one tick
	trustedSkew  = 60 * time.Second // a leader whose clock is farther off than this signs nothing: it is about to hand over
	compareTicks = 5                // for so long a new leader waits for clocks to compare its own with
	resealValues = 200              // in a batch
	resealBytes  = 256 << 10        // in a batch, or one value
)

// leadKeys does so for one term.
func (p *Peer) leadKeys(ctx context.Context) error {
	ctx = p.asPeer(ctx)
	tick := time.NewTicker(keysTick)
	defer tick.Stop()
	for ticks := 0; ; ticks++ {
		if p.machine.Read().Level() >= fsm.LevelKeys {
			if p.mayDate(ticks) {
				p.renewDue(ctx)
			}
			for _, kind := range api.KeyKinds {
				p.tried(ctx, "rotate the "+kind+" key", func() error { return p.turn(ctx, kind) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// signer is the authority that signs now.
func (p *Peer) signer(now fsm.Reader) (*ca.Authority, error) {
	return p.authority(now, now.KeyNames(api.KeyCA)[0])
}

func (p *Peer) authority(now fsm.Reader, name string) (*ca.Authority, error) {
	key, err := p.clusterKeyIn(now, name)
	if err != nil {
		return nil, err
	}
	return ca.Parse(p.identity.ClusterID, []byte(now.Setting(fsm.AuthorityName(name))), key)
}

// mayDate tells whether this leader's clock is good enough to put dates into
// certificates. One whose clock alone is wrong must not sign before it knows.
func (p *Peer) mayDate(ticks int) bool {
	skew, known := p.node.ClockError()
	return known && skew.Abs() <= trustedSkew || !known && ticks >= compareTicks
}

// renewDue signs a certificate for every member whose own is due. The member need not
// be there, nor its certificate be good: its key is in its row.
func (p *Peer) renewDue(ctx context.Context) {
	now, signed := p.machine.Read(), 0
	authority, err := p.signer(now)
	if err != nil {
		p.tried(ctx, "sign certificates", func() error { return err })
		return
	}
	for m := range now.Members() {
		if signed == signAtOnce || ctx.Err() != nil {
			return
		}
		if !p.wantsCertificate(m, authority) {
			continue
		}
		signed++
		p.tried(ctx, "renew the certificate of "+m.Name, func() error { return p.renew(ctx, m, authority) })
	}
}

// hostsOf is what a member's certificate must name.
func hostsOf(m api.Peer) []string {
	return ca.Reached(m.Name, m.Addresses.API, m.Addresses.Raft, m.Addresses.Gossip)
}

// wantsCertificate tells whether a member's certificate is due, of another authority
// than the one that signs, or does not name where the member is reached.
func (p *Peer) wantsCertificate(m api.Peer, signer *ca.Authority) bool {
	cert, err := ca.ParseCert([]byte(m.Certificate))
	return err != nil || ca.Due(cert, p.cfg.Now()) || !ca.SignedBy(cert, signer.Certificate()) || !ca.SpeaksFor(cert, hostsOf(m)...)
}

func (p *Peer) renew(ctx context.Context, m api.Peer, signer *ca.Authority) error {
	cert, err := signer.Renew(m.PublicKey, m.ID, p.cfg.Now(), hostsOf(m)...)
	if err != nil {
		return err
	}
	if err := p.writer.RenewCertificate(ctx, m, string(cert)); err != nil {
		return err
	}
	p.log.Info("certificate renewed", "peer", m.Name)
	return nil
}

// turn does what is next in the rotation of a kind of key, if anything is.
func (p *Peer) turn(ctx context.Context, kind string) error {
	now := p.machine.Read()
	rot, _ := now.Rotation(kind)
	if !rot.Running() {
		return nil
	}
	if rot.Step == fsm.RotationResealing {
		if err := p.reseal(ctx, rot); err != nil {
			return err
		}
		now = p.machine.Read()
	}
	if p.cfg.Now().Before(rot.Until()) || now.Ripe(rot) != nil {
		return nil // orchd keys status says what it waits for
	}
	err := p.writer.AdvanceRotation(ctx, rot)
	if err != nil {
		if api.IsKind(err, api.Conflict) {
			return nil // something came in between; it is looked at again
		}
		return err
	}
	next, _ := p.machine.Read().Rotation(kind)
	p.log.Info("rotation of a key goes on", "kind", kind, "step", next.Step, "key", next.Key)
	return nil
}

// reseal seals anew what is sealed with the old key, batch by batch.
func (p *Peer) reseal(ctx context.Context, rot fsm.Rotation) error {
	key, err := p.unwrapped(rot.Key)
	if err != nil {
		return err
	}
	var last fsm.SealedValue
	for ctx.Err() == nil {
		batch, end, err := p.batch(rot, seal.Key{ID: rot.Key, Bytes: key}, last)
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := p.writer.Reseal(ctx, rot.Key, batch); err != nil {
			return err
		}
		last = end
	}
	return ctx.Err()
}

// batch is the next values, and the last of them.
func (p *Peer) batch(rot fsm.Rotation, key seal.Key, after fsm.SealedValue) (batch []fsm.Resealed, last fsm.SealedValue, err error) {
	size := 0
	for v := range p.machine.Read().SealedBy(rot.Old, after) {
		plain, err := p.openSealed(v.Purpose, v.Sealed)
		if err != nil {
			return nil, last, fmt.Errorf("open the secret in the row %q of %s: %w", v.Row, v.Table, err)
		}
		sealed, err := seal.Seal(key, v.Purpose, plain)
		if err != nil {
			return nil, last, err
		}
		if size += len(sealed) + 100; len(batch) == resealValues || len(batch) > 0 && size > resealBytes {
			return batch, last, nil
		}
		batch, last = append(batch, v.Replacing(sealed)), v
	}
	return batch, last, nil
}
