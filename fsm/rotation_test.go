package fsm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/api/smd"
)

// rotate is one of the commands that replace keys: mostly the one that is due.
func (s *scribe) rotate(t *testing.T) []byte {
	r := s.m.Read()
	kind := pick(s, api.KeyKinds)
	rot, _ := r.Rotation(kind)
	sender := ActorOfPeer(s.member().ID)
	switch s.rng.IntN(8) {
	case 0:
		p := s.member()
		was := p.Certificate
		if s.rng.IntN(4) == 0 {
			was = "another"
		}
		return s.encoded(t, renewCertificate, sender, certificateRenew{p.ID, digest([]byte(was)), fmt.Sprint("certificate ", s.rng.IntN(9))})
	case 1:
		return s.encoded(t, resealValues, sender, valuesReseal{Key: rot.Key})
	case 2, 3, 4:
		if waiting := rot.Waiting(r); len(waiting) > 0 {
			return s.encoded(t, reportRotation, ActorOfPeer(waiting[0].ID), rotationReport{kind, rot.Key, rot.Step})
		}
	}
	if rot.Running() && s.rng.IntN(3) > 0 {
		return s.encoded(t, advanceRotation, sender, rotationAdvance{kind, rot.Key, rot.Step})
	}
	start := rotationStart{Kind: kind, Key: r.NextKeyName(kind), Wrapped: map[string][]byte{}, Hurry: s.rng.IntN(4) == 0}
	for p := range r.Members() {
		if s.rng.IntN(20) > 0 {
			start.Wrapped[p.ID] = []byte{byte(s.rng.IntN(256))}
		}
	}
	if kind == api.KeyCA {
		start.Certificate, start.Bridges = "certificate of "+start.Key, "bridges"
	}
	return s.encoded(t, startRotation, s.actor(), start)
}

// keysHold: of each kind the keys that are accepted are there, each wrapped for every
// member that they were wrapped for, and no other is.
func keysHold(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	var there []string
	for s := range settings.each(r, "") {
		if strings.HasPrefix(s.Name, "key.") {
			there = append(there, s.Name)
		}
	}
	for _, kind := range api.KeyKinds {
		if _, rotated := r.Rotation(kind); !rotated {
			continue
		}
		names := r.KeyNames(kind)
		for _, name := range names {
			if !slices.Contains(there, name) && name != courses[kind].plain { // the scribe's cluster has no key of gossip
				t.Errorf("seed %d: %s is accepted and not there", seed, name)
			}
		}
		for _, name := range there {
			if strings.HasPrefix(name, courses[kind].plain) && !slices.Contains(names, name) {
				t.Errorf("seed %d: %s is there, and accepted are %v", seed, name, names)
			}
		}
	}
}

