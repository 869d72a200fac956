package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/history"
	"github.com/orchd/orchd/test/lab"
)

// worker is one client. It asks the peers in a random order and records what it saw.
type worker struct {
	*house
	number int
	rng    *rand.Rand
	count  int         // operations so far
	among  []*lab.Host // whom it asks; nil: all that are peers
}

// How long one try, and one operation with all its tries, may take.
const (
	tryTime   = 4 * time.Second
	opTime    = 9 * time.Second
	cancelOne = 40 // one in so many is cancelled by its client at once
	doubleOne = 15 // one in so many is sent through two peers at the same time
)

// begin is a new operation.
func (w *worker) begin(kind history.Kind, object string, verb history.Verb) history.Operation {
	w.count++
	return history.Operation{ID: fmt.Sprintf("c%d.%d", w.number, w.count), Client: w.number, Kind: kind, Object: object, Verb: verb, Begin: w.recorder.Now()}
}

// request is how an operation is asked for.
type request struct {
	method, path string
	body         any
	ifMatch      uint64
	keyed        bool // with an Idempotency-Key, and so with several tries
}

// verdict reads an answer: the outcome, and why it failed.
type verdict func(a ask.Answer) (history.Outcome, history.Reason)

// perform sends an operation, again and again where it has a key, until its outcome
// is known or its time is over, and records it. It gives the answer that decided.
func (w *worker) perform(o *history.Operation, r request, judge verdict) (decided ask.Answer) {
	headers := []string{"X-Request-Id: " + o.ID, "Content-Type: application/json"}
	if r.ifMatch != 0 {
		headers = append(headers, fmt.Sprintf(`If-Match: "%d"`, r.ifMatch))
	}
	limit := tryTime
	if r.keyed {
		headers = append(headers, "Idempotency-Key: "+o.ID)
		limit = opTime
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if w.rng.IntN(cancelOne) == 0 && o.Verb != history.Read {
		time.AfterFunc(time.Duration(w.rng.IntN(8000))*time.Microsecond, cancel)
	}
	o.Outcome = history.Fail
	if r.keyed && w.rng.IntN(doubleOne) == 0 {
		go w.once(ctx, w.anyone(), r, headers)
		o.Outcome = history.Unknown // until there is an answer that decides
	}
	for first := true; first || r.keyed && ctx.Err() == nil; first = false {
		at := w.anyone()
		o.Peer = at.Name
		a, err := w.once(ctx, at, r, headers)
		switch {
		case err != nil && neverSent(err):
		case err != nil:
			o.Outcome = history.Unknown
		default:
			outcome, why := judge(a)
			if outcome == history.Unknown || outcome == history.Fail && why == history.Nothing && o.Outcome == history.Unknown {
				o.Outcome = history.Unknown // an earlier try may still be under way
				break
			}
			o.Outcome, o.Reason, decided = outcome, why, a
			o.Index, _ = strconv.ParseUint(a.Header.Get("Orchd-Index"), 10, 64)
		}
		if decided.Status != 0 {
			break
		}
		select {
		case <-time.After(time.Duration(10+w.rng.IntN(40)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
	o.End = w.recorder.Now()
	return decided
}

// once is one try.
func (w *worker) once(ctx context.Context, at *lab.Host, r request, headers []string) (ask.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	return w.send(ctx, at, r.method, r.path, r.body, headers...)
}

// anyone is some peer.
func (w *worker) anyone() *lab.Host {
	all := w.among
	if all == nil {
		all = w.members()
	}
	return all[w.rng.IntN(len(all))]
}

// written judges the answer to a write: which statuses refuse it, and what they mean.
func (w *worker) written(refusals map[int]history.Reason) verdict {
	return func(a ask.Answer) (history.Outcome, history.Reason) {
		why, refused := refusals[a.Status]
		switch {
		case a.Status/100 == 2:
			return history.OK, ""
		case refused:
			return history.Fail, why
		case a.Status == http.StatusServiceUnavailable:
			return history.Unknown, ""
		case a.Status >= 500 && a.Status != http.StatusInsufficientStorage:
			w.wonder("a write was answered %d %.300s", a.Status, a.Body)
			return history.Unknown, ""
		case a.Status != http.StatusInsufficientStorage && a.Status != http.StatusTooManyRequests:
			w.wonder("a write was answered %d %.300s", a.Status, a.Body)
		}
		return history.Fail, history.Nothing
	}
}

// seen judges the answer to a read: it is there, or not.
func (w *worker) seen(a ask.Answer) (history.Outcome, history.Reason) {
	switch {
	case a.Status == http.StatusOK, a.Status == http.StatusNotFound:
		return history.OK, ""
	case a.Status != http.StatusServiceUnavailable && a.Status != http.StatusTooManyRequests:
		w.wonder("a read was answered %d %.300s", a.Status, a.Body)
	}
	return history.Fail, history.Nothing
}

// slots are the objects that clients share. Each is used for a while and then left
// for a new one, so that its history can be judged.
type slots struct {
	mu    sync.Mutex
	names []string
	used  []int
	most  int
	fresh func(n int) string
	made  int
}

func newSlots(n, most int, fresh func(n int) string) *slots {
	s := &slots{names: make([]string, n), used: make([]int, n), most: most, fresh: fresh}
	for i := range n {
		s.names[i] = fresh(i)
	}
	s.made = n
	return s
}

// take gives an object for as many operations as weight.
func (s *slots) take(rng *rand.Rand, weight int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := rng.IntN(len(s.names))
	if s.used[i]+weight > s.most {
		s.names[i], s.used[i] = s.fresh(s.made), 0
		s.made++
	}
	s.used[i] += weight
	return s.names[i]
}

// decode reads JSON that must be what it says.
func decode[T any](c *house, a ask.Answer) (v T, ok bool) {
	if err := json.Unmarshal(a.Body, &v); err != nil {
		c.wonder("an answer %d is not what it should be: %v: %.300s", a.Status, err, a.Body)
		return v, false
	}
	return v, true
}

// pause keeps a client from taking all of the machine.
func (w *worker) pause(ctx context.Context, most time.Duration) {
	select {
	case <-time.After(time.Duration(w.rng.Int64N(int64(most)))):
	case <-ctx.Done():
	}
}
