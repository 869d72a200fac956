package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// exchangeboard is where callers under test dial to: each connection's other end
// is the test's.
type exchangeboard struct {
	*callers
	dialed chan *farEnd
	cancel context.CancelFunc
	all    sync.WaitGroup
}

func newExchangeboard(t *testing.T) *exchangeboard {
	b := &exchangeboard{dialed: make(chan *farEnd, 9)}
	ctx, cancel := context.WithCancel(t.Context())
	start := func(loops ...func()) {
		for _, loop := range loops {
			b.all.Go(loop)
		}
	}
	b.callers = newCallers(ctx, start, func(context.Context, string) (net.Conn, error) {
		here, there := net.Pipe()
		b.dialed <- &farEnd{there, bufio.NewReader(there), newCallWriter(there)}
		return here, nil
	})
	b.cancel = cancel
	return b
}

// close ends all connections and waits for what the callers have started.
func (b *exchangeboard) close() {
	b.cancel()
	b.all.Wait()
}

// farEnd is who is called.
type farEnd struct {
	net.Conn
	in  *bufio.Reader
	out *callWriter
}

// next is the next question that is no ping.
func (e *farEnd) next(t *testing.T) callFrame {
	t.Helper()
	for {
		q, err := readCall(e.in, maxMessage)
		must(t, err)
		if q.kind != askTerm {
			return q
		}
	}
}

// swallow takes what comes and says nothing.
func (e *farEnd) swallow() {
	for {
		if _, err := readCall(e.in, maxMessage); err != nil {
			return
		}
	}
}

// called is the outcome of a call under way.
type called struct {
	answer []byte
	err    error
	took   time.Duration
}

// call calls a peer called x with so much time.
func (b *exchangeboard) call(kind callKind, limit time.Duration) <-chan called {
	done := make(chan called, 1)
	go func() {
		began := time.Now()
		ctx, cancel := context.WithTimeout(b.ctx, limit)
		defer cancel()
		answer, err := b.callers.call(ctx, "x", kind, nil)
		done <- called{answer, err, time.Since(began)}
	}()
	return done
}

// TestSilentConnectionIsGivenUp, by a call of a second that gets no answer, and for
// a longer one by the pings; the next call finds another.
func TestSilentConnectionIsGivenUp(t *testing.T) {
	for limit, want := range map[time.Duration]time.Duration{time.Second: time.Second, time.Minute: 3 * pingAfter} {
		synctest.Test(t, func(t *testing.T) {
			b := newExchangeboard(t)
			defer b.close()
			first := b.call(askReadIndex, limit)
			silent := <-b.dialed
			go silent.swallow()
			if got := <-first; got.err == nil || got.took > want {
				t.Errorf("a call of %s on a silent connection: %v after %s, want an error after %s", limit, got.err, got.took, want)
			}
			second := b.call(askReadIndex, limit)
			live := <-b.dialed
			q := live.next(t)
			must(t, live.out.send(callFrame{kind: answerGood, call: q.call, body: []byte("yes")}))
			if got := <-second; got.err != nil || string(got.answer) != "yes" {
				t.Errorf("the next call got %q, %v", got.answer, got.err)
			}
		})
	}
}

// TestSlowAnswerIsWaitedFor: who answers pings is there.
func TestSlowAnswerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newExchangeboard(t)
		defer b.close()
		waiting := b.call(askPropose, time.Hour)
		e := <-b.dialed
		proposal := e.next(t)
		for began := time.Now(); time.Since(began) < 59*time.Minute; {
			q, err := readCall(e.in, maxMessage)
			must(t, err)
			must(t, e.out.send(callFrame{kind: answerGood, call: q.call, body: make([]byte, 8)}))
		}
		must(t, e.out.send(callFrame{kind: answerGood, call: proposal.call, body: []byte("at last")}))
		if got := <-waiting; string(got.answer) != "at last" {
			t.Errorf("after %s: %q, %v", got.took, got.answer, got.err)
		}
	})
}

