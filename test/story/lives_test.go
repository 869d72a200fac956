package story

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/lab"
)

// fewLives is how many creates and deletes CI sees; ORCHD_SOAK says otherwise.
const fewLives = 60

// TestManyLives creates and deletes at random while libvirtd, QEMU and orchd are
// killed and disks run full. At the end domains, files, addresses and records agree
// exactly, on every peer, and so do the guests themselves.
func TestManyLives(t *testing.T) {
	t.Parallel() // it mostly waits
	n, seed := fewLives, uint64(time.Now().UnixNano())
	if text := os.Getenv("ORCHD_SOAK"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("ORCHD_SOAK=%q is no number", text)
		}
	}
	if text := os.Getenv("ORCHD_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("ORCHD_SEED=%q is no number", text)
		}
	}
	t.Logf("ORCHD_SEED=%d tells the same story again", seed)
	m := &lives{house: homes(t, 3, lab.SmallDisks(32)), random: rand.New(rand.NewPCG(seed, 0)), alive: map[string]api.VM{}}
	for i := range n {
		m.mend(i)
		m.trouble(i)
		if len(m.alive) == 0 || len(m.alive) < 4 && m.random.IntN(2) == 0 {
			m.create(i)
		} else {
			m.end()
		}
	}
	m.mendNow()
	lab.Eventually(t, 3*time.Minute, m.agree)
	m.ask()
	for len(m.alive) > 0 {
		m.end()
	}
	lab.Eventually(t, 3*time.Minute, m.agree)
	if left := m.vms(m.Host(0), ""); len(left) > 0 {
		t.Errorf("VMs left: %v", slices.Collect(maps.Keys(left)))
	}
	t.Logf("told: %s", m.told)
}

// lives is the story so far.
type lives struct {
	*house
	random *rand.Rand
	alive  map[string]api.VM // by name: acknowledged, and not asked to go
	undo   func()            // ends the trouble of the moment; nil: none
	until  int               // when it ends
	told   []string
}

// anyPeer is a client that goes to the peers in a random order, and to the next one
// when one does not answer.
func (m *lives) anyPeer() *api.Client {
	m.t.Helper()
	var addrs []string
	for _, i := range m.random.Perm(len(m.Hosts())) {
		addrs = append(addrs, "unix://"+filepath.Join(m.Host(i).DataDir(), "orchd.sock"))
	}
	c, err := api.NewClient(api.ClientConfig{Addrs: addrs, Timeout: time.Minute})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(c.Close)
	return c
}

func (m *lives) create(i int) {
	m.t.Helper()
	want := small(fmt.Sprintf("vm-%d", i), 16)
	want.Spec.Image = "" // most have a firmware that finds nothing to boot
	switch m.random.IntN(4) {
	case 0:
		want.Spec.DiskGiB, want.Spec.Network = 0, ""
	case 1:
		want.Spec.DiskGiB = 0
	case 2:
		want.Spec.Image, want.Spec.MemoryMiB = "tiny", 96
	}
	vm, err := m.anyPeer().CreateVM(m.t.Context(), want)
	if err != nil {
		m.t.Fatalf("create %s: %v", want.Name, err)
	}
	m.alive[vm.Name] = vm
	m.perhapsWait(vm.Status.Operation)
}

// end deletes one of those that are alive.
func (m *lives) end() {
	m.t.Helper()
	names := slices.Sorted(maps.Keys(m.alive))
	name := names[m.random.IntN(len(names))]
	op, err := m.anyPeer().DeleteVM(m.t.Context(), name)
	if err != nil {
		m.t.Fatalf("delete %s: %v", name, err)
	}
	delete(m.alive, name)
	m.perhapsWait(op.ID)
}

// perhapsWait waits a little for the end of an operation, whatever that is, or not at
// all: so that trouble comes at every moment.
func (m *lives) perhapsWait(operation string) {
	m.t.Helper()
	if m.random.IntN(3) == 0 {
		return
	}
	if _, err := m.anyPeer().Operation(m.t.Context(), operation, api.WithWait(4*time.Second)); err != nil && !api.IsKind(err, api.Unavailable) {
		m.t.Errorf("operation %s: %v", operation, err)
	}
}

// trouble begins one, if there is none, every few steps.
func (m *lives) trouble(i int) {
	if m.undo != nil || m.random.IntN(3) > 0 {
		return
	}
	host := m.Host(m.random.IntN(len(m.Hosts())))
	m.until = i + 1 + m.random.IntN(3)
	what := m.random.IntN(4)
	m.told = append(m.told, fmt.Sprintf("%d: %s %s", i, []string{"libvirtd", "QEMU", "orchd", "disk"}[what], host.Name))
	switch what {
	case 0:
		host.KillLibvirt()
		m.undo = host.StartLibvirt
	case 1:
		for _, pid := range host.Guests() {
			syscall.Kill(pid, syscall.SIGKILL) // gone in the meantime: as well
		}
	case 2:
		host.Kill()
		m.undo = func() {
			host.Start()
			host.AwaitReady()
		}
	case 3:
		host.FillDisks()
		m.undo = host.FreeDisks
	}
}

