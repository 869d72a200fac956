package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/fsm"
)

// Seal seals a secret before it enters the log; it makes Peer a fsm.Sealer.
func (p *Peer) Seal(purpose string, plaintext []byte) ([]byte, error) {
	key, err := p.sealKey()
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", purpose, err)
	}
	return seal.Seal(key, purpose, plaintext)
}

// afterwards is the outcome of a write whose object is read from this peer's own
// tables, once they have it.
func afterwards[T, U any](ctx context.Context, p *Peer, d fsm.Done[T], err error, object func(fsm.Reader) (U, bool)) (server.Done[U], error) {
	var none U
	out := showing(d, none)
	if err != nil {
		return out, err
	}
	if err := p.node.Await(ctx, d.Index); err != nil {
		return out, err
	}
	var there bool
	out.Object, there = object(p.machine.Read())
	out.Gone = !there
	return out, nil
}

// CreateNodes stores all nodes or none.
func (p *Peer) CreateNodes(ctx context.Context, nodes []inventory.ComputeNode, array bool) (server.Done[[]inventory.ComputeNode], error) {
	if err := p.room("node.create"); err != nil {
		return server.Done[[]inventory.ComputeNode]{}, err
	}
	d, err := p.writer.CreateNodes(ctx, nodes, array)
	return afterwards(ctx, p, d, err, func(r fsm.Reader) ([]inventory.ComputeNode, bool) {
		stored := make([]inventory.ComputeNode, len(d.Object))
		missing := 0
		for k, id := range d.Object {
			var there bool
			if stored[k], there = r.ComputeNode(id); !there {
				stored[k].ID = id
				missing++
			}
		}
		return stored, missing < len(stored)
	})
}

// nodeByID reads a node; where it is gone its id is left.
func nodeByID(id string) func(fsm.Reader) (inventory.ComputeNode, bool) {
	return func(r fsm.Reader) (inventory.ComputeNode, bool) {
		n, there := r.ComputeNode(id)
		n.ID = id
		return n, there
	}
}

// ReplaceNode replaces what the caller may set of a node.
func (p *Peer) ReplaceNode(ctx context.Context, id string, ifVersion uint64, n inventory.ComputeNode) (server.Done[inventory.ComputeNode], error) {
	d, err := p.writer.ReplaceNode(ctx, id, ifVersion, n)
	return afterwards(ctx, p, d, err, nodeByID(id))
}

// AllocateAddress gives an interface of a node the next free address of a network.
func (p *Peer) AllocateAddress(ctx context.Context, id string, k int, network string) (server.Done[inventory.ComputeNode], error) {
	d, err := p.writer.AllocateAddress(ctx, id, k, network)
	return afterwards(ctx, p, d, err, nodeByID(id))
}

// DeleteNode forgets a node and tells which collections still list its xname.
func (p *Peer) DeleteNode(ctx context.Context, id string, ifVersion uint64) (server.Done[inventory.DeletedNode], error) {
	gone := inventory.DeletedNode{ID: id}
	if n, ok := p.machine.Read().ComputeNode(id); ok {
		gone.XName = n.XName
	}
	d, err := p.writer.DeleteNode(ctx, id, ifVersion)
	out, err := afterwards(ctx, p, d, err, func(r fsm.Reader) (inventory.DeletedNode, bool) {
		if gone.XName != "" {
			for c := range r.CollectionsOf(gone.XName) {
				gone.Collections = append(gone.Collections, c.Name)
			}
		}
		return gone, true
	})
	return out, err
}

// CreateBMC makes a BMC known.
func (p *Peer) CreateBMC(ctx context.Context, b inventory.BMC) (server.Done[inventory.BMC], error) {
	if err := p.room("bmc.create"); err != nil {
		return server.Done[inventory.BMC]{}, err
	}
	return done(p.writer.CreateBMC(ctx, b))
}

// ReplaceBMC replaces what a user may set of a BMC.
func (p *Peer) ReplaceBMC(ctx context.Context, id string, ifVersion uint64, b inventory.BMC) (server.Done[inventory.BMC], error) {
	return done(p.writer.ReplaceBMC(ctx, id, ifVersion, b))
}

// DeleteBMC forgets a BMC.
func (p *Peer) DeleteBMC(ctx context.Context, id string, ifVersion uint64) (server.Done[struct{}], error) {
	return done(p.writer.DeleteBMC(ctx, id, ifVersion))
}

// collectionByID reads a collection; where it is gone its id is left.
func collectionByID(id string) func(fsm.Reader) (inventory.NodeCollection, bool) {
	return func(r fsm.Reader) (inventory.NodeCollection, bool) {
		c, there := r.Collection(id)
		c.ID = id
		return c, there
	}
}

// CreateCollection stores a collection.
func (p *Peer) CreateCollection(ctx context.Context, c inventory.NodeCollection) (server.Done[inventory.NodeCollection], error) {
	if err := p.room("collection.create"); err != nil {
		return server.Done[inventory.NodeCollection]{}, err
	}
	d, err := p.writer.CreateCollection(ctx, c)
	return afterwards(ctx, p, d, err, collectionByID(d.Object.ID))
}

// ReplaceCollection replaces what a user may set of a collection.
func (p *Peer) ReplaceCollection(ctx context.Context, id string, ifVersion uint64, c inventory.NodeCollection) (server.Done[inventory.NodeCollection], error) {
	d, err := p.writer.ReplaceCollection(ctx, id, ifVersion, c)
	return afterwards(ctx, p, d, err, collectionByID(d.Object.ID))
}

// DeleteCollection forgets a collection.
func (p *Peer) DeleteCollection(ctx context.Context, id string, ifVersion uint64) (server.Done[struct{}], error) {
	return done(p.writer.DeleteCollection(ctx, id, ifVersion))
}

