package fsm

import (
	"context"
	"iter"
	"reflect"
	"strings"

	"github.com/orchd/orchd/api"
)

var peers = &table[api.Peer]{
	name: "peers",
	key:  func(p *api.Peer) string { return p.ID },
	by: map[string]func(*api.Peer) string{
		"name": func(p *api.Peer) string {
			if p.State != api.PeerMember {
				return "" // who has left leaves the name free
			}
			return p.Name
		},
	},
}

// addPeer stores a new member.
func addPeer(tx *Txn, p api.Peer) api.Peer {
	p.State, p.Schedulable, p.Version = api.PeerMember, true, 1
	p.CreatedAt, p.UpdatedAt = tx.Now, tx.Now
	return peers.put(tx, p)
}

type peerJoin struct {
	Token   string            `cbor:"1,keyasint"` // its id
	Hash    []byte            `cbor:"2,keyasint"` // SHA-256 of its secret
	Peer    api.Peer          `cbor:"3,keyasint"`
	Wrapped map[string][]byte `cbor:"4,keyasint"` // the cluster's keys for this peer, by name
}

// applyJoinPeer makes a host a peer, all or nothing: the token's use, the row,
// the certificate and the keys.
func applyJoinPeer(tx *Txn, c peerJoin) (object, error) {
	const op = "join"
	t, _ := tokens.one(tx.Reader, c.Token)
	same, again, err := t.spend(tx.Reader, c.Hash, c.Peer.PublicKey)
	if err != nil {
		return nothing, err
	}
	if again {
		return object{table: peers, key: same.ID}, nil
	}
	if _, used := peers.one(tx.Reader, c.Peer.ID); used {
		return nothing, api.Errorf(api.Conflict, op, "peer id %s was used before and is never admitted again", c.Peer.ID)
	}
	if _, taken := peers.with(tx.Reader, "name", c.Peer.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "a peer named %q is there already; choose another with --name, or remove the old one with: orchd peer remove %s", c.Peer.Name, c.Peer.Name)
	}
	if err := tx.knows(op, c.Peer.Level, c.Peer.Software); err != nil {
		return nothing, err
	}
	if other, shared := sameHost(tx.Reader, c.Peer); shared {
		return nothing, api.Errorf(api.Conflict, op, "peer %q runs its guests on the same libvirtd (host UUID %s); one libvirtd serves one peer", other.Name, other.HostUUID)
	}
	if err := lacksKeys(tx.Reader, c.Wrapped); err != nil {
		return nothing, err
	}
	t.UsedBy = append(append([]string(nil), t.UsedBy...), c.Peer.ID)
	t.Version++
	tokens.put(tx, t)
	wrapKeys(tx, c.Peer.ID, c.Wrapped)
	p := addPeer(tx, c.Peer)
	return object{table: peers, key: p.ID}, nil
}

// sameHost finds another member with the same libvirtd.
func sameHost(r Reader, p api.Peer) (api.Peer, bool) {
	for other := range r.Members() {
		if other.ID != p.ID && p.HostUUID != "" && other.HostUUID == p.HostUUID {
			return other, true
		}
	}
	return api.Peer{}, false
}

// applyUpdatePeer is a peer's word about itself.
func applyUpdatePeer(tx *Txn, c api.PeerUpdate) (object, error) {
	p, err := tx.asPeer("peer.update")
	if err != nil {
		return nothing, err
	}
	if err := tx.knows("peer.update", c.Level, c.Software); err != nil {
		return nothing, err
	}
	before := p
	p.Addresses, p.Capacity, p.Reserve, p.Ratios, p.Labels = c.Addresses, c.Capacity, c.Reserve, c.Ratios, c.Labels
	p.Driver, p.HostUUID, p.Problem, p.Software, p.Level = c.Driver, c.HostUUID, c.Problem, c.Software, c.Level
	if other, shared := sameHost(tx.Reader, p); shared {
		return nothing, api.Errorf(api.Conflict, "peer.update", "peer %q has the same libvirtd (host UUID %s)", other.Name, other.HostUUID)
	}
	canonicalize(&p)
	if reflect.DeepEqual(before, p) {
		return object{table: peers, key: p.ID}, nil
	}
	return putPeer(tx, p)
}

type peerSchedulable struct {
	ID string `cbor:"1,keyasint"`
	On bool   `cbor:"2,keyasint"`
}

func applySetSchedulable(tx *Txn, c peerSchedulable) (object, error) {
	p, err := member(tx, "peer.cordon", c.ID)
	if err != nil {
		return nothing, err
	}
	if p.Schedulable == c.On {
		return object{table: peers, key: p.ID}, nil
	}
	p.Schedulable = c.On
	return putPeer(tx, p)
}

type peerRemove struct {
	ID string `cbor:"1,keyasint"`
}

