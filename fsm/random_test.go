package fsm

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// entry is one log entry of a random log.
type entry struct {
	index   uint64
	at      time.Time
	command []byte
}

var (
	epoch0   = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	admin    = api.Actor{ID: "uid:0", Role: api.RoleAdmin}
	operator = api.Actor{ID: "token:op", Role: api.RoleOperator}
	viewer   = api.Actor{ID: "token:view", Role: api.RoleViewer}
)

// scribe writes random but plausible commands: it looks at the state that its
// log has led to, so that they mostly refer to what is there.
type scribe struct {
	rng   *rand.Rand
	m     *Machine
	index uint64
	at    time.Time
	sent  []entry
	kept  []*state // to which it may roll back
}

func newScribe(seed uint64) *scribe {
	return &scribe{rng: rand.New(rand.NewPCG(seed, 0)), m: New(), at: epoch0}
}

// next makes one more entry and applies it to the scribe's own machine.
func (s *scribe) next(t *testing.T) entry {
	t.Helper()
	s.index += 1 + uint64(s.rng.IntN(2))
	s.at = s.at.Add(time.Duration(s.rng.IntN(20_000)-1_000) * time.Millisecond) // the next leader's clock may be behind
	if s.rng.IntN(40) == 0 {
		s.at = s.at.Add(9 * time.Hour)
	}
	e := entry{s.index, s.at, s.command(t)}
	if k := len(s.sent); k > 0 && s.rng.IntN(12) == 0 {
		e.command = s.sent[s.rng.IntN(k)].command // sent again after an election
	}
	s.sent = append(s.sent, e)
	s.m.Apply(e.index, 0, e.at, e.command)
	return e
}

func (s *scribe) command(t *testing.T) []byte {
	t.Helper()
	if s.index <= 2 {
		return s.encoded(t, initCluster, ActorOfPeer("p0"), clusterInit{
			Peer:     s.peer("p0", "h0"),
			Settings: map[string]string{SettingCluster: "c", SettingVoters: "3"},
			Keys:     map[string]map[string][]byte{KeyCA: {"p0": {1}}, KeySeal: {"p0": {2}}},
		})
	}
	all := []func(*testing.T) []byte{
		s.create, s.create, s.create, s.act, s.act, s.begin, s.begin, s.report, s.report, s.bury,
		s.saw, s.reassign, s.reassign, s.reassign, s.reassign, s.reassign, s.reassign, s.label, s.image, s.unimage, s.token, s.untoken, s.join, s.join, s.host, s.cordon, s.raise, s.unpeer, s.unpeer, s.unpeer, s.tidy, s.keep,
		s.fleet, s.fleet, s.fleet, s.fleet, s.fleet, s.fleet, s.fleet, s.fleet, s.fleet, s.fleet,
		s.smdCommand, s.smdCommand, s.smdCommand, s.smdCommand, s.smdCommand, s.smdCommand, s.smdCommand, s.smdCommand, s.smdCommand, s.smdCommand,
		s.rollback, s.rollback, s.rollback, s.settle, s.allocate, s.allocate, s.allocate, s.allocate, s.fleet, s.fleet, s.fleet, s.fleet,
		s.catalogue, s.catalogue, s.catalogue, s.catalogue, s.catalogue, s.catalogue, s.catalogue, s.catalogue,
		s.life, s.life, s.life, s.life, s.life, s.life, s.life, s.life, s.life, s.life, s.life, s.life, s.lose, s.lose, s.lose,
		s.system, s.system, s.system, s.system, s.system, s.system, s.system, s.system, s.system, s.system, s.system, s.system,
		s.rotate, s.rotate, s.rotate, s.rotate, s.rotate, s.rotate,
	}
	return all[s.rng.IntN(len(all))](t)
}

func (s *scribe) encoded(t *testing.T, typ Type, actor api.Actor, body any) []byte {
	t.Helper()
	return s.encodedBehind(t, typ, actor, body, nil)
}

// encodedBehind is a command that the run of a spell sends.
func (s *scribe) encodedBehind(t *testing.T, typ Type, actor api.Actor, body any, fence *api.Fence) []byte {
	t.Helper()
	m := Meta{Type: typ, V: 1, ID: fmt.Sprintf("%08x-0000-4000-8000-%012x", s.rng.Uint32(), s.rng.Uint64()&0xffffffffffff), Actor: actor, Fence: fence}
	if s.rng.IntN(4) == 0 {
		sum := sha256.Sum256([]byte{byte(s.rng.IntN(2))})
		m.Once = &api.OnceKey{Key: fmt.Sprintf("%s POST /v1 k%d", actor.ID, s.rng.IntN(30)), Body: sum[:]}
	}
	b, err := encode(m, body)
	if err != nil {
		t.Fatalf("encode %T: %v", body, err)
	}
	return b
}

