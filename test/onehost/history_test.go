package onehost

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// plainNodes is n nodes, the first number from.
func plainNodes(from, n int) []inventory.ComputeNode {
	nodes := make([]inventory.ComputeNode, n)
	for k := range nodes {
		i := from + k
		nodes[k] = inventory.ComputeNode{Hostname: fmt.Sprintf("n%d", i), Architecture: "x86_64", XName: fmt.Sprintf("x1000c%ds%db%dn0", i>>12&63, i>>6&63, i&63)}
	}
	return nodes
}

// post stores nodes in one request.
func (p *Peer) post(nodes []inventory.ComputeNode) {
	p.t.Helper()
	if a := p.Do("POST", "/ComputeNode", nodes); a.Status != http.StatusCreated {
		p.t.Fatalf("%d nodes at %s: %d %.300s", len(nodes), p.Name, a.Status, a.Body)
	}
}

// events reads events of a table behind a position until there are n, or enough
// says so, and gives them.
func (p *Peer) events(since api.Position, n int, table string) (events []api.Event) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 60*time.Second)
	defer cancel()
	for e, err := range p.Client().Events(ctx, since, api.EventFilter{Tables: []string{table}}, true) {
		if err != nil {
			p.t.Fatalf("events at %s behind %s, after %d of %d: %v", p.Name, since, len(events), n, err)
		}
		if events = append(events, e); len(events) == n {
			break
		}
	}
	return events
}

// TestEventsOfAnArrayCutInTheMiddle: a stream is cut behind event 5,000 of an
// array of 10,000 nodes and goes on at another peer, the leader having stopped
// meanwhile: in order, none missing, none twice, the same on every peer.
func TestEventsOfAnArrayCutInTheMiddle(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	leader := c.Leader()
	others := c.without(leader)
	leader.post(plainNodes(0, 10_000))
	first := leader.events(api.After(0), 5000, "compute_nodes")
	cut := first[4999].Position()
	leader.stop()
	others[0].post(plainNodes(10_000, 100))
	all := append(first, others[1].events(cut, 5100, "compute_nodes")...)
	seen := map[string]bool{}
	for i, e := range all {
		if i > 0 && !all[i-1].Position().Before(e.Position()) {
			t.Fatalf("event %s comes behind %s", e.Position(), all[i-1].Position())
		}
		if seen[e.Key] || e.Verb != api.Created || len(e.Value) == 0 {
			t.Fatalf("event %s, of %s: %s again, or without its row: %.100s", e.Position(), e.Key, e.Verb, e.Value)
		}
		seen[e.Key] = true
	}
	same := others[0].events(api.After(0), 10_100, "compute_nodes")
	for i := range same {
		if same[i].Position() != all[i].Position() || !bytes.Equal(same[i].Value, all[i].Value) {
			t.Fatalf("event %d is %s at one peer and %s at another", i, all[i].Position(), same[i].Position())
		}
	}
}

// without is all peers but that one.
func (c *Cluster) without(p *Peer) (rest []*Peer) {
	for _, o := range c.Peers {
		if o != p {
			rest = append(rest, o)
		}
	}
	return rest
}

