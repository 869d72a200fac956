package onehost

import (
	"fmt"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/test/ask"
)

// TestBadInput: a 4xx that points at the field, nothing stored, the peer unharmed.
//
//race:out
func TestBadInput(t *testing.T) {
	c := Start(t, 1, nil)
	h := c.Peers[0]
	before := h.Running.Machine().Read()
	for _, bad := range []struct {
		what    string
		body    string
		status  int
		pointer string
	}{
		{"empty", ``, 400, ""},
		{"no object", `[]`, 400, ""},
		{"cut", `{"name":"x","spec":`, 400, ""},
		{"trailing", `{"name":"x","spec":{"vcpus":1,"memory_mib":64}} {}`, 400, ""},
		{"no name", `{"spec":{"vcpus":1,"memory_mib":64}}`, 422, "/name"},
		{"no spec", `{"name":"x"}`, 422, "/spec"},
		{"no vcpus", `{"name":"x","spec":{"memory_mib":64}}`, 422, "/spec/vcpus"},
		{"unknown field", `{"name":"x","spec":{"vcpus":1,"memory_mib":64},"colour":"red"}`, 422, "/colour"},
		{"wrong case", `{"name":"x","spec":{"VCPUS":1,"memory_mib":64}}`, 422, "/spec/VCPUS"},
		{"twice", `{"name":"x","name":"y","spec":{"vcpus":1,"memory_mib":64}}`, 422, "/name"},
		{"2^63", `{"name":"x","spec":{"vcpus":1,"memory_mib":9223372036854775808}}`, 422, "/spec/memory_mib"},
		{"negative", `{"name":"x","spec":{"vcpus":-1,"memory_mib":64}}`, 422, "/spec/vcpus"},
		{"a fraction", `{"name":"x","spec":{"vcpus":1.5,"memory_mib":64}}`, 422, "/spec/vcpus"},
		{"a string", `{"name":"x","spec":{"vcpus":"1","memory_mib":64}}`, 422, "/spec/vcpus"},
		{"300 characters", `{"name":"` + strings.Repeat("x", 300) + `","spec":{"vcpus":1,"memory_mib":64}}`, 422, "/name"},
		{"a UUID as name", `{"name":"01234567-0123-4123-8123-0123456789ab","spec":{"vcpus":1,"memory_mib":64}}`, 422, "/name"},
		{"no UTF-8", "{\"name\":\"x\xff\",\"spec\":{\"vcpus\":1,\"memory_mib\":64}}", 422, "/name"},
		{"no such image", `{"name":"x","spec":{"vcpus":1,"memory_mib":64,"image":"none"}}`, 422, "/spec/image"},
		{"two megabytes", `{"name":"x","labels":{"a":"` + strings.Repeat("y", 2<<20) + `"},"spec":{"vcpus":1,"memory_mib":64}}`, 413, ""},
		{"deep", `{"name":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, 0, ""},
	} {
		t.Run(bad.what, func(t *testing.T) {
			a := h.Do("POST", "/v1/vms", bad.body)
			if bad.status != 0 && a.Status != bad.status || a.Status/100 != 4 {
				t.Fatalf("answered %d, want %d: %.300s", a.Status, bad.status, a.Body)
			}
			p := a.Problem(t)
			if a.Header.Get("Content-Type") != "application/problem+json" || p.Detail == "" || p.Code == "" || p.Status != a.Status {
				t.Errorf("no proper problem: %.300s", a.Body)
			}
			if bad.pointer != "" && !pointsAt(p, bad.pointer) {
				t.Errorf("points at %v, want %s", p.Errors, bad.pointer)
			}
		})
	}
	after := h.Running.Machine().Read()
	if after.VMCount() != 0 || len(h.Domains()) != 0 {
		t.Errorf("%d VMs and %d domains came of it", after.VMCount(), len(h.Domains()))
	}
	if before.Index() > after.Index() {
		t.Errorf("the index went from %d to %d", before.Index(), after.Index())
	}
	if a := h.Do("POST", "/v1/vms", ask.VM("fine", 1, 64)); a.Status != 201 {
		t.Errorf("afterwards a good create: %d %s", a.Status, a.Body)
	}
}

func pointsAt(p api.Problem, pointer string) bool {
	for _, e := range p.Errors {
		if e.Pointer == pointer {
			return true
		}
	}
	return false
}

// TestReplayedAnswer: the same key again gives the same VM, and says so.
//
//race:out
func TestReplayedAnswer(t *testing.T) {
	c := Start(t, 3, nil)
	var first string
	for i, p := range c.Peers {
		a := p.Do("POST", "/v1/vms", ask.VM("one", 1, 64), "Idempotency-Key: k")
		if a.Status != 201 {
			t.Fatalf("%s: %d %s", p.Name, a.Status, a.Body)
		}
		vm := ask.Decode[api.VM](t, a)
		if i == 0 {
			first = vm.ID
		}
		if replayed := a.Header.Get("Idempotency-Replayed"); vm.ID != first || (i > 0) != (replayed == "true") {
			t.Errorf("%s: VM %s, replayed %q; the first was %s", p.Name, vm.ID, replayed, first)
		}
	}
	if a := c.Peers[0].Do("POST", "/v1/vms", ask.VM("two", 1, 64), "Idempotency-Key: k"); a.Status != 422 || a.Problem(t).Code != "key-mismatch" {
		t.Errorf("the same key with another body: %d %s", a.Status, a.Body)
	}
	if n := len(c.Peers[2].VMs()); n != 1 {
		t.Errorf("%d VMs, want 1", n)
	}
	for i, p := range c.Peers {
		if a := p.Do("GET", fmt.Sprintf("/v1/vms/%s", first), nil); a.Status != 200 || a.Header.Get("ETag") == "" || a.Header.Get("Orchd-Peer") != c.Peers[i].Name {
			t.Errorf("%s shows it: %d, %v", p.Name, a.Status, a.Header)
		}
	}
}

// TestReplayedWriteKeepsItsVersion: who repeats a write after somebody else has changed the
// same object gets the ETag of what it made, and so overwrites nothing with it.
//
//race:out
func TestReplayedWriteKeepsItsVersion(t *testing.T) {
	c := Start(t, 3, nil)
	node := func(description string) map[string]any {
		return map[string]any{"hostname": "n1", "architecture": "x86_64", "xname": "x1000c0s0b0n0", "description": description}
	}
	made := c.Peers[0].Do("POST", "/inventory/ComputeNode", node("as made"))
	path := "/inventory/ComputeNode/" + ask.Decode[inventory.ComputeNode](t, made).ID
	mine := c.Peers[0].Do("PUT", path, node("mine"), "Idempotency-Key: k", "If-Match: "+made.Header.Get("ETag"))
	theirs := c.Peers[1].Do("PUT", path, node("theirs"))
	if mine.Status != 200 || mine.Header.Get("ETag") != `"2"` || theirs.Status != 200 || theirs.Header.Get("ETag") != `"3"` {
		t.Fatalf("two writes: %d %s, %d %s; want versions 2 and 3", mine.Status, mine.Header.Get("ETag"), theirs.Status, theirs.Header.Get("ETag"))
	}
	again := c.Peers[2].Do("PUT", path, node("mine"), "Idempotency-Key: k", "If-Match: "+made.Header.Get("ETag"))
	if again.Status != 200 || again.Header.Get("Idempotency-Replayed") != "true" || again.Header.Get("ETag") != `"2"` {
		t.Errorf("the first again: %d, replayed %q, ETag %s; want version 2", again.Status, again.Header.Get("Idempotency-Replayed"), again.Header.Get("ETag"))
	}
	if now := ask.Decode[inventory.ComputeNode](t, again); now.Version != 3 || now.Description != "theirs" {
		t.Errorf("it shows version %d, %q; want the node as it is", now.Version, now.Description)
	}
	if lost := c.Peers[0].Do("PUT", path, node("over theirs"), "If-Match: "+again.Header.Get("ETag")); lost.Status != 412 {
		t.Errorf("with that ETag: %d %s, want 412", lost.Status, lost.Body)
	}
}
