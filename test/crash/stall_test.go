package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/lossy"
)

// house is three peers, each on a disk of its own.
type house struct {
	*lab.Lab
	t       *testing.T
	disks   map[*lab.Host]*lossy.Disk
	clients map[*lab.Host]*http.Client
	count   int
	acked   map[string]bool
}

func form(t *testing.T, n int) *house {
	t.Helper()
	h := &house{Lab: lab.Start(t, n, lab.LoopbackAt(8), lab.With(`snapshot.interval = "0"`)), t: t, disks: map[*lab.Host]*lossy.Disk{}, clients: map[*lab.Host]*http.Client{}, acked: map[string]bool{}}
	for _, host := range h.Hosts() {
		d := lossy.NewDisk()
		d.SetCapacity(64 << 30)
		unmount, err := d.Mount(host.DataDir())
		must(t, err)
		t.Cleanup(func() { d.ReleaseAll(); host.Kill(); unmount() })
		h.disks[host] = d
	}
	h.Form()
	token := ask.Decode[api.NewToken](t, ask.Answer{Body: []byte(h.Host(0).CLI("token", "create", "--role", "admin", "--ttl", "24h", "-o", "json"))}).Token
	for _, host := range h.Hosts() {
		c, err := host.HTTP(token)
		must(t, err)
		h.clients[host] = c
	}
	return h
}

// status is what a host's orchd status says.
func (h *house) status(at *lab.Host) (st api.Status) {
	h.t.Helper()
	text, err := at.Output("orchd", "status", "-o", "json")
	if st, broken := st, json.Unmarshal([]byte(text), &st); broken == nil {
		return st // it ends with another code than 0 where something is wrong
	}
	h.t.Fatalf("status on %s: %v: %s", at.Name, err, text)
	return st
}