// TestNewcomerFetchesWhatChanged: a peer whose state came out of a snapshot has
// the whole history all the same, row for row, and so answers for any moment alike.
func TestNewcomerFetchesWhatChanged(t *testing.T) {
	t.Parallel()
	c := Start(t, 1, func(_ int, cfg *peer.Config) { cfg.TrailingLogs, cfg.HistoryLook = 2, 100*time.Millisecond })
	first := c.Peers[0]
	for i := range 10 {
		first.post(plainNodes(10*i, 10))
	}
	if err := first.Running.Node().Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	taken := ask.Decode[api.Snapshot](t, first.Do("POST", "/v1/snapshots", nil))
	second := c.NewPeer()
	if err := second.Join(first, c.JoinToken("1h")); err != nil {
		t.Fatal(err)
	}
	second.Start()
	second.WaitReady()
	lab.Eventually(t, 20*time.Second, func() error {
		if a := second.Do("GET", "/v1/snapshots/"+taken.ID, nil); a.Status != http.StatusOK || ask.Decode[api.Snapshot](t, a).StateHash != taken.StateHash {
			return fmt.Errorf("the snapshot that was taken before it came: %d %s", a.Status, a.Body)
		}
		return nil
	})
	first.post(plainNodes(100, 10))
	want := first.events(api.After(0), 110, "compute_nodes")
	got := second.events(api.After(0), 110, "compute_nodes")
	for i := range want {
		if want[i].Position() != got[i].Position() || !bytes.Equal(want[i].Value, got[i].Value) {
			t.Fatalf("change %d: %s at the first, %s at the newcomer", i, want[i].Position(), got[i].Position())
		}
	}
	overlay := func(p *Peer) []byte {
		var out bytes.Buffer
		if _, err := fsm.Overlay("compute_nodes", nil, 0, p.changes(t, want[54].Index), &out); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	if !bytes.Equal(overlay(first), overlay(second)) {
		t.Error("the tables of one moment differ between the peers")
	}
}

// TestFetchingOfSnapshotsGoesOn: a newcomer that ends while it fetches the others' snapshots gets
// the rest after its start. What is deleted here once all were there does not come back.
func TestFetchingOfSnapshotsGoesOn(t *testing.T) {
	t.Parallel()
	c := Start(t, 1, func(_ int, cfg *peer.Config) { cfg.HistoryLook = 100 * time.Millisecond })
	first := c.Peers[0]
	var ids []string
	for i := range 3 {
		first.post(plainNodes(i, 1))
		ids = append(ids, ask.Decode[api.Snapshot](t, first.Do("POST", "/v1/snapshots", nil)).ID)
	}
	second := c.NewPeer()
	if err := second.Join(first, c.JoinToken("1h")); err != nil {
		t.Fatal(err)
	}
	second.Start()
	second.WaitReady()
	lacking := filepath.Join(second.Config.DataDir, "snapshots.incomplete")
	hasAll := func() error {
		for _, id := range ids {
			if a := second.Do("GET", "/v1/snapshots/"+id, nil); a.Status != http.StatusOK {
				return fmt.Errorf("snapshot %s: %d %s", id, a.Status, a.Body)
			}
		}
		if _, err := os.Lstat(lacking); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %v", lacking, err)
		}
		return nil
	}
	lab.Eventually(t, 20*time.Second, hasAll)

	second.stop()
	for _, id := range ids[:2] { // as if it had come to the newest only
		index, _ := strconv.Atoi(id)
		if err := os.RemoveAll(filepath.Join(second.Config.DataDir, "snapshots", fmt.Sprintf("index=%015d", index))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(lacking, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second.Start()
	second.WaitReady()
	lab.Eventually(t, 20*time.Second, hasAll)

	if a := second.Do("DELETE", "/v1/snapshots/"+ids[1], nil); a.Status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", a.Status, a.Body)
	}
	second.stop()
	second.Start()
	second.WaitReady()
	newest := ask.Decode[api.Snapshot](t, second.Do("POST", "/v1/snapshots", nil)).ID
	var have []string
	for _, s := range ask.Decode[api.Page[api.Snapshot]](t, second.Do("GET", "/v1/snapshots", nil)).Items {
		have = append(have, s.ID)
	}
	if want := []string{newest, ids[2], ids[0]}; !slices.Equal(have, want) {
		t.Errorf("after a deletion and a start there are %v, want %v", have, want)
	}
}

// loseChanges deletes the change files of a peer that does not run.
func (p *Peer) loseChanges() {
	p.t.Helper()
	if err := os.RemoveAll(filepath.Join(p.Config.DataDir, "changes")); err != nil {
		p.t.Fatal(err)
	}
}

// changes are those that a peer offers for download, up to an index.
func (p *Peer) changes(t *testing.T, to uint64) func(func(*snapshot.Change, error) bool) {
	return func(yield func(*snapshot.Change, error) bool) {
		next := uint64(1)
		for _, r := range ask.Decode[api.Page[api.ChangeRange]](t, p.Do("GET", "/v1/changes?limit=10000", nil)).Items {
			if r.From != next {
				yield(nil, fmt.Errorf("a file begins at %d, %d is next", r.From, next))
				return
			}
			next = r.To + 1
			a := p.Do("GET", "/v1/changes/"+r.File, nil)
			if a.Status != http.StatusOK {
				yield(nil, fmt.Errorf("%s: %d %s", r.File, a.Status, a.Body))
				return
			}
			for c, err := range snapshot.ReadChanges(bytes.NewReader(a.Body), int64(len(a.Body))) {
				if err == nil && c.Index > to || !yield(c, err) {
					return
				}
			}
		}
	}
}

// TestEventsThatNobodyKeepsAreGone: 410 with the oldest index that is kept.
//
//race:out
func TestEventsThatNobodyKeepsAreGone(t *testing.T) {
	t.Parallel()
	c := Start(t, 1, func(_ int, cfg *peer.Config) { cfg.TrailingLogs = 2 })
	p := c.Peers[0]
	p.post(plainNodes(0, 10))
	if err := p.Running.Node().Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.stop()
	p.loseChanges()
	p.Start()
	p.WaitReady()
	p.post(plainNodes(10, 10))
	a := p.Do("GET", "/v1/events?since=1&follow=false", nil)
	if a.Status != http.StatusGone || !strings.Contains(a.Problem(t).Detail, "the oldest that are kept are those of index") {
		t.Errorf("what nobody keeps: %d %s", a.Status, a.Body)
	}
	kept := ask.Decode[api.Page[api.ChangeRange]](t, p.Do("GET", "/v1/changes", nil)).Items
	if a := p.Do("GET", fmt.Sprintf("/v1/events?since=%d.3&follow=false", kept[0].From-1), nil); a.Status != http.StatusGone {
		t.Errorf("the rest of an entry that nobody keeps: %d %s", a.Status, a.Body)
	}
	if a := p.Do("GET", "/v1/events?since=99999999&follow=false", nil); a.Status < 400 || a.Status >= 500 {
		t.Errorf("a position that has not come: %d %s", a.Status, a.Body)
	}
}

// TestHistoryThatAnAbsentPeerKeeps: what one peer lacks is not gone while another that may
// have it cannot be asked. Then it comes from there, also for who asks by time.
//
//race:out
func TestHistoryThatAnAbsentPeerKeeps(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	c := Start(t, 2, func(_ int, cfg *peer.Config) { cfg.TrailingLogs, cfg.HistoryLook = 2, time.Hour })
	one, other := c.Peers[0], c.Peers[1]
	one.post(plainNodes(0, 10))
	if n := len(other.nodes()); n != 10 { // it has applied them
		t.Fatalf("%d nodes, want 10", n)
	}
	if err := other.Running.Node().Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	one.stop()
	other.stop()
	other.loseChanges()
	other.Start()
	asked := map[string]string{"an index": "since=1", "a time": "since=" + began}
	for what, query := range asked {
		lab.Eventually(t, 20*time.Second, func() error {
			if a := other.Do("GET", "/v1/events?consistency=local&follow=false&"+query, nil); a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Problem(t).Detail, "not every other peer could be asked") {
				return fmt.Errorf("since %s: %d %s", what, a.Status, a.Body)
			}
			return nil
		})
	}
	one.Start()
	one.WaitReady()
	other.WaitReady()
	for what, query := range asked {
		if a := other.Do("GET", "/v1/events?table=compute_nodes&follow=false&"+query, nil); a.Status != http.StatusOK || strings.Count(string(a.Body), `"table":"compute_nodes"`) != 10 {
			t.Errorf("since %s: %d, %d events in %s", what, a.Status, strings.Count(string(a.Body), `"table":"compute_nodes"`), a.Body)
		}
	}
}

// TestLargeCollectionThroughAFollower: what a collection holds has no bound, and the answer of the
// leader to a follower has one: 1 MiB. Whoever is asked tells all of it.
//
//race:out
func TestLargeCollectionThroughAFollower(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	p := c.without(c.Leader())[0]
	large := inventory.NodeCollection{Name: "everything", Type: "ad-hoc"}
	for i := range 80_000 {
		large.Nodes = append(large.Nodes, fmt.Sprintf("x%dc%ds%db%dn%d", 1000+i>>13, i>>10&7, i>>5&31, i>>2&7, i&3))
	}
	a := p.Do("POST", "/NodeCollection", large)
	made := ask.Decode[inventory.NodeCollection](t, a)
	if a.Status != http.StatusCreated || len(made.Nodes) != len(large.Nodes) {
		t.Fatalf("create: %d, %d nodes, %.300s", a.Status, len(made.Nodes), a.Body)
	}
	large.Nodes = large.Nodes[1:]
	a = p.Do("PUT", "/NodeCollection/"+made.ID, large)
	if after := ask.Decode[inventory.NodeCollection](t, a); a.Status != http.StatusOK || len(after.Nodes) != len(large.Nodes) || after.Version <= made.Version {
		t.Errorf("replace: %d, %d nodes, version %d, %.300s", a.Status, len(after.Nodes), after.Version, a.Body)
	}
}

// TestRollback: a snapshot is verified, compared, and rolled back to, through a
// peer that does not lead; what is not the fleet's stays; a second time there is nothing to do.
func TestRollback(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	p := c.without(c.Leader())[0]
	p.post(plainNodes(0, 50))
	p.Do("POST", "/v1/vms", ask.VM("gone", 1, 64))
	id := ask.Decode[api.Snapshot](t, p.Do("POST", "/v1/snapshots", nil)).ID
	if a := p.Do("DELETE", "/ComputeNode/x1000c0s0b3n0", nil); a.Status >= 300 {
		t.Fatalf("delete: %d %s", a.Status, a.Body)
	}
	if a := p.Do("PATCH", "/ComputeNode/x1000c0s0b4n0", `{"hostname":"changed"}`); a.Status != http.StatusOK {
		t.Fatalf("patch: %d %s", a.Status, a.Body)
	}
	p.post(plainNodes(50, 7))
	p.Do("DELETE", "/v1/vms/gone?wait=30s", nil)
	token := ask.Decode[api.NewToken](t, p.Do("POST", "/v1/tokens", `{"role":"viewer","ttl":"1h"}`))

	check := ask.Decode[api.SnapshotCheck](t, p.Do("POST", "/v1/snapshots/"+id+"/verify", nil))
	if !check.OK || check.Rows["compute_nodes"] != 50 || len(check.StateHash) != 32 {
		t.Errorf("verify: %+v", check)
	}
	want := []api.TableDifference{{Table: "compute_nodes", Create: 1, Update: 1, Delete: 7}, {Table: "bmcs", Create: 1, Delete: 7}}
	dry := ask.Decode[api.Restore](t, p.Do("POST", "/v1/snapshots/"+id+"/restore", `{"dry_run":true}`))
	if !slices.Equal(dry.Tables, want) || dry.Applied != 0 || len(dry.MissingVMs) != 1 || dry.MissingVMs[0].Name != "gone" {
		t.Errorf("dry run: %+v", dry)
	}
	if n := len(p.nodes()); n != 56 {
		t.Fatalf("a dry run left %d nodes, want 56", n)
	}
	shown := fmt.Sprintf(`{"digest":%q}`, dry.Digest) // and what is shown is what is done
	p.post(plainNodes(57, 1))
	if a := p.Do("POST", "/v1/snapshots/"+id+"/restore", shown); a.Status != http.StatusConflict || len(p.nodes()) != 57 {
		t.Fatalf("a rollback that would take another node away: %d %s, %d nodes", a.Status, a.Body, len(p.nodes()))
	}
	if a := p.Do("DELETE", "/ComputeNode/x1000c0s0b57n0", nil); a.Status >= 300 {
		t.Fatalf("delete: %d %s", a.Status, a.Body)
	}
	const key = "Idempotency-Key: back"
	a := p.Do("POST", "/v1/snapshots/"+id+"/restore", shown, key)
	done := ask.Decode[api.Restore](t, a)
	if a.Status != http.StatusOK || !slices.Equal(done.Tables, want) || done.Applied == 0 {
		t.Fatalf("rollback: %d %s", a.Status, a.Body)
	}
	for _, o := range c.Peers { // its answer was lost, and the next peer is asked
		a := o.Do("POST", "/v1/snapshots/"+id+"/restore", shown, key)
		if again := ask.Decode[api.Restore](t, a); a.Status != http.StatusOK || a.Header.Get("Idempotency-Replayed") != "true" || again.Applied != done.Applied || len(again.Tables) != 0 {
			t.Errorf("sent again to %s: %d, replayed %q, %s; want index %d", o.Name, a.Status, a.Header.Get("Idempotency-Replayed"), a.Body, done.Applied)
		}
	}
	if a := p.Do("POST", "/v1/snapshots/"+id+"/restore", `{"dry_run":true}`, key); a.Status != http.StatusUnprocessableEntity {
		t.Errorf("the key for something else: %d %s", a.Status, a.Body)
	}
	for _, o := range c.Peers {
		if n := len(o.nodes()); n != 50 {
			t.Errorf("%s has %d nodes, want 50", o.Name, n)
		}
		if a := o.Do("GET", "/ComputeNode/x1000c0s0b4n0", nil); ask.Decode[inventory.ComputeNode](t, a).Hostname != "n4" {
			t.Errorf("%s: %s", o.Name, a.Body)
		}
	}
	if a := p.Do("GET", "/v1/tokens", nil); !bytes.Contains(a.Body, []byte(token.ID)) {
		t.Errorf("the token that was made since is gone: %s", a.Body)
	}
	if again := ask.Decode[api.Restore](t, p.Do("POST", "/v1/snapshots/"+id+"/restore", nil)); len(again.Tables) != 0 {
		t.Errorf("a second rollback: %+v", again)
	}
}

// TestDownloadsOfOneMoment: the tables of "now" are all of the index that it named,
// whatever is written meanwhile; ranges and ETags hold for the file.
func TestDownloadsOfOneMoment(t *testing.T) {
	t.Parallel()
	c := Start(t, 1, nil)
	p := c.Peers[0]
	p.post(plainNodes(0, 20))
	now := ask.Decode[api.Snapshot](t, p.Do("GET", "/v1/snapshots/now", nil))
	p.post(plainNodes(20, 20))
	whole := p.Do("GET", "/v1/snapshots/"+now.ID+"/compute_nodes.parquet", nil)
	if whole.Status != http.StatusOK || now.Rows["compute_nodes"] != 20 {
		t.Fatalf("download: %d, %v", whole.Status, now.Rows)
	}
	etag := whole.Header.Get("ETag")
	part := p.Do("GET", "/v1/snapshots/"+now.ID+"/compute_nodes.parquet", nil, "Range: bytes=10-19", "If-Range: "+etag)
	if part.Status != http.StatusPartialContent || !bytes.Equal(part.Body, whole.Body[10:20]) {
		t.Errorf("a range: %d %q", part.Status, part.Body)
	}
	if a := p.Do("GET", "/v1/snapshots/"+now.ID+"/compute_nodes.parquet", nil, "If-None-Match: "+etag); a.Status != http.StatusNotModified {
		t.Errorf("the same file again: %d", a.Status)
	}
	if a := p.Do("GET", "/v1/snapshots/at-1/compute_nodes.parquet", nil); a.Status != http.StatusNotFound {
		t.Errorf("a state that nobody holds: %d %s", a.Status, a.Body)
	}
	if a := p.Do("GET", "/v1/snapshots/"+now.ID+"/all.tar", nil); a.Status != http.StatusOK || !bytes.Contains(a.Body, []byte("snapshot.json")) {
		t.Errorf("all tables: %d, %d bytes", a.Status, len(a.Body))
	}
}

// TestWhoMaySeeTheTokens: the tables that tell who may do what are for admins, in
// every form in which tables leave a peer; the rest is there for a viewer.
//
//race:out
func TestWhoMaySeeTheTokens(t *testing.T) {
	t.Parallel()
	c := Start(t, 1, nil)
	p := c.Peers[0]
	p.post(plainNodes(0, 3))
	token := ask.Decode[api.NewToken](t, p.Do("POST", "/v1/tokens", `{"role":"viewer","ttl":"1h"}`))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	viewer := func(path string) ask.Answer {
		a, err := ask.Send(t.Context(), client, "GET", "https://"+p.Address()+path, nil, "Authorization: Bearer "+token.Token)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	now := ask.Decode[api.Snapshot](t, viewer("/v1/snapshots/now")).ID
	kept := ask.Decode[api.Page[api.ChangeRange]](t, viewer("/v1/changes")).Items
	for _, path := range []string{"/v1/snapshots/" + now + "/all.tar", "/v1/changes/" + kept[len(kept)-1].File, "/v1/events?since=0&follow=false"} {
		if a := viewer(path); a.Status != http.StatusOK || bytes.Contains(a.Body, []byte(token.ID)) {
			t.Errorf("%s shows a viewer the tokens: %d", path, a.Status)
		}
		if a := p.Do("GET", path, nil); a.Status != http.StatusOK || !bytes.Contains(a.Body, []byte(token.ID)) {
			t.Errorf("%s does not show an admin the tokens: %d", path, a.Status)
		}
	}
	if a := viewer("/v1/snapshots/" + now + "/tokens.parquet"); a.Status != http.StatusForbidden {
		t.Errorf("the table itself: %d", a.Status)
	}
	if a := viewer("/v1/events?since=0&follow=false&table=compute_nodes"); bytes.Count(a.Body, []byte("event: change")) != 3 {
		t.Errorf("the nodes: %d %s", a.Status, a.Body)
	}
}

// TestSettingsHoldOnEveryPeer: what is patched at one peer is in force at all.
//
//race:out
func TestSettingsHoldOnEveryPeer(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	if a := c.Peers[1].Do("PATCH", "/v1/settings", `{"snapshot":{"retain":2,"daily":0,"monthly":0}}`); a.Status != http.StatusOK {
		t.Fatalf("patch: %d %s", a.Status, a.Body)
	}
	for range 4 {
		if a := c.Peers[0].Do("POST", "/v1/snapshots", nil); a.Status != http.StatusCreated {
			t.Fatalf("snapshot: %d %s", a.Status, a.Body)
		}
	}
	for _, p := range c.Peers {
		if got := ask.Decode[api.Settings](t, p.Do("GET", "/v1/settings", nil)).Snapshot.Retain; got != 2 {
			t.Errorf("%s keeps %d", p.Name, got)
		}
		lab.Eventually(t, 20*time.Second, func() error {
			if n := len(ask.Decode[api.Page[api.Snapshot]](t, p.Do("GET", "/v1/snapshots", nil)).Items); n != 2 {
				return fmt.Errorf("%s has %d snapshots", p.Name, n)
			}
			return nil
		})
	}
	if a := c.Peers[2].Do("PATCH", "/v1/settings", `{"snapshot":{"retain":0}}`); a.Status != http.StatusUnprocessableEntity || a.Problem(t).Errors[0].Pointer != "/snapshot/retain" {
		t.Errorf("no snapshots at all: %d %s", a.Status, a.Body)
	}
}
