package story

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/ledger"
)

// TestLeaderKilledHalfWay: 200 clients create with their keys, through all three
// peers, more than fit, and the leader is killed: no VM twice, no acknowledged VM
// lost, none stored that was refused, no host promised too much at any index.
func TestLeaderKilledHalfWay(t *testing.T) {
	const creates, perHost = 200, 40
	h := form(t, 3, lab.Sim, lab.With(fmt.Sprintf("vmm.capacity.vcpus = %d", perHost)))
	h.allVoters()
	leader := h.leader(h.Hosts()...)
	for _, host := range h.Hosts() {
		h.client(host)
	}
	ids := make([]string, creates)
	var some, all sync.WaitGroup
	some.Add(creates / 8)
	for i := range creates {
		all.Go(func() {
			ids[i] = h.createThrough(i)
			if i < creates/8 {
				some.Done()
			}
		})
	}
	some.Wait()
	leader.Kill()
	all.Wait()
	made := map[string]string{}
	for i, id := range ids {
		if id != "" {
			made[fmt.Sprintf("vm-%d", i)] = id
		}
	}
	if len(made) < 2*perHost || len(made) > 3*perHost {
		t.Errorf("%d were acknowledged; %d to %d fit", len(made), 2*perHost, 3*perHost)
	}
	rest := h.but(leader)
	for _, host := range rest {
		vms := h.vms(host, "")
		if len(vms) != len(made) {
			t.Errorf("%s lists %d VMs, want the %d acknowledged", host.Name, len(vms), len(made))
		}
		for name, id := range made {
			if got := vms[name].ID; got != id {
				t.Errorf("%s: %s is %q, and %q was acknowledged", host.Name, name, got, id)
			}
		}
	}
	rest[0].Stop()
	if entries := ledger.Holds(t, rest[0].DataDir(), perHost); entries < len(made) {
		t.Errorf("only %d entries were looked at", entries)
	}
}

// createThrough asks one peer after the other, with one key, until one
// acknowledges; no id when there is no room.
func (h *house) createThrough(i int) (id string) {
	for try := i; h.t.Context().Err() == nil; try++ {
		ctx, cancel := context.WithTimeout(h.t.Context(), 15*time.Second)
		a, err := h.try(ctx, h.Host(try%3), "POST", "/v1/vms", ask.VM(fmt.Sprintf("vm-%d", i), 1, 64), fmt.Sprintf("Idempotency-Key: create-%d", i))
		cancel()
		switch {
		case err != nil:
		case a.Status == http.StatusCreated:
			return ask.Decode[api.VM](h.t, a).ID
		case a.Status == http.StatusInsufficientStorage:
			return ""
		case a.Status < 500:
			h.t.Errorf("create %d: %d %s", i, a.Status, a.Body)
			return ""
		}
	}
	return ""
}

// TestPartitionedLeader: a leader that is cut off, with a client on its side.
func TestPartitionedLeader(t *testing.T) {
	h := form(t, 3, lab.Sim)
	h.allVoters()
	h.create(h.Host(0), "before")
	old := h.leader(h.Hosts()...)
	rest := h.but(old)
	h.vms(old, "") // its client's connection is open before the cut
	h.Isolate(old)

	acknowledged := make(chan bool, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		a, err := h.try(ctx, old, "POST", "/v1/vms", ask.VM("on-the-wrong-side", 1, 64))
		acknowledged <- err == nil && a.Status/100 == 2
	}()
	began := time.Now()
	a := h.do(old, http.StatusServiceUnavailable, "GET", "/v1/vms", nil)
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("a linearizable read took %s to fail, at most 5 s and a little are allowed", took)
	}
	if p := a.Problem(t); p.Code != "unavailable" {
		t.Errorf("it failed with code %q", p.Code)
	}
	local := h.do(old, http.StatusOK, "GET", "/v1/vms?consistency=local", nil)
	if age := local.Header.Get("Orchd-Age-Ms"); age == "" || age == "0" {
		t.Errorf("a local read says that it is %q ms old", age)
	}
	if n := len(ask.Decode[api.Page[api.VM]](t, local).Items); n != 1 {
		t.Errorf("a local read lists %d VMs, want 1", n)
	}
	h.leader(rest...)
	h.create(rest[0], "on-the-right-side")
	if <-acknowledged {
		t.Error("the cut-off leader acknowledged a create")
	}
	h.Heal()
	lab.Eventually(t, patience, func() error {
		for _, host := range h.Hosts() {
			vms := h.vms(host, "")
			if vms["on-the-right-side"].ID == "" || vms["before"].ID == "" {
				return fmt.Errorf("%s lacks an acknowledged VM: it has %d", host.Name, len(vms))
			}
		}
		return nil
	})
}

