package chaos

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/history"
)

// Canaries are secrets that must be found nowhere in clear.
const (
	canaryPassword = "canary-7b2f-of-the-bmc"
	canaryUserData = "canary-7b2f-of-the-user-data"
)

// versions are what clients believe of the nodes: good enough to make most swaps fit.
type versions struct {
	mu sync.Mutex
	of map[string]uint64
}

func (v *versions) get(node string) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.of[node]
}

func (v *versions) set(node string, version uint64) {
	v.mu.Lock()
	v.of[node] = version
	v.mu.Unlock()
}

// nodeName is where the n-th node of a run stands.
func nodeName(n int) string {
	return fmt.Sprintf("x%dc%ds%db0n0", 1000+n>>9, n>>6&7, n&63)
}

// workOnNodes is W1: clients compare and set the versions of a few nodes.
func (w *worker) workOnNodes(ctx context.Context, nodes *slots, known *versions) {
	for ctx.Err() == nil {
		node := nodes.take(w.rng, 1)
		switch version := known.get(node); {
		case version == 0:
			w.createNode(node, known)
		case w.rng.IntN(100) < 45:
			w.readNode(node, known)
		case w.rng.IntN(60) == 0:
			w.deleteNode(node, known)
		case w.rng.IntN(10) == 0:
			w.swapNode(node, 0, known)
		case w.rng.IntN(10) == 0:
			w.swapNode(node, version+uint64(w.rng.IntN(3)), known)
		default:
			w.swapNode(node, version, known)
		}
		w.pause(ctx, 60*time.Millisecond)
	}
}

// body is a node whose description is the operation that writes it.
func body(node, operation string) inventory.ComputeNode {
	password := canaryPassword
	return inventory.ComputeNode{Hostname: "n", Architecture: "x86_64", XName: node, Description: operation, Spec: &inventory.NodeSpec{BMCPassword: &password}}
}

func (w *worker) createNode(node string, known *versions) {
	o := w.begin(history.Register, node, history.Create)
	o.Want.Content = o.ID
	r := request{method: "POST", path: "/ComputeNode", body: body(node, o.ID), keyed: w.rng.IntN(2) == 0}
	// A node whose place is taken is refused with 400, as old clients know it.
	w.perform(&o, r, w.written(map[int]history.Reason{http.StatusBadRequest: history.Taken}))
	if o.Outcome == history.OK || o.Reason == history.Taken {
		known.set(node, 1)
	}
	w.recorder.Add(o)
}

func (w *worker) swapNode(node string, from uint64, known *versions) {
	o := w.begin(history.Register, node, history.Swap)
	o.Want = history.Value{Version: from, Content: o.ID}
	r := request{method: "PUT", path: "/ComputeNode/" + node, body: body(node, o.ID), ifMatch: from, keyed: w.rng.IntN(2) == 0}
	a := w.perform(&o, r, w.written(map[int]history.Reason{http.StatusPreconditionFailed: history.Changed, http.StatusNotFound: history.Absent}))
	switch {
	case o.Outcome == history.OK:
		w.answeredSwap(&o, a, known)
	case o.Reason == history.Absent:
		known.set(node, 0)
	}
	w.recorder.Add(o)
	if o.Reason == history.Changed {
		w.readNode(node, known)
	}
}

// answeredSwap takes in what the answer to a swap shows. After a retry, by its client
// or inside of the cluster, that is the node as it is by then: the swap, and a read.
func (w *worker) answeredSwap(o *history.Operation, a ask.Answer, known *versions) {
	n, ok := decode[inventory.ComputeNode](w.house, a)
	if !ok || n.Version == 0 {
		return // it is gone by now: the answer has its id alone
	}
	known.set(o.Object, n.Version)
	saw := history.Value{Exists: true, Version: n.Version, Content: n.Description}
	if n.Description == o.ID {
		o.Saw = saw
		return
	}
	o.Note = "the answer shows a later state"
	read := w.begin(history.Register, o.Object, history.Read)
	read.Begin, read.End, read.Outcome, read.Peer, read.Saw = o.Begin, o.End, history.OK, o.Peer, saw
	w.recorder.Add(read)
}

func (w *worker) deleteNode(node string, known *versions) {
	o := w.begin(history.Register, node, history.Delete)
	r := request{method: "DELETE", path: "/ComputeNode/" + node, keyed: w.rng.IntN(2) == 0}
	w.perform(&o, r, w.written(map[int]history.Reason{http.StatusNotFound: history.Absent}))
	if o.Outcome == history.OK || o.Reason == history.Absent {
		known.set(node, 0)
	}
	w.recorder.Add(o)
}

func (w *worker) readNode(node string, known *versions) {
	o := w.begin(history.Register, node, history.Read)
	a := w.perform(&o, request{method: "GET", path: "/ComputeNode/" + node}, w.seen)
	if o.Outcome == history.OK && a.Status == http.StatusOK {
		if n, ok := decode[inventory.ComputeNode](w.house, a); ok {
			o.Saw = history.Value{Exists: true, Version: n.Version, Content: n.Description}
		}
	}
	if o.Outcome == history.OK {
		known.set(node, o.Saw.Version)
	}
	w.recorder.Add(o)
}
