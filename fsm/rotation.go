package fsm

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
)

// Rotation is how far the cluster is on its way from one of its keys to the next, or,
// when Step is RotationDone, which key it is at. A kind of key that was never rotated
// has none: its key has the plain name (KeySeal, KeyGossip, KeyCA). It moves on by
// commands alone, each of which says what it expects to find, so whoever leads may
// send the next one, twice if need be.
type Rotation struct {
	Kind      string    `json:"kind"`              // api.KeySeal, api.KeyGossip or api.KeyCA
	Step      string    `json:"step"`              //
	Key       string    `json:"key"`               // the name of the new key, as key.seal.2; never used for another
	Old       string    `json:"old,omitempty"`     // the key that it replaces; empty when that is gone
	Bridges   string    `json:"bridges,omitempty"` // ca: certificates by which the old and the new CA vouch for each other, PEM
	Hurry     bool      `json:"hurry,omitempty"`   // ca: the old one goes as soon as nobody shows a certificate of it
	Have      []string  `json:"have,omitempty"`    // ids of the peers that have done this step, in order
	StartedAt time.Time `json:"started_at"`
	StepAt    time.Time `json:"step_at"` // when it came to this step
	Version   uint64    `json:"version"`
}

var rotations = &table[Rotation]{
	name:        "rotations",
	bookkeeping: true,
	key:         func(r *Rotation) string { return r.Kind },
}

// The steps of rotations. Whoever looks at one from outside is told by api.KeyRotation.
const (
	RotationResealing = "resealing" // seal: new values are sealed with the new key, old ones are sealed anew
	RotationSpreading = "spreading" // gossip: every peer learns to read the new key
	RotationSwitching = "switching" // gossip: every peer writes with it, and still reads the old one
	RotationTrusting  = "trusting"  // ca: every peer trusts the new CA, too
	RotationIssuing   = "issuing"   // ca: every peer gets a certificate of the new CA
	RotationDone      = "done"      // the old key is gone
)

// RotationRest is how long a key that is not used any more is still accepted.
const RotationRest = 24 * time.Hour

// courses are the steps of each kind, in order, and the plain name of its key.
var courses = map[string]struct {
	plain string
	steps []string
}{
	api.KeySeal:   {KeySeal, []string{RotationResealing, RotationDone}},
	api.KeyGossip: {KeyGossip, []string{RotationSpreading, RotationSwitching, RotationDone}},
	api.KeyCA:     {KeyCA, []string{RotationTrusting, RotationIssuing, RotationDone}},
}

// next is the step behind this one.
func (r Rotation) next() string {
	steps := courses[r.Kind].steps
	return steps[min(slices.Index(steps, r.Step)+1, len(steps)-1)]
}

// Running tells whether the old key is still there.
func (r Rotation) Running() bool { return r.Kind != "" && r.Step != RotationDone }

// Until is the earliest time at which the next step may be taken; zero: no time is set.
func (r Rotation) Until() time.Time {
	if r.Step == RotationSwitching || r.Step == RotationIssuing && !r.Hurry {
		return r.StepAt.Add(RotationRest)
	}
	return time.Time{}
}

// Waiting are the members that have not done the step in hand, by id.
func (r Rotation) Waiting(now Reader) (waiting []api.Peer) {
	if !r.Running() || r.Step == RotationResealing {
		return nil
	}
	for p := range now.Members() {
		if !slices.Contains(r.Have, p.ID) {
			waiting = append(waiting, p)
		}
	}
	return waiting
}

// Rotation is how far one kind of key is; false when it was never rotated.
func (r Reader) Rotation(kind string) (Rotation, bool) { return rotations.one(r, kind) }

// RotationsChanged is closed when a rotation has come further.
func (r Reader) RotationsChanged() <-chan struct{} { return r.state.trees[rotations.pos].changed() }

// KeyNames are the keys of one kind that are accepted. The first is in use: it seals,
// encrypts or signs.
func (r Reader) KeyNames(kind string) []string {
	rot, rotated := rotations.one(r, kind)
	switch {
	case !rotated:
		return []string{courses[kind].plain}
	case !rot.Running():
		return []string{rot.Key}
	case rot.Step == RotationSpreading || rot.Step == RotationTrusting:
		return []string{rot.Old, rot.Key}
	}
	return []string{rot.Key, rot.Old}
}

// AllKeyNames are the keys of all kinds that are accepted.
func (r Reader) AllKeyNames() (names []string) {
	for kind := range ordered(courses) {
		names = append(names, r.KeyNames(kind)...)
	}
	return names
}

