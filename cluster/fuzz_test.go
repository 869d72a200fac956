package cluster

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/cluster/ca"
)

// FuzzBatch: what is read of a batch is what was written, whatever else is in the file.
func FuzzBatch(f *testing.F) {
	f.Add(encodeBatch(stamp{3, 4}, filled(1, 3, 2, 9)))
	f.Add(encodeBatch(stamp{}, nil))
	f.Add(make([]byte, aheadPage))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < batchHeader {
			return
		}
		length := binary.BigEndian.Uint32(b[4:])
		if n := batchHeader + uint64(length); n <= uint64(len(b)) { // else the sum would keep everything out
			binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:n], castagnoli))
		}
		of, logs, size, ok := decodeBatch(b)
		if !ok {
			return
		}
		if size > len(b) || size != batchSize(logs) {
			t.Fatalf("a batch of %d bytes in %d, whose entries take %d", size, len(b), batchSize(logs))
		}
		again, more, _, ok := decodeBatch(encodeBatch(of, logs))
		if !ok || again != of || len(more) != len(logs) {
			t.Errorf("written again it is another: %v %v, %d entries of %d", again, ok, len(more), len(logs))
		}
	})
}

// FuzzAheadFiles opens a log whose two files may be anything: it opens, or says why
// not, and gives only entries that are whole in them.
func FuzzAheadFiles(f *testing.F) {
	whole := encodeBatch(stamp{1, 7}, filled(1, 3, 2, 30))
	f.Add(whole, append(slices.Clone(whole), whole...), uint16(0), byte(0))
	f.Add(append(slices.Clone(whole), encodeBatch(stamp{1, 7}, filled(4, 4, 2, 5000))...), encodeBatch(stamp{2, 7}, nil), uint16(5000), byte(0x10))
	f.Add(make([]byte, 3*aheadPage), whole, uint16(40), byte(1))
	f.Fuzz(func(t *testing.T, one, two []byte, at uint16, bit byte) {
		const size = 8 * aheadPage
		a := &ahead{bolt: &sureBolt{logs: map[uint64]*raft.Log{}}, size: size, most: size / 2}
		wrote := map[string]bool{}
		for i, content := range [][]byte{one, two} {
			file := newGrainy("ahead", size)
			copy(file.written, content)
			file.written[int(at)%size] ^= bit
			for pos := 0; pos < size; pos += aheadPage {
				if _, logs, _, ok := decodeBatch(file.written[pos:]); ok {
					for _, l := range logs {
						wrote[string(encodeBatch(stamp{}, []*raft.Log{l}))] = true
					}
				}
			}
			a.files[i] = file
		}
		if err := a.recover(); err != nil {
			return
		}
		for _, l := range slices.SortedFunc(maps.Values(a.bolt.(*sureBolt).logs), func(a, b *raft.Log) int { return int(a.Index) - int(b.Index) }) {
			if !wrote[string(encodeBatch(stamp{}, []*raft.Log{l}))] {
				t.Errorf("entry %d is in no batch of the files", l.Index)
			}
		}
	})
}

// FuzzPeerMessages: what peers send each other is refused or read, never more.
func FuzzPeerMessages(f *testing.F) {
	frame, _ := encodeFrame(time.Unix(1, 0), []byte("a"))
	f.Add(frame)
	f.Add(encodeVerdicts([]verdict{{answer: encoded("x")}, {err: errNotLeader}, {err: errRemoved}}))
	f.Add(news{}.encode([]byte("rest")))
	f.Add(append([]byte{0, 0, 0, 3, byte(askPropose), 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9}, "abc"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if verdicts, err := decodeVerdicts(b); err == nil && len(verdicts) > len(b) {
			t.Errorf("%d verdicts in %d bytes", len(verdicts), len(b))
		}
		if m, rest, err := decodeNews(b); err == nil && !bytes.Equal(m.encode(rest), b) {
			t.Errorf("news written again are others: %x, %x", b, m.encode(rest))
		}
		r := bufio.NewReaderSize(bytes.NewReader(b), callBuffer)
		for {
			c, err := readCall(r, maxMessage)
			if err != nil {
				break
			}
			if len(c.body) > len(b) {
				t.Errorf("a body of %d bytes came out of %d", len(c.body), len(b))
			}
		}
	})
}