// leader is the host that leads.
func (h *house) leader() (leader *lab.Host) {
	h.t.Helper()
	lab.Eventually(h.t, time.Minute, func() error {
		for _, at := range h.Hosts() {
			if !at.Running() {
				continue
			}
			if st := h.status(at); st.Leader == at.Name {
				leader = at
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return leader
}

// others are the hosts but one.
func (h *house) others(than *lab.Host) (others []*lab.Host) {
	for _, at := range h.Hosts() {
		if at != than {
			others = append(others, at)
		}
	}
	return others
}

// create asks a host for one more VM, and gives the status; 0: none came.
func (h *house) create(at *lab.Host) (status int, body string) {
	h.count++
	name := fmt.Sprint("vm-", h.count)
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Second)
	defer cancel()
	a, err := ask.Send(ctx, h.clients[at], "POST", at.URL()+"/v1/vms", ask.VM(name, 1, 16))
	if err != nil {
		return 0, err.Error()
	}
	if a.Status == http.StatusCreated {
		h.acked[name] = true
	}
	return a.Status, string(a.Body)
}

// awaitCreate creates until one is acknowledged, and tells how long that took.
func (h *house) awaitCreate(at ...*lab.Host) time.Duration {
	h.t.Helper()
	began := time.Now()
	lab.Eventually(h.t, 2*time.Minute, func() error {
		var last string
		for _, host := range at {
			status, body := h.create(host)
			if status == http.StatusCreated {
				return nil
			}
			last = fmt.Sprint(status, " ", body)
		}
		return fmt.Errorf("no create is acknowledged: %s", last)
	})
	return time.Since(began)
}

// nothingLost compares what was acknowledged with what every host has.
func (h *house) nothingLost() {
	h.t.Helper()
	for _, at := range h.Hosts() {
		lab.Eventually(h.t, time.Minute, func() error {
			a, err := ask.Send(h.t.Context(), h.clients[at], "GET", at.URL()+"/v1/vms?limit=10000", nil)
			if err != nil || a.Status != 200 {
				return fmt.Errorf("list on %s: %d, %v", at.Name, a.Status, err)
			}
			has := map[string]bool{}
			for _, vm := range ask.Decode[api.Page[api.VM]](h.t, a).Items {
				has[vm.Name] = true
			}
			for name := range h.acked {
				if !has[name] {
					return lab.Hopeless("%s was acknowledged and is not on %s", name, at.Name)
				}
			}
			return nil
		})
	}
}

// warned waits until a host's status has a warning of that code about that peer, or has none.
func (h *house) warned(at *lab.Host, code, about string, want bool) {
	h.t.Helper()
	lab.Eventually(h.t, time.Minute, func() error {
		st := h.status(at)
		for _, w := range st.Warnings {
			if w.Code == code && w.Peer == about {
				if want {
					return nil
				}
				return fmt.Errorf("status on %s still warns: %s", at.Name, w.Detail)
			}
		}
		if want {
			return fmt.Errorf("status on %s does not warn of %s on %s: %v", at.Name, code, about, st.Warnings)
		}
		return nil
	})
}

// says waits until a host's orchd has written something into its log.
func says(t *testing.T, at *lab.Host, text string) {
	t.Helper()
	lab.Eventually(t, time.Minute, func() error {
		log, err := os.ReadFile(at.Log())
		if err == nil && !strings.Contains(string(log), text) {
			err = fmt.Errorf("the log of %s does not say %q", at.Name, text)
		}
		return err
	})
}

// ends waits until a host's orchd has ended by itself.
func ends(t *testing.T, at *lab.Host) {
	t.Helper()
	lab.Eventually(t, 90*time.Second, func() error {
		if at.Running() {
			return fmt.Errorf("orchd on %s still runs", at.Name)
		}
		return nil
	})
}

// TestDiskHangs: the leader's disk does not answer any more. The others go on without it, it
// says so, comes back when the disk does, and ends when that lasts.
func TestDiskHangs(t *testing.T) {
	h := form(t, 3)
	h.awaitCreate(h.Host(0))
	leader := h.leader()
	others := h.others(leader)
	hang := h.disks[leader].Inject(lossy.Fault{On: lossy.Fsync, Hang: true})
	took := h.awaitCreate(others...)
	t.Logf("leader's disk hung to next acknowledged write: %v", took.Round(time.Millisecond))
	if took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	h.warned(leader, "disk-stalled", leader.Name, true)
	h.warned(others[0], "disk-stalled", leader.Name, true)
	h.disks[leader].Release(hang)
	h.warned(leader, "disk-stalled", leader.Name, false)
	leader.AwaitReady()
	h.awaitCreate(leader)
	h.nothingLost()

	second := h.leader()
	hang = h.disks[second].Inject(lossy.Fault{On: lossy.Fsync, Hang: true})
	began := time.Now()
	ends(t, second)
	t.Logf("a peer whose disk hung ended after %v", time.Since(began).Round(time.Second))
	says(t, second, "has been hanging for")
	h.awaitCreate(h.others(second)...)
	h.disks[second].Release(hang)
	second.Start()
	second.AwaitReady()
	h.nothingLost()
}

// TestDiskFails: one failed sync ends the process with a sentence; it is not tried again.
func TestDiskFails(t *testing.T) {
	h := form(t, 3)
	for _, path := range []string{"raft/ahead.", "raft/raft.db"} {
		leader := h.leader()
		fault := h.disks[leader].Inject(lossy.Fault{On: lossy.Fsync, Path: path, Times: 1, Err: syscall.EIO})
		lab.Eventually(t, 2*time.Minute, func() error {
			if !leader.Running() {
				return nil
			}
			h.create(leader)
			return fmt.Errorf("orchd on %s still runs; %d syncs have failed", leader.Name, h.disks[leader].Struck(fault))
		})
		says(t, leader, "A write that failed once cannot be trusted")
		h.awaitCreate(h.others(leader)...)
		if n := h.disks[leader].Struck(fault); n != 1 {
			t.Errorf("%d syncs of %s have failed", n, path)
		}
		h.disks[leader].Release(fault)
		leader.Start()
		leader.AwaitReady()
	}
	h.nothingLost()
}

// leads waits until that host leads.
func (h *house) leads(want *lab.Host) {
	h.t.Helper()
	lab.Eventually(h.t, time.Minute, func() error {
		if st := h.status(want); st.Leader != want.Name {
			return fmt.Errorf("%s is to lead, and %q does", want.Name, st.Leader)
		}
		return nil
	})
}

// ballast waits until a host has its ballast file, or has not.
func (h *house) ballast(at *lab.Host, want bool) {
	h.t.Helper()
	lab.Eventually(h.t, time.Minute, func() error {
		_, err := os.Stat(filepath.Join(at.DataDir(), "ballast"))
		if (err == nil) != want {
			return fmt.Errorf("the ballast file of %s: %v; it is to be there: %v", at.Name, err, want)
		}
		return nil
	})
}

// TestLeaderWithoutRoom: a leader whose disk is nearly full hands leadership over before it
// can write nothing, the others go on with creates, and it does not lead again while one of
// them can. What it has to write gets the room of its ballast file, which is made again later.
func TestLeaderWithoutRoom(t *testing.T) {
	h := form(t, 3)
	h.awaitCreate(h.Host(1))
	full := h.leader()
	others := h.others(full)
	h.ballast(full, true)
	h.disks[full].SetCapacity(h.disks[full].Used() + 4096)
	h.warned(others[0], "disk-cramped", full.Name, true)
	lab.Eventually(t, time.Minute, func() error {
		if st := h.status(others[0]); st.Leader == "" || st.Leader == full.Name {
			return fmt.Errorf("%q leads", st.Leader)
		}
		return nil
	})
	if took := h.awaitCreate(others...); took > 10*time.Second {
		t.Errorf("the next create took %v", took)
	}
	for range 20 { // until its disk has no room at all
		h.awaitCreate(others[0])
	}
	// Of the other two one is left to lead, although both that run could be elected.
	next := h.leader()
	if next == full {
		t.Fatalf("%s leads with a full disk", full.Name)
	}
	next.Kill()
	for _, at := range others {
		if at != next {
			h.leads(at)
		}
	}
	next.Start()
	next.AwaitReady()
	h.disks[full].SetCapacity(64 << 30)
	h.warned(others[0], "disk-cramped", full.Name, false)
	h.ballast(full, true)
	if !full.Running() {
		t.Errorf("orchd on %s has ended", full.Name)
	}
	h.nothingLost()
}

// TestDiskFullUnderATerm: where the disk has no room for raft's term either, nor the ballast
// file helps, the peer ends with a sentence after a while; raft would panic.
func TestDiskFullUnderATerm(t *testing.T) {
	h := form(t, 3)
	h.awaitCreate(h.Host(0))
	leader := h.leader()
	full := h.others(leader)[0]
	h.ballast(full, true)
	fault := h.disks[full].Inject(lossy.Fault{On: lossy.Write, Path: "raft/raft.db", Err: syscall.ENOSPC})
	lab.Eventually(t, 2*time.Minute, func() error {
		if !full.Running() {
			return nil
		}
		_, err := leader.Output("orchd", "raft", "transfer-leader") // each is a term
		return fmt.Errorf("orchd on %s still runs: %d writes have failed, %v", full.Name, h.disks[full].Struck(fault), err)
	})
	says(t, full, "the ballast file is removed")
	says(t, full, "make room under its data folder, then start it again")
	if log, err := os.ReadFile(full.Log()); err != nil || strings.Contains(string(log), "panic:") || strings.Contains(string(log), "goroutine ") {
		t.Errorf("its log shows a panic: %v", err)
	}
	h.awaitCreate(h.others(full)...)
	h.disks[full].Release(fault)
	full.Start()
	full.AwaitReady()
	h.nothingLost()
}

// TestDiskFull: creates are refused with 507 before nothing goes any more, deletes go on,
// and with room again so does everything.
func TestDiskFull(t *testing.T) {
	h := form(t, 3)
	for range 5 {
		h.awaitCreate(h.Host(1))
	}
	full := []*lab.Host{h.leader(), h.others(h.leader())[0]}
	for _, at := range full {
		h.disks[at].SetCapacity(h.disks[at].Used() + 4096) // less than a snapshot, or a file of changes, or a page more of bolt's takes
	}
	other := h.others(full[0])[1]
	h.leads(other)
	for _, at := range []*lab.Host{full[0], other} {
		h.warned(at, "disk-full", full[1].Name, true)
	}
	lab.Eventually(t, time.Minute, func() error {
		if status, body := h.create(other); status != http.StatusInsufficientStorage {
			return fmt.Errorf("a create on a full disk gave %d: %s", status, body)
		}
		return nil
	})
	gone := 0
	for name := range h.acked {
		if gone == 3 {
			break
		}
		lab.Eventually(t, time.Minute, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			a, err := ask.Send(ctx, h.clients[other], "DELETE", other.URL()+"/v1/vms/"+name, nil)
			if err != nil || a.Status/100 != 2 && a.Status != http.StatusNotFound {
				return fmt.Errorf("a delete on a full disk gave %d, %v: %s", a.Status, err, a.Body)
			}
			return nil
		})
		delete(h.acked, name)
		gone++
	}
	for _, at := range full {
		h.disks[at].SetCapacity(64 << 30)
	}
	h.awaitCreate(other)
	for _, at := range full {
		h.warned(other, "disk-full", at.Name, false)
		h.ballast(at, true)
	}
	h.nothingLost()
}
