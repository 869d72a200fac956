package peer

import (
	"context"
	"fmt"
	"time"

	"filippo.io/age"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/cmd/orchd/keycopy"
	"github.com/orchd/orchd/fsm"
)

// currentEnough is how long the state of the keys waits for proof that it is current;
// without quorum it is what this peer knows.
const currentEnough = 2 * time.Second

// Keys tells of keys and certificates, and shows none of the keys.
func (p *Peer) Keys(ctx context.Context) (api.Keys, error) {
	short, cancel := context.WithTimeout(ctx, currentEnough)
	defer cancel()
	_ = p.node.ReadIndex(short) // one looks at this above all when something is wrong
	now := p.machine.Read()
	k := api.Keys{Certificates: []api.CertificateView{}, Keys: []api.KeyView{}, Rotations: []api.KeyRotation{}}
	trusted, err := ca.ParseCerts(authorities(now))
	if err != nil {
		return k, fmt.Errorf("the certificates of the CA: %w", err)
	}
	for _, a := range trusted {
		k.Authorities = append(k.Authorities, api.AuthorityView{Hash: ca.HashOf(a), NotAfter: a.NotAfter, PEM: string(ca.Encode(a))})
	}
	for m := range now.Members() {
		k.Certificates = append(k.Certificates, p.certificateView(m, k.Authorities))
	}
	for _, kind := range api.KeyKinds {
		for n, name := range now.KeyNames(kind) {
			k.Keys = append(k.Keys, api.KeyView{Name: name, Kind: kind, InUse: n == 0})
		}
		if rot, rotated := now.Rotation(kind); rotated {
			k.Rotations = append(k.Rotations, rotationView(now, rot))
		}
	}
	return k, nil
}

// certificateView is what there is to say of a member's certificate.
func (p *Peer) certificateView(m api.Peer, trusted []api.AuthorityView) api.CertificateView {
	v := api.CertificateView{Peer: m.Name, State: api.CertificateExpired}
	cert, err := ca.ParseCert([]byte(m.Certificate))
	if err != nil {
		return v
	}
	v.NotAfter = cert.NotAfter
	for n, a := range trusted {
		authority, err := ca.ParseCert([]byte(a.PEM))
		if err != nil || !ca.SignedBy(cert, authority) {
			continue
		}
		v.Issuer, v.State = a.Hash, api.CertificateGood
		if n > 0 {
			v.State = api.CertificateOld
		}
	}
	switch now := p.cfg.Now(); {
	case now.After(cert.NotAfter) || now.Before(cert.NotBefore):
		v.State = api.CertificateExpired
	case v.State == api.CertificateGood && ca.Due(cert, now):
		v.State = api.CertificateDue
	}
	return v
}

// rotationView is a rotation as people see it.
func rotationView(now fsm.Reader, rot fsm.Rotation) api.KeyRotation {
	v := api.KeyRotation{Kind: rot.Kind, Step: rot.Step, Key: rot.Key, Old: rot.Old, StartedAt: rot.StartedAt, StepAt: rot.StepAt}
	for _, m := range rot.Waiting(now) {
		v.Waiting = append(v.Waiting, m.Name)
	}
	if rot.Step == fsm.RotationResealing {
		for range now.SealedBy(rot.Old, fsm.SealedValue{}) {
			v.Values++
		}
	}
	if until := rot.Until(); rot.Running() && !until.IsZero() {
		v.NotBefore = &until
	}
	return v
}

// RotateKey begins to replace a key. The leader takes the steps.
func (p *Peer) RotateKey(ctx context.Context, want api.KeyRotate) (server.Done[api.KeyRotation], error) {
	if err := p.node.ReadIndex(ctx); err != nil {
		return server.Done[api.KeyRotation]{}, err
	}
	now := p.machine.Read()
	next, err := p.nextKey(now, want)
	if err != nil {
		return server.Done[api.KeyRotation]{}, err
	}
	d, err := p.writer.StartRotation(ctx, next)
	if err != nil {
		return server.Done[api.KeyRotation]{}, err
	}
	return showing(d, rotationView(p.machine.Read(), d.Object)), nil
}

