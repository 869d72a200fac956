package chaos

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/history"
)

// vmName is the n-th name that VMs of a run have.
func vmName(n int) string { return fmt.Sprintf("vm-%d", n) }

// workOnVMs is W2: clients make and delete VMs of a few names, race each other for
// them, and send again what was not answered.
func (w *worker) workOnVMs(ctx context.Context, names *slots) {
	for ctx.Err() == nil {
		name := names.take(w.rng, 2)
		switch k := w.rng.IntN(100); {
		case k < 35:
			w.createVM(name)
		case k < 45, k < 65 && w.image == "": // a guest must have time to boot
			w.deleteVM(name)
		case k < 85:
			w.showVM(name)
		default:
			w.listVMs(name)
		}
		w.pause(ctx, 150*time.Millisecond)
	}
}

func (w *worker) createVM(name string) {
	o := w.begin(history.Machine, name, history.Create)
	ask := ask.VM(name, 1, 16)
	if w.image != "" {
		ask.Spec.Image, ask.Spec.MemoryMiB = w.image, 128
	}
	ask.Spec.UserData = "#cloud-config\npassword: " + canaryUserData + "\n"
	keyed := w.rng.IntN(4) > 0
	a := w.perform(&o, request{method: "POST", path: "/v1/vms", body: ask, keyed: keyed},
		w.written(map[int]history.Reason{http.StatusConflict: history.Taken}))
	if o.Outcome == history.OK {
		vm, _ := decode[api.VM](w.house, a)
		o.Saw = history.Value{Exists: true, ID: vm.ID}
	}
	w.recorder.Add(o)
	if keyed && o.Outcome == history.OK && w.rng.IntN(8) == 0 {
		w.reuseKey(o.ID, name)
	}
}

// reuseKey sends another request with a key that made a VM: it must be refused.
func (w *worker) reuseKey(key, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), tryTime)
	defer cancel()
	r := request{method: "POST", path: "/v1/vms", body: ask.VM(name+"-other", 1, 16)}
	a, err := w.once(ctx, w.anyone(), r, []string{"Idempotency-Key: " + key, "Content-Type: application/json"})
	if err == nil && a.Status != http.StatusUnprocessableEntity && a.Status != http.StatusServiceUnavailable {
		w.wonder("a key that was used for another request is answered %d %.300s", a.Status, a.Body)
	}
}

func (w *worker) deleteVM(name string) {
	o := w.begin(history.Machine, name, history.Delete)
	a := w.perform(&o, request{method: "DELETE", path: "/v1/vms/" + name + "?wait=2s", keyed: w.rng.IntN(2) == 0},
		w.written(map[int]history.Reason{http.StatusNotFound: history.Absent}))
	w.recorder.Add(o)
	if o.Outcome == history.OK && a.Status == http.StatusOK && a.Header.Get("Idempotency-Replayed") == "" { // torn down, it says
		gone := o
		gone.ID, gone.Verb, gone.Index = o.ID+".gone", history.Gone, 0
		w.recorder.Add(gone)
	}
}

func (w *worker) showVM(name string) {
	o := w.begin(history.Machine, name, history.Read)
	a := w.perform(&o, request{method: "GET", path: "/v1/vms/" + name}, w.seen)
	if o.Outcome == history.OK && a.Status == http.StatusOK {
		vm, _ := decode[api.VM](w.house, a)
		o.Saw = history.Value{Exists: true, ID: vm.ID}
		w.double(vm)
	}
	w.recorder.Add(o)
}

// listVMs looks for a name in the list of all VMs.
func (w *worker) listVMs(name string) {
	o := w.begin(history.Machine, name, history.Read)
	a := w.perform(&o, request{method: "GET", path: "/v1/vms?limit=10000"}, w.seen)
	if o.Outcome == history.OK {
		page, _ := decode[api.Page[api.VM]](w.house, a)
		seen := map[string]bool{}
		for _, vm := range page.Items {
			if seen[vm.Name] {
				w.wonder("two VMs of the name %s are listed", vm.Name)
			}
			seen[vm.Name] = true
			w.double(vm)
			if vm.Name == name {
				o.Saw = history.Value{Exists: true, ID: vm.ID}
			}
		}
	}
	w.recorder.Add(o)
}

// double looks for a VM that runs on two hosts.
func (w *worker) double(vm api.VM) {
	if len(vm.Status.Doubles) > 0 {
		w.wonder("VM %s of %s was seen on %v too", vm.ID, vm.Status.Owner, vm.Status.Doubles)
	}
}