func (m *lives) mend(i int) {
	if m.undo != nil && i >= m.until {
		m.mendNow()
	}
}

func (m *lives) mendNow() {
	if m.undo != nil {
		m.undo()
	}
	m.undo = nil
	clear(m.clients) // some of their connections may be to a peer that was killed
}

// agree says where records, domains, files, addresses and peers still differ.
func (m *lives) agree() error {
	vms := m.vms(m.Host(0), "")
	if err := m.sameEverywhere(vms); err != nil {
		return err
	}
	for name := range m.alive {
		if _, there := vms[name]; !there {
			return lab.Hopeless("%s was acknowledged and is not there", name)
		}
	}
	for name, vm := range vms {
		if _, wanted := m.alive[name]; !wanted || vm.Status.State != api.VMRunning && vm.Status.State != api.VMFailed || len(vm.Status.Doubles) > 0 {
			return fmt.Errorf("%s is %s on %s (%s), doubles %v", name, vm.Status.State, vm.Status.Owner, vm.Status.Reason, vm.Status.Doubles)
		}
	}
	for _, host := range m.Hosts() {
		if err := m.hostAgrees(host, vms); err != nil {
			return fmt.Errorf("%s: %w", host.Name, err)
		}
	}
	return m.noFindings()
}

// sameEverywhere compares VMs and leases on all peers, and each lease with its VM.
func (m *lives) sameEverywhere(vms map[string]api.VM) error {
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	held := map[string]string{} // address: VM
	for _, vm := range vms {
		for _, a := range vm.Status.Addresses {
			if other := held[a.IP]; other != "" {
				return lab.Hopeless("%s is held by %s and by %s", a.IP, other, vm.ID)
			}
			held[a.IP] = vm.ID
		}
	}
	for _, host := range m.Hosts() {
		if here := m.vms(host, ""); text(here) != text(vms) {
			return fmt.Errorf("%s lists other VMs than %s:\n%s\n%s", host.Name, m.Host(0).Name, text(here), text(vms))
		}
		leased := map[string]string{}
		for lease, err := range m.api(host).Leases(m.t.Context()) {
			if err != nil {
				return err
			}
			leased[lease.IP] = lease.VM
		}
		if !maps.Equal(leased, held) {
			return fmt.Errorf("%s has the leases %v, the VMs hold %v", host.Name, leased, held)
		}
	}
	return nil
}

// hostAgrees compares what a host has with what it should have. A VM that could not
// be made has nothing on it.
func (m *lives) hostAgrees(host *lab.Host, vms map[string]api.VM) error {
	var ids, disks, seeds []string
	running := 0
	for _, vm := range vms {
		if vm.Status.Owner != host.Name || vm.Status.State == api.VMFailed {
			continue
		}
		running++
		ids = append(ids, vm.ID)
		if vm.Spec.DiskGiB > 0 {
			disks = append(disks, fmt.Sprintf("%s.epoch-%d", vm.ID, vm.Status.Epoch))
		}
		if vm.Spec.Network != "" {
			seeds = append(seeds, vm.ID+".seed.iso")
		}
	}
	if has := domains(host); !same(has, ids) {
		return fmt.Errorf("the domains are %v, want %v", has, ids)
	}
	if n := len(host.Guests()); n != running {
		return fmt.Errorf("%d guests run, want %d", n, running)
	}
	var files []string
	for _, f := range strings.Fields(host.Run("find", host.DataDir()+"/disks", "-type", "f", "-printf", "%f\n")) {
		if id, rest, _ := strings.Cut(f, "."); !strings.HasPrefix(rest, "console.log") || !slices.Contains(ids, id) {
			files = append(files, f)
		}
	}
	if want := append(disks, seeds...); !same(files, want) {
		return fmt.Errorf("the files are %v, want %v", files, want)
	}
	return nil
}

// same tells whether two lists have the same members.
func same(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// noFindings asks orchd itself. What a host can never do is no disagreement.
func (m *lives) noFindings() error {
	for f, err := range m.api(m.Host(1)).Findings(m.t.Context()) {
		if err != nil {
			return err
		}
		if f.Code != "host-limited" {
			return fmt.Errorf("found %s on %s: %s", f.Code, f.Peer, f.Detail)
		}
	}
	return nil
}

// ask lets the guests that can speak say which address they have.
func (m *lives) ask() {
	m.t.Helper()
	for name, vm := range m.vms(m.Host(0), "") {
		if vm.Spec.Image != "tiny" || vm.Status.State != api.VMRunning {
			continue
		}
		s := m.console(m.Host(m.random.IntN(len(m.Hosts()))), name)
		answers(m.t, s, "hostname", name)
		answers(m.t, s, "ip", address(m.t, vm)+"/16")
	}
}
