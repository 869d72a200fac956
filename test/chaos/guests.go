package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// guestFaults are those of a run with real libvirt and QEMU: F15, and of the others
// those that an owner must come through.
var guestFaults = []fault{
	{"F1 kill the leader", killLeader},
	{"F1 kill all", killAll},
	{"F2 pause a follower", pauseFollower},
	{"F3 isolate a follower", isolateFollower},
	{"F15 kill libvirt", killLibvirt},
	{"F15 libvirt hangs", libvirtHangs},
	{"F15 kill guests", killGuests},
	{"F15 reboot", reboot},
}

// killLibvirt is F15: a host's libvirtd ends, and starts again.
func killLibvirt(r *run, rng *rand.Rand) (string, error) {
	h := r.Hosts()[rng.IntN(len(r.Hosts()))]
	h.KillLibvirt()
	time.Sleep(between(rng, 0, 4*time.Second))
	_, err := h.Output("virsh", "-q", "-c", "qemu:///system", "list")
	h.StartLibvirt()
	if err == nil {
		return "", nil
	}
	return "libvirt of " + h.Name + " was gone", nil
}

// libvirtHangs is F15: a host's libvirtd answers nothing for a while.
func libvirtHangs(r *run, rng *rand.Rand) (string, error) {
	h := r.Hosts()[rng.IntN(len(r.Hosts()))]
	h.Run("sh", "-c", "kill -STOP $(cat /run/libvirtd.pid)")
	d := between(rng, time.Second, 8*time.Second)
	time.Sleep(d)
	h.Run("sh", "-c", "kill -CONT $(cat /run/libvirtd.pid)")
	return fmt.Sprintf("libvirt of %s was stopped for %v", h.Name, d.Round(time.Millisecond)), nil
}

// killGuests is F15: QEMU processes are killed. What is wanted must run again.
func killGuests(r *run, rng *rand.Rand) (string, error) {
	n := 0
	for _, h := range r.Hosts() {
		for _, pid := range h.Guests() {
			if rng.IntN(2) == 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
				n++
			}
		}
	}
	if n == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d guests ended", n), nil
}

// reboot takes a host's power away: orchd, libvirt and guests are gone at once.
func reboot(r *run, rng *rand.Rand) (string, error) {
	h := r.Hosts()[rng.IntN(len(r.Hosts()))]
	n := len(h.Guests())
	h.Reboot()
	return fmt.Sprintf("%s was off, with %d guests", h.Name, n), nil
}

// watch looks again and again which VMs run where, as the kernel knows it: no VM may
// ever run on two hosts.
type watch struct {
	looks, most int
	doubles     []string
	done        sync.WaitGroup
}

// judge tells what was seen; one that saw no guest has seen nothing.
func (w *watch) judge() error {
	if w.most == 0 {
		return errors.New("no guest was ever seen to run")
	}
	if len(w.doubles) > 0 {
		return errors.New(strings.Join(w.doubles, "; "))
	}
	return nil
}

// uuidOf finds a guest's id on QEMU's command line.
var uuidOf = regexp.MustCompile(`\x00-uuid\x00([0-9a-f-]{36})\x00`)

func (w *watch) run(ctx context.Context, r *run) {
	for ctx.Err() == nil {
		now := map[string][]string{}
		for _, h := range r.Hosts() {
			for _, id := range running(h) {
				now[id] = append(now[id], h.Name)
			}
		}
		w.looks++
		w.most = max(w.most, len(now))
		for id, on := range now {
			if len(on) > 1 && len(w.doubles) < 10 {
				w.doubles = append(w.doubles, fmt.Sprintf("VM %s ran on %v at %v", id, on, r.recorder.Now()))
			}
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// running are the ids of the VMs whose QEMU runs on a host.
func running(h *lab.Host) (ids []string) {
	for _, pid := range h.Guests() {
		if line, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "cmdline")); err == nil {
			if found := uuidOf.FindSubmatch(line); found != nil {
				ids = append(ids, string(found[1]))
			}
		}
	}
	return ids
}

// guestsLimit is from the end of all faults to when every VM is as it is wanted.
const guestsLimit = 90 * time.Second

// settledGuests waits until exactly those VMs run that are wanted, each on its owner,
// and nothing is left of the others.
func (r *run) settledGuests() (err error) {
	for deadline := time.Now().Add(guestsLimit); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = r.unsettled(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%v after everything was healed: %w", guestsLimit, err)
}

// unsettled tells in what hosts and records differ.
func (r *run) unsettled() error {
	a, err := r.within(5*time.Second, r.Host(0), "GET", "/v1/vms?limit=1000", nil)
	if err != nil || a.Status != http.StatusOK {
		return fmt.Errorf("no list of VMs: %w %d", err, a.Status)
	}
	want := map[string][]string{}
	var errs []error
	for _, vm := range ask.Decode[api.Page[api.VM]](r.t, a).Items {
		want[vm.Status.Owner] = append(want[vm.Status.Owner], vm.ID)
		if vm.Status.State != api.VMRunning {
			errs = append(errs, fmt.Errorf("%s is %s on %s: %s", vm.Name, vm.Status.State, vm.Status.Owner, vm.Status.Reason))
		}
	}
	for _, h := range r.Hosts() {
		domains, err := h.Output("virsh", "-q", "-c", "qemu:///system", "list", "--all", "--uuid")
		errs = append(errs, err)
		for what, have := range map[string][]string{"domains": strings.Fields(domains), "guests that run": running(h)} {
			slices.Sort(have)
			slices.Sort(want[h.Name])
			if !slices.Equal(have, want[h.Name]) {
				errs = append(errs, fmt.Errorf("%s of %s are %v, it owns %v", what, h.Name, have, want[h.Name]))
			}
		}
	}
	return errors.Join(errs...)
}
