package peer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/cmd/orchd/keycopy"
	"github.com/orchd/orchd/fsm"
)

// founding are the keys that a cluster is made with.
type founding struct {
	authority *ca.Authority
	gossip    []byte
	seals     [][]byte // the n-th is that of fsm.KeySeal, ".2", ".3"; the last is to be in use
	resealing bool     // the one before it is still in use too
}

// foundingKeys are new keys or, where there is a copy of another cluster's, those: then
// the new cluster has that one's id, for certificates and the marks of domains name it, and
// its values are sealed with keys of the same names as before, for they name them.
func foundingKeys(from *api.KeyDocument, now time.Time) (*founding, error) {
	if from == nil {
		authority, err := ca.New(uuid.NewString(), now)
		return &founding{authority: authority, gossip: randomKey(), seals: [][]byte{randomKey()}}, err
	}
	name := keycopy.InUse(*from, api.KeyCA)
	authority, err := ca.Parse(from.ClusterID, []byte(from.Authorities[name]), from.Keys[name])
	if err != nil {
		return nil, api.Errorf(api.Invalid, "init", "the CA in the copy of the keys cannot be used: %w", err)
	}
	own := &founding{authority: authority, gossip: from.Keys[keycopy.InUse(*from, api.KeyGossip)]}
	inUse := sealNumber(keycopy.InUse(*from, api.KeySeal))
	if inUse < 1 || inUse > maxSealKeys {
		return nil, api.Errorf(api.Invalid, "init", "the copy of the keys names a sealing key %q", keycopy.InUse(*from, api.KeySeal))
	}
	for n := 1; n <= inUse; n++ {
		key, copied := from.Keys[sealName(n)]
		if !copied {
			key = randomKey() // it was replaced, and nothing is sealed with it
		}
		own.seals = append(own.seals, key)
		own.resealing = own.resealing || copied && n < inUse
	}
	return own, nil
}

// maxSealKeys bounds how often the sealing key of a copy may have been replaced.
const maxSealKeys = 1000

// sealName is the name of the n-th sealing key of a cluster.
func sealName(n int) string {
	if n == 1 {
		return fsm.KeySeal
	}
	return fsm.KeySeal + "." + strconv.Itoa(n)
}

// sealNumber is the n of a name; 0: it is none.
func sealNumber(name string) int {
	if name == fsm.KeySeal {
		return 1
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(name, fsm.KeySeal+"."))
	return n
}

// sealLikeBefore rotates the sealing key of a new cluster, in which nothing is sealed yet,
// as often as that of the cluster whose keys it was made with.
func (p *Peer) sealLikeBefore(ctx context.Context, own *founding) error {
	asAdmin := api.WithCaller(ctx, api.Caller{Actor: api.Actor{ID: "init", Role: api.RoleAdmin}})
	for n := 2; n <= len(own.seals); n++ {
		wrapped, err := wrapFor(p.identity.WrapKey.Public(), map[string][]byte{sealName(n): own.seals[n-1]})
		if err != nil {
			return err
		}
		d, err := p.writer.StartRotation(asAdmin, fsm.NewKey{Kind: api.KeySeal, Key: sealName(n), Wrapped: map[string][]byte{p.identity.PeerID: wrapped[sealName(n)]}})
		if err != nil {
			return fmt.Errorf("take over the key %s: %w", sealName(n), err)
		}
		if n == len(own.seals) && own.resealing {
			return nil // the leader ends it, once nothing is sealed with the one before
		}
		if err := p.writer.AdvanceRotation(p.asPeer(ctx), d.Object); err != nil {
			return fmt.Errorf("take over the key %s: %w", sealName(n), err)
		}
	}
	return nil
}

// sayKeys tells a person what it means that the cluster has the keys of another.
func sayKeys(from *api.KeyDocument) string {
	if from == nil {
		return ""
	}
	names := slices.Clone(from.InUse)
	slices.Sort(names)
	return fmt.Sprintf("  keys:        of cluster %s, copied %s: %s. No peer of that one may still run\n",
		from.ClusterID, from.MadeAt.UTC().Format(time.RFC3339), strings.Join(names, ", "))
}
