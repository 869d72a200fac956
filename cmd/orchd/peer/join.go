package peer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/api/voucher"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/cluster/ca"
)

// joinTime bounds the whole of joining.
const joinTime = 60 * time.Second

// Join enrols this host in the cluster of the peer at addr. Its keys are made on
// disk first, so that to run it again after a lost reply asks as the same host.
func Join(ctx context.Context, cfg Config, addr, token string, progress io.Writer, log *slog.Logger) error {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return &api.Error{Kind: api.Invalid, Msg: err.Error()}
	}
	secret, pin, err := splitToken(token)
	if err != nil {
		return err
	}
	if err := wantUnused(cfg.DataDir); err != nil {
		return err
	}
	if err := makeFolders(cfg.DataDir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	keys, err := ownKeys(cfg.DataDir)
	if err != nil {
		return err
	}
	addr = withPort(addr, "7700")
	fmt.Fprintf(progress, "asking %s for the cluster's CA\n", addr)
	caPEM, err := cluster.FetchCA(ctx, addr, pin)
	if err != nil {
		return err
	}
	identity, err := keys.enrol(ctx, cfg, invitation{addr, secret, pin, caPEM}, progress)
	if err != nil {
		return err
	}
	if err := identity.Save(cfg.DataDir); err != nil {
		return err
	}
	fmt.Fprintf(progress, "joined cluster %s as peer %q\n", identity.ClusterID, identity.Name)
	return nil
}

// splitToken takes ID.SECRET.CAHASH apart.
func splitToken(token string) (secret, pin string, err error) {
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return "", "", api.Errorf(api.Invalid, "join", "this is no join token: it must be ID.SECRET.CAHASH, as printed by: orchd token create --role peer")
	}
	return parts[0] + "." + parts[1], parts[2], nil
}

func withPort(addr, port string) string {
	addr = strings.TrimSuffix(strings.TrimPrefix(addr, "https://"), "/")
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), port)
}

// joinKeys are the keys that never leave this host.
type joinKeys struct {
	tls    *ecdsa.PrivateKey
	tlsPEM []byte
	wrap   seal.WrapKey
}

// ownKeys are the keys that an earlier attempt left, or new ones.
func ownKeys(dataDir string) (k joinKeys, err error) {
	k.tlsPEM, err = keep(filepath.Join(dataDir, "tls", "peer.key"), func() ([]byte, error) {
		key, err := ca.NewKey()
		if err != nil {
			return nil, err
		}
		return ca.MarshalKey(key)
	})
	if err != nil {
		return k, err
	}
	if k.tls, err = ca.ParseKey(k.tlsPEM); err != nil {
		return k, fmt.Errorf("read tls/peer.key: %w", err)
	}
	wrap, err := keep(filepath.Join(dataDir, "tls", "wrap.key"), func() ([]byte, error) {
		w, err := seal.NewWrapKey()
		if err != nil {
			return nil, err
		}
		return w.Bytes()
	})
	if err != nil {
		return k, err
	}
	k.wrap, err = seal.ParseWrapKey(wrap)
	return k, err
}

// keep reads a file, or makes it when it is not there.
func keep(path string, content func() ([]byte, error)) ([]byte, error) {
	b, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if b, err = content(); err != nil {
		return nil, err
	}
	return b, writeFile(path, b, 0o600)
}

// invitation is where this host may join, and with what.
type invitation struct {
	addr   string
	secret string // ID.SECRET of the token
	pin    string // of the cluster's CA
	caPEM  []byte
}