// TestNoStaleReadAfterAPause: the leader is stopped and cut off, the others
// acknowledge a newer write, it is resumed and asked at once: 24 times.
func TestNoStaleReadAfterAPause(t *testing.T) {
	const trials = 24
	t.Parallel() // it mostly waits
	h := form(t, 3, lab.Sim)
	h.allVoters()
	refused := 0
	for trial := range trials {
		old := h.leader(h.Hosts()...)
		rest := h.but(old)
		h.vms(old, "")
		old.Pause()
		h.Isolate(old)
		name := fmt.Sprintf("newer-%d", trial)
		lab.Eventually(t, patience, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			a, err := h.try(ctx, rest[trial%2], "POST", "/v1/vms", ask.VM(name, 1, 16), "Idempotency-Key: "+name)
			if err == nil && a.Status != http.StatusCreated {
				err = fmt.Errorf("create: %d %s", a.Status, a.Body)
			}
			return err
		})
		old.Resume()
		answers := h.askAtOnce(old, name)
		for _, a := range answers {
			if a.Status == http.StatusNotFound || a.Status == http.StatusOK && ask.Decode[api.VM](t, a).Name != name {
				t.Errorf("trial %d: the old leader answered %d from an old state", trial, a.Status)
			}
		}
		if !slices.ContainsFunc(answers, func(a ask.Answer) bool { return a.Status == http.StatusOK }) {
			refused++
		}
		h.Heal()
	}
	if refused < trials/2 {
		t.Fatalf("only %d of %d trials found the old leader cut off: the story was not told", refused, trials)
	}
}

// askAtOnce sends eight reads of a VM together. What is not answered soon is not
// waited for: an answer from an old state comes at once or never.
func (h *house) askAtOnce(at *lab.Host, name string) []ask.Answer {
	answers := make([]ask.Answer, 8)
	var reads sync.WaitGroup
	for i := range answers {
		reads.Go(func() {
			ctx, cancel := context.WithTimeout(h.t.Context(), 1500*time.Millisecond)
			defer cancel()
			answers[i], _ = h.try(ctx, at, "GET", "/v1/vms/"+name, nil)
		})
	}
	reads.Wait()
	return answers
}

// TestAllKilledAfterAnAcknowledgement: SIGKILL of all three right after a 201.
func TestAllKilledAfterAnAcknowledgement(t *testing.T) {
	h := form(t, 3, lab.Sim)
	h.allVoters()
	for round := range 3 {
		name := fmt.Sprintf("kept-%d", round)
		made := h.create(h.Host(round), name)
		for _, host := range h.Hosts() {
			host.Kill()
		}
		clear(h.clients)
		for _, host := range h.Hosts() {
			host.Start()
		}
		for _, host := range h.Hosts() {
			host.AwaitReady()
			if got := h.vms(host, "")[name]; got.ID != made.ID {
				t.Errorf("round %d: %s has %q, and %q was acknowledged", round, host.Name, got.ID, made.ID)
			}
		}
	}
}

// TestFsyncBeforeEachAcknowledgement: strace sees an fdatasync on a majority
// between the sending of each of ten serial creates and its answer.
func TestFsyncBeforeEachAcknowledgement(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is missing; install it with: sudo make deps")
	}
	// From its birth on: strace misses threads that begin while it attaches.
	h := form(t, 3, lab.Sim, lab.Under("strace", "-f", "--seccomp-bpf", "-q", "-ttt", "-T", "-e", "trace=fdatasync,fsync", "-e", "signal=none", "-o", "syncs"))
	h.allVoters()
	h.create(h.Host(0), "first")
	h.becomes(h.Host(0), "first", api.VMRunning, patience)
	for i := range 10 {
		sent := time.Now()
		h.create(h.Host(i%3), fmt.Sprintf("vm-%d", i))
		answered := time.Now()
		lab.Eventually(t, patience, func() error {
			var on []string
			for _, host := range h.Hosts() {
				if syncedBetween(t, host, sent, answered) {
					on = append(on, host.Name)
				}
			}
			if len(on) < 2 {
				return fmt.Errorf("create %d was acknowledged with an fdatasync on %v only", i, on)
			}
			return nil
		})
	}
}

// syncedBetween tells whether a host's sync began and ended between the two.
func syncedBetween(t *testing.T, host *lab.Host, from, to time.Time) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(host.Dir(), "syncs"))
	if err != nil {
		t.Fatal(err)
	}
	began := map[int]float64{} // by thread: when its unfinished call began
	for line := range strings.Lines(string(text)) {
		var thread int
		var at float64
		if _, err := fmt.Sscanf(line, "%d %f", &thread, &at); err != nil {
			continue
		}
		if strings.Contains(line, "unfinished") {
			began[thread] = at
			continue
		}
		if !strings.Contains(line, "= 0") {
			continue
		}
		start, end := at, at
		if strings.Contains(line, "resumed") {
			start = began[thread]
		} else if i := strings.LastIndex(line, "<"); i >= 0 {
			var took float64
			fmt.Sscanf(line[i:], "<%f>", &took)
			end += took
		}
		if start >= unix(from) && end <= unix(to) {
			return true
		}
	}
	return false
}

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
