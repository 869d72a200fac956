package onehost

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/ports"
)

const (
	jwtSecret  = "the co-op's first secret, 32 bytes or more"
	nextSecret = "the co-op's second secret, 32 bytes too"
)

// clientToken is what node-orchestrator's own client makes with --gen-jwt-secret,
// signed here by hand (RFC 7515, appendix A.1), with some claims otherwise.
func clientToken(t *testing.T, secret string, otherwise map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{
		"sub": "alex@example.org", "tenant_name": "testtenant", "tenant_roles": []string{"user"}, "partition_name": "testpartition",
		"exp": now + 600, "nbf": now, "iat": now, "iss": "https://foobar.openchami.cluster", "aud": "https://foobar.openchami.cluster",
	}
	maps.Copy(claims, otherwise)
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	e := base64.RawURLEncoding
	signed := e.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + e.EncodeToString(payload)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + e.EncodeToString(mac.Sum(nil))
}

// startWithJWT is two peers, of which the first was told a secret and the second
// nothing, each with a plain and a boot listener.
func startWithJWT(t *testing.T) *Cluster {
	return Start(t, 2, func(i int, c *peer.Config) {
		c.PlainListen, c.BootListen = ports.Address(t), ports.Address(t)
		if i == 0 {
			c.Auth = fsm.AuthChange{JWTSecret: new(jwtSecret + "\n"), Issuer: new("https://foobar.openchami.cluster")}
		}
	})
}

// plain asks on a peer's plain listener, with that token.
func (p *Peer) plain(method, path string, body any, token string) ask.Answer {
	p.t.Helper()
	return p.over(p.Config.PlainListen, method, path, body, token)
}

