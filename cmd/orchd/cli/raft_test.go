package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// threePeers are a leader, a voter and one that does not vote.
func threePeers() api.Page[api.PeerView] {
	voter, other := aPeer(), aPeer()
	voter.Name, voter.ID, voter.Leader = "h2", "0b9f2d1e-0000-4000-8000-0000000000b2", false
	other.Name, other.ID, other.Leader, other.Voter = "h3", "0b9f2d1e-0000-4000-8000-0000000000b3", false, false
	return page(aPeer(), voter, other)
}

func TestRaftPeers(t *testing.T) {
	r := newFake(t).answer("GET /v1/peers", threePeers()).run("raft", "peers", "-o", "csv")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if r.code != 0 || len(lines) != 4 || !strings.HasPrefix(lines[1], "h1,") || !strings.Contains(lines[1], "leader") || !strings.Contains(lines[3], "non-voter") {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}

func TestTransferLeader(t *testing.T) {
	for args, want := range map[string]string{"": `POST /v1/raft/transfer-leader {}`, "h2": `POST /v1/raft/transfer-leader {"peer":"h2"}`} {
		f := newFake(t).answer("POST /v1/raft/transfer-leader", api.Leadership{Leader: "h2", Was: "h1", Term: 7})
		r := f.run(append([]string{"raft", "transfer-leader"}, strings.Fields(args)...)...)
		if r.code != 0 || !strings.Contains(r.stdout, "h2") || !slices.Contains(f.asked, want) {
			t.Errorf("%q: exit %d, %q, asked %v", args, r.code, r.stdout, f.asked)
		}
	}
}

// TestVotersComplete: Tab offers whoever could lead.
func TestVotersComplete(t *testing.T) {
	r := newFake(t).answer("GET /v1/peers", threePeers()).run("__completeNoDesc", "raft", "transfer-leader", "")
	if r.code != 0 || strings.Fields(r.stdout)[0] != "h2" || strings.Contains(r.stdout, "h3") {
		t.Errorf("exit %d, %q", r.code, r.stdout)
	}
}