// applyRemovePeer takes a peer out for good. A peer may take out itself.
func applyRemovePeer(tx *Txn, c peerRemove) (object, error) {
	const op = "peer.remove"
	if id, _ := peerOf(tx.Actor); id != c.ID {
		if _, err := member(tx, op, c.ID); err != nil {
			return nothing, err
		}
	}
	p, ok := peers.one(tx.Reader, c.ID)
	if !ok || p.State != api.PeerMember {
		return nothing, api.Errorf(api.NotFound, op, "no peer %s", c.ID)
	}
	if alone(tx.Reader, p.ID) {
		return nothing, api.Errorf(api.Conflict, op, "peer %q is the last one; to end the cluster, stop it and delete its data folder", p.Name)
	}
	if n, _ := tx.state.sums.owned.Get(p.ID); n > 0 {
		return nothing, api.Errorf(api.Conflict, op, "peer %q owns %d VMs; delete them first (orchd vm list --peer %s)", p.Name, n, p.Name)
	}
	if i, only := onlyCopy(tx.Reader, p.ID); only {
		return nothing, api.Errorf(api.Conflict, op, "peer %q has the only copy of image %q; delete the image, or let another peer fetch it first: a VM that is made there does", p.Name, i.Name)
	}
	p.State, p.Schedulable = api.PeerLeft, false
	forgetCopies(tx, p)
	unwrapKeys(tx, p.ID)
	forgetSightings(tx, p.ID)
	forgetScope(tx, p.ID)
	return putPeer(tx, p)
}

// alone tells whether a peer is the only member.
func alone(r Reader, id string) bool {
	for other := range r.Members() {
		if other.ID != id {
			return false
		}
	}
	return true
}

// member finds a peer that the actor may change.
func member(tx *Txn, op, id string) (api.Peer, error) {
	if err := tx.may(api.Update, op, api.Object{Kind: "peer"}); err != nil {
		return api.Peer{}, err
	}
	p, ok := peers.one(tx.Reader, id)
	if !ok || p.State != api.PeerMember {
		return p, api.Errorf(api.NotFound, op, "no peer %s", id)
	}
	return p, nil
}

func putPeer(tx *Txn, p api.Peer) (object, error) {
	p.Version++
	p.UpdatedAt = tx.Now
	peers.put(tx, p)
	return object{table: peers, key: p.ID}, nil
}

// peerActor is how a peer signs its commands.
const peerActor = "peer:"

// ActorOfPeer is the actor that a peer is in its own commands.
func ActorOfPeer(id string) api.Actor { return api.Actor{ID: peerActor + id, Role: api.RolePeer} }

func peerOf(a api.Actor) (id string, ok bool) {
	id, ok = strings.CutPrefix(a.ID, peerActor)
	return id, ok && a.Role == api.RolePeer
}

func isPeer(a api.Actor) bool { _, ok := peerOf(a); return ok }

// Peer finds a member by id or name.
func (r Reader) Peer(ref string) (api.Peer, bool) {
	if p, ok := peers.one(r, ref); ok {
		return p, p.State == api.PeerMember
	}
	return peers.with(r, "name", ref)
}

// Members lists the peers that belong to the cluster, by id.
func (r Reader) Members() iter.Seq[api.Peer] {
	return func(yield func(api.Peer) bool) {
		for p := range peers.each(r, "") {
			if p.State == api.PeerMember && !yield(p) {
				return
			}
		}
	}
}

// PeersChanged is closed when a peer's row changes.
func (r Reader) PeersChanged() <-chan struct{} { return r.state.trees[peers.pos].changed() }

// Reserved is what is promised on a peer, and to how many VMs.
func (r Reader) Reserved(peer string) (api.Resources, int) {
	reserved, _ := r.state.sums.reserved.Get(peer)
	n, _ := r.state.sums.owned.Get(peer)
	return reserved, n
}

// Admission is what the leader has prepared for a newcomer.
type Admission struct {
	TokenID, Secret string
	Peer            api.Peer
	Wrapped         map[string][]byte
}

// JoinPeer admits a newcomer. Its row as it stands comes back: the one made
// before when the same newcomer asks again.
func (w *Writer) JoinPeer(ctx context.Context, a Admission) (api.Peer, error) {
	done, err := propose[api.Peer](ctx, w, joinPeer, peerJoin{a.TokenID, hashSecret(a.Secret), a.Peer, a.Wrapped})
	return done.Object, err
}

// UpdatePeer tells the cluster about the peer that asks.
func (w *Writer) UpdatePeer(ctx context.Context, u api.PeerUpdate) error {
	_, err := propose[api.Peer](ctx, w, updatePeer, u)
	return err
}

// SetSchedulable lets new VMs be placed on a peer, or not.
func (w *Writer) SetSchedulable(ctx context.Context, id string, on bool) (Done[api.Peer], error) {
	return propose[api.Peer](ctx, w, setSchedulable, peerSchedulable{id, on})
}

// RemovePeer takes a peer that owns no VMs out of the cluster, for good.
func (w *Writer) RemovePeer(ctx context.Context, id string) error {
	_, err := propose[api.Peer](ctx, w, removePeer, peerRemove{id})
	return err
}

// InitCluster writes the first entry of a cluster.
func (w *Writer) InitCluster(ctx context.Context, first api.Peer, values map[string]string, keys map[string][]byte) error {
	wrapped := map[string]map[string][]byte{}
	for name, w := range keys {
		wrapped[name] = map[string][]byte{first.ID: w}
	}
	_, err := propose[api.Peer](ctx, w, initCluster, clusterInit{first, values, wrapped, firstSizes})
	return err
}