func (p *Peer) over(address, method, path string, body any, token string) ask.Answer {
	p.t.Helper()
	var headers []string
	if token != "" {
		headers = []string{"Authorization: Bearer " + token}
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	a, err := ask.Send(p.t.Context(), &http.Client{Transport: transport}, method, "http://"+address+path, body, headers...)
	if err != nil {
		p.t.Fatalf("%s %s on %s: %v", method, path, address, err)
	}
	return a
}

//race:out
func TestJSONWebTokensSpeakOnTheInventory(t *testing.T) {
	c := startWithJWT(t)
	good := clientToken(t, jwtSecret, nil)
	viewer := clientToken(t, jwtSecret, map[string]any{"orchd_role": "viewer"})
	node := map[string]any{"hostname": "nid1", "architecture": "x86_64", "xname": "x1000c0s0b0n0"}

	if a := c.Peers[1].plain("POST", "/ComputeNode", node, viewer); a.Status != 403 {
		t.Errorf("a viewer creates: got %d %s, want 403", a.Status, a.Body)
	}
	if a := c.Peers[1].plain("POST", "/ComputeNode", node, good); a.Status != 201 {
		t.Fatalf("create: got %d %s", a.Status, a.Body)
	}
	for _, p := range c.Peers { // the peer that was told nothing goes by the setting too
		for _, token := range []string{good, viewer} {
			if a := p.plain("GET", "/inventory/ComputeNode/x1000c0s0b0n0", nil, token); a.Status != 200 {
				t.Errorf("%s: got %d %s", p.Name, a.Status, a.Body)
			}
		}
		for what, refusal := range map[string]struct{ token, text string }{
			"none":          {"", "no token found"},
			"other secret":  {clientToken(t, nextSecret, nil), "token is unauthorized"},
			"other issuer":  {clientToken(t, jwtSecret, map[string]any{"iss": "https://elsewhere"}), "token is unauthorized"},
			"expired":       {clientToken(t, jwtSecret, map[string]any{"exp": time.Now().Unix() - 60}), "token is expired"},
			"no audience":   {clientToken(t, jwtSecret, map[string]any{"aud": nil}), "missing required claim"},
			"unknown":       {"nobody.knows", "token is unauthorized"},
			"no right role": {clientToken(t, jwtSecret, map[string]any{"orchd_role": "peer"}), "token is unauthorized"},
		} {
			a := p.plain("GET", "/ComputeNode", nil, refusal.token)
			if problem := a.Problem(t); a.Status != 401 || problem.Detail != refusal.text {
				t.Errorf("%s, %s: got %d %q, want 401 %q", p.Name, what, a.Status, problem.Detail, refusal.text)
			}
		}
	}

	// The secrets of a tenant's node are not another tenant's to see.
	if a := c.Peers[0].Do("POST", "/NodeCollection", `{"name":"ours","type":"tenant","nodes":["x1000c0s0b0n0"]}`); a.Status != 201 {
		t.Fatalf("a tenant: %d %s", a.Status, a.Body)
	}
	for tenant, want := range map[string]int{"ours": 200, "others": 403} {
		token := clientToken(t, jwtSecret, map[string]any{"tenant_id": tenant})
		node := ask.Decode[inventory.ComputeNode](t, c.Peers[1].plain("GET", "/ComputeNode/x1000c0s0b0n0", nil, token))
		for _, path := range []string{"/ComputeNode/x1000c0s0b0n0?reveal=true", "/BMC/" + node.BMC.ID + "?reveal=true", "/ComputeNode/x1000c0s0b0n0/cloud-init/user-data"} {
			if a := c.Peers[1].plain("GET", path, nil, token); a.Status != want && !(want == 200 && a.Status == 404) { // there is no user data
				t.Errorf("%s asks for %s: %d %s, want %d", tenant, path, a.Status, a.Body, want)
			}
		}
	}

	own, err := c.AnyClient().CreateToken(t.Context(), api.TokenCreate{Role: api.RoleViewer, TTL: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Peers[1].plain("GET", "/ComputeNode", nil, own.Token); a.Status != 200 {
		t.Errorf("orchd's own token: got %d %s", a.Status, a.Body)
	}
	if _, err := c.Peers[0].TCP(good).Status(t.Context()); !api.IsKind(err, api.Unauthenticated) {
		t.Errorf("a JSON Web Token on orchd's own routes: got %v, want Unauthenticated", err)
	}
}

//race:out
func TestJWTSecretsRotateAndStaySealed(t *testing.T) {
	c := startWithJWT(t)
	before, after := clientToken(t, jwtSecret, nil), clientToken(t, nextSecret, nil)
	set := func(secret string) {
		t.Helper()
		p := c.Peers[1].Running
		ctx := api.WithCaller(t.Context(), api.Caller{Actor: api.Actor{ID: "uid:0", Role: api.RoleAdmin}})
		if err := fsm.NewWriter(p, p, p).SetAuth(ctx, fsm.AuthChange{JWTSecret: &secret}); err != nil {
			t.Fatal(err)
		}
	}
	answers := func(token string, want int) {
		t.Helper()
		for _, p := range c.Peers {
			lab.Eventually(t, 10*time.Second, func() error { // until this peer has applied the setting
				if a := p.plain("GET", "/ComputeNode", nil, token); a.Status != want {
					return fmt.Errorf("%s answers %d %s, want %d", p.Name, a.Status, a.Body, want)
				}
				return nil
			})
		}
	}
	answers(before, 200)
	answers(after, 401)
	set(jwtSecret + "\n" + nextSecret)
	answers(after, 200)
	answers(before, 200)
	set(nextSecret)
	answers(before, 401)
	answers(after, 200)

	if a := c.Peers[0].Do("POST", "/v1/snapshots", nil); a.Status != 201 {
		t.Fatalf("snapshot: %d %s", a.Status, a.Body)
	}
	for _, p := range c.Peers {
		p.Stop()
		holdsNot(t, p.Config.DataDir, jwtSecret, nextSecret)
	}
}

// holdsNot looks into every file below a folder for texts that must not be there.
func holdsNot(t *testing.T, dir string, texts ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		files++
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%s holds a secret in clear", path)
			}
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("looked into %d files of %s: %v", files, dir, err)
	}
}

//race:out
func TestNodesGetTheirOwnBootData(t *testing.T) {
	c := startWithJWT(t)
	good := clientToken(t, jwtSecret, nil)
	for _, node := range []string{
		`{"hostname":"nid1","architecture":"x86_64","xname":"x1000c0s0b0n0","boot_mac":"02:00:00:00:00:01","boot_ipv4_address":"127.0.0.1",
			"boot_data":{"kernel_url":"http://files/vmlinuz","kernel_command_line":"console=ttyS0","image_url":"http://files/initrd"},
			"cloud_init_data":{"userdata":"#!/bin/sh\necho hello","metadata":{"region":"north"}}}`,
		`{"hostname":"nid2","architecture":"x86_64","xname":"x1000c0s0b1n0","boot_mac":"02:00:00:00:00:02","boot_ipv4_address":"10.9.9.9",
			"boot_data":{"kernel_url":"http://files/vmlinuz"},"cloud_init_data":{"userdata":"#!/bin/sh\necho other"}}`,
	} {
		if a := c.Peers[0].plain("POST", "/ComputeNode", node, good); a.Status != 201 {
			t.Fatalf("create: %d %s", a.Status, a.Body)
		}
	}
	if a := c.Peers[0].plain("POST", "/NodeCollection", `{"name":"Partition 1","type":"partition","nodes":["x1000c0s0b0n0"],"cloud_init_data":{"ntp":"10.0.0.1"}}`, good); a.Status != 201 {
		t.Fatalf("create collection: %d %s", a.Status, a.Body)
	}
	for _, p := range c.Peers {
		for path, want := range map[string]struct {
			status int
			text   string
		}{
			"/boot/v1/bootscript?mac=02:00:00:00:00:01":         {200, "kernel --name kernel http://files/vmlinuz initrd=initrd console=ttyS0 || goto retry\n"},
			"/cloud-init/user-data":                             {200, "#!/bin/sh\necho hello"},
			"/cloud-init/meta-data":                             {200, "\"group_Partition 1\":\n    \"ntp\": \"10.0.0.1\"\n"},
			"/ComputeNode/x1000c0s0b0n0/cloud-init/vendor-data": {200, ""},
			"/boot/v1/bootscript?mac=02:00:00:00:00:02":         {403, "recorded for it"},
			"/ComputeNode/x1000c0s0b1n0/cloud-init/user-data":   {403, "recorded for it"},
			"/ComputeNode": {404, ""},
		} {
			a := p.over(p.Config.BootListen, "GET", path, nil, "")
			if a.Status != want.status || !strings.Contains(string(a.Body), want.text) {
				t.Errorf("%s, %s: got %d %s, want %d with %q", p.Name, path, a.Status, a.Body, want.status, want.text)
			}
		}
		if a := p.plain("GET", "/ComputeNode/x1000c0s0b1n0/cloud-init/user-data", nil, good); a.Status != 200 || string(a.Body) != "#!/bin/sh\necho other" {
			t.Errorf("%s, with a token: got %d %s", p.Name, a.Status, a.Body)
		}
	}
}

// TestOtherValuesAreSaid restarts a peer with other values than the cluster goes by.
//
//race:out
func TestOtherValuesAreSaid(t *testing.T) {
	c := Start(t, 1, func(_ int, c *peer.Config) {
		c.Auth = fsm.AuthChange{JWTSecret: new(jwtSecret), AnonymousRead: new(true)}
	})
	p := c.Peers[0]
	p.Stop()
	cfg := p.Config
	cfg.Auth = fsm.AuthChange{JWTSecret: new(nextSecret), AnonymousRead: new(true), Issuer: new("https://elsewhere")}
	var log lockedBuffer
	running, err := peer.Open(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- running.Run(ctx) }()
	lab.Eventually(t, 20*time.Second, func() error {
		for _, name := range []string{"auth.jwt_secret", "auth.issuer"} {
			if !strings.Contains(log.String(), "setting="+name+"\n") {
				return fmt.Errorf("nothing is said of %s", name)
			}
		}
		return nil
	})
	if strings.Contains(log.String(), "setting=auth.anonymous_read") {
		t.Error("a value that is the setting's is said to be another")
	}
	if strings.Contains(log.String(), nextSecret) || strings.Contains(log.String(), jwtSecret) {
		t.Error("a secret is in the log")
	}
	if !running.Anonymous().Reads {
		t.Error("the setting does not hold")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := running.Close(); err != nil {
		t.Error(err)
	}
}

// lockedBuffer collects what several goroutines write.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
