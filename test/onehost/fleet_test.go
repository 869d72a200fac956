package onehost

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/schema"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/oldclient"
)

// oldClient is node-orchestrator's client, at this peer, with the schemas checked first.
func (p *Peer) oldClient(token string) *oldclient.Client {
	p.t.Helper()
	ca, err := os.ReadFile(filepath.Join(p.Config.DataDir, "tls", "ca.pem"))
	if err != nil {
		p.t.Fatal(err)
	}
	dir := p.t.TempDir()
	for _, kind := range schema.Kinds() {
		doc, _ := schema.Of(kind)
		if err := os.WriteFile(filepath.Join(dir, kind+".json"), doc, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	return &oldclient.Client{URL: "https://" + p.Address(), Token: token, CA: ca, SchemaDir: dir}
}

func (c *Cluster) adminToken() string {
	c.t.Helper()
	return ask.Decode[api.NewToken](c.t, c.Peers[0].Do("POST", "/v1/tokens", api.TokenCreate{Role: api.RoleAdmin, TTL: "1h"})).Token
}

// nodes is every node that the peer knows, read linearizably, as old clients read it.
func (p *Peer) nodes() []inventory.ComputeNode {
	p.t.Helper()
	a := p.Do("GET", "/ComputeNode", nil)
	if a.Status != http.StatusOK {
		p.t.Fatalf("list on %s: %d %s", p.Name, a.Status, a.Body)
	}
	return ask.Decode[[]inventory.ComputeNode](p.t, a)
}

// TestSampleFilesThroughEveryPeer: the sample files of node-orchestrator, by its
// own client, a third of them through each peer: nothing lost, nothing doubled.
//
//race:out
func TestSampleFilesThroughEveryPeer(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	token := c.adminToken()
	clients := []*oldclient.Client{c.Peers[0].oldClient(token), c.Peers[1].oldClient(token), c.Peers[2].oldClient(token)}
	want := map[string]bool{}
	for i, object := range append(oldclient.Sample(oldclient.Nodes), oldclient.Sample(oldclient.FakeNodes)...) {
		o := clients[i%3].Create("ComputeNode", object)
		if !o.Stored() || o.Status != http.StatusCreated {
			t.Fatalf("object %d: %d %v %s", i, o.Status, o.Err, o.Body)
		}
		var sent, stored inventory.ComputeNode
		if json.Unmarshal(object, &sent) != nil || json.Unmarshal(o.Body, &stored) != nil {
			t.Fatalf("object %d does not decode: %s", i, o.Body)
		}
		if stored.XName != sent.XName || stored.LocationString != sent.XName || stored.Hostname != sent.Hostname || len(stored.NetworkInterfaces) != len(sent.NetworkInterfaces) {
			t.Errorf("object %d came back as %s", i, o.Body)
		}
		if strings.Contains(string(o.Body), "password") {
			t.Errorf("object %d came back with its password", i)
		}
		want[stored.ID] = true
	}
	for _, object := range oldclient.Sample(oldclient.Collections) {
		if o := clients[1].Create("NodeCollection", object); o.Status != http.StatusCreated {
			t.Errorf("collection: %d %v %s", o.Status, o.Err, o.Body)
		}
	}
	for _, p := range c.Peers {
		nodes := p.nodes()
		for _, n := range nodes {
			if !want[n.ID] {
				t.Errorf("%s lists node %s, which nobody was told of", p.Name, n.ID)
			}
		}
		if len(nodes) != len(want) {
			t.Errorf("%s lists %d nodes, want %d", p.Name, len(nodes), len(want))
		}
		if a := p.Do("GET", "/inventory/NodeCollection/Partition%201", nil); a.Status != http.StatusOK {
			t.Errorf("the collection by name on %s: %d %s", p.Name, a.Status, a.Body)
		}
	}
	if o := clients[2].Create("ComputeNode", oldclient.Sample(oldclient.Nodes)[0]); o.Status != http.StatusBadRequest || !strings.Contains(string(o.Body), "already exists") {
		t.Errorf("the first object again: %d %s", o.Status, o.Body)
	}
}

// TestTwoPeersAskedAtTheSameInstant: of two claims to the same thing, made at two
// peers at once, one is granted.
func TestTwoPeersAskedAtTheSameInstant(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	for _, claim := range []struct {
		what, path string
		body       func(round, k int) string
		lost       int // status of who comes second
	}{
		{"xname", "/ComputeNode", func(r, k int) string {
			return fmt.Sprintf(`{"hostname":"h%d","architecture":"x86_64","xname":"x1000c0s0b%dn0"}`, k, r)
		}, http.StatusBadRequest},
		{"MAC", "/ComputeNode", func(r, k int) string {
			return fmt.Sprintf(`{"hostname":"h%d","architecture":"x86_64","boot_mac":"02:00:00:00:00:%02x"}`, k, r)
		}, http.StatusBadRequest},
		{"BMC", "/BMC", func(r, k int) string {
			return fmt.Sprintf(`{"username":"u%d","password":"p","xname":"x2000c0s0b%d"}`, k, r)
		}, http.StatusConflict},
		{"partition", "/NodeCollection", func(r, k int) string {
			return fmt.Sprintf(`{"name":"p%d-%d","type":"partition","nodes":["x1000c0s0b%dn0"]}`, r, k, r)
		}, http.StatusBadRequest},
		{"tenant", "/NodeCollection", func(r, k int) string {
			return fmt.Sprintf(`{"name":"t%d-%d","type":"tenant","nodes":["x1000c0s0b%dn0"]}`, r, k, r)
		}, http.StatusBadRequest},
	} {
		for round := range 10 {
			answers := make([]ask.Answer, 3)
			var all sync.WaitGroup
			for k, p := range c.Peers {
				all.Go(func() { answers[k] = p.Do("POST", claim.path, claim.body(round, k)) })
			}
			all.Wait()
			won, lost := 0, 0
			for _, a := range answers {
				switch {
				case a.Status/100 == 2:
					won++
				case a.Status == claim.lost && strings.Contains(string(a.Body), "already"):
					lost++
				}
			}
			if won != 1 || lost != 2 {
				t.Errorf("%s, round %d: %d won and %d lost: %d %d %d %s", claim.what, round, won, lost, answers[0].Status, answers[1].Status, answers[2].Status, answers[0].Body)
			}
		}
	}
	for _, p := range c.Peers {
		if err := p.Running.Machine().Verify(); err != nil {
			t.Error(err)
		}
	}
}

// TestArraysThroughTheLog: arrays that are larger than a log entry are stored
// whole or not at all, and a key makes a retry harmless.
func TestArraysThroughTheLog(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	nodes := func(n, from int) []inventory.ComputeNode {
		list := make([]inventory.ComputeNode, n)
		for k := range list {
			list[k] = inventory.ComputeNode{Hostname: fmt.Sprintf("n%d", from+k), Architecture: "x86_64", Description: strings.Repeat("long ", 60),
				XName: fmt.Sprintf("x1000c%ds%db%dn0", (from+k)>>16&255, (from+k)>>8&255, (from+k)&255)}
		}
		return list
	}
	a := c.Peers[1].Do("POST", "/ComputeNode", nodes(4000, 0), "Idempotency-Key: all")
	if a.Status != http.StatusCreated {
		t.Fatalf("4000 nodes: %d %.300s", a.Status, a.Body)
	}
	first := ask.Decode[[]inventory.ComputeNode](t, a)
	again := c.Peers[2].Do("POST", "/ComputeNode", nodes(4000, 0), "Idempotency-Key: all")
	if again.Status != http.StatusCreated || again.Header.Get("Idempotency-Replayed") != "true" || ask.Decode[[]inventory.ComputeNode](t, again)[3999].ID != first[3999].ID {
		t.Errorf("the same key again: %d, replayed %q", again.Status, again.Header.Get("Idempotency-Replayed"))
	}
	bad := nodes(3000, 4000)
	bad[2999].XName = "x1000c0s0b0n0"
	if a := c.Peers[0].Do("POST", "/ComputeNode", bad); a.Status != http.StatusBadRequest || len(a.Problem(t).Errors) != 1 || !strings.HasPrefix(a.Problem(t).Errors[0].Pointer, "/2999") {
		t.Errorf("an array whose last item is taken: %d %.300s", a.Status, a.Body)
	}
	for _, p := range c.Peers {
		if got := len(p.nodes()); got != 4000 {
			t.Errorf("%s has %d nodes, want 4000", p.Name, got)
		}
	}
}

// TestMembersComeSideBySide: clients that put nodes into one group through all peers at the
// same time are not in each other's way, and of two that put the same node in one is refused.
func TestMembersComeSideBySide(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	if a := c.Peers[0].Do("POST", "/hsm/v2/groups", `{"label":"g","members":{}}`); a.Status != http.StatusCreated {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	const clients, each = 16, 10
	var all sync.WaitGroup
	var refused atomic.Int64
	for k := range clients {
		all.Go(func() {
			for i := range each {
				// Clients go in pairs: 2n and 2n+1 put in the same nodes.
				a := c.Peers[k%len(c.Peers)].Do("POST", "/hsm/v2/groups/g/members", fmt.Sprintf(`{"id":"x1c%ds%db0n0"}`, k/2, i))
				switch a.Status {
				case http.StatusCreated:
				case http.StatusConflict:
					refused.Add(1)
				default:
					t.Errorf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
	all.Wait()
	if want := int64(clients * each / 2); refused.Load() != want {
		t.Errorf("%d were refused, want %d", refused.Load(), want)
	}
	for _, p := range c.Peers {
		ids := ask.Decode[smd.Members](t, p.Do("GET", "/hsm/v2/groups/g/members", nil)).IDs
		slices.Sort(ids)
		if len(ids) != clients*each/2 || len(slices.Compact(ids)) != len(ids) {
			t.Errorf("%s has the members %q", p.Name, ids)
		}
	}
	for k := range clients / 2 {
		all.Go(func() {
			for i := range each {
				if a := c.Peers[k%len(c.Peers)].Do("DELETE", fmt.Sprintf("/hsm/v2/groups/g/members/x1c%ds%db0n0", k, i), nil); a.Status != http.StatusOK {
					t.Errorf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
	all.Wait()
	if left := ask.Decode[smd.Members](t, c.Peers[1].Do("GET", "/hsm/v2/groups/g/members", nil)).IDs; len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// TestSecretsOfTheFleetStaySealed: a password and user-data are in no answer but
// the one that asks for them, and in no file of any peer.
//
//race:out
func TestSecretsOfTheFleetStaySealed(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	const password, userdata = "canary-of-the-bmc", "canary-of-the-user-data"
	a := c.Peers[0].Do("POST", "/ComputeNode", `{"hostname":"n","architecture":"x86_64","xname":"x1000c0s0b0n0","bmc":{"xname":"x1000c0s0b0","username":"root","password":"`+password+`"},
		"cloud_init_data":{"userdata":"`+userdata+`"},"spec":{"bmc_password":"`+password+`"}}`)
	if a.Status != http.StatusCreated {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	id := ask.Decode[inventory.ComputeNode](t, a).ID
	if a := c.Peers[0].Do("POST", "/v1/snapshots", nil); a.Status != http.StatusCreated {
		t.Fatalf("snapshot: %d %s", a.Status, a.Body)
	}
	operator := ask.Decode[api.NewToken](t, c.Peers[0].Do("POST", "/v1/tokens", api.TokenCreate{Role: api.RoleOperator, TTL: "1h"})).Token
	for _, p := range c.Peers {
		for _, path := range []string{"/ComputeNode", "/ComputeNode/" + id, "/BMC", "/BMC/x1000c0s0b0", "/hsm/v2/Inventory/RedfishEndpoints", "/hsm/v2/State/Components"} {
			if a := p.Do("GET", path, nil); a.Status != http.StatusOK || strings.Contains(string(a.Body), "canary") {
				t.Errorf("%s on %s: %d %s", path, p.Name, a.Status, a.Body)
			}
		}
		a := p.Do("GET", "/ComputeNode/"+id+"?reveal=true", nil)
		if n := ask.Decode[inventory.ComputeNode](t, a); n.BMC.Password == nil || *n.BMC.Password != password || n.CloudInit == nil || n.CloudInit.UserData != `"`+userdata+`"` || *n.Spec.BMCPassword != password {
			t.Errorf("revealed to an admin on %s: %d %s", p.Name, a.Status, a.Body)
		}
		if a := p.Do("GET", "/ComputeNode/"+id+"?reveal=true", nil, "Authorization: Bearer "+operator); a.Status != http.StatusForbidden {
			t.Errorf("revealed to an operator: %d %s", a.Status, a.Body)
		}
	}
	for _, p := range c.Peers {
		p.Stop()
		files := 0
		err := filepath.WalkDir(p.Config.DataDir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			files++
			if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), "canary") {
				t.Errorf("%s: %v, or it holds a secret", path, err)
			}
			return nil
		})
		if err != nil || files < 5 {
			t.Errorf("%d files of %s were looked at: %v", files, p.Name, err)
		}
	}
}
