package onehost

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// bentClock is a clock of all peers that a test sets.
type bentClock struct{ ahead atomic.Int64 }

func (b *bentClock) now() time.Time          { return time.Now().Add(time.Duration(b.ahead.Load())) }
func (b *bentClock) set(ahead time.Duration) { b.ahead.Store(int64(ahead)) }

// trusts tells what a client meets at a peer's API that trusts that bundle and nothing else.
func trusts(p *Peer, bundle []byte, now func() time.Time) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return errors.New("no certificates to trust")
	}
	host, _, _ := net.SplitHostPort(p.Address())
	conn, err := tls.Dial("tcp", p.Address(), &tls.Config{RootCAs: roots, ServerName: host, Time: now})
	if err != nil {
		return err
	}
	return conn.Close()
}

func caFile(p *Peer) []byte {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.Config.DataDir, "tls", "ca.pem"))
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// waitKeys waits until the keys, as that peer sees them, are as wanted.
func (c *Cluster) waitKeys(want func(api.Keys) error) {
	c.t.Helper()
	lab.Eventually(c.t, 60*time.Second, func() error {
		k, err := c.AnyClient().Keys(c.t.Context())
		if err != nil {
			return err
		}
		return want(k)
	})
}

func rotationAt(kind, step string) func(api.Keys) error {
	return func(k api.Keys) error {
		at := slices.IndexFunc(k.Rotations, func(r api.KeyRotation) bool { return r.Kind == kind })
		if at < 0 || k.Rotations[at].Step != step {
			return fmt.Errorf("rotations are %+v; want %s at %s", k.Rotations, kind, step)
		}
		return nil
	}
}

// allTake waits until every peer takes a write and a read.
func (c *Cluster) allTake() {
	c.t.Helper()
	for _, p := range c.Peers {
		lab.Eventually(c.t, 30*time.Second, func() error {
			_, err := p.Client().Settings(c.t.Context())
			return err
		})
	}
}

// TestAllClocksTwoYearsAhead: the cluster was off, and every clock comes up two years
// ahead: every certificate has ended, and there is no leader who could renew one. The
// peers elect, renew and serve, and say what happened. Then the clocks are set right.
//
//race:out
func TestAllClocksTwoYearsAhead(t *testing.T) {
	var clock bentClock
	c := Start(t, 3, func(_ int, cfg *peer.Config) { cfg.Now = clock.now })
	trusted := caFile(c.Peers[0])
	restart := func() {
		for _, p := range c.Peers {
			p.Stop()
		}
		for _, p := range c.Peers {
			p.Start()
		}
		for _, p := range c.Peers {
			p.WaitReady()
		}
	}
	serves := func() {
		for _, p := range c.Peers {
			lab.Eventually(t, 30*time.Second, func() error { return trusts(p, trusted, clock.now) })
		}
	}
	serves()
	clock.set(17520 * time.Hour)
	restart()
	serves()
	st, err := c.Peers[0].Running.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(st.Warnings, func(w api.Warning) bool {
		return w.Code == "certificate-was-expired" && strings.Contains(w.Action, "clock")
	}) {
		t.Errorf("status says nothing of the expired certificates: %+v", st.Warnings)
	}
	clock.set(0)
	restart()
	serves() // what was signed two years ahead is not good yet, and renewed as well
	c.allTake()
}

// TestOneClockTwoYearsAhead: a voter whose clock alone is wrong takes part, is named in
// status, and does not stay leader.
//
//race:out
func TestOneClockTwoYearsAhead(t *testing.T) {
	var wrong bentClock
	c := Start(t, 3, func(i int, cfg *peer.Config) {
		if i == 0 {
			cfg.Now = wrong.now
		}
	})
	odd := c.Peers[0]
	odd.Stop()
	wrong.set(17520 * time.Hour)
	odd.Start()
	lab.Eventually(t, 30*time.Second, func() error {
		st, err := c.Peers[1].Running.Status(t.Context())
		switch {
		case err != nil:
			return err
		case st.Leader == "" || st.Leader == odd.Name:
			return fmt.Errorf("%q leads", st.Leader)
		case !slices.ContainsFunc(st.Warnings, func(w api.Warning) bool { return w.Code == "clock-off" && w.Peer == odd.Name }):
			return fmt.Errorf("nothing is said of the clock: %+v", st.Warnings)
		}
		return nil
	})
	c.allTake()
}

// TestPastOutlivesAClockAhead: one command with a time two years ahead moves the cluster's clock
// for good. What is kept of the past is kept on where the host's own clock is right.
//
//race:out
func TestPastOutlivesAClockAhead(t *testing.T) {
	var clocks [2]bentClock
	c := Start(t, 2, func(i int, cfg *peer.Config) { cfg.Now = clocks[i].now })
	leads := slices.Index(c.Peers, c.Leader())
	p, other := c.Peers[leads], c.Peers[1-leads]
	if _, err := c.AnyClient().PatchSettings(t.Context(), []byte(`{"snapshot":{"retain":1,"daily":30,"monthly":0}}`)); err != nil {
		t.Fatal(err)
	}
	var ids []string
	const day, years = 24 * time.Hour, 17520 * time.Hour
	for i, bent := range []struct{ leader, other time.Duration }{{0, 0}, {day, day}, {years, day}, {day + time.Hour, day + time.Hour}} {
		clocks[leads].set(bent.leader)
		clocks[1-leads].set(bent.other)
		p.post(plainNodes(i, 1))
		s := ask.Decode[api.Snapshot](t, p.Do("POST", "/v1/snapshots", nil))
		ids = append(ids, s.ID)
		lab.Eventually(t, 20*time.Second, func() error {
			if a := other.Do("GET", "/v1/snapshots/"+s.ID, nil); a.Status != http.StatusOK {
				return fmt.Errorf("%d %s", a.Status, a.Body)
			}
			return nil
		})
	}
	if now := other.Running.Machine().Read().Now(); now.Before(time.Now().Add(years - day)) {
		t.Fatalf("the cluster's clock says %s: this shows nothing", now)
	}
	for _, id := range ids {
		if a := other.Do("GET", "/v1/snapshots/"+id, nil); a.Status != http.StatusOK {
			t.Errorf("snapshot %s of %v: %d %s", id, ids, a.Status, a.Body)
		}
	}
}