// AddMember puts a node into a collection.
func (p *Peer) AddMember(ctx context.Context, collection, node string) (server.Done[struct{}], error) {
	if err := p.room("collection.member"); err != nil {
		return server.Done[struct{}]{}, err
	}
	return done(p.writer.AddMember(ctx, collection, node))
}

// RemoveMember takes a node out of a collection.
func (p *Peer) RemoveMember(ctx context.Context, collection, node string) (server.Done[struct{}], error) {
	return done(p.writer.RemoveMember(ctx, collection, node))
}

// CreateNetwork declares a network.
func (p *Peer) CreateNetwork(ctx context.Context, c api.NetworkCreate) (server.Done[api.Network], error) {
	if err := p.room("network.create"); err != nil {
		return server.Done[api.Network]{}, err
	}
	return done(p.writer.CreateNetwork(ctx, c))
}

// DeleteNetwork forgets a network.
func (p *Peer) DeleteNetwork(ctx context.Context, id string) error {
	return p.writer.DeleteNetwork(ctx, id)
}

// RevealNode gives a node with its secrets, after that is on record; without the password of
// its BMC to who may not see that, because it serves a node of another tenant.
func (p *Peer) RevealNode(ctx context.Context, ref string) (inventory.ComputeNode, error) {
	if err := p.record(ctx, "node", ref); err != nil {
		return inventory.ComputeNode{}, err
	}
	r := p.machine.Read()
	n, ok := r.ComputeNode(ref)
	secrets, _ := r.NodeSecrets(ref)
	if !ok {
		return n, api.Errorf(api.NotFound, "node", "node not found")
	}
	actor := api.CallerOf(ctx).Actor
	if err := r.MaySeeNode(actor, "node.reveal", ref); err != nil {
		return inventory.ComputeNode{}, err
	}
	var failed error
	open := func(purpose string, sealed []byte) *string { return p.inClear(purpose, sealed, &failed) }
	if n.BMC != nil && r.MaySeeBMC(actor, "node.reveal", secrets.BMC) == nil {
		n.BMC.Password = open(fsm.SealBMCPassword, secrets.BMCPassword)
	}
	if len(secrets.SpecPassword) > 0 {
		if n.Spec == nil {
			n.Spec = &inventory.NodeSpec{}
		}
		n.Spec.BMCPassword = open(fsm.SealSpecPassword, secrets.SpecPassword)
	}
	own, err := p.openCloudInit(secrets)
	if own != (inventory.CloudInit{}) {
		n.CloudInit = &own
	}
	return n, errors.Join(failed, err)
}

// RevealBMC gives a BMC with its password, after that is on record.
func (p *Peer) RevealBMC(ctx context.Context, ref string) (inventory.BMC, error) {
	if err := p.record(ctx, "bmc", ref); err != nil {
		return inventory.BMC{}, err
	}
	r := p.machine.Read()
	b, ok := r.BMC(ref)
	if !ok {
		return b, api.Errorf(api.NotFound, "bmc", "BMC not found")
	}
	if err := r.MaySeeBMC(api.CallerOf(ctx).Actor, "bmc.reveal", ref); err != nil {
		return inventory.BMC{}, err
	}
	var failed error
	b.Password = p.inClear(fsm.SealBMCPassword, r.BMCPassword(ref), &failed)
	return b, failed
}

// record puts it into the log that the caller is about to see secrets, and waits
// until this peer has that entry and everything before it.
func (p *Peer) record(ctx context.Context, kind, ref string) error {
	index, err := p.writer.Reveal(ctx, kind, ref)
	if err != nil {
		return err
	}
	return p.node.Await(ctx, index)
}

// inClear is a secret in clear; nil when there is none. The first failure is kept in failed.
func (p *Peer) inClear(purpose string, sealed []byte, failed *error) *string {
	if len(sealed) == 0 {
		return nil
	}
	plain, err := p.openSealed(purpose, sealed)
	if err != nil && *failed == nil {
		*failed = err
	}
	text := string(plain)
	return &text
}

func (p *Peer) openCloudInit(s fsm.NodeSecrets) (c inventory.CloudInit, err error) {
	for _, part := range []struct {
		to     *inventory.Object
		sealed []byte
	}{{&c.UserData, s.UserData}, {&c.MetaData, s.MetaData}, {&c.VendorData, s.VendorData}} {
		if text := p.inClear(fsm.SealNodeCloudInit, part.sealed, &err); text != nil {
			*part.to = inventory.Object(*text)
		}
	}
	return c, err
}

// CloudInit is what a node gets at boot: its own data, and that of its collections by name.
func (p *Peer) CloudInit(ctx context.Context, ref string) (own inventory.CloudInit, groups map[string]map[string]string, err error) {
	r := p.machine.Read()
	if err := r.MaySeeNode(api.CallerOf(ctx).Actor, "cloud-init", ref); err != nil {
		return own, nil, err
	}
	n, ok := r.ComputeNode(ref)
	secrets, _ := r.NodeSecrets(ref)
	if !ok {
		return own, nil, api.Errorf(api.NotFound, "cloud-init", "node not found")
	}
	if own, err = p.openCloudInit(secrets); err != nil || n.XName == "" {
		return own, nil, err
	}
	groups = map[string]map[string]string{}
	for c := range r.CollectionsOf(n.XName) {
		text := p.inClear(fsm.SealCollectionCloudInit, r.CollectionCloudInit(c.ID), &err)
		if text == nil {
			continue
		}
		var data map[string]string
		if err := json.Unmarshal([]byte(*text), &data); err != nil {
			return own, nil, fmt.Errorf("cloud-init data of collection %s: %w", c.ID, err)
		}
		groups[c.Name] = data
	}
	return own, groups, err
}
