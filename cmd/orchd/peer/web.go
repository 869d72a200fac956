package peer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/orchd/orchd/api/server"
)

// openWeb makes the HTTP API, on TLS with this peer's own certificate, and opens
// its socket and the listeners beside it.
func (p *Peer) openWeb(registry *prometheus.Registry) (err error) {
	p.registry = registry
	p.registry.MustRegister(collector{p})
	p.web = server.New(server.Config{Version: p.cfg.Version, TLS: p.apiTLS(), Metrics: p.registry}, p, p.log)
	if p.socket, err = listenSocket(p.cfg.socket()); err != nil {
		return err
	}
	return p.openDoors()
}

// apiTLS presents this peer's certificate of the moment.
func (p *Peer) apiTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: p.forClients}
}

// Metrics is what /metrics answers.
func (p *Peer) Metrics() http.Handler {
	return promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{})
}

// listenSocket opens the unix socket, private to root. A socket that a killed
// process left is in the way and holds nothing.
func listenSocket(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return l, os.Chmod(path, 0o600)
}
