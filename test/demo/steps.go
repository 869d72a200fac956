package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/test/lab"
)

// form makes the cluster: one peer inits, two join with a token each.
func (d *demo) form() {
	d.t.step("The first peer makes a cluster, the others join with a token each")
	first := d.lab.Host(0)
	d.t.show(first.Door(), "orchd", "init", "&")
	first.Init()
	for _, h := range d.lab.Hosts()[1:] {
		line := strings.Fields(d.on(first, "orchd", "token", "create", "--role", "peer", "--ttl", "1h"))
		d.t.show(append(append([]string{h.Door()}, line...), "&")...)
		h.JoinWith(line[1:])
	}
	lab.Eventually(d.t, time.Minute, d.threeVoters)
	d.on(first, "orchd", "peer", "list")
}

// threeVoters: only then may one of them die.
func (d *demo) threeVoters() error {
	status, err := d.status(d.lab.Host(0))
	if err == nil && status.Voters != 3 {
		err = fmt.Errorf("%d peers have a vote, want 3", status.Voters)
	}
	return err
}

// status asks one peer; the command is not worth showing.
func (d *demo) status(h *lab.Host) (s api.Status, err error) {
	out, err := h.Output("orchd", "status", "-o", "json")
	if out == "" { // status exits 1 with warnings, and still answers
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// image names what guests boot.
func (d *demo) image() {
	if !d.real {
		return
	}
	d.t.step("An admin names what guests boot: a file that lies on every peer")
	args := []string{"orchd", "image", "create", "demo"}
	if d.disk != "" {
		args = append(args, "--path", d.disk, "--format", format(d.disk))
	} else {
		g, err := guest.MakeIn(d.lab.Folder("guest"))
		if err != nil {
			d.t.Fatalf("%v", err)
		}
		args = append(args, "--kernel", g.Kernel, "--initrd", g.Initrd, "--cmdline", "console=ttyS0")
	}
	d.on(d.lab.Host(0), args...)
}

// format is the format of a disk by its name; it is never guessed from what is in it.
func format(disk string) string {
	if strings.HasSuffix(disk, ".qcow2") {
		return "qcow2"
	}
	return "raw"
}

// create makes a guest through a peer and gives it as it runs.
func (d *demo) create(through *lab.Host, name string) api.VM {
	memory := "128MiB"
	if d.disk != "" {
		memory = "512MiB"
	}
	args := []string{"orchd", "vm", "create", name, "--memory", memory}
	if d.real {
		args = append(args, "--image", "demo")
	}
	d.on(through, args...)
	var vm api.VM
	out := through.CLI("vm", "show", name, "-o", "json")
	if err := json.Unmarshal([]byte(out), &vm); err != nil {
		d.t.Fatalf("vm show: %v in %q", err, out)
	}
	return vm
}

func (d *demo) firstGuest() {
	d.t.step("A guest: the log gives it exactly one owner, and that host boots it")
	vm := d.create(d.lab.Host(1), "first")
	d.on(d.lab.Host(2), "orchd", "vm", "list")
	if !d.real {
		return
	}
	owner := d.host(vm.Status.Owner)
	console := filepath.Join(owner.DataDir(), "disks", vm.ID+".console.log")
	if d.disk == "" {
		lab.Eventually(d.t, time.Minute, func() error {
			if text, _ := os.ReadFile(console); !strings.Contains(string(text), guest.Up) {
				return fmt.Errorf("no %q in %s", guest.Up, console)
			}
			return nil
		})
	}
	d.on(owner, "tail", "-n", "3", console)
	d.virsh()
}

// virsh shows where libvirt has guests.
func (d *demo) virsh() {
	if d.real {
		for _, h := range d.lab.Hosts() {
			d.on(h, "virsh", "-q", "list")
		}
	}
}

func (d *demo) killLeader() {
	status, err := d.status(d.lab.Host(0))
	if err != nil {
		d.t.Fatalf("%v", err)
	}
	d.t.step("The leader is " + status.Leader + ". Kill it")
	leader := d.host(status.Leader)
	d.t.show("kill", "-KILL", fmt.Sprint(leader.PID()))
	leader.Kill()
}

func (d *demo) secondGuest() {
	d.t.step("The other two go on: another guest, through one that is left")
	d.create(d.left()[0], "second")
	for _, h := range d.left() {
		d.on(h, "orchd", "vm", "list")
	}
	if d.real {
		d.t.say("Guests are not orchd's children: those of the dead peer still run.")
		d.virsh()
	}
}

func (d *demo) leaderReturns() {
	d.t.step("The dead peer comes back and knows what it missed")
	for _, h := range d.lab.Hosts() {
		if !h.Running() {
			d.t.show(h.Door(), "orchd", "serve", "&")
			h.Start()
			h.AwaitReady()
			d.on(h, "orchd", "vm", "list")
		}
	}
}

// parquetReader is a program that knows nothing of orchd; make builds it.
const parquetReader = "bin/parquet_reader"

func (d *demo) snapshot() {
	d.t.step("A snapshot is a folder of parquet files; another program reads it")
	h := d.lab.Host(0)
	var taken api.Snapshot
	out := d.on(h, "orchd", "snapshot", "take", "-o", "json")
	if err := json.Unmarshal([]byte(out), &taken); err != nil {
		d.t.Fatalf("snapshot take: %v in %q", err, out)
	}
	file := filepath.Join(taken.Path, "vms.parquet")
	d.t.run(parquetReader, "--no-metadata", "--json", file)
}

func (d *demo) tidy() {
	d.t.step("Delete both; no domain and no file is left")
	d.on(d.lab.Host(0), "orchd", "vm", "delete", "first", "second", "--force")
	d.virsh()
	if d.real {
		for _, h := range d.lab.Hosts() {
			d.on(h, "ls", filepath.Join(h.DataDir(), "disks"))
		}
	}
}

// on runs and shows a command on a host, and gives what it printed.
func (d *demo) on(h *lab.Host, command ...string) string {
	return d.t.run(h.Door(), command...)
}

// host finds a host by its name.
func (d *demo) host(name string) *lab.Host {
	for _, h := range d.lab.Hosts() {
		if h.Name == name {
			return h
		}
	}
	d.t.Fatalf("no host is called %q", name)
	return nil
}

// left are the hosts whose orchd runs.
func (d *demo) left() (left []*lab.Host) {
	for _, h := range d.lab.Hosts() {
		if h.Running() {
			left = append(left, h)
		}
	}
	return left
}