// enrol sends the request while this host's ports answer the leader's call back.
func (k joinKeys) enrol(ctx context.Context, cfg Config, to invitation, progress io.Writer) (cluster.Identity, error) {
	ports, err := cluster.Listen(api.PeerAddresses{API: cfg.APIListen, Raft: cfg.RaftListen, Gossip: cfg.GossipListen})
	if err != nil {
		return cluster.Identity{}, err
	}
	defer ports.Close()
	host, err := newcomer(ctx, cfg)
	if err != nil {
		return cluster.Identity{}, err
	}
	host.Addresses = cfg.addresses(ports.API.Addr(), ports.Raft.Addr(), ports.Gossip.Addr())
	csr, err := ca.Request(k.tls)
	if err != nil {
		return cluster.Identity{}, err
	}
	request := api.JoinRequest{
		Token: to.secret, CSR: csr, WrapKey: k.wrap.Public(), Name: cfg.Name,
		Nonce: uuid.NewString(), Clock: cfg.Now().UTC(), Host: host,
	}
	if cfg.TrustKey != nil {
		public, err := ca.PublicKey(csr)
		if err != nil {
			return cluster.Identity{}, err
		}
		signed := voucher.Sign(cfg.TrustKey, voucher.JoinText(to.pin, public, cfg.Name))
		request.Voucher = &signed
	}
	stop := ports.Answer(request.Nonce)
	defer stop()
	sayDriver(progress, host.Driver)
	fmt.Fprintf(progress, "asking to join as %q: API %s, raft %s, gossip %s\n", cfg.Name, host.Addresses.API, host.Addresses.Raft, host.Addresses.Gossip)
	answer, err := askToJoin(ctx, to.addr, to.caPEM, request)
	if err != nil {
		return cluster.Identity{}, err
	}
	return k.identity(cfg, answer, to.pin)
}

// identity is what the answer makes of this host.
func (k joinKeys) identity(cfg Config, a api.JoinAnswer, pin string) (cluster.Identity, error) {
	trusted, err := ca.ParseCerts([]byte(a.CA))
	if err != nil || !slices.ContainsFunc(trusted, func(c *x509.Certificate) bool { return ca.HashOf(c) == pin }) {
		return cluster.Identity{}, api.Errorf(api.Forbidden, "join", "the answer names another CA than the one pinned by the token")
	}
	var gossip [][]byte
	for _, name := range a.GossipKeys {
		key, err := k.wrap.Unwrap(name, a.Keys[name])
		if err != nil {
			return cluster.Identity{}, fmt.Errorf("unwrap the gossip key: %w", err)
		}
		gossip = append(gossip, key)
	}
	name := cfg.Name
	for _, p := range a.Peers {
		if p.ID == a.PeerID {
			name = p.Name // of the first attempt, if this is another with another name
		}
	}
	return cluster.Identity{
		ClusterID: a.ClusterID, PeerID: a.PeerID, Name: name, CA: []byte(a.CA), Certificate: []byte(a.Certificate),
		Key: k.tlsPEM, WrapKey: k.wrap, GossipKeys: gossip, Peers: a.Peers,
	}, nil
}

// askToJoin posts the request to a peer whose CA is pinned by now.
func askToJoin(ctx context.Context, addr string, caPEM []byte, request api.JoinRequest) (answer api.JoinAnswer, err error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPEM)
	host, _, _ := net.SplitHostPort(addr)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, ServerName: host}}
	defer transport.CloseIdleConnections()
	body, err := json.Marshal(request)
	if err != nil {
		return answer, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr+"/v1/join", bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return answer, api.Errorf(api.Unavailable, "join", "ask %s to join: %w", addr, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return answer, api.Errorf(api.Unavailable, "join", "read the answer of %s: %w", addr, err)
	}
	if response.StatusCode/100 != 2 {
		return answer, refused(addr, response.Status, text)
	}
	return answer, json.Unmarshal(text, &answer)
}

// refused is a problem document as the error that it tells of.
func refused(addr, status string, text []byte) error {
	var problem api.Problem
	if err := json.Unmarshal(text, &problem); err != nil || problem.Detail == "" {
		return api.Errorf(api.Unavailable, "join", "%s answered %s: is that a peer's API port?", addr, status)
	}
	return problem.Err()
}