func pick[T any](s *scribe, from []T) (v T) {
	if len(from) == 0 {
		return v
	}
	return from[s.rng.IntN(len(from))]
}

func (s *scribe) actor() api.Actor {
	return pick(s, []api.Actor{admin, admin, admin, operator, operator, viewer, {ID: "token:x", Role: api.RoleOperator, Account: "other"}})
}
func (s *scribe) vm() api.VM       { return pick(s, slices.Collect(s.m.Read().VMs(""))) }
func (s *scribe) member() api.Peer { return pick(s, slices.Collect(s.m.Read().Members())) }

func (s *scribe) peer(id, name string) api.Peer {
	return api.Peer{
		ID: id, Name: name, Driver: pick(s, []string{api.DriverSim, api.DriverSim, api.DriverNone}),
		Addresses: api.PeerAddresses{API: name + ":7700", Raft: name + ":7701", Gossip: name + ":7702"},
		Capacity:  api.Resources{VCPUs: 8, MemoryMiB: 8192, DiskGiB: 100},
		Ratios:    api.Ratios{VCPUs: int64(s.rng.IntN(3)) * 100}, PublicKey: []byte(id), WrapKey: []byte{1},
		Labels: map[string]string{"rack": "r" + id}, Level: 2 - uint64(s.rng.IntN(8)/7),
	}
}

func (s *scribe) candidates() (ids []string, others []api.HostPart) {
	for p := range s.m.Read().Members() {
		if s.rng.IntN(4) > 0 {
			ids = append(ids, p.ID)
		} else {
			others = append(others, api.HostPart{Peer: p.Name, Status: api.NoResponseFromHost})
		}
	}
	s.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids, others
}

// raise asks for the level that all know, for one that few do, or for one of the past.
func (s *scribe) raise(t *testing.T) []byte {
	return s.encoded(t, raiseLevel, pick(s, []api.Actor{ActorOfPeer(s.member().ID), ActorOfPeer(s.member().ID), admin}), levelRaise{To: uint64(1 + s.rng.IntN(2)), Release: "1.2"})
}

func (s *scribe) create(t *testing.T) []byte {
	ids, others := s.candidates()
	return s.encoded(t, createVM, s.actor(), vmCreate{
		VM: api.VMCreate{Name: fmt.Sprintf("vm%d", s.rng.IntN(60)), Account: pick(s, []string{"", "", "other"}), Labels: map[string]string{"n": fmt.Sprint(s.rng.IntN(3))},
			Spec: api.VMSpec{VCPUs: int64(s.rng.IntN(5)), MemoryMiB: 512 << s.rng.IntN(3), DiskGiB: int64(s.rng.IntN(20)), Image: pick(s, []string{"", "", "im1", "im2"})}},
		Candidates: ids, Others: others,
	})
}

func (s *scribe) act(t *testing.T) []byte {
	return s.encoded(t, actOnVM, s.actor(), vmAction{ID: s.vm().ID, Verb: pick(s, []string{api.ActStart, api.ActStop, api.ActForceStop, kindDelete, "dance"}), IfVersion: uint64(s.rng.IntN(8) / 7)})
}

// byOwner mostly speaks as the owner of the VM, at its epoch.
func (s *scribe) byOwner() (api.Actor, api.VM) {
	vm := s.vm()
	if s.rng.IntN(6) == 0 {
		vm.Status.Epoch++
	}
	if s.rng.IntN(6) == 0 {
		return ActorOfPeer(s.member().ID), vm
	}
	return ActorOfPeer(vm.Status.OwnerID), vm
}

func (s *scribe) begin(t *testing.T) []byte {
	a, vm := s.byOwner()
	return s.encoded(t, beginVM, a, vmEpoch{vm.ID, vm.Status.Epoch})
}

func (s *scribe) report(t *testing.T) []byte {
	a, vm := s.byOwner()
	return s.encoded(t, reportVM, a, api.VMReport{VM: vm.ID, Epoch: vm.Status.Epoch, State: pick(s, append(reportable, "dancing")),
		Reason: pick(s, []string{"", "disk full"}), Steps: []api.OpStep{{Name: "define", TookMs: 3}}})
}

