package fsm

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/snapshot"
)

// BenchmarkRewritesOfAFleet changes each of FLEET nodes ten times, with no snapshot between,
// while the changes are kept in files: memory must be bounded by what is there, not by
// what happened. It tells what is alive afterwards and what was resident at most, to what it
// was while the fleet was loaded.
func BenchmarkRewritesOfAFleet(b *testing.B) {
	const rewrites, percent = 10, 55 // the collector as a peer with a large state has it
	defer debug.SetGCPercent(debug.SetGCPercent(percent))
	for b.Loop() {
		n := fleetSize()
		r := newRewriter(b)
		empty := alive()
		resetPeak(b)
		for at := 0; at < n; at += 500 {
			r.apply(b, r.loading(b, at, 500))
		}
		loaded, peak := alive()-empty, peakMiB(b)
		for node := range r.m.Read().ComputeNodes(inventory.NodeFilter{}, "") {
			r.ids = append(r.ids, node.ID)
		}
		debug.FreeOSMemory()
		resetPeak(b)
		for k := range rewrites {
			r.rewrite(b, fmt.Sprintf("written again %d", k))
		}
		b.ReportMetric(float64(loaded)/float64(n), "B/node")
		b.ReportMetric(float64(alive()-empty)/float64(loaded), "alive-ratio")
		b.ReportMetric(peak, "MiB-peak-loading")
		b.ReportMetric(peakMiB(b)/peak, "peak-ratio")
		r.end(b)
	}
}

// rewriter is a machine whose changes go to files.
type rewriter struct {
	m       *Machine
	w       *Writer
	index   uint64
	ids     []string // of the nodes
	history *snapshot.History
	stop    context.CancelFunc
	stopped chan error
}

func newRewriter(b *testing.B) *rewriter {
	history, err := snapshot.OpenHistory(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	r := &rewriter{m: New(), w: NewWriter(nil, nil, unsealed{}), history: history, stop: stop, stopped: make(chan error, 1)}
	history.OnDurable(r.m.ChangesDurable)
	r.m.KeepChanges(0)
	go func() { r.stopped <- r.m.WriteChanges(ctx, history) }()
	return r
}

func (r *rewriter) end(b *testing.B) {
	if err := r.m.changes.awaitDurable(r.index); err != nil {
		b.Fatal(err)
	}
	r.stop()
	if err := <-r.stopped; err != nil {
		b.Fatal(err)
	}
	if err := r.history.Close(); err != nil {
		b.Fatal(err)
	}
	runtime.KeepAlive(r)
}

// loading is a command that makes n nodes.
func (r *rewriter) loading(b *testing.B, from, n int) []byte {
	var c nodesCreate
	for _, node := range sampleNodes(from, n) {
		write, err := r.w.nodeWrite(&node)
		if err != nil {
			b.Fatal(err)
		}
		c.Nodes = append(c.Nodes, write)
	}
	return encodedCommand(b, createNodes, c)
}

// rewrite changes every node, in entries of a hundred commands.
func (r *rewriter) rewrite(b *testing.B, description string) {
	var entry [][]byte
	for _, id := range r.ids { // a list that is being read would keep the old state whole
		node, _ := r.m.Read().ComputeNode(id)
		node.Description = description
		write, err := r.w.nodeWrite(&node)
		if err != nil {
			b.Fatal(err)
		}
		if entry = append(entry, encodedCommand(b, replaceNode, nodeReplace{node.ID, 0, write})); len(entry) == 100 {
			r.apply(b, entry...)
			entry = entry[:0]
		}
	}
	r.apply(b, entry...)
}

func (r *rewriter) apply(b *testing.B, commands ...[]byte) {
	r.index++
	for _, answer := range r.m.ApplyAll(r.index, epoch0, commands) {
		if err := answer.(Result).Err; err != nil {
			b.Fatal(err)
		}
	}
}

func encodedCommand(b *testing.B, t Type, body any) []byte {
	command, err := encode(Meta{Type: t, V: 1, ID: uuid.NewString(), Actor: admin}, body)
	if err != nil {
		b.Fatal(err)
	}
	return command
}

// resetPeak begins anew to note what this process has resident at most (proc(5), clear_refs).
func resetPeak(b *testing.B) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600); err != nil {
		b.Fatal(err)
	}
}

// peakMiB is what this process had resident at most since then.
func peakMiB(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	var kib float64
	_, after, found := strings.Cut(string(text), "VmHWM:")
	if _, err := fmt.Sscan(after, &kib); !found || err != nil {
		b.Fatalf("no VmHWM in %s", text)
	}
	return kib / 1024
}
