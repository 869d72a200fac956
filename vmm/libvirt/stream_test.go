package libvirt

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt/socket"
)

// packet is one of the call with serial 7.
func packet(kind, status uint32, text string) []byte {
	var b []byte
	for _, word := range []uint32{uint32(headerBytes + len(text)), 0x20008086, 1, 211, kind, 7, status} {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	return append(b, text...)
}

// TestStreamsAreReadInOrderAndEnded: whatever libvirtd sends first, go-libvirt reads the
// answer before the stream, and libvirtd is told that all of it was read, or that nobody
// wants the rest.
func TestStreamsAreReadInOrderAndEnded(t *testing.T) {
	answer, failed := packet(socket.Reply, socket.StatusOK, "yes"), packet(socket.Stream, socket.StatusError, "no more")
	one, two, none := packet(socket.Stream, socket.StatusContinue, "one"), packet(socket.Stream, socket.StatusContinue, "two"), packet(socket.Stream, socket.StatusContinue, "")
	event := packet(socket.Message, socket.StatusOK, "event")
	for name, c := range map[string]struct {
		sent, read [][]byte
		told       uint32 // by us of the stream's end
		silent     bool   // nothing is told
	}{
		"in order":           {[][]byte{answer, one, two, none}, [][]byte{answer, one, two, none}, socket.StatusOK, false},
		"a piece too early":  {[][]byte{one, answer, two, none}, [][]byte{answer, one, two, none}, socket.StatusOK, false},
		"all too early":      {[][]byte{one, event, two, none, answer}, [][]byte{event, answer, one, two, none}, socket.StatusOK, false},
		"left in the middle": {[][]byte{answer, one}, [][]byte{answer, one}, socket.StatusError, false},
		"libvirtd gives up":  {[][]byte{answer, one, failed}, [][]byte{answer, one, failed}, 0, true},
		"no stream at all":   {[][]byte{answer, event}, [][]byte{answer, event}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			told, sent := make(chan []byte, 1), make(chan bool)
			go func() {
				defer close(sent)
				for _, p := range c.sent {
					_, _ = theirs.Write(p)
				}
			}()
			go func() {
				end := make([]byte, headerBytes)
				if _, err := io.ReadFull(theirs, end); err == nil {
					<-sent
					_, _ = theirs.Write(packet(socket.Stream, socket.StatusOK, "")) // and it is over
				} else {
					end = nil
				}
				told <- end
			}()
			s := newStreaming(ours)
			want := bytes.Join(c.read, nil)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("go-libvirt reads %q, %v; want %q", got, err, want)
			}
			go func() { _, _ = io.Copy(io.Discard, s) }() // as go-libvirt goes on to do
			began := time.Now()
			s.end()
			if time.Since(began) >= endLimit {
				t.Error("libvirtd's word that the stream is over was not heard")
			}
			ours.Close()
			end := <-told
			if want := packet(socket.Stream, c.told, ""); c.silent && end != nil || !c.silent && !bytes.Equal(end, want) {
				t.Errorf("libvirtd was told %x, want %x; nothing: %v", end, want, c.silent)
			}
		})
	}
}

// TestPacketsThatCannotBe end the connection.
func TestPacketsThatCannotBe(t *testing.T) {
	for _, length := range []uint32{0, headerBytes - 1, maxPacket + 1, 1<<32 - 1} {
		ours, theirs := net.Pipe()
		go func() { _, _ = theirs.Write(binary.BigEndian.AppendUint32(nil, length)) }()
		if _, err := newStreaming(ours).Read(make([]byte, 10)); err == nil {
			t.Errorf("a packet of %d bytes was read", length)
		}
		ours.Close()
		theirs.Close()
	}
}
