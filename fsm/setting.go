package fsm

import (
	"maps"
	"slices"

	"github.com/orchd/orchd/api"
)

// setting is one cluster-wide value. Keys of the cluster stand here too, wrapped
// for each peer, so that no single host is the hub of trust.
type setting struct {
	Name    string            `json:"name"`
	Value   string            `json:"value,omitempty"`
	Wrapped map[string][]byte `json:"wrapped,omitempty" secret:"true"` // by peer id: a key wrapped to that peer's wrap key
	Sealed  []byte            `json:"sealed,omitempty" secret:"true"`  // in place of Value where that is a secret
	Version uint64            `json:"version"`
}

var settings = &table[setting]{
	name: "settings",
	key:  func(s *setting) string { return s.Name },
	secrets: func(s *setting) []secretPart {
		return []secretPart{{SealJWTSecret, 0, &s.Sealed}} // the one setting that is sealed
	},
}

// The names of settings.
const (
	SettingCluster = "cluster"    // the cluster's id
	SettingVoters  = "voters"     // how many voters raft should have: 1, 3 or 5
	SettingLevel   = "level"      // behaviour level in force
	SettingRelease = "release"    // of orchd, that raised it
	SettingCA      = "ca"         // the CA's certificate, PEM
	KeyCA          = "key.ca"     // the first CA's private key; Reader.KeyNames gives those of today
	KeyGossip      = "key.gossip" // the first key of gossip
	KeySeal        = "key.seal"   // the first key that seals secrets in tables
)

// clusterInit is the first command of a cluster.
type clusterInit struct {
	Peer     api.Peer                     `cbor:"1,keyasint"`
	Settings map[string]string            `cbor:"2,keyasint"`
	Keys     map[string]map[string][]byte `cbor:"3,keyasint"` // name -> peer id -> wrapped
	Sizes    []api.SizeCreate             `cbor:"4,keyasint,omitempty"`
}

func applyInitCluster(tx *Txn, c clusterInit) (object, error) {
	if _, made := settings.one(tx.Reader, SettingCluster); made {
		return nothing, api.Errorf(api.Conflict, "init", "this cluster exists already")
	}
	for name, value := range ordered(c.Settings) {
		settings.put(tx, setting{Name: name, Value: value, Version: 1})
	}
	for name, wrapped := range ordered(c.Keys) {
		settings.put(tx, setting{Name: name, Wrapped: wrapped, Version: 1})
	}
	accounts.put(tx, api.Account{Name: api.DefaultAccount, Version: 1, CreatedAt: tx.Now, UpdatedAt: tx.Now})
	for _, size := range c.Sizes {
		addSize(tx, size)
	}
	p := addPeer(tx, c.Peer)
	return object{table: peers, key: p.ID}, nil
}

// wrapKeys adds a newcomer's wrappings of the cluster's keys.
func wrapKeys(tx *Txn, peer string, wrapped map[string][]byte) {
	for name, w := range ordered(wrapped) {
		if s, known := settings.one(tx.Reader, name); known {
			all := maps.Collect(maps.All(s.Wrapped))
			all[peer] = w
			s.Wrapped = all
			s.Version++
			settings.put(tx, s)
		}
	}
}

// unwrapKeys forgets the wrappings for a peer that is no more.
func unwrapKeys(tx *Txn, peer string) {
	for _, s := range slices.Collect(settings.each(tx.Reader, "")) {
		if s.Wrapped[peer] == nil {
			continue
		}
		s.Wrapped = maps.Clone(s.Wrapped)
		delete(s.Wrapped, peer)
		s.Version++
		settings.put(tx, s)
	}
}

// Setting is a cluster-wide value; empty when it is not set.
func (r Reader) Setting(name string) string {
	s, _ := settings.one(r, name)
	return s.Value
}

// WrappedKey is a key of the cluster, wrapped for that peer.
func (r Reader) WrappedKey(name, peer string) ([]byte, bool) {
	s, _ := settings.one(r, name)
	w, ok := s.Wrapped[peer]
	return w, ok
}

// clusterSweep forgets what is past its time, a bounded number of rows at once.
type clusterSweep struct{}

// sweepLimit bounds how many rows one sweep forgets of each sort.
const sweepLimit = 1000

func applySweep(tx *Txn, _ clusterSweep) (object, error) {
	if !isPeer(tx.Actor) {
		return nothing, api.Errorf(api.Forbidden, "sweep", "only peers sweep")
	}
	for _, id := range expiredKeys(tx.Reader, tx.Now, sweepLimit) {
		requests.remove(tx, id)
	}
	for _, id := range oldOperations(tx.Reader, tx.Now, sweepLimit) {
		operations.remove(tx, id)
	}
	for _, id := range oldTombstones(tx.Reader, tx.Now, sweepLimit) {
		tombstones.remove(tx, id)
	}
	for _, id := range oldTokens(tx.Reader, tx.Now, sweepLimit) {
		tokens.remove(tx, id)
	}
	for _, id := range oldChunks(tx.Reader, tx.Now, sweepLimit) {
		staged.remove(tx, id)
	}
	for _, account := range uncounted(tx.Reader, tx.Now, sweepLimit) {
		countUsage(tx, account)
	}
	return nothing, nil
}

// SweepDue tells whether a sweep would forget anything.
func (r Reader) SweepDue() bool {
	now := r.Now()
	return len(expiredKeys(r, now, 1))+len(oldOperations(r, now, 1))+len(oldTombstones(r, now, 1))+len(oldTokens(r, now, 1))+len(oldChunks(r, now, 1))+len(uncounted(r, now, 1)) > 0
}
