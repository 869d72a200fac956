package fsm

import (
	"fmt"
	"slices"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// fleet is a random command about nodes, BMCs, collections and networks.
func (s *scribe) fleet(t *testing.T) []byte {
	return pick(s, []func(*testing.T) []byte{
		s.nodes, s.nodes, s.nodes, s.renode, s.renode, s.unnode, s.board, s.reboard, s.unboard,
		s.collect, s.collect, s.recollect, s.uncollect, s.comeAndGo, s.comeAndGo, s.network, s.unnetwork, s.allocate, s.chunk, s.commit, s.reveal, s.auth,
	})(t)
}

func (s *scribe) fleetActor() api.Actor {
	return pick(s, []api.Actor{admin, admin, operator, operator, viewer, {ID: "jwt:c", Role: api.RoleController}, {ID: "jwt:t", Role: api.RoleOperator, Tenant: "c1", Partition: "c2"}})
}

func (s *scribe) xname() string {
	return pick(s, []string{"", "x1000c0s0b0n0", "x1000c0s0b0n1", "x01000c0s0b0n1", "x1000c0s0b1n0", "x1000c0s1b0n0", "X1"})
}

func (s *scribe) mac() string {
	return pick(s, []string{"", "00:00:00:00:00:00", "02:00:00:00:00:01", "02-00-00-00-00-02", "02:00:00:00:00:03", "020000000001"})
}

func (s *scribe) secret() secretWrite {
	return pick(s, []secretWrite{{}, {Given: true}, {Given: true, Sealed: []byte{1, byte(s.rng.IntN(3))}}})
}

func (s *scribe) nodeWrite() nodeWrite {
	w := nodeWrite{Node: computeNode{Hostname: pick(s, []string{"a", "b", ""}), Architecture: "x86_64", XName: s.xname(), BootMAC: s.mac(),
		BootIPv4: pick(s, []string{"", "10.0.0.2", "nonsense"}), Description: pick(s, []string{"", "d\xffe"}[:1])}}
	for k := range s.rng.IntN(3) {
		w.Node.NICs = append(w.Node.NICs, inventory.NetworkInterface{InterfaceName: fmt.Sprint("eth", k), MACAddress: s.mac(),
			IPv6Address: pick(s, []string{"", "fd00::2", "fd00::3"}), ExtendedData: pick(s, []inventory.Object{"", `{"a":1}`})})
	}
	if s.rng.IntN(2) == 0 {
		board := s.boardWrite()
		w.BMC = &board
	}
	if s.rng.IntN(3) == 0 {
		w.CloudInit = &cloudInitWrite{s.secret(), s.secret(), s.secret()}
	}
	if s.rng.IntN(3) == 0 {
		w.Node.Spec = &nodeSpec{BMCUsername: "u", BootMAC: s.mac()}
		secret := s.secret()
		w.SpecPassword = &secret
	}
	if s.rng.IntN(4) == 0 {
		w.Node.Status = &inventory.NodeStatus{PowerState: &inventory.PowerState{On: true, LastUpdated: epoch0}}
	}
	return w
}

func (s *scribe) boardWrite() bmcWrite {
	return bmcWrite{XName: pick(s, []string{"", "x1000c0s0b0", "x1000c0s0b1", "x1000c0s2b0"}), Username: pick(s, []string{"", "root"}),
		Password: s.secret(), MAC: s.mac(), IPv4: pick(s, []string{"", "10.0.0.3"})}
}

func (s *scribe) someNode() inventory.ComputeNode {
	return pick(s, slices.Collect(s.m.Read().ComputeNodes(inventory.NodeFilter{}, "")))
}
func (s *scribe) someBMC() inventory.BMC { return pick(s, slices.Collect(s.m.Read().BMCs(""))) }
func (s *scribe) someCollection() inventory.NodeCollection {
	return pick(s, slices.Collect(s.m.Read().Collections("")))
}

func (s *scribe) nodes(t *testing.T) []byte {
	c := nodesCreate{Array: s.rng.IntN(2) == 0}
	for range 1 + s.rng.IntN(3) {
		c.Nodes = append(c.Nodes, s.nodeWrite())
	}
	return s.encoded(t, createNodes, s.fleetActor(), c)
}

func (s *scribe) renode(t *testing.T) []byte {
	return s.encoded(t, replaceNode, s.fleetActor(), nodeReplace{s.someNode().ID, uint64(s.rng.IntN(9) / 7), s.nodeWrite()})
}

func (s *scribe) unnode(t *testing.T) []byte {
	return s.encoded(t, deleteNode, s.fleetActor(), versioned{ID: s.someNode().ID})
}

func (s *scribe) board(t *testing.T) []byte {
	return s.encoded(t, createBMC, s.fleetActor(), s.boardWrite())
}

func (s *scribe) reboard(t *testing.T) []byte {
	return s.encoded(t, replaceBMC, s.fleetActor(), bmcReplace{ID: s.someBMC().ID, BMC: s.boardWrite()})
}

func (s *scribe) unboard(t *testing.T) []byte {
	return s.encoded(t, deleteBMC, s.fleetActor(), versioned{ID: s.someBMC().ID})
}

func (s *scribe) collectionWrite() collectionWrite {
	w := collectionWrite{Name: pick(s, []string{"c1", "c2", "c3", "Partition 1"}), CloudInit: s.secret(), ExclusiveGroup: pick(s, []string{"", "", "g"}),
		Type: pick(s, []inventory.CollectionType{inventory.AdHoc, inventory.Tenant, inventory.Job, inventory.Partition, "x"})}
	for range s.rng.IntN(4) {
		w.Nodes = append(w.Nodes, s.xname())
	}
	w.Nodes = slices.DeleteFunc(w.Nodes, func(x string) bool { return x == "" })
	return w
}

func (s *scribe) collect(t *testing.T) []byte {
	return s.encoded(t, createCollection, s.fleetActor(), s.collectionWrite())
}

func (s *scribe) recollect(t *testing.T) []byte {
	return s.encoded(t, replaceCollection, s.fleetActor(), collectionReplace{ID: s.someCollection().ID, Collection: s.collectionWrite()})
}

func (s *scribe) uncollect(t *testing.T) []byte {
	return s.encoded(t, deleteCollection, s.fleetActor(), versioned{ID: s.someCollection().ID})
}

func (s *scribe) comeAndGo(t *testing.T) []byte {
	return s.encoded(t, changeMember, s.fleetActor(), collectionMember{s.someCollection().ID, s.xname(), s.rng.IntN(3) == 0})
}

func (s *scribe) network(t *testing.T) []byte {
	c := api.NetworkCreate{Name: pick(s, []string{"n4", "n6"}), NetworkShape: api.NetworkShape{CIDR: pick(s, []string{"10.0.0.0/29", "fd00::/64", "10.0.0.1/8"}),
		Gateway: pick(s, []string{"", "10.0.0.1"}), Bridge: pick(s, []string{"", "br0"}), Libvirt: pick(s, []string{"", "", "default"}), CIDR6: pick(s, []string{"", "", "fd01::/64"})}}
	if s.rng.IntN(4) == 0 {
		c.Pools = []api.AddressPool{{Peer: s.member().Name, First: "10.0.0.2", Last: "10.0.0.3"}, {Peer: "h1", First: "10.0.0.4", Last: pick(s, []string{"10.0.0.6", "10.0.1.0"})}}
	}
	return s.encoded(t, createNetwork, admin, c)
}

func (s *scribe) unnetwork(t *testing.T) []byte {
	if s.rng.IntN(4) > 0 {
		return s.allocate(t)
	}
	return s.encoded(t, deleteNetwork, admin, networkDelete{pick(s, slices.Collect(s.m.Read().Networks(""))).ID})
}

func (s *scribe) allocate(t *testing.T) []byte {
	return s.encoded(t, allocateAddress, s.fleetActor(), addressAllocate{s.someNode().ID, s.rng.IntN(2), pick(s, []string{"n4", "n6"})})
}

// chunk stages a piece that is never committed.
func (s *scribe) chunk(t *testing.T) []byte {
	return s.encoded(t, stageChunk, s.fleetActor(), chunkStage{fmt.Sprintf("cmd%d", s.rng.IntN(3)), s.rng.IntN(3), []byte{byte(s.rng.IntN(4))}})
}

// commit names chunks that are not there.
func (s *scribe) commit(t *testing.T) []byte {
	return s.encoded(t, commitStaged, s.fleetActor(), stagedCommit{Type: createNodes, V: 1, Chunks: 1 + s.rng.IntN(2)})
}

func (s *scribe) reveal(t *testing.T) []byte {
	return s.encoded(t, reveal, s.fleetActor(), revealed{"node", s.someNode().ID})
}

func (s *scribe) auth(t *testing.T) []byte {
	return s.encoded(t, setAuth, s.fleetActor(), authSet{Secret: s.secret(), Values: map[string]string{
		pick(s, []string{SettingIssuer, SettingAnonymousRead, SettingCA}): pick(s, []string{"true", "false", "x"}), SettingAudience: "a"}})
}
