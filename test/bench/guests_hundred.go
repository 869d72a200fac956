package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/lab"
)

const (
	hundred = 100
	spacing = 100 * time.Millisecond
	rest    = 20 * time.Second // to see whether they all stay, and what they take
)

// measureHundred prints how long each of many VMs takes from its create until it
// runs, and what virsh create takes for the same domains on the same hosts.
func measureHundred(ctx context.Context, g *ground) error {
	all, err := g.users(ctx, hundred, 0)
	if err != nil {
		return err
	}
	defer closeUsers(all)
	h := &hundredRun{ground: g}
	err = spaced(func(k int) error { return h.create(ctx, all[k], k) })
	if err != nil {
		return err
	}
	if err := h.settled(ctx); err != nil {
		return err
	}
	before := busyTime()
	time.Sleep(rest)
	fmt.Printf("%s after all ran, QEMU processes: %d; of the processors' time meanwhile, %.0f %% was taken\n\n",
		rest, h.guests(), 100*(busyTime()-before)/rest.Seconds()/float64(runtime.NumCPU()))
	if err := h.twins(ctx); err != nil {
		return err
	}
	table([]string{"", "p50 ms", "p95 ms", "max ms"}, [][]string{
		{"create acknowledged", ms(h.acked.at(0.5)), ms(h.acked.at(0.95)), ms(h.acked.max())},
		{"create to running", ms(h.ran.at(0.5)), ms(h.ran.at(0.95)), ms(h.ran.max())},
		{"virsh create of the same domains", ms(h.byVirsh.at(0.5)), ms(h.byVirsh.at(0.95)), ms(h.byVirsh.max())},
	})
	return nil
}

type hundredRun struct {
	*ground
	acked, ran, byVirsh times
}

// spaced does something so many times, each begun at its own time.
func spaced(do func(k int) error) error {
	var working errgroup.Group
	began := time.Now()
	for k := range hundred {
		time.Sleep(time.Until(began.Add(spacing * time.Duration(k))))
		working.Go(func() error { return do(k) })
	}
	return working.Wait()
}

// create makes a VM without disk, image and network: its firmware finds nothing to boot and rests.
func (h *hundredRun) create(ctx context.Context, u *user, k int) error {
	c := api.VMCreate{Name: fmt.Sprintf("small-%d", k), Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 16}}
	sent := time.Now()
	a, err := u.do(ctx, http.MethodPost, "/v1/vms", c, http.StatusCreated, "Idempotency-Key: "+uuid.NewString())
	if err != nil {
		return err
	}
	h.acked.add(time.Since(sent))
	var vm api.VM
	if err := json.Unmarshal(a.Body, &vm); err != nil {
		return err
	}
	if a, err = u.do(ctx, http.MethodGet, "/v1/operations/"+vm.Status.Operation+"?wait=5m", nil, http.StatusOK); err != nil {
		return err
	}
	h.ran.add(time.Since(sent))
	var op api.Operation
	if err := json.Unmarshal(a.Body, &op); err != nil {
		return err
	}
	if op.State != api.OpSucceeded {
		return fmt.Errorf("the create of %s is %s: %s", vm.Name, op.State, op.Error)
	}
	return nil
}

// guests are how many there are in fact.
func (h *hundredRun) guests() (n int) {
	for _, host := range h.Hosts() {
		n += len(host.Guests())
	}
	return n
}

// busyTime is for how many seconds processors have worked since the machine was
// started, as proc(5) has it: in hundredths, behind "cpu" user, nice and system.
func busyTime() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	var user, nice, system float64
	fmt.Sscanf(string(text), "cpu %f %f %f", &user, &nice, &system)
	return (user + nice + system) / 100
}

// twins makes the twin of each VM with virsh, once the VMs are gone.
func (h *hundredRun) twins(ctx context.Context) error {
	made, err := h.replace(ctx)
	if err != nil {
		return err
	}
	time.Sleep(calm)
	return spaced(func(k int) error {
		took, err := made[k].create()
		h.byVirsh.add(took)
		return err
	})
}

// replace writes down the twins and deletes the VMs.
func (h *hundredRun) replace(ctx context.Context) ([]twin, error) {
	c, err := h.admin(h.Host(0))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	hosts := map[string]*lab.Host{}
	for _, host := range h.Hosts() {
		hosts[host.Name] = host
	}
	var made []twin
	var vms []api.VM
	for vm, err := range c.VMs(ctx, api.VMFilter{}) {
		if err != nil {
			return nil, err
		}
		vms = append(vms, vm)
	}
	for k, vm := range vms {
		t, err := newTwin(h.ground, hosts[vm.Status.Owner], vm, k)
		if err != nil {
			return nil, err
		}
		made = append(made, t)
	}
	for _, vm := range vms {
		if _, err := c.DeleteVM(ctx, vm.ID, api.WithWait(time.Minute)); err != nil {
			return nil, err
		}
	}
	return made, nil
}
