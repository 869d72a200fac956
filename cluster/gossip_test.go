package cluster

import (
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
)

func TestLoadFitsIntoEveryPacket(t *testing.T) {
	id := uuid.NewString()
	for _, l := range []Load{
		{},
		{Free: api.Resources{VCPUs: math.MaxInt64, MemoryMiB: math.MaxInt64, DiskGiB: math.MaxInt64}, Up: true, Level: math.MaxUint64, Marking: math.MaxUint64, Marked: math.MaxUint64 - 1},
		{Free: api.Resources{VCPUs: -1, MemoryMiB: math.MinInt64}, Level: 7}, // a host that shrank
	} {
		b, err := l.encode(id)
		must(t, err)
		if len(b) > maxMeta {
			t.Errorf("a load takes %d bytes, at most %d may be", len(b), maxMeta)
		}
		gotID, got, err := decodeLoad(append(b, "what a later version adds"...))
		if err != nil || got != l || gotID != id {
			t.Errorf("%v of %s came back as %v of %s, %v", l, id, got, gotID, err)
		}
		for i := range leastLoad {
			if _, _, err := decodeLoad(b[:i]); err == nil {
				t.Errorf("a load cut at byte %d was taken", i)
			}
		}
		older := l
		older.Marking, older.Marked = 0, 0
		if _, got, err := decodeLoad(b[:leastLoad]); err != nil || got != older {
			t.Errorf("of an older version %v came back as %v, %v", older, got, err)
		}
	}
	if _, err := (Load{}).encode("h1"); err == nil {
		t.Error("an id that is no UUID was encoded")
	}
}

func TestLoadsReachEveryone(t *testing.T) {
	h := newHouse(t, 3)
	for i, p := range h.peers {
		p.SetLoad(Load{Free: api.Resources{VCPUs: int64(i + 1)}, Up: true})
	}
	for _, p := range h.peers {
		h.eventually(func() error {
			loads := p.Loads()
			for i, other := range h.peers {
				if got := loads[other.id]; got.Free.VCPUs != int64(i+1) || !got.Up {
					return fmt.Errorf("%s hears of peer %d: %+v", p.identity.Name, i, got)
				}
			}
			return nil
		})
	}
	gone := h.followers()[0]
	gone.close()
	h.eventually(func() error {
		if loads := h.leader().Loads(); len(loads) != 2 {
			return fmt.Errorf("%d loads are left, want 2", len(loads))
		}
		return nil
	})
}

func TestGossipIsForPeersOnly(t *testing.T) {
	h := newHouse(t, 1)
	p := h.peers[0]
	for name, c := range map[string]struct {
		key   []byte
		label string
	}{
		"a wrong key":                     {seal.NewKey("x").Bytes, h.authority.ClusterID},
		"another cluster's label":         {h.gossipKey, uuid.NewString()},
		"an id that is not in the tables": {h.gossipKey, h.authority.ClusterID},
		"no key":                          {nil, h.authority.ClusterID},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := memberlist.DefaultLocalConfig()
			cfg.Name, cfg.BindAddr, cfg.BindPort = uuid.NewString(), "127.0.0.1", 0
			cfg.SecretKey, cfg.Label, cfg.LogOutput, cfg.TCPTimeout = c.key, c.label, io.Discard, time.Second
			stranger, err := memberlist.Create(cfg)
			must(t, err)
			defer stranger.Shutdown()
			stranger.Join([]string{p.id + "/" + p.at.Gossip}) // its own opinion of the outcome does not matter
			if p.gossip.sees(cfg.Name) {
				t.Error("it is taken for a member")
			}
			if _, seen := p.Loads()[cfg.Name]; seen {
				t.Error("its load counts")
			}
		})
	}
}
