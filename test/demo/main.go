// Command demo shows what orchd is for, on one machine: three peers, a guest that
// really boots, a leader that dies, and a snapshot that another program reads.
//
// It prints every command that it runs, so that the reader can paste it into
// another terminal meanwhile: a line that begins with /tmp/orchd-lab-.../on-h1 runs
// the rest of it on host h1. Run it with: make demo
//
//	IMAGE=/srv/debian.qcow2 make demo    boots that disk instead of the small guest
//	KEEP=1 make demo                     stays up at the end, until Ctrl-C
package main

import (
	"os"

	"github.com/orchd/orchd/test/lab"
)

func main() {
	t := newTeller(os.Stdout)
	go t.obeyCtrlC()
	t.tell(func() {
		d := start(t, os.Getenv("IMAGE"))
		d.form()
		d.image()
		d.firstGuest()
		d.killLeader()
		d.secondGuest()
		d.leaderReturns()
		d.snapshot()
		if os.Getenv("KEEP") == "1" {
			t.say("All of it stays until Ctrl-C. For example:")
			t.say("  %s orchd status", d.lab.Host(0).Door())
			select {}
		}
		d.tidy()
	})
}

// demo is the cluster that is shown.
type demo struct {
	t    *teller
	lab  *lab.Lab
	disk string // the image to boot; empty: the small guest
	real bool   // guests are real
}

// start makes three hosts: real ones if it can.
func start(t *teller, disk string) *demo {
	d := &demo{t: t, disk: disk}
	missing := lab.Missing()
	d.real = missing == ""
	if d.real {
		t.step("Three hosts on this machine, each with processes, a network and a libvirtd of its own")
		d.lab = lab.Start(t, 3)
	} else {
		t.step("Three peers on loopback, with --driver sim: they agree for real, but run no guests.")
		t.say("For guests this is missing: %s", missing)
		d.lab = lab.Start(t, 3, lab.Loopback)
	}
	for _, h := range d.lab.Hosts() {
		t.say("  %s is %s; its orchd says: %s", h.Name, h.Addr, h.Log())
	}
	return d
}
