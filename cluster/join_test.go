package cluster

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
)

func TestLeaderDialsTheNewcomerBack(t *testing.T) {
	h := newHouse(t, 1)
	leader := h.peers[0]
	ports, err := Listen(api.PeerAddresses{API: "127.0.0.1:0", Raft: "127.0.0.1:0", Gossip: "127.0.0.1:0"})
	must(t, err)
	defer ports.Close()
	at := api.PeerAddresses{API: ports.API.Addr().String(), Raft: ports.Raft.Addr().String(), Gossip: ports.Gossip.Addr().String()}
	stop := ports.Answer("nonce")
	must(t, leader.DialBack(t.Context(), "nonce", at))

	err = leader.DialBack(t.Context(), "other", at)
	wantKind(t, err, api.Invalid)
	broken := at
	broken.Raft = "127.0.0.1:1"
	err = leader.DialBack(t.Context(), "nonce", broken)
	wantKind(t, err, api.Invalid)
	if err == nil || !strings.Contains(err.Error(), "raft port at 127.0.0.1:1") {
		t.Errorf("the error does not name the port: %v", err)
	}
	stop()

	// The same ports go on: nobody answers the nonce any more, a peer does.
	accepted := make(chan error, 1)
	go func() {
		c, err := ports.Raft.Accept()
		if err == nil {
			c.Close()
		}
		accepted <- err
	}()
	if err := leader.DialBack(t.Context(), "nonce", api.PeerAddresses{API: at.Raft, Raft: at.Raft, Gossip: at.Gossip}); err == nil {
		t.Error("the nonce is still answered")
	}
	must(t, <-accepted)
}

func TestListenOpensAllPortsOrNone(t *testing.T) {
	ports, err := Listen(api.PeerAddresses{API: "127.0.0.1:0", Raft: "127.0.0.1:0", Gossip: "127.0.0.1:0"})
	must(t, err)
	defer ports.Close()
	taken := ports.Raft.Addr().String()
	if _, err := Listen(api.PeerAddresses{API: "127.0.0.1:0", Raft: "127.0.0.1:0", Gossip: taken}); err == nil || !strings.Contains(err.Error(), "gossip port") {
		t.Errorf("a taken port gives %v; want its name", err)
	}
	must(t, ports.Close())
	again, err := Listen(api.PeerAddresses{API: "127.0.0.1:0", Raft: taken, Gossip: "127.0.0.1:0"})
	must(t, err)
	must(t, again.Close())
}

func TestIdentityLiesInItsFiles(t *testing.T) {
	h := emptyHouse(t)
	dir := t.TempDir()
	if _, err := LoadIdentity(dir); !os.IsNotExist(err) && (err == nil || !strings.Contains(err.Error(), "orchd join")) {
		t.Errorf("an empty folder gives %v; want a sentence that says what to do", err)
	}
	want := h.identity(h.authority, uuid.NewString(), "h1")
	want.Peers = []Member{{ID: want.PeerID, Name: "h1", Addresses: api.PeerAddresses{API: "a:1", Raft: "a:2", Gossip: "a:3"}, PublicKey: []byte{1}}}
	must(t, want.Save(dir))
	got, err := LoadIdentity(dir)
	must(t, err)
	if !reflect.DeepEqual(got.WrapKey.Public(), want.WrapKey.Public()) {
		t.Error("the wrap key came back as another")
	}
	got.WrapKey = want.WrapKey
	if !reflect.DeepEqual(got, want) {
		t.Errorf("identity %+v, want %+v", got, want)
	}
	for file, mode := range map[string]os.FileMode{
		"tls": 0o711, "raft": 0o700, "tls/ca.pem": 0o644,
		"tls/peer.key": 0o600, "tls/peer.crt": 0o600, "tls/wrap.key": 0o600, "raft/known.json": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, file))
		must(t, err)
		if got := info.Mode().Perm(); got != mode {
			t.Errorf("%s has mode %o, want %o", file, got, mode)
		}
	}
}

// TestAlteredIdentity: wherever a byte of its files flips, an identity is refused with the
// file's name, or is the one that was saved. A file that has no checksum yet is read.
//
//race:out
func TestAlteredIdentity(t *testing.T) {
	h := emptyHouse(t)
	dir := t.TempDir()
	want := h.identity(h.authority, uuid.NewString(), "h1")
	want.Peers = []Member{{ID: want.PeerID, Name: "h1", PublicKey: []byte{1}}}
	must(t, want.Save(dir))
	for _, path := range []string{knownFile(dir), keyFile(dir), certFile(dir)} {
		good, err := os.ReadFile(path)
		must(t, err)
		for i := range good {
			bad := slices.Clone(good)
			bad[i] ^= 1 << (i % 8)
			must(t, os.WriteFile(path, bad, 0o600))
			got, err := LoadIdentity(dir)
			if err != nil {
				if !strings.Contains(err.Error(), dir) {
					t.Fatalf("byte %d of %s: refused with %q", i, path, err)
				}
				continue
			}
			if got.PeerID != want.PeerID || got.ClusterID != want.ClusterID || got.Name != want.Name || !reflect.DeepEqual(got.Peers, want.Peers) ||
				!reflect.DeepEqual(got.GossipKeys, want.GossipKeys) || string(got.CA) != string(want.CA) {
				t.Fatalf("byte %d of %s: %q becomes %q, and the identity is another", i, path, good[i], bad[i])
			}
		}
		must(t, os.WriteFile(path, good, 0o600))
	}
	text, err := os.ReadFile(knownFile(dir))
	must(t, err)
	at := strings.LastIndex(string(text), ",")
	must(t, os.WriteFile(knownFile(dir), []byte(string(text)[:at]+"}"), 0o600))
	if got, err := LoadIdentity(dir); err != nil || got.PeerID != want.PeerID {
		t.Errorf("a file without a checksum gave %v", err)
	}
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	c := DefaultConfig()
	c.Profile, c.ProposeTimeout = "moon", -time.Second
	c.Identity.GossipKeys = [][]byte{{1}}
	err := c.Validate()
	if err == nil {
		t.Fatal("an empty configuration is taken")
	}
	for _, part := range []string{"cluster id", "gossip key 0 has 1 bytes", "data folder", "snapshot store", "raft port", `"moon"`, "propose timeout", "certificate"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("nothing is said of %q in:\n%v", part, err)
		}
	}
}
