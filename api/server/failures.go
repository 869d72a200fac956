package server

import (
	"net"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
)

// Failed authentications that one address may make: at once, and then for each second.
const (
	failureBurst  = 50
	failureRate   = 2.0
	failureClocks = 4096 // addresses remembered
)

// failures counts failed authentications by remote address, as token buckets.
// A valid credential is never refused for what its neighbours behind one
// address did: only the answer to a failure turns from 401 into 429.
type failures struct {
	now func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, buckets: map[string]bucket{}}
}

// judge passes err on, unless it is one failed authentication too many of that address.
func (f *failures) judge(remote string, err error) error {
	if !api.IsKind(err, api.Unauthenticated) || f.take(hostOf(remote)) {
		return err
	}
	return &api.Error{Kind: api.TooMany, Op: "authenticate", Msg: "too many failed attempts from this address; wait", Err: err}
}

// take takes one from the bucket of an address; false when it is empty.
func (f *failures) take(host string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	b, known := f.buckets[host]
	if !known {
		if len(f.buckets) >= failureClocks {
			f.forgetLocked(now)
		}
		b = bucket{left: failureBurst, at: now}
	}
	b.left = min(failureBurst, b.left+now.Sub(b.at).Seconds()*failureRate)
	b.at = now
	if b.left < 1 {
		f.buckets[host] = b
		return false
	}
	b.left--
	f.buckets[host] = b
	return true
}

// forgetLocked drops the buckets that have filled up again, or all of them when
// that is not enough: memory must not grow with the number of attackers.
func (f *failures) forgetLocked(now time.Time) {
	for host, b := range f.buckets {
		if b.left+now.Sub(b.at).Seconds()*failureRate >= failureBurst {
			delete(f.buckets, host)
		}
	}
	if len(f.buckets) >= failureClocks {
		clear(f.buckets)
	}
}

// hostOf is the address without its port; unix sockets have none.
func hostOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}
