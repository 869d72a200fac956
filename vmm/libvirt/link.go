package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"github.com/orchd/orchd/api"
)

const (
	// defaultSocket is where libvirtd, and virtqemud's proxy, listen.
	defaultSocket = "/run/libvirt/libvirt-sock"

	// inFlight calls are under way on one connection at most: libvirtd answers
	// five of a client's (max_client_requests) and makes the others wait, which
	// would count against their deadlines.
	inFlight = 4

	dialLimit = 5 * time.Second
)

// address is where a libvirtd listens, and what to ask it for.
type address struct {
	socket string
	uri    golibvirt.ConnectURI
}

// parseURI takes qemu:///system, test:///default and the like, with ?socket=PATH for another socket.
func parseURI(uri string) (address, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" || u.Path == "" {
		return address{}, fmt.Errorf("libvirt: %q is no libvirt URI: write it like qemu:///system or qemu:///system?socket=/run/libvirt/libvirt-sock", uri)
	}
	if u.Host != "" || strings.Contains(u.Scheme, "+") {
		return address{}, fmt.Errorf("libvirt: %q is on another host: orchd speaks to the libvirtd of its own host only", uri)
	}
	a := address{socket: u.Query().Get("socket"), uri: golibvirt.ConnectURI(u.Scheme + "://" + u.Path)}
	if a.socket == "" {
		a.socket = defaultSocket
	}
	return a, nil
}

// isTest tells whether it is libvirt's own pretended hypervisor.
func (a address) isTest() bool { return strings.HasPrefix(string(a.uri), "test:") }

// conn is one connection. It is used until something is wrong with it, closed,
// and never used again: go-libvirt cannot tell a connection that it has lost
// from one that it has made anew.
type conn struct {
	rpc *golibvirt.Libvirt
	raw net.Conn
}

// dial makes a connection within dialLimit.
func dial(ctx context.Context, a address) (*conn, error) {
	return dialThrough(ctx, a, func(raw net.Conn) net.Conn { return raw })
}

// dialThrough is dial where go-libvirt is given what wrap makes of the connection.
func dialThrough(ctx context.Context, a address, wrap func(net.Conn) net.Conn) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "unix", a.socket)
	if err != nil {
		return nil, err
	}
	c := &conn{golibvirt.NewWithDialer(dialers.NewAlreadyConnected(wrap(raw))), raw}
	_, err = do(ctx, c, func(rpc *golibvirt.Libvirt) (none, error) { return none{}, rpc.ConnectToURI(a.uri) })
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// do runs f until ctx ends; then f goes on alone until the connection is closed,
// and what it finds is lost.
func do[T any](ctx context.Context, c *conn, f func(*golibvirt.Libvirt) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f(c.rpc)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// close closes the socket under the RPC: whoever waits for an answer gets an
// error. libvirtd lets go of a client whose socket closes.
func (c *conn) close() { _ = c.raw.Close() }

// link is a connection that is made when it is needed.
type link struct {
	address address
	slots   chan none

	mu     sync.Mutex
	conn   *conn
	closed bool
}

// newLink makes a link with so many calls in flight at most.
func newLink(a address, calls int) *link { return &link{address: a, slots: make(chan none, calls)} }

// none is the answer of a call that only succeeds or fails.
type none = struct{}

// ask runs f, which makes RPCs, and gives its error as an *api.Error. op says
// what was being done; limit bounds all of it.
func ask[T any](ctx context.Context, k *link, op string, limit time.Duration, f func(*golibvirt.Libvirt) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case k.slots <- none{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		var none T
		return none, explain(op, ctx.Err())
	}
	v, err := try(ctx, k, f)
	if errors.Is(err, syscall.EINVAL) {
		// go-libvirt's way to say that the connection was lost before anything was sent.
		v, err = try(ctx, k, f)
	}
	return v, explain(op, err)
}

// call is ask without an answer.
func (k *link) call(ctx context.Context, op string, limit time.Duration, f func(*golibvirt.Libvirt) error) error {
	_, err := ask(ctx, k, op, limit, func(rpc *golibvirt.Libvirt) (none, error) { return none{}, f(rpc) })
	return err
}

func try[T any](ctx context.Context, k *link, f func(*golibvirt.Libvirt) (T, error)) (T, error) {
	c, err := k.current(ctx)
	if err != nil {
		var none T
		return none, err
	}
	v, err := do(ctx, c, f)
	if err != nil && !answered(err) {
		k.drop(c)
	}
	return v, err
}

// answered tells whether the connection was in order: libvirtd gave the error,
// or f found it by itself.
func answered(err error) bool {
	var theirs golibvirt.Error
	var own *api.Error
	return errors.As(err, &theirs) || errors.As(err, &own) || errors.Is(err, golibvirt.ErrUnsupported)
}

// current is the connection to use, made if there is none.
func (k *link) current(ctx context.Context) (*conn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, net.ErrClosed
	}
	if k.conn == nil {
		c, err := dial(ctx, k.address)
		if err != nil {
			return nil, err
		}
		k.conn = c
	}
	return k.conn, nil
}

// drop closes a connection that is not to be trusted any more.
func (k *link) drop(c *conn) {
	c.close()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == c {
		k.conn = nil
	}
}

func (k *link) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.conn != nil {
		k.conn.close()
		k.conn = nil
	}
}

// explain turns what went wrong into the words of package vmm.
func explain(op string, err error) error {
	var theirs golibvirt.Error
	var own *api.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own
	case errors.As(err, &theirs):
		return &api.Error{Kind: kindOf(golibvirt.ErrorNumber(theirs.Code)), Op: "libvirt." + op, Msg: theirs.Message}
	case answered(err):
		return &api.Error{Kind: api.Internal, Op: "libvirt." + op, Msg: err.Error()}
	}
	return &api.Error{Kind: api.Unavailable, Op: "libvirt." + op, Msg: "no answer from libvirtd", Err: err}
}

// kindOf sorts libvirt's errors (virterror.h).
func kindOf(n golibvirt.ErrorNumber) api.Kind {
	switch n {
	case golibvirt.ErrNoDomain, golibvirt.ErrNoStorageVol, golibvirt.ErrNoStoragePool:
		return api.NotFound
	case golibvirt.ErrOperationInvalid, golibvirt.ErrDomExist, golibvirt.ErrStorageVolExist:
		return api.Conflict
	case golibvirt.ErrXMLError, golibvirt.ErrXMLDetail, golibvirt.ErrXMLInvalidSchema, golibvirt.ErrConfigUnsupported,
		golibvirt.ErrInvalidArg, golibvirt.ErrArgumentUnsupported:
		return api.Invalid
	}
	return api.Internal
}

// IsAbsent tells of an error whether nobody listens at libvirtd's socket: it is not
// installed, or not started. What is merely slow is not absent.
func IsAbsent(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
}

// Detect says which driver suits this host: libvirt if its socket answers, else
// none; the error is why not.
func Detect(ctx context.Context, uri string) (driver string, err error) {
	a, err := parseURI(uri)
	if err != nil {
		return api.DriverNone, err
	}
	k := newLink(a, 1)
	defer k.close()
	if _, err := ask(ctx, k, "detect", dialLimit, (*golibvirt.Libvirt).ConnectGetLibVersion); err != nil {
		return api.DriverNone, err
	}
	return api.DriverLibvirt, nil
}
