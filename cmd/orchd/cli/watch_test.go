package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// listed makes the peer answer a list as a peer does, with the index of its state.
func (f *fake) listed(route string, body any) *fake {
	f.mux.HandleFunc(route, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Orchd-Index", "40")
		if err := json.NewEncoder(w).Encode(body); err != nil {
			f.t.Error(err)
		}
	})
	return f
}

func changeOf(index uint64, table, key string) api.Event {
	return api.Event{Index: index, N: 1, Table: table, Key: key, Verb: api.Updated}
}

func TestWatchVMs(t *testing.T) {
	stopped, other := aVM(), aVM()
	stopped.Status.State, stopped.Version = api.VMStopped, 8
	other.ID, other.Name, other.Version = "0b9f2d1e-0000-4000-8000-000000000002", "db1", 1
	more := make(chan api.Event)
	f := newFake(t).stream(more).listed("GET /v1/vms", page(aVM(), other)).
		answer("GET /v1/vms/"+vmID, aVM(), stopped, &api.Error{Kind: api.NotFound, Msg: "there is no such vm"})
	out, errs, stop := f.follow("vm", "list", "--watch", "--account", "default")
	out.until(t, "web1")
	more <- changeOf(41, "vms", vmID) // told already: the list had it
	more <- changeOf(42, "vms", vmID)
	out.until(t, "stopped")
	more <- changeOf(43, "vms", vmID)
	errs.until(t, "web1 is gone\n")
	if code := stop(); code != exitInterrupted {
		t.Errorf("interrupted: exit %d, %q", code, errs)
	}
	golden(t, "vm-watch.golden", out.String())
	want := []string{"GET /v1/vms?account=default&limit=1000", "GET /v1/events?follow=true&since=40&table=vms", "GET /v1/vms/" + vmID}
	for i, line := range want {
		if f.asked[i] != line {
			t.Errorf("asked %v, want %v first", f.asked, want)
		}
	}
}

// TestWatchFiltered: what no longer fits the filters of the list has left it, and what
// never did is not told of.
func TestWatchFiltered(t *testing.T) {
	stopped, again := aVM(), aVM()
	stopped.Status.State, stopped.Version, again.Version = api.VMStopped, 8, 9
	more := make(chan api.Event)
	f := newFake(t).stream(more).listed("GET /v1/vms", page(aVM())).
		answer("GET /v1/vms/"+vmID, stopped, stopped, again)
	out, errs, stop := f.follow("vm", "list", "-w", "--state", "running", "--peer", "h2", "-l", "tier=web", "-o", "json")
	out.until(t, "web1")
	for n := range 3 {
		more <- changeOf(uint64(41+n), "vms", vmID)
	}
	out.until(t, `"version":9`)
	if stop(); errs.String() != "web1 is gone\n" {
		t.Errorf("stderr %q, want that it is gone, once", errs)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 2 || strings.Contains(out.String(), "stopped") {
		t.Errorf("got %q, want an object a line, and those that run alone", lines)
	}
}

func TestWatchOperations(t *testing.T) {
	done := anOperation(api.OpSucceeded)
	done.Version = 2
	more := make(chan api.Event)
	f := newFake(t).stream(more).listed("GET /v1/operations", page[api.Operation]()).answer("GET /v1/operations/"+opID, anOperation(api.OpRunning), done)
	out, _, stop := f.follow("operation", "list", "--watch")
	more <- changeOf(41, "operations", opID)
	out.until(t, "running")
	more <- changeOf(42, "operations", opID)
	out.until(t, "succeeded")
	stop()
	if heads := strings.Count(out.String(), "KIND"); heads != 1 {
		t.Errorf("%d lines of heads, want 1:\n%s", heads, out)
	}
}

// TestWatchPeers: no event tells that a peer is silent; they are looked at.
func TestWatchPeers(t *testing.T) {
	silent := aPeer()
	silent.Health = "silent"
	silent.AppliedIndex++ // is in no column of the table
	f := newFake(t).answer("GET /v1/peers", page(aPeer()), page(silent), page[api.PeerView]())
	out, errs, stop := f.follow("peer", "list", "--watch", "-o", "csv")
	out.until(t, "silent")
	errs.until(t, "is gone")
	stop()
	if lines := strings.Count(out.String(), "\n"); lines != 3 {
		t.Errorf("%d lines, want the heads and two:\n%s", lines, out)
	}
}

func TestWatchFleet(t *testing.T) {
	node := inventory.ComputeNode{ID: "n1", XName: "x1c0s0b0n0", Hostname: "a", Version: 1}
	changed := node
	changed.Hostname, changed.Version = "b", 2
	more := make(chan api.Event)
	f := newFake(t).stream(more).answer("GET /inventory/ComputeNode/n1", changed)
	f.mux.HandleFunc("GET /inventory/ComputeNode", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Orchd-Index", "40")
		items := page(node)
		if r.URL.Query().Has("xname") {
			items = page(changed)
		}
		json.NewEncoder(w).Encode(items)
	})
	for _, line := range []string{"get node --watch -o name", "get node --watch --filter arch=arm64 -o name"} {
		out, _, stop := f.follow(strings.Fields(line)...)
		out.until(t, "x1c0s0b0n0\n")
		more <- changeOf(41, "compute_nodes", "n1")
		out.until(t, "x1c0s0b0n0\nx1c0s0b0n0\n")
		stop()
	}
	if last := f.asked[len(f.asked)-1]; last != "GET /inventory/ComputeNode?arch=arm64&limit=1000&xname=x1c0s0b0n0" {
		t.Errorf("asked %s, want the list with its filter, and the node's xname", last)
	}
	if r := f.run("get", "node", "n1", "--watch"); r.code != exitUsage || !strings.Contains(r.stderr, "--watch is for lists") {
		t.Errorf("with an ID: exit %d, %q", r.code, r.stderr)
	}
}

// TestWatchCutOff: events that are no longer kept end the command with what to do.
func TestWatchCutOff(t *testing.T) {
	f := newFake(t).listed("GET /v1/vms", page(aVM())).answer("GET /v1/events", &api.Error{Kind: api.Gone, Msg: "the oldest index that is kept is 90"})
	if r := f.run("vm", "list", "--watch"); r.code != exitNotFound || !strings.Contains(r.stderr, "the oldest index that is kept is 90") || !strings.Contains(r.stdout, "web1") {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}
