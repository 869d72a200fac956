package onehost

import (
	"context"
	"net"
	"net/http"
	"path/filepath"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
)

// Do sends one request to this peer's unix socket, as admin. body is a string,
// bytes, or a value to send as JSON; headers are "Name: value".
func (p *Peer) Do(method, path string, body any, headers ...string) ask.Answer {
	p.t.Helper()
	a, err := p.Try(p.t.Context(), method, path, body, headers...)
	if err != nil {
		p.t.Fatalf("%s %s on %s: %v", method, path, p.Name, err)
	}
	return a
}

// Try is Do for a request that may fail to be answered at all.
func (p *Peer) Try(ctx context.Context, method, path string, body any, headers ...string) (ask.Answer, error) {
	socket := filepath.Join(p.Config.DataDir, "orchd.sock")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	return ask.Send(ctx, &http.Client{Transport: transport}, method, "http://orchd"+path, body, headers...)
}

// VMs is every VM that the peer knows, read linearizably.
func (p *Peer) VMs() []api.VM {
	p.t.Helper()
	a := p.Do("GET", "/v1/vms?limit=10000", nil)
	if a.Status != 200 {
		p.t.Fatalf("list on %s: %d %s", p.Name, a.Status, a.Body)
	}
	return ask.Decode[api.Page[api.VM]](p.t, a).Items
}