// TestCutConnectionFailsItsCalls at once, all of them; the next call dials again.
func TestCutConnectionFailsItsCalls(t *testing.T) {
	b := newExchangeboard(t)
	defer b.close()
	one, two := b.call(askReadIndex, time.Minute), b.call(askPropose, time.Minute)
	e := <-b.dialed
	e.next(t)
	e.next(t)
	e.Close()
	for _, c := range []<-chan called{one, two} {
		if got := <-c; got.err == nil || errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("a call over a connection that was cut: %v", got.err)
		}
	}
	again := b.call(askReadIndex, time.Minute)
	e = <-b.dialed
	q := e.next(t)
	must(t, e.out.send(callFrame{kind: answerOther, call: q.call}))
	if got := <-again; !errors.Is(got.err, errNotLeader) {
		t.Errorf("the next call: %v, want %v", got.err, errNotLeader)
	}
}

// TestHostileAnswersEndTheirConnection and fail the call, whatever it is.
func TestHostileAnswersEndTheirConnection(t *testing.T) {
	header := func(size uint32, kind callKind, call uint64) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		b = binary.BigEndian.AppendUint64(append(b, byte(kind)), call)
		return append(b, 0, 0, 0, 0)
	}
	for name, bytes := range map[string][]byte{
		"an answer to a call that nobody made": header(0, answerGood, 77),
		"an answer too large":                  header(maxAnswer+1, answerGood, 1),
		"a question":                           header(0, askTerm, 1),
		"a kind that is not known":             header(0, 99, 1),
		"an error that is none":                header(0, answerError, 1),
		"garbage":                              []byte(strings.Repeat("HTTP/1.1 200 OK\r\n", 9)),
	} {
		t.Run(name, func(t *testing.T) {
			b := newExchangeboard(t)
			defer b.close()
			hit := b.call(askReadIndex, time.Minute)
			e := <-b.dialed
			e.next(t)
			go e.swallow()
			if _, err := e.Write(bytes); err != nil {
				t.Fatal(err)
			}
			if got := <-hit; !errors.Is(got.err, errFrame) {
				t.Errorf("the call got %q, %v; want %v", got.answer, got.err, errFrame)
			}
		})
	}
}

// TestAnswerThatNobodyWaitsForIsDropped: the caller gave up, the connection goes on.
func TestAnswerThatNobodyWaitsForIsDropped(t *testing.T) {
	b := newExchangeboard(t)
	defer b.close()
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := b.callers.call(ctx, "x", askPropose, nil)
		gone <- err
	}()
	e := <-b.dialed
	late := e.next(t)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose caller gave up: %v", err)
	}
	must(t, e.out.send(callFrame{kind: answerGood, call: late.call}))
	second := b.call(askReadIndex, time.Minute)
	q := e.next(t)
	must(t, e.out.send(callFrame{kind: answerGood, call: q.call, body: []byte("yes")}))
	if got := <-second; string(got.answer) != "yes" {
		t.Errorf("the next call on that connection got %q, %v", got.answer, got.err)
	}
}

func TestCallsOfAConnectionAreLimited(t *testing.T) {
	b := newExchangeboard(t)
	defer b.close()
	var hanging []<-chan called
	var e *farEnd
	for i := range maxCalls {
		hanging = append(hanging, b.call(askPropose, time.Minute))
		if i == 0 {
			e = <-b.dialed
		}
		e.next(t)
	}
	if got := <-b.call(askPropose, time.Minute); got.err == nil || errors.Is(got.err, context.DeadlineExceeded) {
		t.Errorf("one call more than allowed got %q, %v", got.answer, got.err)
	}
	e.Close()
	for _, c := range hanging {
		<-c
	}
}

func TestFailedDialIsTriedAgain(t *testing.T) {
	b := newExchangeboard(t)
	defer b.close()
	works := b.callers.dial
	refusal := errors.New("nobody there")
	b.callers.dial = func(context.Context, string) (net.Conn, error) { return nil, refusal }
	if got := <-b.call(askReadIndex, time.Minute); !errors.Is(got.err, refusal) {
		t.Errorf("a call to nobody: %v, want %v", got.err, refusal)
	}
	b.callers.dial = works
	c := b.call(askReadIndex, time.Minute)
	e := <-b.dialed
	q := e.next(t)
	must(t, e.out.send(callFrame{kind: answerGood, call: q.call}))
	if got := <-c; got.err != nil {
		t.Errorf("the next call: %v", got.err)
	}
}