// TestKeysRotate replaces all keys of a cluster that is used meanwhile. Peers are
// restarted at every step; what is sealed opens everywhere, and clients that trust the
// old CA are served until it goes.
//
//race:out
func TestKeysRotate(t *testing.T) {
	var clock bentClock
	c := Start(t, 3, func(_ int, cfg *peer.Config) { cfg.Now = clock.now })
	patch := []byte(`{"auth":{"jwt_secret":"0123456789abcdef0123456789abcdef"}}`)
	if _, err := c.AnyClient().PatchSettings(t.Context(), patch); err != nil {
		t.Fatal(err)
	}
	oldCA, oldToken := caFile(c.Peers[0]), c.JoinToken("100h")
	shaken := 0
	shake := func() { // one peer after the other goes through a restart
		p := c.Peers[shaken%3]
		shaken++
		p.Stop()
		p.Start()
		p.WaitReady()
	}
	rotate := func(kind string) {
		t.Helper()
		lab.Eventually(t, 20*time.Second, func() error {
			_, err := c.AnyClient().RotateKey(t.Context(), api.KeyRotate{Kind: kind})
			return err
		})
	}

	rotate(api.KeySeal)
	shake()
	c.waitKeys(rotationAt(api.KeySeal, fsm.RotationDone))
	for _, p := range c.Peers {
		lab.Eventually(t, 20*time.Second, func() error {
			for range p.Running.Machine().Read().SealedBy("key.seal.2", fsm.SealedValue{}) {
				return nil
			}
			return errors.New("no value is sealed with the new key")
		})
	}

	rotate(api.KeyGossip)
	shake()
	c.waitKeys(rotationAt(api.KeyGossip, fsm.RotationSwitching))
	rotate(api.KeyCA)
	if _, err := c.AnyClient().RotateKey(t.Context(), api.KeyRotate{Kind: api.KeyCA}); !api.IsKind(err, api.Conflict) {
		t.Errorf("a second rotation of the CA gives %v; want a conflict", err)
	}
	shake()
	c.waitKeys(rotationAt(api.KeyCA, fsm.RotationIssuing))
	c.waitKeys(func(k api.Keys) error {
		for _, v := range k.Certificates {
			if v.State != api.CertificateGood {
				return fmt.Errorf("the certificate of %s is %s", v.Peer, v.State)
			}
		}
		for _, r := range k.Rotations {
			if len(r.Waiting) > 0 {
				return fmt.Errorf("%s waits for %v", r.Kind, r.Waiting)
			}
		}
		return nil
	})
	shake()
	both := caFile(c.Peers[1])
	if certs, err := ca.ParseCerts(both); err != nil || len(certs) != 2 {
		t.Fatalf("ca.pem has %d certificates, %v; want both", len(certs), err)
	}
	for _, p := range c.Peers {
		if err := trusts(p, oldCA, clock.now); err != nil {
			t.Errorf("%s: a client that trusts the old CA is cut off early: %v", p.Name, err)
		}
	}
	for _, token := range []string{oldToken, c.JoinToken("1h")} { // of the old CA, and of the new one
		p := c.NewPeer()
		if err := p.Join(c.Leader(), token); err != nil {
			t.Fatalf("join while the CA is rotated: %v", err)
		}
		p.Start()
		p.WaitReady()
	}

	clock.set(25 * time.Hour)
	c.waitKeys(rotationAt(api.KeyGossip, fsm.RotationDone))
	c.waitKeys(rotationAt(api.KeyCA, fsm.RotationDone))
	for _, p := range c.Peers {
		lab.Eventually(t, 20*time.Second, func() error { return trusts(p, both, clock.now) })
		lab.Eventually(t, 20*time.Second, func() error {
			if certs, err := ca.ParseCerts(caFile(p)); err != nil || len(certs) != 1 {
				return fmt.Errorf("%s: ca.pem has %d certificates, %v", p.Name, len(certs), err)
			}
			return nil
		})
		if trusts(p, oldCA, clock.now) == nil {
			t.Errorf("%s: the old CA is still good", p.Name)
		}
		lab.Eventually(t, 20*time.Second, func() error { // who was restarted is heard of again in time
			if got := len(p.Running.Node().Loads()); got != len(c.Peers) {
				return fmt.Errorf("%s sees %d peers by gossip, want %d", p.Name, got, len(c.Peers))
			}
			return nil
		})
	}
	me, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file, err := c.AnyClient().ExportKeys(t.Context(), api.KeyExport{Recipient: me.Recipient().String()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(bytes.NewReader(file.File), me)
	if err != nil {
		t.Fatal(err)
	}
	var doc api.KeyDocument
	if err := json.NewDecoder(r).Decode(&doc); err != nil || len(doc.Keys) != 3 || doc.Authorities["key.ca.2"] != string(caFile(c.Peers[0])) {
		t.Errorf("the copy of the keys has %d keys, %v", len(doc.Keys), err)
	}
	for range 3 {
		shake()
	}
	c.allTake()
}
