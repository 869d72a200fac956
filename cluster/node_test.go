package cluster

import (
	"fmt"
	"testing"
)

func TestOnePeerRemembers(t *testing.T) {
	h := newHouse(t, 1)
	p := h.peers[0]
	if got, want := p.propose(set("a", "1")), "a=1"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	must(t, p.ReadIndex(t.Context()))
	p.close()

	p.open()
	if got := p.machine.get("a"); got != "1" {
		t.Errorf("after a restart a = %q, want 1", got)
	}
	if got, want := p.propose(set("b", "2")), "b=2"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
}

func TestThreePeersAgree(t *testing.T) {
	h := newHouse(t, 3)
	for i, p := range h.peers {
		key := fmt.Sprint("k", i)
		if got, want := p.propose(set(key, "v")), key+"=v"; got != want {
			t.Errorf("peer %d answered %q, want %q", i, got, want)
		}
		for j, other := range h.peers {
			must(t, other.ReadIndex(t.Context()))
			if got := other.machine.get(key); got != "v" {
				t.Errorf("peer %d read %s = %q, want v", j, key, got)
			}
		}
	}
}
