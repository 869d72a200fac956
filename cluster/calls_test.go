package cluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
)

// asker speaks with a peer on a connection of its own.
type asker struct {
	t *testing.T
	net.Conn
	in  *bufio.Reader
	out *callWriter
}

// askAs connects to p with the certificate of another peer.
func askAs(t *testing.T, p, as *peer) *asker {
	t.Helper()
	c, err := tls.Dial("tcp", p.at.Raft, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{protoCall}, Certificates: []tls.Certificate{*pair(t, as.identity)},
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return newAsker(t, c)
}

func newAsker(t *testing.T, c net.Conn) *asker {
	must(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	return &asker{t, c, bufio.NewReader(c), newCallWriter(c)}
}

func (a *asker) ask(kind callKind, call uint64, body []byte) {
	a.t.Helper()
	must(a.t, a.out.send(callFrame{kind: kind, call: call, patience: 10 * time.Second, body: body}))
}

func (a *asker) answer() callFrame {
	a.t.Helper()
	f, err := readCall(a.in, maxAnswer)
	must(a.t, err)
	return f
}

// callLines are the open connections for calls that p dialed or, accepted, was called on.
func (p *peer) callLines(accepted bool) (n int) {
	p.hall.mu.Lock()
	defer p.hall.mu.Unlock()
	for c := range p.hall.conns {
		if c.proto == protoCall && (c.ip != "") == accepted {
			n++
		}
	}
	return n
}

// TestHostileQuestionsEndTheirConnection, and no other.
func TestHostileQuestionsEndTheirConnection(t *testing.T) {
	h := newHouse(t, 3)
	p, other := h.leader(), h.followers()[0]
	good := askAs(t, p, other)
	must(t, other.ReadIndex(t.Context()))
	header := func(size uint32, kind callKind) []byte {
		b := append(binary.BigEndian.AppendUint32(nil, size), byte(kind))
		return append(b, make([]byte, callHeader-len(b))...)
	}
	for name, sent := range map[string][]byte{
		"a question too large":     header(maxMessage+1, askPropose),
		"the largest length":       header(1<<32-1, askTerm),
		"a kind that is not known": header(0, 99),
		"an answer":                header(0, answerGood),
		"garbage":                  bytes.Repeat([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 9),
	} {
		bad := askAs(t, p, other)
		if _, err := bad.Write(sent); err != nil {
			t.Fatal(err)
		}
		if f, err := readCall(bad.in, maxAnswer); err == nil {
			t.Errorf("%s was answered with a frame of kind %d", name, f.kind)
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%s: the connection is still open", name)
		}
	}
	good.ask(askTerm, 1, nil)
	if f := good.answer(); f.kind != answerGood || f.call != 1 || binary.BigEndian.Uint64(f.body) != p.raft.CurrentTerm() {
		t.Errorf("the connection beside them was answered %+v", f)
	}
	must(t, other.ReadIndex(t.Context()))
	if n := other.callLines(false); n == 0 {
		t.Error("the peer's own connection is gone")
	}
}

// TestQuestionThatCannotBeReadIsRefused: the connection goes on.
func TestQuestionThatCannotBeReadIsRefused(t *testing.T) {
	h := newHouse(t, 2)
	a := askAs(t, h.leader(), h.followers()[0])
	a.ask(askPropose, 1, []byte("no commands at all"))
	_, err := a.answer().content()
	wantKind(t, err, api.Malformed)
	a.ask(askTerm, 2, nil)
	if f := a.answer(); f.kind != answerGood || f.call != 2 {
		t.Errorf("the next question was answered %+v", f)
	}
}

// TestRemovedPeerIsRefusedOnAnOpenConnection, whatever it asks.
func TestRemovedPeerIsRefusedOnAnOpenConnection(t *testing.T) {
	h := newHouse(t, 1)
	p := h.peers[0]
	here, there := net.Pipe()
	p.start(func() { p.answerCalls(&conn{Conn: there, hall: p.hall, peer: uuid.NewString(), proto: protoCall}) })
	a := newAsker(t, here)
	defer a.Close()
	before := p.machine.times()
	frame, err := encodeFrame(time.Now(), set("a", "1"))
	must(t, err)
	for call, kind := range []callKind{askTerm, askReadIndex, askPropose} {
		a.ask(kind, uint64(call+1), frame)
		_, err := a.answer().content()
		wantKind(t, err, api.Forbidden)
	}
	if p.machine.times() != before {
		t.Error("a command of a removed peer took effect")
	}
}

// TestPeerThatLeftIsNotCalled, nor answered: also the connections that were open then end.
func TestPeerThatLeftIsNotCalled(t *testing.T) {
	h := newHouse(t, 4)
	leader := h.leader()
	var gone *peer
	for _, p := range h.followers() {
		if !isVoter(leader, p.id) {
			gone = p
		}
	}
	must(t, gone.ReadIndex(t.Context()))
	leader.propose(command{ID: uuid.NewString(), Leaves: gone.id}.bytes())
	h.eventually(func() error {
		if _, err := leader.calls.call(within(t, 10*time.Second), gone.id, askTerm, nil); err == nil {
			return errors.New("it is still called")
		}
		if _, err := gone.calls.call(within(t, 10*time.Second), leader.id, askReadIndex, nil); err == nil {
			return errors.New("it is still answered")
		}
		return nil
	})
}

func isVoter(leader *peer, id string) bool {
	for _, v := range voters(leader.Servers()) {
		if v == id {
			return true
		}
	}
	return false
}

// TestManyCallsShareAConnection: each gets its own answer.
func TestManyCallsShareAConnection(t *testing.T) {
	h := newHouse(t, 3)
	leader, follower := h.leader(), h.followers()[0]
	var all sync.WaitGroup
	for i := range maxCalls {
		all.Go(func() {
			for round := range 20 {
				key := fmt.Sprintf("k%d.%d", i, round)
				frame, err := encodeFrame(time.Now(), set(key, "v"))
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := follower.calls.call(within(t, 10*time.Second), leader.id, askPropose, frame)
				if err != nil {
					t.Error(err)
					return
				}
				_, answer, err = decodeNews(answer)
				if err != nil {
					t.Error(err)
					return
				}
				verdicts, err := decodeVerdicts(answer)
				if err != nil || len(verdicts) != 1 {
					t.Errorf("%d verdicts, %v", len(verdicts), err)
					return
				}
				if got, err := verdicts[0].encode(); err != nil || string(got) != key+"=v" {
					t.Errorf("%s was answered %q, %v", key, got, err)
				}
				if term, err := follower.callTerm(within(t, 10*time.Second), leader.id); err != nil || term != leader.raft.CurrentTerm() {
					t.Errorf("term %d, %v", term, err)
				}
			}
		})
	}
	all.Wait()
	if n := follower.callLines(false); n != 1 {
		t.Errorf("they took %d connections, want one", n)
	}
}

// TestCallsInHandAreLimited: who asks too much at once is told so.
func TestCallsInHandAreLimited(t *testing.T) {
	h := newHouse(t, 2)
	leader := h.leader()
	a := askAs(t, leader, h.followers()[0])
	leader.machine.hold.Lock()
	held := true
	defer func() {
		if held {
			leader.machine.hold.Unlock()
		}
	}()
	frame, err := encodeFrame(time.Now(), set("a", "1"))
	must(t, err)
	for call := range uint64(maxCalls + 1) {
		a.ask(askPropose, call+1, frame)
	}
	f := a.answer()
	_, err = f.content()
	wantKind(t, err, api.Unavailable)
	if f.call != maxCalls+1 {
		t.Errorf("call %d was refused, want the last", f.call)
	}
	a.ask(askTerm, maxCalls+2, nil) // needs no place
	if f := a.answer(); f.kind != answerGood || f.call != maxCalls+2 {
		t.Errorf("a question for the term was answered %+v", f)
	}
	held = false
	leader.machine.hold.Unlock()
	for range maxCalls {
		if f := a.answer(); f.kind != answerGood {
			t.Errorf("call %d was answered a %d", f.call, f.kind)
		}
	}
}

// TestStalledPeerTakesNoCalls, and makes none: until its disk answers again.
func TestStalledPeerTakesNoCalls(t *testing.T) {
	h, disks := newHouseOfBadDisks(t, 3)
	leader, follower := h.leader(), h.followers()[0]
	must(t, follower.ReadIndex(t.Context()))
	h.stall(follower, disks[follower.id])
	eventually(t, func() error { // who is refused is given a moment to read why
		if n := follower.callLines(true) + follower.callLines(false); n != 0 {
			return fmt.Errorf("%d connections are open", n)
		}
		return nil
	})
	if _, err := leader.calls.call(within(t, 10*time.Second), follower.id, askTerm, nil); err == nil {
		t.Error("it was called")
	}
	if _, err := follower.calls.call(within(t, 10*time.Second), leader.id, askTerm, nil); !errors.Is(err, errStalled) {
		t.Errorf("it called: %v, want %v", err, errStalled)
	}
	disks[follower.id].hold.Unlock()
	h.eventually(func() error { return follower.ReadIndex(within(t, time.Second)) })
}

// TestStallClosesWhatIsJustDialled: a connection that was under way when the disk stopped
// to answer would carry heartbeats all the while.
func TestStallClosesWhatIsJustDialled(t *testing.T) {
	type meanwhile struct{}
	h, disks := newHouseOfBadDisks(t, 3, func(c *Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if happens, ok := ctx.Value(meanwhile{}).(func()); ok {
				happens()
			}
			return dial(ctx, network, address)
		}
	})
	leader, follower := h.leader(), h.followers()[0]
	ctx := context.WithValue(within(t, 20*time.Second), meanwhile{}, func() { h.stall(follower, disks[follower.id]) })
	defer disks[follower.id].hold.Unlock()
	if c, err := follower.hall.dial(ctx, leader.id, protoCall); !errors.Is(err, errStalled) {
		t.Errorf("it dialled %v: %v, want %v", c, err, errStalled)
	}
}

// TestCallsEndWithTheNode: nobody waits longer than that.
func TestCallsEndWithTheNode(t *testing.T) {
	h := newHouse(t, 3)
	leader, follower := h.leader(), h.followers()[0]
	leader.machine.hold.Lock()
	frame, err := encodeFrame(time.Now(), set("a", "1"))
	must(t, err)
	done := make(chan error)
	go func() {
		_, err := follower.calls.call(within(t, time.Minute), leader.id, askPropose, frame)
		done <- err
	}()
	eventually(t, func() error {
		if leader.callLines(true) == 0 {
			return errors.New("the leader was not called yet")
		}
		return nil
	})
	follower.kill()
	if err := <-done; err == nil {
		t.Error("the call was answered")
	}
	leader.machine.hold.Unlock()
}

// TestNoMemberIsNotForbidden: what a peer asks for others fails in a way that lets them ask
// again; the leader may not have applied yet that it joined.
func TestNoMemberIsNotForbidden(t *testing.T) {
	err := &api.Error{}
	must(t, json.Unmarshal(encodeError(errRemoved), err))
	wantKind(t, noMember(err), api.Unavailable)
	if !retryable(noMember(err)) {
		t.Errorf("%v is not tried again", noMember(err))
	}
	if other := api.Errorf(api.TooLarge, "x", "too large"); noMember(other) != error(other) {
		t.Errorf("another error became %v", noMember(other))
	}
}