func TestRotationTakesItsSteps(t *testing.T) {
	for kind, steps := range map[string][]string{
		api.KeyGossip: {RotationSpreading, RotationSwitching},
		api.KeyCA:     {RotationTrusting, RotationIssuing},
	} {
		l := newLog(t, "a", "b")
		rot := func() Rotation { r, _ := l.m.Read().Rotation(kind); return r }
		plain := courses[kind].plain
		start := rotationStart{Kind: kind, Key: plain + ".2", Wrapped: map[string][]byte{"a": {1}, "b": {2}}, Certificate: "new"}
		l.refused(api.Forbidden, operator, startRotation, start)
		lacking := start
		lacking.Wrapped = map[string][]byte{"a": {1}}
		l.refused(api.Unavailable, admin, startRotation, lacking)
		wrong := start
		wrong.Key = plain + ".3"
		l.refused(api.Unavailable, admin, startRotation, wrong)
		l.must(admin, startRotation, start)
		l.refused(api.Conflict, admin, startRotation, start)
		if got, want := l.m.Read().KeyNames(kind), []string{plain, plain + ".2"}; !slices.Equal(got, want) {
			t.Errorf("%s: at first the keys are %v, want %v", kind, got, want)
		}
		for _, step := range steps {
			advance := rotationAdvance{kind, start.Key, step}
			l.must(ActorOfPeer("a"), reportRotation, rotationReport{kind, start.Key, step})
			l.must(ActorOfPeer("a"), reportRotation, rotationReport{kind, start.Key, step})
			l.refused(api.Conflict, ActorOfPeer("a"), advanceRotation, advance)
			l.refused(api.Forbidden, admin, advanceRotation, advance)
			l.must(ActorOfPeer("b"), reportRotation, rotationReport{kind, start.Key, step})
			if !rot().Until().IsZero() {
				l.refused(api.Conflict, ActorOfPeer("a"), advanceRotation, advance)
				l.at = l.at.Add(RotationRest)
			}
			l.must(ActorOfPeer("a"), advanceRotation, advance)
			l.must(ActorOfPeer("b"), advanceRotation, advance) // another leader was slower
		}
		r := l.m.Read()
		if got := r.KeyNames(kind); rot().Step != RotationDone || !slices.Equal(got, []string{plain + ".2"}) {
			t.Errorf("%s: at the end it is %s, with %v", kind, rot().Step, got)
		}
		if _, there := r.WrappedKey(plain, "a"); there {
			t.Errorf("%s: the old key is still there", kind)
		}
		if kind == api.KeyCA && (r.Setting("ca") != "" || r.Setting("ca.2") != "new") {
			t.Errorf("the certificates of the CAs are %q and %q", r.Setting("ca"), r.Setting("ca.2"))
		}
		if got := r.NextKeyName(kind); got != plain+".3" {
			t.Errorf("%s: the next key would be %s", kind, got)
		}
		keysHold(t, 0, r)
	}
}

func TestHurryTakesTheRestOut(t *testing.T) {
	l := newLog(t, "a")
	start := rotationStart{Kind: api.KeyCA, Key: "key.ca.2", Wrapped: map[string][]byte{"a": {1}}}
	l.must(admin, startRotation, start)
	for _, step := range []string{RotationTrusting, RotationIssuing} {
		l.must(ActorOfPeer("a"), reportRotation, rotationReport{api.KeyCA, start.Key, step})
		if step == RotationIssuing {
			l.refused(api.Conflict, ActorOfPeer("a"), advanceRotation, rotationAdvance{api.KeyCA, start.Key, step})
			start.Hurry = true
			l.must(admin, startRotation, start)
			l.refused(api.Conflict, admin, startRotation, start)
		}
		l.must(ActorOfPeer("a"), advanceRotation, rotationAdvance{api.KeyCA, start.Key, step})
	}
	if rot, _ := l.m.Read().Rotation(api.KeyCA); rot.Step != RotationDone || rot.Hurry {
		t.Errorf("it is at %+v", rot)
	}
}

// TestNewcomerMeetsARotation: who was prepared before a key came up is not let in
// without it.
func TestNewcomerMeetsARotation(t *testing.T) {
	l := newLog(t, "a")
	l.must(admin, createToken, tokenCreate{ID: "t", Hash: hashSecret("s"), Role: api.RolePeer, TTL: time.Hour, Uses: 1})
	join := peerJoin{Token: "t", Hash: hashSecret("s"), Peer: testPeer("b"), Wrapped: map[string][]byte{KeyCA: {2}, KeySeal: {2}}}
	l.must(admin, startRotation, rotationStart{Kind: api.KeySeal, Key: "key.seal.2", Wrapped: map[string][]byte{"a": {1}}})
	l.refused(api.Unavailable, api.Actor{Role: api.RolePeer}, joinPeer, join)
	join.Wrapped["key.seal.2"] = []byte{2}
	l.must(api.Actor{Role: api.RolePeer}, joinPeer, join)
	if _, has := l.m.Read().WrappedKey("key.seal.2", "b"); !has {
		t.Error("the newcomer has no part in the new key")
	}
}

func TestRenewedCertificateReplacesTheOneThatWasRead(t *testing.T) {
	l := newLog(t, "a", "b")
	renew := certificateRenew{Peer: "b", Was: digest(nil), Certificate: "one"}
	l.refused(api.Forbidden, admin, renewCertificate, renew)
	l.must(ActorOfPeer("a"), renewCertificate, renew)
	renew.Certificate = "two"
	l.must(ActorOfPeer("a"), renewCertificate, renew) // of an earlier leader
	if p, _ := l.m.Read().Peer("b"); p.Certificate != "one" {
		t.Errorf("the certificate is %q", p.Certificate)
	}
	renew.Peer = "c"
	l.refused(api.NotFound, ActorOfPeer("a"), renewCertificate, renew)
}

