package libvirt

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt/socket"
)

// streaming is a connection over which one call is made that libvirtd answers with a
// stream. It stands between libvirtd and go-libvirt, which has two faults here. It takes
// a piece of the stream that comes before the answer, as libvirtd sends it at times, for
// the answer, and is stuck with what comes later. And it neither finishes a stream nor
// aborts it, as the protocol asks of a client: libvirtd (9.0) then takes down what it had
// for the stream when the connection closes, at times while it still writes, which
// corrupts its memory and ends it.
//
// The protocol: https://libvirt.org/kbase/internals/rpc.html, "Protocol examples".
type streaming struct {
	net.Conn
	in      *bufio.Reader
	ready   []byte   // what go-libvirt reads next
	early   [][]byte // packets of the stream that came before the answer
	replied int32    // serial of the last call that was answered

	mu     sync.Mutex
	stream *socket.Header // of its packets; nil: none came
	ended  bool           // its end was sent
	over   chan none      // closed when libvirtd has let go of it, or of the connection
}

const (
	headerBytes = 28       // of a packet, its length included
	maxPacket   = 33 << 20 // VIR_NET_MESSAGE_MAX and some
	endLimit    = 2 * time.Second
)

func newStreaming(raw net.Conn) *streaming {
	return &streaming{Conn: raw, in: bufio.NewReader(raw), over: make(chan none)}
}

// Read gives go-libvirt what it can bear, in the order in which it can.
func (s *streaming) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		packet, h, err := s.next()
		if err != nil {
			s.let()
			return 0, err
		}
		s.take(packet, h)
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// next reads a packet.
func (s *streaming) next() ([]byte, socket.Header, error) {
	var length [4]byte
	if _, err := io.ReadFull(s.in, length[:]); err != nil {
		return nil, socket.Header{}, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < headerBytes || n > maxPacket {
		return nil, socket.Header{}, fmt.Errorf("libvirt: a packet of %d bytes", n)
	}
	packet := append(make([]byte, 0, n), length[:]...)[:n]
	if _, err := io.ReadFull(s.in, packet[4:]); err != nil {
		return nil, socket.Header{}, err
	}
	at := func(k int) uint32 { return binary.BigEndian.Uint32(packet[4*k:]) }
	return packet, socket.Header{Program: at(1), Version: at(2), Procedure: at(3), Type: at(4), Serial: int32(at(5)), Status: at(6)}, nil
}

// take decides what becomes of a packet.
func (s *streaming) take(packet []byte, h socket.Header) {
	switch {
	case h.Type == socket.Reply:
		s.replied = h.Serial
		s.ready = slices.Concat(append([][]byte{packet}, s.early...)...)
		s.early = nil
	case h.Type != socket.Stream:
		s.ready = packet
	case h.Status == socket.StatusContinue:
		s.open(h)
		s.pass(packet, h)
		if len(packet) == headerBytes { // all has come
			s.send(socket.StatusOK)
		}
	default: // libvirtd's word that it is over; go-libvirt knows if it was us who ended it
		if !s.let() {
			s.pass(packet, h)
		}
	}
}

// pass gives a packet of the stream to go-libvirt, or keeps it until that has its answer.
func (s *streaming) pass(packet []byte, h socket.Header) {
	if h.Serial == s.replied {
		s.ready = packet
	} else {
		s.early = append(s.early, packet)
	}
}

func (s *streaming) open(h socket.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream = &h
}

// let notes that nothing of the stream is left at libvirtd, and tells whether we ended it.
func (s *streaming) let() (ours bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !isClosed(s.over) {
		close(s.over)
	}
	return s.ended
}

func isClosed(c <-chan none) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// send ends the stream, if one is open: with StatusOK when all of it was read, with
// StatusError to abort it.
func (s *streaming) send(status uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == nil || s.ended || isClosed(s.over) {
		return
	}
	s.ended = true
	h := s.stream
	var packet []byte
	for _, word := range []uint32{headerBytes, h.Program, h.Version, h.Procedure, socket.Stream, uint32(h.Serial), status} {
		packet = binary.BigEndian.AppendUint32(packet, word)
	}
	_, _ = s.Conn.Write(packet) // an error is met by whoever reads
}

// end aborts the stream if it is still open, and waits for libvirtd to let go of it.
func (s *streaming) end() {
	s.send(socket.StatusError)
	s.mu.Lock()
	open := s.stream != nil
	s.mu.Unlock()
	if !open {
		return
	}
	select {
	case <-s.over:
	case <-time.After(endLimit):
	}
}
