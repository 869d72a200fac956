package vmm

import (
	"slices"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// lifeRow is our VM at epoch 2, begun and running, as changes make it.
func lifeRow(changes ...func(*api.VM)) *api.VM {
	vm := row(nil)
	for _, change := range changes {
		change(vm)
	}
	return vm
}

func TestPlanOfALife(t *testing.T) {
	want := func(d api.Desired) func(*api.VM) { return func(vm *api.VM) { vm.Status.Desired = d } }
	is := func(s api.VMState, why string) func(*api.VM) {
		return func(vm *api.VM) { vm.Status.State, vm.Status.Reason = s, why }
	}
	restarting := func(vm *api.VM) { vm.Status.Restarting = true }
	suspended := func(vm *api.VM) { vm.Status.Suspended = true }
	larger := func(vm *api.VM) { vm.Spec.VCPUs = 2 }
	renamed := func(vm *api.VM) { vm.Name = "other" }
	adoptee := func(vm *api.VM) { vm.Status.Flags = []string{"no-cloud-init"} }
	elsewhere := func(vm *api.VM) { vm.Status.Flags = []string{diskElsewhere} }
	policy := func(p api.RestartPolicy) func(*api.VM) { return func(vm *api.VM) { vm.Spec.Restart = p } }
	fresh := func(vm *api.VM) { vm.Status.Begun, vm.Status.State = false, api.VMAssigned }

	does := func(a action) step { return step{do: a, vm: vmID, epoch: 2, domain: true} }
	with := func(s step, change func(*step)) step { change(&s); return s }
	again := func(s step) step { return with(s, func(s *step) { s.restarted = true }) }
	then := func(s step, state api.VMState) step { return with(s, func(s *step) { s.state = state }) }
	says := func(state api.VMState, reason string) step {
		return step{do: report, vm: vmID, epoch: 2, state: state, reason: reason}
	}
	create := step{do: create, vm: vmID, epoch: 2}
	plug := then(with(does(hotplug), func(s *step) { s.name = "web-11111111" }), api.VMRunning)
	running, paused := domain(2, Running, Unknown), domain(2, Paused, Unknown)
	broken := paused
	broken.Paused = IOError
	crashed, byGuest, unknown := domain(2, Off, Crashed), domain(2, Off, ByGuest), domain(2, Off, Unknown)
	snapshot := func(s api.DiskSnapshotState) []api.DiskSnapshot {
		return []api.DiskSnapshot{{ID: "other", VM: copyID, State: s}, {ID: "s1", VM: vmID, State: s}}
	}
	on := func(a action) step { return step{do: a, vm: vmID, epoch: 2, snapshot: "s1"} }
	refused := func(why string) step { return with(on(refuse), func(s *step) { s.reason = why }) }

	for _, c := range []struct {
		name      string
		row       *api.VM
		open      string
		snapshots []api.DiskSnapshot
		have      *Domain
		again     time.Duration // it fell and is started again after this; 0: it did not
		due       bool
		asked     bool
		overdue   bool
		anew      bool
		stranger  bool
		cluster   string // of the stranger's mark
		want      []step
	}{
		{name: "pause", row: lifeRow(want(api.WantPaused)), open: "pause", have: &running, want: []step{does(pause)}},
		{name: "paused as wanted", row: lifeRow(want(api.WantPaused)), open: "pause", have: &paused, want: []step{says(api.VMPaused, "")}},
		{name: "paused as wanted, reported", row: lifeRow(want(api.WantPaused), is(api.VMPaused, "")), have: &paused},
		{name: "to be paused, its host was off", row: lifeRow(want(api.WantPaused)), have: &unknown, want: []step{does(start)}},
		{name: "to be paused, it went off", row: lifeRow(want(api.WantPaused)), open: "pause", have: &byGuest,
			want: []step{says(api.VMStopped, whyByGuest)}},
		{name: "resume", row: lifeRow(is(api.VMPaused, "")), open: opResume, have: &paused, want: []step{does(resume)}},
		{name: "started while paused", row: lifeRow(is(api.VMPaused, "")), open: opStart, have: &paused, want: []step{does(resume)}},
		{name: "paused on its host, nobody waits", row: lifeRow(is(api.VMPaused, "")), have: &paused},
		{name: "no room on the disk", row: lifeRow(), have: &broken, want: []step{says(api.VMPaused, whyIOError)}},
		{name: "no room on the disk, reported", row: lifeRow(is(api.VMPaused, whyIOError)), have: &broken},
		{name: "no room on the disk, something else is asked for", row: lifeRow(is(api.VMPaused, whyIOError)), open: opResize, have: &broken,
			want: []step{says(api.VMPaused, whyIOError)}},
		{name: "no room on the disk, resumed", row: lifeRow(is(api.VMPaused, whyIOError)), open: opResume, have: &broken, want: []step{does(resume)}},

		{name: "restart", row: lifeRow(restarting), open: opRestart, have: &running, want: []step{does(shutdown)}},
		{name: "restart, asked", row: lifeRow(restarting), open: opRestart, have: &running, asked: true},
		{name: "restart, too slow", row: lifeRow(restarting), open: opRestart, have: &running, asked: true, overdue: true, want: []step{again(does(destroy))}},
		{name: "restart of a paused one", row: lifeRow(restarting), open: opRestart, have: &paused, want: []step{again(does(destroy))}},
		{name: "restart, off", row: lifeRow(restarting), open: opRestart, have: &byGuest, asked: true, want: []step{again(does(start))}},
		{name: "restart, off, orchd was restarted", row: lifeRow(restarting), open: opRestart, have: &byGuest, want: []step{again(does(start))}},
		{name: "restart, crashed meanwhile", row: lifeRow(restarting), open: opRestart, have: &crashed, want: []step{again(does(start))}},
		{name: "restart, on again", row: lifeRow(restarting), open: opRestart, have: &running, anew: true, want: []step{again(says(api.VMRunning, ""))}},
		{name: "restart, no domain", row: lifeRow(restarting, is(api.VMFailed, "")), open: opRestart, want: []step{again(create)}},

		{name: "suspended", row: lifeRow(suspended), have: &running, want: []step{does(shutdown)}},
		{name: "suspended, too slow", row: lifeRow(suspended), have: &running, asked: true, overdue: true,
			want: []step{with(does(destroy), func(s *step) { s.reason = whySuspended })}},
		{name: "suspended, off", row: lifeRow(suspended), have: &byGuest, want: []step{says(api.VMStopped, whySuspended)}},
		{name: "suspended, was off before", row: lifeRow(suspended, is(api.VMStopped, whyByGuest)), have: &byGuest},
		{name: "suspended and stopped", row: lifeRow(suspended, want(api.WantStopped)), have: &byGuest, want: []step{says(api.VMStopped, "")}},
		{name: "suspended and deleted", row: lifeRow(suspended, want(api.WantDeleted)), have: &running, want: []step{does(remove)}},
		{name: "no longer suspended", row: lifeRow(is(api.VMStopped, whySuspended)), have: &byGuest, want: []step{does(start)}},
		{name: "no longer suspended, libvirtd restarted", row: lifeRow(is(api.VMStopped, whySuspended)), have: &unknown, want: []step{does(start)}},
		{name: "no longer suspended, never made", row: lifeRow(is(api.VMStopped, whySuspended)), want: []step{create}},
		{name: "no longer suspended, was off before", row: lifeRow(is(api.VMStopped, whyByGuest)), have: &byGuest},

		{name: "resize, on", row: lifeRow(larger), open: opResize, have: &running, want: []step{plug}},
		{name: "resize, on, done", row: lifeRow(), open: opResize, have: &running, want: []step{says(api.VMRunning, "")}},
		{name: "resize, on, nobody waits", row: lifeRow(larger), have: &running, want: []step{says(api.VMRunning, whyShape)}},
		{name: "resize, on, told", row: lifeRow(larger, is(api.VMRunning, whyShape)), have: &running},
		{name: "resize, off", row: lifeRow(larger, want(api.WantStopped), is(api.VMStopped, "")), open: opResize, have: &byGuest,
			want: []step{then(does(reshape), api.VMStopped)}},
		{name: "resize, off, done", row: lifeRow(want(api.WantStopped), is(api.VMStopped, "")), open: opResize, have: &byGuest,
			want: []step{says(api.VMStopped, "")}},
		{name: "resize, off by itself", row: lifeRow(larger, is(api.VMStopped, whyByGuest)), open: opResize, have: &byGuest,
			want: []step{with(then(does(reshape), api.VMStopped), func(s *step) { s.reason = whyByGuest })}},
		{name: "resize, never made", row: lifeRow(larger, is(api.VMFailed, "why")), open: opResize, want: []step{says(api.VMFailed, "why")}},
		{name: "other shape, started", row: lifeRow(larger), have: &unknown, want: []step{does(reshape)}},
		{name: "renamed, on", row: lifeRow(renamed), have: &running, want: []step{says(api.VMRunning, whyShape)}},
		{name: "renamed, off", row: lifeRow(renamed, want(api.WantStopped), is(api.VMStopped, "")), have: &byGuest},
		{name: "renamed, started", row: lifeRow(renamed, is(api.VMStopped, "")), open: opStart, have: &byGuest, want: []step{does(reshape)}},

		{name: "crashed", row: lifeRow(), have: &crashed, again: 4 * time.Second,
			want: []step{says(api.VMCrashed, whyCrashed+"; starts again in 4 s")}},
		{name: "crashed, told", row: lifeRow(is(api.VMCrashed, whyCrashed+"; starts again in 4 s")), have: &crashed, again: 4 * time.Second},
		{name: "crashed, due", row: lifeRow(is(api.VMCrashed, "")), have: &crashed, again: time.Second, due: true, want: []step{does(start)}},
		{name: "crashed, started by its user", row: lifeRow(is(api.VMCrashed, "")), open: opStart, have: &crashed, again: time.Minute, want: []step{does(start)}},
		{name: "crashed, stopped by its user", row: lifeRow(want(api.WantStopped), is(api.VMCrashed, "")), open: "stop", have: &crashed,
			want: []step{says(api.VMStopped, "")}},
		{name: "crashed, resized meanwhile", row: lifeRow(larger, is(api.VMCrashed, "")), open: opResize, have: &crashed, again: time.Second,
			want: []step{with(then(does(reshape), api.VMCrashed), func(s *step) { s.reason = whyCrashed + "; starts again in 1 s" })}},
		{name: "went off, comes back", row: lifeRow(policy(api.RestartAlways)), have: &byGuest, again: 300 * time.Second,
			want: []step{says(api.VMStopped, whyByGuest+"; starts again in 300 s")}},

		{name: "keep", row: lifeRow(), have: &running, snapshots: snapshot(api.DiskSnapshotCreating), want: []step{on(keep)}},
		{name: "keep, off", row: lifeRow(want(api.WantStopped), is(api.VMStopped, "")), have: &byGuest,
			snapshots: snapshot(api.DiskSnapshotCreating), want: []step{on(keep)}},
		{name: "keep, something to say first", row: lifeRow(is(api.VMCreating, "")), have: &running, snapshots: snapshot(api.DiskSnapshotCreating),
			want: []step{says(api.VMRunning, ""), on(keep)}},
		{name: "keep, on its way off", row: lifeRow(want(api.WantStopped)), have: &running, snapshots: snapshot(api.DiskSnapshotCreating), want: []step{does(shutdown)}},
		{name: "keep what is being made", row: lifeRow(is(api.VMCreating, "")), snapshots: snapshot(api.DiskSnapshotCreating), want: []step{create}},
		{name: "keep what was never made", row: lifeRow(is(api.VMFailed, "")), snapshots: snapshot(api.DiskSnapshotCreating), want: []step{refused(whyNoDisk)}},
		{name: "keep what is not begun", row: lifeRow(fresh), snapshots: snapshot(api.DiskSnapshotCreating),
			want: []step{{do: begin, vm: vmID, epoch: 2}}},
		{name: "keep what goes", row: lifeRow(want(api.WantDeleted)), have: &running, snapshots: snapshot(api.DiskSnapshotCreating), want: []step{does(remove)}},
		{name: "keep what lies elsewhere", row: lifeRow(elsewhere), have: &running, snapshots: snapshot(api.DiskSnapshotCreating), want: []step{refused(whyElsewhere)}},
		{name: "keep of a lost one", row: lifeRow(is(api.VMLost, "")), snapshots: snapshot(api.DiskSnapshotCreating)},
		{name: "go back", row: lifeRow(want(api.WantStopped), is(api.VMStopped, "")), have: &byGuest, snapshots: snapshot(api.DiskSnapshotRestoring), want: []step{on(revert)}},
		{name: "go back before it starts", row: lifeRow(is(api.VMCrashed, "")), have: &crashed, again: time.Second, due: true,
			snapshots: snapshot(api.DiskSnapshotRestoring), want: []step{on(revert)}},
		{name: "go back, on", row: lifeRow(), have: &running, snapshots: snapshot(api.DiskSnapshotRestoring)},
		{name: "forget", row: lifeRow(), have: &running, snapshots: snapshot(api.DiskSnapshotDeleting), want: []step{on(forget)}},
		{name: "forget, domain gone", row: lifeRow(is(api.VMFailed, "")), snapshots: snapshot(api.DiskSnapshotDeleting), want: []step{on(forget)}},
		{name: "snapshot that is ready", row: lifeRow(), have: &running, snapshots: snapshot(api.DiskSnapshotReady)},

		{name: "adopt", row: lifeRow(adoptee), stranger: true, want: []step{with(does(adopt), func(s *step) { s.domain = false })}},
		{name: "adopt, not begun", row: lifeRow(adoptee, fresh), stranger: true, want: []step{{do: begin, vm: vmID, epoch: 2}}},
		{name: "learnt from another cluster's mark", row: lifeRow(), stranger: true, cluster: "another",
			want: []step{with(does(adopt), func(s *step) { s.domain = false })}},
		{name: "ours without its mark", row: lifeRow(), stranger: true, want: []step{create}},
		{name: "adopted", row: lifeRow(adoptee), have: &running},
		{name: "adopted, to be deleted before it was marked", row: lifeRow(adoptee, want(api.WantDeleted)), stranger: true,
			want: []step{{do: remove, vm: vmID, epoch: 2}}},
		{name: "adopted, vanished", row: lifeRow(adoptee), want: []step{says(api.VMFailed, whyVanished)}},
		{name: "adopted, vanished, told", row: lifeRow(adoptee, is(api.VMFailed, whyVanished))},
		{name: "adopted, resized", row: lifeRow(adoptee, larger), open: opResize, have: &running, want: []step{plug}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := present{domains: map[string][]Domain{}, asked: map[string]bool{vmID: c.asked}, waiting: map[string]bool{vmID: c.asked}, overdue: map[string]bool{vmID: c.overdue},
				anew: map[string]bool{vmID: c.anew}}
			if c.have != nil {
				p.domains[vmID] = []Domain{*c.have}
			}
			if c.again > 0 {
				p.again = map[string]comeback{vmID: {c.again, c.due}}
			}
			if c.stranger {
				p.strangers = map[string]string{vmID: c.cluster}
			}
			w := tables{row: c.row, open: c.open, snapshots: c.snapshots}
			if got := plan(self{id: us, name: "h1"}, w, p); !slices.Equal(got, c.want) {
				t.Errorf("plan:\n got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// What a restart policy makes of the ways to go off.
func TestComesBack(t *testing.T) {
	type verdict map[api.RestartPolicy]bool
	const never, failure, always = api.RestartNever, api.RestartOnFailure, api.RestartAlways
	for _, c := range []struct {
		state api.VMState
		cause Cause
		want  verdict // those that are true; "" is as on-failure
	}{
		{api.VMRunning, Crashed, verdict{failure: true, always: true}},
		{api.VMCrashed, Crashed, verdict{failure: true, always: true}},
		{api.VMCrashed, Unknown, verdict{failure: true, always: true}}, // libvirtd or the host was restarted meanwhile
		{api.VMRunning, ByGuest, verdict{always: true}},
		{api.VMStopped, ByGuest, verdict{always: true}},
		{api.VMStopped, Unknown, verdict{always: true}},
		{api.VMRunning, Unknown, verdict{}}, // the host was off: it is started by no policy, and at once
		{api.VMRunning, ByForce, verdict{}},
		{api.VMStopped, ByForce, verdict{}},
		{api.VMFailed, NoStart, verdict{}},
		{api.VMFailed, Crashed, verdict{}},
	} {
		for _, policy := range []api.RestartPolicy{never, failure, always, ""} {
			vm := lifeRow(func(vm *api.VM) { vm.Spec.Restart, vm.Status.State = policy, c.state })
			want := c.want[policy]
			if policy == "" {
				want = c.want[failure]
			}
			own := domain(2, Off, c.cause)
			if got := comesBack(*vm, &own); got != want {
				t.Errorf("%q, was %s, off by cause %d: got %v, want %v", policy, c.state, c.cause, got, want)
			}
		}
	}
}

func TestBuild(t *testing.T) {
	image := api.Image{ID: "i1", Name: "debian", Kind: api.ImageDisk, Source: api.SourceUpload}
	network := api.Network{Name: "lan", NetworkShape: api.NetworkShape{Bridge: "br0", MTU: 1400}}
	w := tables{images: map[string]api.Image{"debian": image}, networks: map[string]api.Network{
		"lan": network, "bare": {Name: "bare"}, "open": {Name: "open", NetworkShape: api.NetworkShape{Libvirt: "default", Open: true}}}}
	on := func(network string, addresses ...api.VMAddress) *api.VM {
		return lifeRow(func(vm *api.VM) {
			vm.Spec.Image, vm.Spec.Network, vm.Spec.UserData = "debian", network, "secret"
			vm.Status.Addresses, vm.Status.Operation = addresses, "op"
		})
	}
	four := api.VMAddress{IP: "10.0.0.5", MAC: "52:54:00:00:00:01", Network: "lan"}
	six := api.VMAddress{IP: "fd00::5", MAC: "52:54:00:00:00:01", Network: "lan"}
	me := self{id: us, cluster: "c1"}

	b, err := me.build(w, *on("lan", four, six))
	if err != nil {
		t.Fatal(err)
	}
	if want := (NIC{MAC: four.MAC, Bridge: "br0", IPs: []string{four.IP, six.IP}, Filter: true, MTU: 1400}); b.NIC == nil ||
		b.NIC.MAC != want.MAC || b.NIC.Bridge != want.Bridge || b.NIC.Network != "" || !b.NIC.Filter || b.NIC.MTU != want.MTU || !slices.Equal(b.NIC.IPs, want.IPs) {
		t.Errorf("interface: got %+v, want %+v", b.NIC, want)
	}
	if b.Image == nil || b.Image.ID != "i1" || b.Mark != (Mark{"c1", vmID, 2, Shape(b)}) || b.Name != "web-11111111" {
		t.Errorf("build: got image %+v, mark %+v, name %q", b.Image, b.Mark, b.Name)
	}
	if b.Spec.UserData != "" || b.Record.Spec.UserData != "" || b.Record.Status.Operation != "" {
		t.Errorf("build: got %+v and record %+v, want no user data and no operation in it", b.Spec, b.Record)
	}
	w.networks["net-id"] = network
	if b, err = me.build(w, *on("net-id", four)); err != nil || b.NIC == nil || b.NIC.MAC != four.MAC {
		t.Errorf("interface on a network that is named by its id: got %+v, %v", b.NIC, err)
	}
	free := four
	free.Network = "open"
	if b, err = me.build(w, *on("open", free)); err != nil || b.NIC == nil || b.NIC.Network != "default" || b.NIC.Filter {
		t.Errorf("interface on an open libvirt network: got %+v, %v", b.NIC, err)
	}
	for network, addresses := range map[string][]api.VMAddress{"none": {four}, "bare": {four}, "lan": nil} {
		if _, err := me.build(w, *on(network, addresses...)); !api.IsKind(err, api.Invalid) {
			t.Errorf("build on network %q with addresses %v: got %v, want invalid", network, addresses, err)
		}
	}
}
