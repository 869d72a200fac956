package fsm

import (
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// leveled is a cluster at level 1 whose peers know these levels.
func leveled(t *testing.T, levels map[string]uint64) *log {
	t.Helper()
	l := newLog(t, "a", "b", "c")
	for name, level := range ordered(levels) {
		l.tells(name, level)
	}
	return l
}

// raise brings the cluster to the newest level.
func (l *log) raise(peers ...string) {
	l.t.Helper()
	for _, p := range peers {
		l.tells(p, highestLevel)
	}
	l.must(ActorOfPeer(peers[0]), raiseLevel, levelRaise{To: highestLevel, Release: "1.2"})
}

// tells is a peer's word of the level that it knows.
func (l *log) tells(peer string, level uint64) {
	l.t.Helper()
	l.must(ActorOfPeer(peer), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Capacity: testPeer(peer).Capacity, Level: level, Software: "r" + peer})
}

func TestLevelIsRaisedOnceAllKnowIt(t *testing.T) {
	l := leveled(t, map[string]uint64{"a": 2, "b": 2})
	r := l.m.Read()
	if next, without := r.NextLevel(); r.Level() != 1 || r.CommonLevel() != 1 || next != 2 || len(without) != 1 || without[0].Name != "c" {
		t.Errorf("level %d, common %d, next %d without %v; want 1, 1, 2 without c", r.Level(), r.CommonLevel(), next, without)
	}
	raise := levelRaise{To: 2, Release: "1.2"}
	if err := l.refused(api.Conflict, ActorOfPeer("a"), raiseLevel, raise); !strings.Contains(err.Msg, `peer "c" knows level 1, not 2`) {
		t.Errorf("got %q", err.Msg)
	}
	l.refused(api.Forbidden, admin, raiseLevel, raise)
	l.tells("c", 2)
	before := l.m.Read()
	l.must(ActorOfPeer("a"), raiseLevel, raise)
	r = l.m.Read()
	if next, without := r.NextLevel(); r.Level() != 2 || r.Setting(SettingRelease) != "1.2" || next != 0 || without != nil {
		t.Errorf("level %d of release %q, next %d without %v; want 2 of 1.2, and no next", r.Level(), r.Setting(SettingRelease), next, without)
	}
	select {
	case <-before.SettingsChanged():
	default:
		t.Error("who watches the settings was not woken")
	}
	l.must(ActorOfPeer("b"), raiseLevel, levelRaise{To: 1, Release: "0.9"})
	if r := l.m.Read(); r.Level() != 2 || r.Setting(SettingRelease) != "1.2" {
		t.Errorf("the level was lowered to %d of %s", r.Level(), r.Setting(SettingRelease))
	}
}

func TestWhoWasRemovedHoldsNoLevelBack(t *testing.T) {
	l := leveled(t, map[string]uint64{"a": 2, "b": 2})
	l.must(admin, removePeer, peerRemove{"c"})
	if common := l.m.Read().CommonLevel(); common != 2 {
		t.Errorf("without c the common level is %d, want 2", common)
	}
	l.must(ActorOfPeer("a"), raiseLevel, levelRaise{To: 2, Release: "1.2"})
}

func TestOldProgramsAreRefused(t *testing.T) {
	l := leveled(t, map[string]uint64{"a": 2, "b": 2, "c": 2})
	l.must(ActorOfPeer("a"), raiseLevel, levelRaise{To: 2, Release: "1.2"})
	const want = "this cluster is at behaviour level 2, and orchd 0.9 knows level 1: install orchd 1.2 or newer on that host and start it again"
	back := l.refused(api.Conflict, ActorOfPeer("b"), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Level: 1, Software: "0.9"})
	l.must(admin, createToken, tokenCreate{ID: "td", Hash: hashSecret("s"), Role: api.RolePeer, TTL: time.Hour, Uses: 1})
	old := testPeer("d")
	old.Level, old.Software = 1, "0.9"
	newcomer := l.refused(api.Conflict, api.Actor{Role: api.RolePeer}, joinPeer, peerJoin{Token: "td", Hash: hashSecret("s"), Peer: old})
	for _, err := range []*api.Error{back, newcomer} {
		if err.Msg != want {
			t.Errorf("got %q, want %q", err.Msg, want)
		}
	}
	old.Level = 2
	l.must(api.Actor{Role: api.RolePeer}, joinPeer, peerJoin{Token: "td", Hash: hashSecret("s"), Peer: old})
}

// A level that this program does not know, and a snapshot of one, stop it with a
// sentence that says what to install.
func TestUnknownLevelStopsTheMachine(t *testing.T) {
	const unknown = highestLevel + 1
	l := leveled(t, map[string]uint64{"a": unknown, "b": unknown, "c": unknown})
	stopped := func() (p any) {
		defer func() { p = recover() }()
		l.send(ActorOfPeer("a"), raiseLevel, levelRaise{To: unknown, Release: "9.9"})
		return nil
	}()
	err, is := stopped.(*api.Error)
	if !is || !strings.Contains(err.Msg, "install orchd 9.9 or newer") {
		t.Errorf("the machine stopped with %v", stopped)
	}
	if Suits(highestLevel, "1.2") != nil || Suits(unknown, "9.9") == nil {
		t.Errorf("level %d suits: %v; level %d: %v", highestLevel, Suits(highestLevel, "1.2"), unknown, Suits(unknown, "9.9"))
	}
}

// withTables is a Proposer that has the tables.
type withTables struct{ atOnce }

func (p withTables) Tables() Reader { return p.m.Read() }

func TestWriterWaitsForTheLevel(t *testing.T) {
	l := leveled(t, map[string]uint64{"a": 2, "b": 2})
	l.tells("c", 1)
	w, ctx := NewWriter(withTables{atOnce{l}}, nil, marking{}), api.WithCaller(t.Context(), api.Caller{Actor: admin})
	write := func() error { return w.DeleteSpell(ctx, "nothing") }
	before := l.m.Index()
	err := write()
	const want = `this needs behaviour level 2, and the cluster is at 1: peer "c" runs orchd rc, which does not know it`
	if !api.IsKind(err, api.Conflict) || !strings.Contains(err.Error(), want) || l.m.Index() != before {
		t.Errorf("got %v and %d new entries, want a conflict with %q and none", err, l.m.Index()-before, want)
	}
	l.tells("c", 2)
	if err := write(); !api.IsKind(err, api.Conflict) || !strings.Contains(err.Error(), "it is raised in a moment") {
		t.Errorf("once all know it: %v", err)
	}
	if err := w.RaiseLevel(api.WithCaller(t.Context(), api.Caller{Actor: ActorOfPeer("a")}), 2, "1.2"); err != nil {
		t.Fatal(err)
	}
	if err := write(); !api.IsKind(err, api.NotFound) {
		t.Errorf("at level 2: %v, want that there is no such spell", err)
	}
}

// TestSnapshotsCarryTheLevel: in the manifest, where a program looks before it reads on.
func TestSnapshotsCarryTheLevel(t *testing.T) {
	l := leveled(t, map[string]uint64{"a": 2, "b": 2, "c": 2})
	if got := content(l.m.published.Load()).Level; got != 1 {
		t.Errorf("a snapshot at level 1 says %d", got)
	}
	l.must(ActorOfPeer("a"), raiseLevel, levelRaise{To: 2})
	if got := content(l.m.published.Load()).Level; got != 2 {
		t.Errorf("a snapshot at level 2 says %d", got)
	}
	if got := throughSnapshot(t, l.m).Read().Level(); got != 2 {
		t.Errorf("restored, the level is %d", got)
	}
}