// vault is a cluster whose writes can be held back: each command is made from a state,
// and applied at any later one.
type vault struct {
	*log
	keys map[string][]byte
	held [][]byte
}

var errHeld = errors.New("held back")

func (v *vault) Propose(_ context.Context, command []byte) ([]byte, error) {
	v.held = append(v.held, command)
	return nil, errHeld
}

// Seal seals with the key that is in use as the write is made.
func (v *vault) Seal(purpose string, plaintext []byte) ([]byte, error) {
	name := v.m.Read().KeyNames(api.KeySeal)[0]
	return seal.Seal(seal.Key{ID: name, Bytes: v.keys[name]}, purpose, plaintext)
}

// write makes a write of one of the secrets there are.
func (v *vault) write(rng *rand.Rand) {
	w, ctx := NewWriter(v, nil, v), asAdmin()
	k, text := rng.IntN(20), fmt.Sprint("secret ", rng.IntN(1000))
	object := inventory.Object(fmt.Sprintf(`{"a":%q}`, text))
	switch rng.IntN(5) {
	case 0:
		patch, _ := json.Marshal(map[string]any{"auth": map[string]any{"jwt_secret": strings.Repeat(text, 8)}})
		w.PatchSettings(ctx, patch)
	case 1:
		w.CreateBMC(ctx, inventory.BMC{XName: fmt.Sprintf("x%dc0s0b0", k), Username: "u", Password: &text})
	case 2:
		w.CreateNodes(ctx, []inventory.ComputeNode{{Hostname: fmt.Sprint("n", k), Architecture: "x86_64", Spec: &inventory.NodeSpec{BMCPassword: &text},
			CloudInit: &inventory.CloudInit{UserData: object, MetaData: object, VendorData: object}}}, false)
	case 3:
		w.CreateCollection(ctx, inventory.NodeCollection{Name: fmt.Sprint("c", k), Type: "tenant", Nodes: []string{fmt.Sprintf("x%dc0s0b0n0", k)}, CloudInit: map[string]string{"a": text}})
	case 4:
		w.PutEndpoint(ctx, smd.EndpointRecord{Endpoint: smd.RedfishEndpoint{ID: fmt.Sprintf("x%dc0s0b0", k), Password: text}}, true)
	}
}

// turn is what a leader, or one that thinks it leads, does about the rotation.
func (v *vault) turn(rng *rand.Rand) {
	r := v.m.Read()
	rot, _ := r.Rotation(api.KeySeal)
	w, ctx := NewWriter(v, nil, v), as1(ActorOfPeer("a"))
	if !rot.Running() {
		name := r.NextKeyName(api.KeySeal)
		if v.keys[name] == nil {
			v.keys[name] = seal.NewKey(name).Bytes
		}
		w.StartRotation(asAdmin(), NewKey{Kind: api.KeySeal, Key: name, Wrapped: map[string][]byte{"a": v.keys[name]}})
		return
	}
	var batch []Resealed
	for old := range r.SealedBy(rot.Old, SealedValue{}) {
		if len(batch) > rng.IntN(4) {
			break
		}
		plain, err := seal.Open(v.find, old.Purpose, old.Sealed)
		if err != nil {
			v.t.Fatalf("a value of %s cannot be opened to be sealed anew: %v", old.Table, err)
		}
		again, err := seal.Seal(seal.Key{ID: rot.Key, Bytes: v.keys[rot.Key]}, old.Purpose, plain)
		if err != nil {
			v.t.Fatal(err)
		}
		batch = append(batch, old.Replacing(again))
	}
	if len(batch) > 0 && rng.IntN(5) > 0 {
		w.Reseal(ctx, rot.Key, batch)
		return
	}
	w.AdvanceRotation(ctx, rot)
}