// NextKeyName is the name of the key that would come next.
func (r Reader) NextKeyName(kind string) string {
	plain, last := courses[kind].plain, 1
	if rot, rotated := rotations.one(r, kind); rotated {
		last, _ = strconv.Atoi(strings.TrimPrefix(rot.Key, plain+"."))
	}
	return plain + "." + strconv.Itoa(last+1)
}

// AuthorityName is the setting that holds the certificate of the CA with that key.
func AuthorityName(key string) string { return SettingCA + strings.TrimPrefix(key, KeyCA) }

const rotateOp = "keys.rotate"

// rotationStart makes the next key of a kind.
type rotationStart struct {
	Kind        string            `cbor:"1,keyasint"`
	Key         string            `cbor:"2,keyasint"`
	Wrapped     map[string][]byte `cbor:"3,keyasint"` // for every member
	Certificate string            `cbor:"4,keyasint,omitempty"`
	Bridges     string            `cbor:"5,keyasint,omitempty"`
	Hurry       bool              `cbor:"6,keyasint,omitempty"`
}

// applyStartRotation begins a rotation or, in a hurry, takes the rest out of one that is under way.
func applyStartRotation(tx *Txn, c rotationStart) (object, error) {
	if err := tx.may(api.Update, rotateOp, api.Object{Kind: "key"}); err != nil {
		return nothing, err
	}
	course, known := courses[c.Kind]
	if !known {
		return nothing, api.Errorf(api.Invalid, rotateOp, "there is no kind of key %q: it can be seal, gossip or ca", c.Kind)
	}
	rot, _ := rotations.one(tx.Reader, c.Kind)
	if rot.Running() {
		if !c.Hurry || c.Kind != api.KeyCA || rot.Hurry {
			return nothing, underWay(rot)
		}
		rot.Hurry = true
		return tx.putRotation(rot), nil
	}
	if want := tx.NextKeyName(c.Kind); c.Key != want {
		return nothing, api.Errorf(api.Unavailable, rotateOp, "the next key is %s, not %s: somebody has rotated it just now; look at: orchd keys status", want, c.Key)
	}
	for p := range tx.Members() {
		if len(c.Wrapped[p.ID]) == 0 {
			return nothing, api.Errorf(api.Unavailable, rotateOp, "peer %q has joined just now and has no part in the new key; try again", p.Name)
		}
	}
	old := tx.KeyNames(c.Kind)[0]
	settings.put(tx, setting{Name: c.Key, Wrapped: c.Wrapped, Version: 1})
	if c.Kind == api.KeyCA {
		settings.put(tx, setting{Name: AuthorityName(c.Key), Value: c.Certificate, Version: 1})
	}
	return tx.putRotation(Rotation{Kind: c.Kind, Step: course.steps[0], Key: c.Key, Old: old, Bridges: c.Bridges,
		Hurry: c.Hurry, StartedAt: tx.Now, StepAt: tx.Now, Version: rot.Version}), nil
}

func underWay(rot Rotation) error {
	return api.Errorf(api.Conflict, rotateOp, "a rotation of the %s key is under way since %s (%s); see what it waits for: orchd keys status", rot.Kind, rot.StartedAt.Format(time.RFC3339), rot.Step)
}

func (tx *Txn) putRotation(rot Rotation) object {
	rot.Version++
	rotations.put(tx, rot)
	return object{table: rotations, key: rot.Kind}
}

// rotationReport is a peer's word that it has done a step, and that its disk knows.
type rotationReport struct {
	Kind string `cbor:"1,keyasint"`
	Key  string `cbor:"2,keyasint"`
	Step string `cbor:"3,keyasint"`
}

func applyReportRotation(tx *Txn, c rotationReport) (object, error) {
	p, err := tx.asPeer("keys.report")
	if err != nil {
		return nothing, err
	}
	rot, _ := rotations.one(tx.Reader, c.Kind)
	if rot.Key != c.Key || rot.Step != c.Step || slices.Contains(rot.Have, p.ID) {
		return nothing, nil // it was said before, or of a step that is over
	}
	rot.Have = slices.Sorted(slices.Values(append(slices.Clone(rot.Have), p.ID)))
	return tx.putRotation(rot), nil
}

// rotationAdvance takes the next step, if all is ready for it.
type rotationAdvance struct {
	Kind string `cbor:"1,keyasint"`
	Key  string `cbor:"2,keyasint"`
	From string `cbor:"3,keyasint"` // the step that is over
}