func (s *scribe) bury(t *testing.T) []byte {
	a, vm := s.byOwner()
	return s.encoded(t, buryVM, a, vmEpoch{vm.ID, vm.Status.Epoch})
}

func (s *scribe) saw(t *testing.T) []byte {
	vm := s.vm()
	if vm.ID == "" {
		vm.ID = "stray"
	}
	return s.encoded(t, sawDomain, ActorOfPeer(s.member().ID), api.Sighting{VM: vm.ID, Epoch: vm.Status.Epoch + uint64(s.rng.IntN(2)), Gone: s.rng.IntN(2) == 0})
}

func (s *scribe) reassign(t *testing.T) []byte {
	vm := s.vm()
	for other := range s.m.Read().VMs("") {
		if !other.Status.Begun && s.rng.IntN(2) == 0 {
			vm = other
		}
	}
	ids, others := s.candidates()
	return s.encoded(t, reassignVM, ActorOfPeer(s.member().ID), vmReassign{vm.ID, vm.Status.Epoch, ids, others})
}

func (s *scribe) label(t *testing.T) []byte {
	return s.encoded(t, updateVM, s.actor(), vmUpdate{ID: s.vm().ID, Update: api.VMUpdate{Labels: map[string]string{}}})
}

func (s *scribe) image(t *testing.T) []byte {
	return s.encoded(t, createImage, s.actor(), api.ImageCreate{Name: pick(s, []string{"im1", "im2", "im3"}), Kind: pick(s, []string{"disk", "kernel", "x"}), Path: pick(s, []string{"/a", "b"})})
}

func (s *scribe) unimage(t *testing.T) []byte {
	return s.encoded(t, deleteImage, s.actor(), imageDelete{pick(s, slices.Collect(s.m.Read().Images(""))).ID})
}

func (s *scribe) token(t *testing.T) []byte {
	return s.encoded(t, createToken, s.actor(), tokenCreate{ID: fmt.Sprintf("t%d", s.rng.IntN(40)), Hash: hashSecret("s"),
		Role: pick(s, []api.Role{api.RolePeer, api.RolePeer, api.RoleViewer}), TTL: time.Duration(1+s.rng.IntN(7200)) * time.Second, Uses: int64(1 + s.rng.IntN(2))})
}

func (s *scribe) someToken() api.Token { return pick(s, slices.Collect(s.m.Read().Tokens(""))) }

func (s *scribe) untoken(t *testing.T) []byte {
	return s.encoded(t, deleteToken, s.actor(), tokenDelete{s.someToken().ID})
}

func (s *scribe) join(t *testing.T) []byte {
	n := s.rng.IntN(9)
	wrapped := map[string][]byte{KeyCA: {byte(n)}}
	for _, name := range s.m.Read().AllKeyNames() {
		if s.rng.IntN(10) > 0 {
			wrapped[name] = []byte{byte(n)}
		}
	}
	return s.encoded(t, joinPeer, api.Actor{Role: api.RolePeer}, peerJoin{Token: s.someToken().ID, Hash: hashSecret(pick(s, []string{"s", "s", "s", "wrong"})),
		Peer: s.peer(fmt.Sprintf("p%d", n), fmt.Sprintf("h%d", n)), Wrapped: wrapped})
}

func (s *scribe) host(t *testing.T) []byte {
	p := s.member()
	return s.encoded(t, updatePeer, ActorOfPeer(p.ID), api.PeerUpdate{Addresses: p.Addresses, Ratios: p.Ratios, Driver: p.Driver, Level: p.Level,
		Capacity: api.Resources{VCPUs: int64(s.rng.IntN(12)), MemoryMiB: 8192, DiskGiB: 100}, Problem: pick(s, []string{"", "", "", "libvirt: unreachable"})})
}

func (s *scribe) cordon(t *testing.T) []byte {
	return s.encoded(t, setSchedulable, s.actor(), peerSchedulable{s.member().ID, s.rng.IntN(3) > 0})
}

func (s *scribe) unpeer(t *testing.T) []byte {
	return s.encoded(t, removePeer, s.actor(), peerRemove{s.member().ID})
}

func (s *scribe) tidy(t *testing.T) []byte {
	return s.encoded(t, sweep, ActorOfPeer(s.member().ID), clusterSweep{})
}

func (s *scribe) keep(t *testing.T) []byte { return s.encoded(t, mark, s.actor(), stateMark{}) }