// find gives the keys that the tables hold now, and no other.
func (v *vault) find(id string) ([]byte, bool) {
	_, there := v.m.Read().WrappedKey(id, "a")
	return v.keys[id], there
}

// opens checks that every sealed value opens.
func (v *vault) opens(seed uint64) (n int) {
	v.t.Helper()
	for _, t := range secretTables {
		for value := range t.sealedValues(v.m.Read().state, "") {
			n++
			if _, err := seal.Open(v.find, value.Purpose, value.Sealed); err != nil {
				v.t.Fatalf("seed %d, index %d: the row %q of %s: %v", seed, v.index, value.Row, value.Table, err)
			}
		}
	}
	return n
}

// TestEverySealedValueOpens: writes, batches and steps are applied in any order, late,
// and twice, by leaders that saw another state; no value is ever without its key, and
// once all is quiet every rotation comes to its end.
//
//race:out
func TestEverySealedValueOpens(t *testing.T) {
	values, rotated, late := 0, 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		v := &vault{log: newLog(t, "a"), keys: map[string][]byte{KeySeal: seal.NewKey(KeySeal).Bytes}}
		settingsOf := func() { // the cluster of these tests begins without a sealing key
			tx := newTxn(v.m.published.Load(), v.index+1, v.at)
			settings.put(tx, setting{Name: KeySeal, Wrapped: map[string][]byte{"a": {1}}, Version: 1})
			v.index++
			v.m.publish(tx)
		}
		settingsOf()
		apply := func(k int) {
			v.index++
			r := v.m.Apply(v.index, 0, v.at, v.held[k]).(Result)
			if r.Err != nil && strings.Contains(r.Err.Msg, "replaced meanwhile") {
				late++
			}
			v.opens(seed)
		}
		for range 150 {
			if rng.IntN(3) == 0 {
				v.turn(rng)
			} else {
				v.write(rng)
			}
			for len(v.held) > rng.IntN(12) {
				k := rng.IntN(len(v.held))
				apply(k)
				if rng.IntN(5) > 0 {
					v.held = slices.Delete(v.held, k, k+1)
				}
			}
		}
		for range 1000 {
			if rot, _ := v.m.Read().Rotation(api.KeySeal); !rot.Running() && rot.Kind != "" {
				break
			}
			v.held = nil
			v.turn(rng)
			apply(0)
		}
		rot, _ := v.m.Read().Rotation(api.KeySeal)
		if rot.Step != RotationDone {
			t.Fatalf("seed %d: the rotation is still at %s", seed, rot.Step)
		}
		if err := v.m.Verify(); err != nil {
			t.Error(err)
		}
		keysHold(t, seed, v.m.Read())
		values += v.opens(seed)
		rotated += int(rot.Version)
	}
	if values < 1000 || late < 5 {
		t.Errorf("%d values, %d steps, %d came too late: the test says little", values, rotated, late)
	}
}

// TestResealingIsNoChange: whoever follows the changes is not told of rows in which nothing
// that shows has changed.
func TestResealingIsNoChange(t *testing.T) {
	v := &vault{log: newLog(t, "a"), keys: map[string][]byte{KeySeal: seal.NewKey(KeySeal).Bytes}}
	v.m.KeepChanges(0)
	tx := newTxn(v.m.published.Load(), v.index+1, v.at)
	settings.put(tx, setting{Name: KeySeal, Wrapped: map[string][]byte{"a": {1}}, Version: 1})
	v.index++
	v.m.publish(tx)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		v.write(rng)
	}
	v.turn(rng)
	all := func() {
		for _, command := range v.held {
			v.index++
			v.m.Apply(v.index, 0, v.at, command)
		}
		v.held = nil
	}
	all()
	var before stream
	before.drain(v.m)
	for range 100 {
		v.turn(rng)
		if rot, _ := v.m.Read().Rotation(api.KeySeal); !rot.Running() {
			break
		}
		all()
	}
	var after stream
	after.drain(v.m)
	for _, c := range after.changes {
		if c.Table != "settings" {
			t.Errorf("a change of %s %q is told", c.Table, c.Key)
		}
	}
}