// FuzzGossipMeta: what a load says survives being written, and no longer one is another.
func FuzzGossipMeta(f *testing.F) {
	whole, _ := Load{Up: true, Level: 2}.encode("11111111-2222-4333-8444-555555555555")
	f.Add(whole)
	f.Add(append(whole, 1, 2, 3))
	f.Add(whole[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		id, l, err := decodeLoad(b)
		if err != nil {
			return
		}
		again, err := l.encode(id)
		if err != nil {
			t.Fatalf("a load that was read cannot be written: %v", err)
		}
		if id2, l2, err := decodeLoad(again); err != nil || id2 != id || l2 != l || len(again) > maxMeta {
			t.Errorf("read again: %v %v, %v in %d bytes, was %v %v", id2, l2, err, len(again), id, l)
		}
	})
}

// FuzzIdentity starts from a data folder whose files may be anything.
func FuzzIdentity(f *testing.F) {
	authority, err := ca.New("11111111-2222-4333-8444-555555555555", time.Unix(1_790_000_000, 0))
	if err != nil {
		f.Fatal(err)
	}
	key, err := ca.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	keyPEM, _ := ca.MarshalKey(key)
	csr, _ := ca.Request(key)
	cert, err := authority.Peer(csr, "22222222-2222-4333-8444-555555555555", time.Unix(1_790_000_000, 0), "127.0.0.1:7700")
	if err != nil {
		f.Fatal(err)
	}
	knownText := `{"cluster_id":"c","peer_id":"p","name":"h1","ca":"","gossip_keys":["AAAA"],"peers":[{"id":"p"}]}`
	f.Add([]byte(knownText), cert, keyPEM, bytes.Repeat([]byte{7}, 32))
	f.Add([]byte(`{"peers":null}`), []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte(nil), []byte{})
	f.Add([]byte("[]"), cert[:50], keyPEM[:70], []byte("x"))
	dir := f.TempDir()
	for _, sub := range []string{"tls", "raft"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, knownJSON, certPEM, keyPEM, wrap []byte) {
		for path, content := range map[string][]byte{knownFile(dir): knownJSON, certFile(dir): certPEM, keyFile(dir): keyPEM, wrapFile(dir): wrap} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		i, err := LoadIdentity(dir)
		if err != nil {
			return
		}
		if _, err := i.credentials(); err == nil {
			if _, err := i.PublicKey(); err != nil {
				t.Errorf("there are credentials, and no public key: %v", err)
			}
		}
		if err := i.Save(t.TempDir()); err != nil {
			t.Errorf("an identity that was read cannot be written: %v", err)
		}
	})
}

// FuzzRaftPort sends anything to the raft port before there is a certificate: it is
// closed, with a TLS alert at most, and its place is free again.
func FuzzRaftPort(f *testing.F) {
	authority, err := ca.New("11111111-2222-4333-8444-555555555555", time.Now())
	if err != nil {
		f.Fatal(err)
	}
	key, _ := ca.NewKey()
	csr, _ := ca.Request(key)
	cert, err := authority.Peer(csr, "22222222-2222-4333-8444-555555555555", time.Now(), "127.0.0.1:7700")
	if err != nil {
		f.Fatal(err)
	}
	keyPEM, _ := ca.MarshalKey(key)
	papers, err := newPapers(Identity{CA: authority.PEM(), Certificate: cert, Key: keyPEM}, "")
	if err != nil {
		f.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Ports = &Ports{Raft: listener}
	h := newHall(&door{authority.ClusterID, papers, newBook(nil)}, cfg, slog.New(slog.DiscardHandler))
	f.Cleanup(func() { h.close() })
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0x16, 3, 1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		h.admit(addressed{theirs})
		go func() {
			ours.Write(said)
			ours.(io.Closer).Close()
		}()
		if answer, err := io.ReadAll(ours); len(answer) > 0 && (answer[0] != 21 || len(answer) > 7) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a stranger got %d bytes: %x", len(answer), answer)
		}
		eventually(t, func() error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.conns) > 0 {
				return errors.New("its place is still taken")
			}
			return nil
		})
	})
}

// addressed is a pipe that comes from somewhere.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9} }
