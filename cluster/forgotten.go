package cluster

import (
	"net"
	"time"
)

// A connection that its other end has forgotten stays silent for ever: a firewall between
// has lost its state, or a reset was lost on its way. Who waits there for an answer, as raft
// does that confirms one message after the other, would wait until the message's time is up
// (raftIO), and with it every write. So where nothing has come for a moment the kernel asks
// (RFC 9293, 3.8.4): an end that knows nothing of the connection resets it at once, and it is
// dialed again. A host that is gone altogether takes some more questions, as packets are lost.
var askWhetherKnown = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 5}

// noticeForgotten has the kernel watch a connection; one that is not TCP needs no watching.
func noticeForgotten(c net.Conn) {
	if c, ok := c.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		c.SetKeepAliveConfig(askWhetherKnown) // it fails on what is closed already, which is noticed
	}
}
