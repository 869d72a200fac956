package peer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/fsm"
)

// Init makes a cluster of one peer in an unused data folder: certificate
// authority, keys, and the first entry of the log. It works in a folder aside
// and moves that into place when all is there, so a crash leaves nothing half made.
func Init(ctx context.Context, cfg Config, progress io.Writer, log *slog.Logger) error {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return &api.Error{Kind: api.Invalid, Msg: err.Error()}
	}
	if err := wantUnused(cfg.DataDir); err != nil {
		return err
	}
	workshop := cfg
	workshop.DataDir = filepath.Join(cfg.DataDir, unfinished)
	if err := os.RemoveAll(workshop.DataDir); err != nil {
		return fmt.Errorf("throw away an unfinished init: %w", err)
	}
	for _, c := range []Config{cfg, workshop} {
		if err := makeFolders(c.DataDir); err != nil {
			return err
		}
	}
	founder, err := found(ctx, workshop)
	if err != nil {
		return err
	}
	if err := founder.write(ctx, quiet(log)); err != nil {
		return fmt.Errorf("write the first entry: %w", err)
	}
	if err := settle(cfg.DataDir); err != nil {
		return err
	}
	pin, err := ca.Hash(founder.identity.CA)
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, `Cluster %s is made; this host is its first peer, %q (driver %s).
  data:        %s
  API:         https://%s   (trust %s)
  keep a copy: orchd keys export --passphrase-file FILE --file keys.age     once it serves, and keep it offline
  CA pin:      %s
%s  next:        orchd token create --role peer     prints the command that joins the next host
`, founder.identity.ClusterID, cfg.Name, founder.host.Driver, cfg.DataDir, founder.host.Addresses.API,
		filepath.Join(cfg.DataDir, "tls", "ca.pem"), pin, sayKeys(cfg.Keys))
	sayDriver(progress, founder.host.Driver)
	return nil
}

// foundingTime bounds how long the first entry may take.
const foundingTime = 10 * time.Second

// founder is a first peer in the making.
type founder struct {
	cfg      Config
	identity cluster.Identity
	host     api.PeerUpdate
	keys     map[string][]byte // the cluster's, wrapped for this peer
	own      *founding         // the same in clear
}

// found makes the authority, the keys and the first peer's identity.
func found(ctx context.Context, cfg Config) (*founder, error) {
	now := cfg.Now()
	peerID := uuid.NewString()
	own, err := foundingKeys(cfg.Keys, now)
	if err != nil {
		return nil, err
	}
	authority := own.authority
	key, err := ca.NewKey()
	if err != nil {
		return nil, err
	}
	wrap, err := seal.NewWrapKey()
	if err != nil {
		return nil, err
	}
	host, err := newcomer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	csr, err := ca.Request(key)
	if err != nil {
		return nil, err
	}
	cert, err := authority.Peer(csr, peerID, now, cfg.Name, cfg.Advertise)
	if err != nil {
		return nil, err
	}
	keyPEM, err := ca.MarshalKey(key)
	if err != nil {
		return nil, err
	}
	f := &founder{cfg: cfg, host: host, own: own, identity: cluster.Identity{
		ClusterID: authority.ClusterID, PeerID: peerID, Name: cfg.Name, CA: authority.PEM(),
		Certificate: cert, Key: keyPEM, WrapKey: wrap, GossipKeys: [][]byte{own.gossip},
	}}
	public, err := f.identity.PublicKey()
	if err != nil {
		return nil, err
	}
	f.identity.Peers = []api.KnownPeer{{ID: peerID, Name: cfg.Name, Addresses: host.Addresses, PublicKey: public}}
	caKey, err := authority.MarshalKey()
	if err != nil {
		return nil, err
	}
	f.keys, err = wrapFor(wrap.Public(), map[string][]byte{fsm.KeyCA: caKey, fsm.KeyGossip: own.gossip, fsm.KeySeal: own.seals[0]})
	return f, err
}

// write starts raft with this peer as the only voter, writes the first entries
// and stops again.
func (f *founder) write(ctx context.Context, log *slog.Logger) (err error) {
	if err := f.identity.Save(f.cfg.DataDir); err != nil {
		return err
	}
	alone := f.cfg
	alone.RaftListen, alone.GossipListen, alone.APIListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	alone.Driver, alone.BallastMiB = api.DriverNone, 0
	p, err := openCore(ctx, alone, f.identity, cluster.Bootstrap, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, foundingTime)
	defer cancel()
	defer func() { err = errors.Join(err, p.Close()) }()
	public, err := f.identity.PublicKey()
	if err != nil {
		return err
	}
	err = p.writer.InitCluster(p.asPeer(ctx), rowOf(f.identity, f.host, public), map[string]string{
		fsm.SettingCluster: f.identity.ClusterID,
		fsm.SettingCA:      string(f.identity.CA),
		fsm.SettingVoters:  strconv.Itoa(f.cfg.Voters),
		fsm.SettingLevel:   strconv.FormatUint(fsm.Level(), 10),
		fsm.SettingRelease: f.cfg.Version,

		fsm.SettingSnapshotInterval: fsm.SettingDuration(f.cfg.SnapshotInterval),
		fsm.SettingSnapshotRetain:   strconv.Itoa(f.cfg.SnapshotRetain),
	}, f.keys)
	if err != nil {
		return err
	}
	seed := f.cfg.Auth
	if seed.JWTRole == nil {
		seed.JWTRole = new(api.RoleAdmin)
	}
	if err := p.writer.SetAuth(p.asPeer(ctx), seed); err != nil {
		return err
	}
	return p.sealLikeBefore(ctx, f.own)
}

// rowOf is the row of a peer in the making.
func rowOf(i cluster.Identity, host api.PeerUpdate, public []byte) api.Peer {
	return api.Peer{
		ID: i.PeerID, Name: i.Name, Addresses: host.Addresses, Capacity: host.Capacity, Reserve: host.Reserve, Ratios: host.Ratios,
		Labels: host.Labels, Driver: host.Driver, HostUUID: host.HostUUID, Software: host.Software, Level: host.Level,
		PublicKey: public, WrapKey: i.WrapKey.Public(), Certificate: string(i.Certificate),
	}
}

// wrapFor wraps keys to a peer's wrap key.
func wrapFor(public []byte, keys map[string][]byte) (map[string][]byte, error) {
	wrapped := map[string][]byte{}
	for name, key := range keys {
		w, err := seal.Wrap(public, name, key)
		if err != nil {
			return nil, fmt.Errorf("wrap %s: %w", name, err)
		}
		wrapped[name] = w
	}
	return wrapped, nil
}

func randomKey() []byte {
	k := make([]byte, 32)
	rand.Read(k)
	return k
}