func applyAdvanceRotation(tx *Txn, c rotationAdvance) (object, error) {
	if _, err := tx.asPeer("keys.advance"); err != nil {
		return nothing, err
	}
	rot, _ := rotations.one(tx.Reader, c.Kind)
	if rot.Key != c.Key || rot.Step != c.From || !rot.Running() {
		return nothing, nil // another leader was faster
	}
	if err := tx.ripe(rot); err != nil {
		return nothing, err
	}
	rot.Step, rot.StepAt, rot.Have = rot.next(), tx.Now, nil
	if rot.Step == RotationDone {
		settings.remove(tx, rot.Old)
		if rot.Kind == api.KeyCA {
			settings.remove(tx, AuthorityName(rot.Old))
		}
		rot.Old, rot.Bridges, rot.Hurry = "", "", false
	}
	return tx.putRotation(rot), nil
}

// Ripe is nil when the next step of a rotation may be taken, or says what is missing.
func (r Reader) Ripe(rot Rotation) error {
	const op = "keys.advance"
	if waiting := rot.Waiting(r); len(waiting) > 0 {
		return api.Errorf(api.Conflict, op, "peer %q has not done step %s of the rotation of the %s key", waiting[0].Name, rot.Step, rot.Kind)
	}
	if rot.Step == RotationResealing {
		for v := range r.SealedBy(rot.Old, SealedValue{}) {
			return api.Errorf(api.Conflict, op, "the row %q of %s is still sealed with %s", v.Row, v.Table, rot.Old)
		}
	}
	return nil
}

// ripe is Ripe at the time of a command.
func (tx *Txn) ripe(rot Rotation) error {
	if until := rot.Until(); tx.Now.Before(until) {
		return api.Errorf(api.Conflict, "keys.advance", "the old %s key stays until %s", rot.Kind, until.Format(time.RFC3339))
	}
	return tx.Ripe(rot)
}

// lacksKeys tells of a key that a newcomer was not given, because it came up while the
// newcomer was let in.
func lacksKeys(r Reader, wrapped map[string][]byte) error {
	for kind := range ordered(courses) {
		if _, rotated := rotations.one(r, kind); !rotated {
			continue
		}
		for _, name := range r.KeyNames(kind) {
			if len(wrapped[name]) == 0 {
				return api.Errorf(api.Unavailable, "join", "the cluster's keys are being rotated, and %s came up just now; run the same command again", name)
			}
		}
	}
	return nil
}

// certificateRenew gives a peer another certificate.
type certificateRenew struct {
	Peer        string `cbor:"1,keyasint"`
	Was         []byte `cbor:"2,keyasint"` // SHA-256 of the one that it replaces
	Certificate string `cbor:"3,keyasint"` // PEM
}

// applyRenewCertificate stores what the leader has signed. The peer finds it in its row.
func applyRenewCertificate(tx *Txn, c certificateRenew) (object, error) {
	if _, err := tx.asPeer("keys.renew"); err != nil {
		return nothing, err
	}
	p, ok := peers.one(tx.Reader, c.Peer)
	if !ok || p.State != api.PeerMember {
		return nothing, api.Errorf(api.NotFound, "keys.renew", "no peer %s", c.Peer)
	}
	if string(digest([]byte(p.Certificate))) != string(c.Was) {
		return object{table: peers, key: p.ID}, nil // another leader was faster
	}
	p.Certificate = c.Certificate
	return putPeer(tx, p)
}

// NewKey is the next key of a kind, as StartRotation wants it.
type NewKey struct {
	Kind        string
	Key         string            // NextKeyName
	Wrapped     map[string][]byte // by peer id
	Certificate string            // ca: of the new CA, PEM
	Bridges     string            // ca: see Rotation
	Hurry       bool              // ca: see Rotation
}

// StartRotation begins to replace a key.
func (w *Writer) StartRotation(ctx context.Context, k NewKey) (Done[Rotation], error) {
	return propose[Rotation](ctx, w, startRotation, rotationStart(k))
}

// ReportRotation says that the peer that asks has done the step that rot is at.
func (w *Writer) ReportRotation(ctx context.Context, rot Rotation) error {
	_, err := propose[Rotation](ctx, w, reportRotation, rotationReport{rot.Kind, rot.Key, rot.Step})
	return err
}

// AdvanceRotation takes the step behind the one that rot is at. Conflict says what is missing.
func (w *Writer) AdvanceRotation(ctx context.Context, rot Rotation) error {
	_, err := propose[Rotation](ctx, w, advanceRotation, rotationAdvance{rot.Kind, rot.Key, rot.Step})
	return err
}

// RenewCertificate gives a peer, as its row was read, another certificate (PEM).
func (w *Writer) RenewCertificate(ctx context.Context, p api.Peer, certificate string) error {
	_, err := propose[api.Peer](ctx, w, renewCertificate, certificateRenew{p.ID, digest([]byte(p.Certificate)), certificate})
	return err
}
