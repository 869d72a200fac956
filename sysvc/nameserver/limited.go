package nameserver

import (
	"net"
	"sync"
)

// limited is a listener that has only so many connections open: those that are too many
// are closed at once.
type limited struct {
	net.Listener
	open chan struct{}
}

// Accept waits for a connection that there is room for.
func (l limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.open <- struct{}{}:
			return &counted{Conn: c, leave: sync.OnceFunc(func() { <-l.open })}, nil
		default:
			c.Close()
		}
	}
}

type counted struct {
	net.Conn
	leave func()
}

// Close closes the connection and makes room for another one.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
