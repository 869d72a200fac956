package onehost

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// Answer is an HTTP answer, read whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Problem is the answer as a problem document.
func (a Answer) Problem(t testing.TB) api.Problem {
	t.Helper()
	return Decode[api.Problem](t, a)
}

// Decode reads the answer's body as a T.
func Decode[T any](t testing.TB, a Answer) (v T) {
	t.Helper()
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Fatalf("answer %d does not decode: %v\n%s", a.Status, err, a.Body)
	}
	return v
}

// Do sends one request to this peer's unix socket, as admin. body is a string,
// bytes, or a value to send as JSON; headers are "Name: value".
func (p *Peer) Do(method, path string, body any, headers ...string) Answer {
	p.t.Helper()
	a, err := p.Try(p.t.Context(), method, path, body, headers...)
	if err != nil {
		p.t.Fatalf("%s %s on %s: %v", method, path, p.Name, err)
	}
	return a
}

// Try is Do for a request that may fail to be answered at all.
func (p *Peer) Try(ctx context.Context, method, path string, body any, headers ...string) (Answer, error) {
	socket := filepath.Join(p.Config.DataDir, "orchd.sock")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	return Send(ctx, &http.Client{Transport: transport}, method, "http://orchd"+path, body, headers...)
}

// Send sends one request with that client.
func Send(ctx context.Context, client *http.Client, method, url string, body any, headers ...string) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, reader(body))
	if err != nil {
		return Answer{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	response, err := client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return Answer{response.StatusCode, response.Header, text}, err
}

func reader(body any) io.Reader {
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return strings.NewReader(b)
	case []byte:
		return bytes.NewReader(b)
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return bytes.NewReader(text)
}

// VM asks for a small VM of that name.
func VM(name string, vcpus, memoryMiB int64) api.VMCreate {
	return api.VMCreate{Name: name, Spec: api.VMSpec{VCPUs: vcpus, MemoryMiB: memoryMiB}}
}

// VMs is every VM that the peer knows, read linearizably.
func (p *Peer) VMs() []api.VM {
	p.t.Helper()
	a := p.Do("GET", "/v1/vms?limit=10000", nil)
	if a.Status != 200 {
		p.t.Fatalf("list on %s: %d %s", p.Name, a.Status, a.Body)
	}
	return Decode[api.Page[api.VM]](p.t, a).Items
}
