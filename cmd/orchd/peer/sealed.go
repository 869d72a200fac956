package peer

import (
	"strings"
	"sync"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/fsm"
)

// keyring is the sealing keys that this peer has unwrapped, by id: unwrapping is
// public-key work, and a key's id never stands for other bytes.
type keyring struct {
	mu   sync.Mutex
	keys map[string][]byte
}

// sealKey is the key under which this peer seals new values. Its id is the name
// of the setting that holds it, wrapped for each peer.
func (p *Peer) sealKey() (seal.Key, error) {
	name := p.machine.Read().KeyNames(api.KeySeal)[0]
	key, err := p.unwrapped(name)
	return seal.Key{ID: name, Bytes: key}, err
}

// openSealed decrypts what was sealed for that object, by the sealing key that
// it names. Its result is plaintext: hand it to who consumes it and keep no copy.
func (p *Peer) openSealed(object string, sealed []byte) ([]byte, error) {
	id, err := seal.KeyID(sealed)
	if err != nil {
		return nil, err
	}
	if id != fsm.KeySeal && !strings.HasPrefix(id, fsm.KeySeal+".") {
		return nil, api.Errorf(api.Internal, "seal", "a value is sealed with %q, which is no sealing key", id)
	}
	key, err := p.unwrapped(id)
	if err != nil {
		return nil, err
	}
	return seal.Open(func(string) ([]byte, bool) { return key, true }, object, sealed)
}

// unwrapped is a sealing key in clear.
func (p *Peer) unwrapped(id string) ([]byte, error) {
	p.keyring.mu.Lock()
	defer p.keyring.mu.Unlock()
	if key, known := p.keyring.keys[id]; known {
		return key, nil
	}
	key, err := p.clusterKeyIn(p.machine.Read(), id)
	if err != nil {
		return nil, err
	}
	if p.keyring.keys == nil {
		p.keyring.keys = map[string][]byte{}
	}
	p.keyring.keys[id] = key
	return key, nil
}