// nextKey makes the key that comes next, wrapped for every member.
func (p *Peer) nextKey(now fsm.Reader, want api.KeyRotate) (fsm.NewKey, error) {
	k := fsm.NewKey{Kind: want.Kind, Key: now.NextKeyName(want.Kind), Wrapped: map[string][]byte{}, Hurry: want.Now && want.Kind == api.KeyCA}
	key := randomKey()
	if want.Kind == api.KeyCA {
		var err error
		if key, err = p.nextAuthority(now, &k); err != nil {
			return k, err
		}
	}
	for m := range now.Members() {
		wrapped, err := wrapFor(m.WrapKey, map[string][]byte{k.Key: key})
		if err != nil {
			return k, api.Errorf(api.Internal, "keys.rotate", "peer %q: %w", m.Name, err)
		}
		k.Wrapped[m.ID] = wrapped[k.Key]
	}
	return k, nil
}

// nextAuthority makes a CA, and the certificates by which it and the present one vouch
// for each other. It gives its key.
func (p *Peer) nextAuthority(now fsm.Reader, k *fsm.NewKey) (key []byte, err error) {
	present, err := p.signer(now)
	if err != nil {
		return nil, err
	}
	next, err := ca.New(p.identity.ClusterID, p.cfg.Now())
	if err != nil {
		return nil, err
	}
	forward, err := present.Vouch(next.Certificate())
	if err != nil {
		return nil, err
	}
	back, err := next.Vouch(present.Certificate())
	if err != nil {
		return nil, err
	}
	k.Certificate, k.Bridges = string(next.PEM()), string(forward)+string(back)
	return next.MarshalKey()
}

// ExportKeys gives all keys of the cluster, encrypted to whoever asks, and leaves a
// record of that in the log.
func (p *Peer) ExportKeys(ctx context.Context, to api.KeyExport) (api.KeyCopy, error) {
	const op = "keys.export"
	recipient, err := age.ParseX25519Recipient(to.Recipient)
	if err != nil {
		return api.KeyCopy{}, &api.Error{Kind: api.Invalid, Op: op, Msg: "the recipient is not valid", Fields: []api.FieldError{{Pointer: "/recipient", Detail: "must be an X25519 recipient of age, age1..."}}}
	}
	if err := p.record(ctx, "key", "all"); err != nil {
		return api.KeyCopy{}, err
	}
	now := p.machine.Read()
	doc := api.KeyDocument{Format: keycopy.Format, ClusterID: p.identity.ClusterID, MadeAt: p.cfg.Now().UTC(), Authorities: map[string]string{}, Keys: map[string][]byte{}}
	for _, kind := range api.KeyKinds {
		for n, name := range now.KeyNames(kind) {
			if doc.Keys[name], err = p.clusterKeyIn(now, name); err != nil {
				return api.KeyCopy{}, err
			}
			if kind == api.KeyCA {
				doc.Authorities[name] = now.Setting(fsm.AuthorityName(name))
			}
			if n == 0 {
				doc.InUse = append(doc.InUse, name)
			}
		}
	}
	file, err := keycopy.Encrypt(doc, recipient)
	return api.KeyCopy{File: file}, err
}

// keyWarnings are what a person should know about certificates.
func (p *Peer) keyWarnings(now fsm.Reader, add func(code, peer, vm, detail, action string)) {
	trusted, err := ca.ParseCerts(authorities(now))
	if err != nil {
		return // a peer that has applied nothing
	}
	if ca.EndsSoon(trusted[0], p.cfg.Now()) {
		add("ca-ends", "", "", fmt.Sprintf("the cluster's CA ends on %s; clients trust nothing that it signed then", trusted[0].NotAfter.Format(time.DateOnly)), "replace it: orchd keys rotate ca")
	}
	for m := range now.Members() {
		if cert, err := ca.ParseCert([]byte(m.Certificate)); err == nil && p.cfg.Now().After(cert.NotAfter) {
			add("certificate-expired", m.Name, "", fmt.Sprintf("its certificate ended on %s: peers still know it by its key, clients do not", cert.NotAfter.Format(time.DateTime)),
				"the leader renews it by itself; if it does not, upgrade the peers that are behind, and see: orchd keys status")
		}
	}
	if ended := p.startedExpired; !ended.IsZero() {
		add("certificate-was-expired", p.identity.Name, "", fmt.Sprintf("when this peer started, its certificate had ended on %s by its clock; it was let in by its key, and its certificate is renewed", ended.Format(time.DateTime)),
			"if it was not off for that long, its clock is wrong: mend its time synchronisation")
	}
}
