package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/cluster/ca"
)

// Member is a peer as the others must know it: id, name, addresses, and the
// public key (PKIX, DER) that its certificate must have.
type Member = api.KnownPeer

// Identity is who this peer is and whom it knows: all it needs to find a
// quorum before it has tables.
type Identity struct {
	ClusterID   string
	PeerID      string
	Name        string
	CA          []byte // certificates of the authorities that it trusts, PEM: one, or two while the CA is rotated
	Certificate []byte // this peer's, PEM
	Key         []byte // its private key, PEM (PKCS #8)
	WrapKey     seal.WrapKey
	GossipKeys  [][]byte // 32 bytes each; the first encrypts, all decrypt
	Peers       []Member // all peers as they were last known, this one included
}

// PublicKey is the key that the others pin this peer to (PKIX, DER).
func (i Identity) PublicKey() ([]byte, error) {
	cert, err := ca.ParseCert(i.Certificate)
	if err != nil {
		return nil, fmt.Errorf("this peer's certificate: %w", err)
	}
	return cert.RawSubjectPublicKeyInfo, nil
}

// credentials are the certificate and the trust for TLS.
func (i Identity) credentials() (*credentials, error) {
	cert, err := tls.X509KeyPair(i.Certificate, i.Key)
	if err != nil {
		return nil, fmt.Errorf("this peer's certificate and key: %w", err)
	}
	authorities, err := ca.ParseCerts(i.CA)
	if err != nil {
		return nil, fmt.Errorf("the cluster's CA certificate cannot be read: %w", err)
	}
	return &credentials{cert, authorities}, nil
}

// known is the file raft/known.json.
type known struct {
	ClusterID  string   `json:"cluster_id"`
	PeerID     string   `json:"peer_id"`
	Name       string   `json:"name"`
	CA         string   `json:"ca"`
	GossipKeys [][]byte `json:"gossip_keys"`
	Peers      []Member `json:"peers"`
	Sum        string   `json:"sum,omitempty"` // CRC32C of the rest, in hexadecimal; older files have none
}

// sum is the checksum of what the file says.
func (k known) sum() (string, error) {
	k.Sum = ""
	text, err := json.Marshal(k)
	return fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)), err
}

// readKnown reads the file, and refuses one that is not as it was written.
func readKnown(path string, text []byte) (k known, err error) {
	if err := json.Unmarshal(text, &k); err != nil {
		return k, altered(path, err.Error())
	}
	if k.Sum == "" {
		return k, nil
	}
	if sum, err := k.sum(); err != nil || sum != k.Sum {
		return k, altered(path, "it does not match its checksum")
	}
	return k, nil
}

// Files of an identity below the data folder.
func caFile(dataDir string) string    { return filepath.Join(dataDir, "tls", "ca.pem") }
func certFile(dataDir string) string  { return filepath.Join(dataDir, "tls", "peer.crt") }
func keyFile(dataDir string) string   { return filepath.Join(dataDir, "tls", "peer.key") }
func wrapFile(dataDir string) string  { return filepath.Join(dataDir, "tls", "wrap.key") }
func knownFile(dataDir string) string { return filepath.Join(dataDir, "raft", "known.json") }

// LoadIdentity reads what Save wrote. fs.ErrNotExist is behind the error of a
// folder that belongs to no cluster yet.
func LoadIdentity(dataDir string) (Identity, error) {
	text, err := os.ReadFile(knownFile(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, fmt.Errorf("%s holds no peer of a cluster: make one with `orchd init`, or become one with `orchd join`: %w", dataDir, err)
	} else if err != nil {
		return Identity{}, fmt.Errorf("read identity: %w", err)
	}
	k, err := readKnown(knownFile(dataDir), text)
	if err != nil {
		return Identity{}, fmt.Errorf("read identity: %w", err)
	}
	i := Identity{ClusterID: k.ClusterID, PeerID: k.PeerID, Name: k.Name, CA: []byte(k.CA), GossipKeys: k.GossipKeys, Peers: k.Peers}
	if i.Certificate, err = os.ReadFile(certFile(dataDir)); err != nil {
		return Identity{}, fmt.Errorf("read identity: %w", err)
	}
	if i.Key, err = os.ReadFile(keyFile(dataDir)); err != nil {
		return Identity{}, fmt.Errorf("read identity: %w", err)
	}
	wrap, err := os.ReadFile(wrapFile(dataDir))
	if err != nil {
		return Identity{}, fmt.Errorf("read identity: %w", err)
	}
	if i.WrapKey, err = seal.ParseWrapKey(wrap); err != nil {
		return Identity{}, fmt.Errorf("read identity %s: %w", wrapFile(dataDir), err)
	}
	return i, i.check(dataDir)
}

// check tells whether certificate, key and authority still belong together. That the
// certificate is out of date is for others to say.
func (i Identity) check(dataDir string) error {
	own, err := i.credentials()
	if err != nil {
		return altered(filepath.Join(dataDir, "tls"), err.Error())
	}
	if err := ca.Signed(own.cert.Leaf, own.authorities, x509.ExtKeyUsageClientAuth); err != nil {
		return altered(certFile(dataDir), err.Error())
	}
	return nil
}

// Save writes the identity below the data folder, each file whole or not at
// all. known.json comes last: with it the folder belongs to a cluster.
func (i Identity) Save(dataDir string) error {
	for _, dir := range []string{"tls", "raft"} {
		if err := os.MkdirAll(filepath.Join(dataDir, dir), 0o700); err != nil {
			return fmt.Errorf("save identity: %w", err)
		}
	}
	// The folder may be entered, so that any user can read the CA certificate in it.
	if err := os.Chmod(filepath.Join(dataDir, "tls"), 0o711); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if err := syncFolder(dataDir); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	wrap, err := i.WrapKey.Bytes()
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	for _, f := range []struct {
		path    string
		content []byte
		mode    os.FileMode
	}{
		{caFile(dataDir), i.CA, 0o644},
		{certFile(dataDir), i.Certificate, 0o600},
		{keyFile(dataDir), i.Key, 0o600},
		{wrapFile(dataDir), wrap, 0o600},
	} {
		if err := writeFile(f.path, f.content, f.mode); err != nil {
			return fmt.Errorf("save identity: %w", err)
		}
	}
	return i.saveKnown(dataDir)
}

// saveKnown writes known.json alone.
func (i Identity) saveKnown(dataDir string) error {
	k := known{i.ClusterID, i.PeerID, i.Name, string(i.CA), i.GossipKeys, i.Peers, ""}
	sum, err := k.sum()
	if err != nil {
		return fmt.Errorf("save known peers: %w", err)
	}
	k.Sum = sum
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return fmt.Errorf("save known peers: %w", err)
	}
	if err := writeFile(knownFile(dataDir), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("save known peers: %w", err)
	}
	return nil
}

// writeFile replaces a file as a whole, with exactly that mode; it is on disk when it
// returns, and so is its name, which renameio leaves to chance.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if err := renameio.WriteFile(path, content, mode, renameio.WithStaticPermissions(mode)); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}
