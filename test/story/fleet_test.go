package story

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/oldclient"
)

// TestOldClientThroughALeadersDeath: the client of node-orchestrator posts its
// sample file at the two peers that live on, while the leader is killed: what it
// was told is stored is stored once, and what is not stored it was told of.
func TestOldClientThroughALeadersDeath(t *testing.T) {
	h := form(t, 3, lab.Sim)
	h.allVoters()
	leader := h.leader(h.Hosts()...)
	rest := h.but(leader)
	objects := oldclient.Sample(oldclient.FakeNodes)

	var half, all sync.WaitGroup
	half.Add(len(objects) / 3)
	outcomes := make([]oldclient.Outcome, len(objects))
	for worker := range 4 {
		client := h.oldClient(rest[worker%2])
		all.Go(func() {
			for i := worker; i < len(objects); i += 4 {
				outcomes[i] = client.Create("ComputeNode", objects[i])
				if i < len(objects)/3 {
					half.Done()
				}
			}
		})
	}
	half.Wait()
	leader.Kill()
	all.Wait()

	stored := map[string]int{}
	for _, host := range rest {
		clear(stored)
		for _, n := range ask.Decode[[]inventory.ComputeNode](t, h.do(host, http.StatusOK, "GET", "/ComputeNode", nil)) {
			stored[n.XName]++
		}
		told := 0
		for i, o := range outcomes {
			var sent inventory.ComputeNode
			if err := json.Unmarshal(objects[i], &sent); err != nil {
				t.Fatal(err)
			}
			times := stored[sent.XName]
			delete(stored, sent.XName)
			switch {
			case times > 1:
				t.Errorf("%s: %s is stored %d times", host.Name, sent.XName, times)
			case o.Stored() && times == 0:
				t.Errorf("%s: %s was answered %d and is not stored", host.Name, sent.XName, o.Status)
			case o.Status == http.StatusBadRequest:
				t.Errorf("%s was refused: %s", sent.XName, o.Body)
			}
			if o.Stored() {
				told++
			}
		}
		if len(stored) > 0 {
			t.Errorf("%s stores what nobody sent: %v", host.Name, stored)
		}
		if told < len(objects)*9/10 {
			t.Errorf("only %d of %d objects were stored: writes should wait for the new leader", told, len(objects))
		}
	}
}

// oldClient is node-orchestrator's client on a host, with the schema files that orchd writes.
func (h *house) oldClient(at *lab.Host) *oldclient.Client {
	h.t.Helper()
	ca, err := os.ReadFile(filepath.Join(at.DataDir(), "tls", "ca.pem"))
	if err != nil {
		h.t.Fatal(err)
	}
	dir := h.t.TempDir()
	at.CLI("schemas", "--dir", dir)
	return &oldclient.Client{URL: at.URL(), Token: h.token, CA: ca, SchemaDir: dir, Dial: at.Dial}
}
