package fsm

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
)

// keysLog is the golden log of the commands of keys and levels. It holds real secrets,
// sealed with keys that nobody has.
const keysLog = "testdata/log-3.golden"

// TestGoldenLogOfKeys: the log speaks of each of these commands with effect, every kind of
// key has been replaced, and the level has been raised.
func TestGoldenLogOfKeys(t *testing.T) {
	if _, err := os.Stat(keysLog); *update && errors.Is(err, fs.ErrNotExist) {
		writeKeysLog(t)
	}
	entries, _ := goldenEntries(t, keysLog)
	m, done := New(), map[Type]int{}
	for _, e := range entries {
		c, _, err := decode(e.command)
		if err != nil {
			t.Fatalf("entry %d: %v", e.index, err)
		}
		if r := m.Apply(e.index, 0, e.at, e.command).(Result); r.Err == nil {
			done[c.Type]++
		}
	}
	for _, typ := range []Type{raiseLevel, renewCertificate, startRotation, reportRotation, advanceRotation, resealValues} {
		if done[typ] == 0 {
			t.Errorf("no command %d in the log had an effect", typ)
		}
	}
	r := m.Read()
	for _, kind := range api.KeyKinds {
		if rot, _ := r.Rotation(kind); rot.Step != RotationDone {
			t.Errorf("the rotation of the %s key ends at %q", kind, rot.Step)
		}
	}
	if r.Level() != LevelKeys {
		t.Errorf("the level is %d at the end", r.Level())
	}
	keysHold(t, 0, r)
	if err := m.Verify(); err != nil {
		t.Error(err)
	}
}

// teller applies commands and writes them down.
type teller struct {
	*vault
	text strings.Builder
}

func (l *teller) apply(command []byte) Result {
	l.index++
	l.at = l.at.Add(time.Second)
	fmt.Fprintf(&l.text, "%d %d %x\n", l.index, l.at.UnixMicro(), command)
	return l.m.Apply(l.index, 0, l.at, command).(Result)
}

func (l *teller) tell(actor api.Actor, typ Type, body any) {
	l.t.Helper()
	command, err := encode(Meta{Type: typ, V: 1, ID: fmt.Sprintf("%08d-0000-4000-8000-000000000000", l.index), Actor: actor}, body)
	if err != nil {
		l.t.Fatal(err)
	}
	if r := l.apply(command); r.Err != nil {
		l.t.Fatalf("command %d: %v", typ, r.Err)
	}
}

// settle applies what is held back.
func (l *teller) settle() {
	for _, command := range l.held {
		l.apply(command)
	}
	l.held = nil
}

// writeKeysLog tells the story: a peer alone has secrets and replaces its sealing key twice
// while others are written, a second joins, and both replace the other keys, get new
// certificates and raise the level.
func writeKeysLog(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	l := &teller{vault: &vault{log: &log{t: t, m: New(), at: epoch0}, keys: map[string][]byte{KeySeal: seal.NewKey(KeySeal).Bytes}}}
	a, b := ActorOfPeer("a"), ActorOfPeer("b")
	l.tell(a, initCluster, clusterInit{Peer: testPeer("a"), Settings: map[string]string{SettingCluster: "c", SettingCA: "certificate", SettingVoters: "3"},
		Keys: map[string]map[string][]byte{KeyCA: {"a": {1}}, KeyGossip: {"a": {2}}, KeySeal: {"a": {3}}}})
	for turns := 0; turns < 2; {
		for range 15 {
			l.write(rng)
		}
		l.settle()
		for {
			l.turn(rng)
			l.write(rng)
			l.settle()
			if rot, _ := l.m.Read().Rotation(api.KeySeal); !rot.Running() {
				turns++
				break
			}
		}
	}
	l.tell(admin, createToken, tokenCreate{ID: "t", Hash: hashSecret("s"), Role: api.RolePeer, TTL: time.Hour, Uses: 1})
	join := peerJoin{Token: "t", Hash: hashSecret("s"), Peer: testPeer("b"), Wrapped: map[string][]byte{}}
	for _, name := range l.m.Read().AllKeyNames() {
		join.Wrapped[name] = []byte{4}
	}
	l.tell(api.Actor{Role: api.RolePeer}, joinPeer, join)
	for _, kind := range []string{api.KeyGossip, api.KeyCA} {
		start := rotationStart{Kind: kind, Key: l.m.Read().NextKeyName(kind), Wrapped: map[string][]byte{"a": {5}, "b": {6}}}
		if kind == api.KeyCA {
			start.Certificate, start.Bridges, start.Hurry = "new certificate", "bridges", true
		}
		l.tell(admin, startRotation, start)
		for {
			rot, _ := l.m.Read().Rotation(kind)
			if !rot.Running() {
				break
			}
			for _, peer := range []api.Actor{a, b} {
				l.tell(peer, reportRotation, rotationReport{kind, rot.Key, rot.Step})
			}
			if !rot.Until().IsZero() {
				l.at = l.at.Add(RotationRest)
			}
			l.tell(a, advanceRotation, rotationAdvance{kind, rot.Key, rot.Step})
		}
	}
	for _, peer := range []string{"a", "b"} {
		l.tell(a, renewCertificate, certificateRenew{peer, digest(nil), "certificate of " + peer})
		l.tell(ActorOfPeer(peer), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Capacity: testPeer(peer).Capacity, Level: LevelKeys, Software: "1.2"})
	}
	l.tell(a, raiseLevel, levelRaise{To: LevelKeys, Release: "1.2"})
	fmt.Fprintf(&l.text, "hash %s\n", l.m.Read().Hash())
	if err := os.WriteFile(keysLog, []byte(l.text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
