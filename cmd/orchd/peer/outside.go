package peer

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api/guard"
)

// ask sends a request of a package to one of the hosts that it may speak to, each
// HOST or HOST:PORT. An address that is named as such may be an inner one: whoever
// granted it meant it. What a name leads to must be outside, as for images.
func (s system) ask(ctx context.Context, granted []string, r *http.Request) (*http.Response, error) {
	g := s.images.guard()
	g.Plain, g.Ports = true, append(slices.Clone(g.Ports), 80)
	for _, host := range granted {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name = host
		}
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			g.Ports = append(g.Ports, uint16(n))
		}
		if name == "localhost" {
			name = "127.0.0.1"
		}
		if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
			g.Allow = append(slices.Clone(g.Allow), netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	client := g.Client(guard.Limits{})
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // who asks follows, if that is granted too
	defer client.CloseIdleConnections()
	return client.Do(r.WithContext(ctx))
}
