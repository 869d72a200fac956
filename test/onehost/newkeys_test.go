package onehost

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/keycopy"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// TestClusterFromACopyOfTheKeys: all peers are lost. What is left is a copy of the keys, of
// which the sealing key has been replaced, and a folder of a snapshot. A cluster made with
// the keys has the old one's id and CA, takes the snapshot in, reads its secrets, and lets
// other peers join, who read them too.
//
//race:out
func TestClusterFromACopyOfTheKeys(t *testing.T) {
	const password = "canary-of-the-bmc"
	old := Start(t, 1, nil)
	first := old.Peers[0]
	if _, err := first.Client().RotateKey(t.Context(), api.KeyRotate{Kind: api.KeySeal}); err != nil {
		t.Fatal(err)
	}
	old.waitKeys(rotationAt(api.KeySeal, fsm.RotationDone))
	a := first.Do("POST", "/ComputeNode", `{"hostname":"n","architecture":"x86_64","xname":"x1000c0s0b0n0","bmc":{"xname":"x1000c0s0b0","username":"root","password":"`+password+`"}}`)
	if a.Status != 201 {
		t.Fatalf("a node: %d %s", a.Status, a.Body)
	}
	id := ask.Decode[struct{ ID string }](t, a).ID
	snapshot := ask.Decode[api.Snapshot](t, first.Do("POST", "/v1/snapshots", nil))
	me, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	copied, err := first.Client().ExportKeys(t.Context(), api.KeyExport{Recipient: me.Recipient().String()})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := keycopy.Open(copied.File, me)
	if err != nil {
		t.Fatal(err)
	}
	trusted, clusterID := caFile(first), ask.Decode[api.Status](t, first.Do("GET", "/v1/status", nil)).ClusterID
	first.Stop()

	c := &Cluster{t: t}
	again := c.NewPeer()
	again.Config.Keys = &doc
	var told strings.Builder
	if err := peer.Init(t.Context(), again.Config, io.MultiWriter(&told, t.Output()), again.logger()); err != nil {
		t.Fatalf("init with the copy: %v", err)
	}
	if !strings.Contains(told.String(), clusterID) || !strings.Contains(told.String(), "No peer of that one may still run") {
		t.Errorf("init says:\n%s", told.String())
	}
	marked := "index=" + fmt.Sprintf("%015s", snapshot.ID)
	found, err := filepath.Glob(filepath.Join(first.Config.DataDir, "snapshots", "index=*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no snapshot lies there, %v", err)
	}
	at := slices.IndexFunc(found, func(path string) bool { return strings.HasSuffix(path, snapshot.ID) || filepath.Base(path) == marked })
	if at < 0 {
		t.Fatalf("snapshot %s is not among %v", snapshot.ID, found)
	}
	if err := os.CopyFS(filepath.Join(again.Config.DataDir, "snapshots", filepath.Base(found[at])), os.DirFS(found[at])); err != nil {
		t.Fatal(err)
	}
	again.Start()
	again.WaitReady()
	if st := ask.Decode[api.Status](t, again.Do("GET", "/v1/status", nil)); st.ClusterID != clusterID {
		t.Errorf("the cluster is %s, want %s", st.ClusterID, clusterID)
	}
	lab.Eventually(t, 20*time.Second, func() error { return trusts(again, trusted, time.Now) })
	if a := again.Do("POST", "/v1/snapshots/"+snapshot.ID+"/restore", nil); a.Status != 200 {
		t.Fatalf("restore: %d %s", a.Status, a.Body)
	}
	reads := func(p *Peer) {
		t.Helper()
		a := p.Do("GET", "/ComputeNode/"+id+"?reveal=true", nil)
		var n struct{ BMC struct{ Password string } }
		if err := json.Unmarshal(a.Body, &n); err != nil || n.BMC.Password != password {
			t.Errorf("on %s the password is %q: %d %s", p.Name, n.BMC.Password, a.Status, a.Body)
		}
	}
	reads(again)
	second := c.NewPeer()
	if err := second.Join(again, c.JoinToken("1h")); err != nil {
		t.Fatalf("join: %v", err)
	}
	second.Start()
	second.WaitReady()
	reads(second)
	k, err := second.Client().Keys(t.Context())
	if err != nil || !slices.ContainsFunc(k.Keys, func(v api.KeyView) bool { return v.Name == "key.seal.2" && v.InUse }) {
		t.Errorf("its keys are %+v, %v", k.Keys, err)
	}
	// And the next rotation goes on from there.
	if r, err := second.Client().RotateKey(t.Context(), api.KeyRotate{Kind: api.KeySeal}); err != nil || r.Key != "key.seal.3" {
		t.Errorf("the next sealing key is %q, %v", r.Key, err)
	}
	c.waitKeys(rotationAt(api.KeySeal, fsm.RotationDone))
	reads(second)
}
