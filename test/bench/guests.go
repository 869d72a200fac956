package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/lab"
)

// guestPart is one thing to measure, on three hosts.
type guestPart struct {
	name, title string
	driver      lab.Option
	measure     func(context.Context, *ground) error
}

// guestParts are what guestsBench measures, in order.
var guestParts = []guestPart{
	{"acks", "Creates acknowledged (simulated guests)", lab.Sim, measureAcks},
	{"list", "10,000 VMs listed, one peer black-holed (simulated guests)", lab.Sim, measureLists},
	{"virsh", "Create to running, beside virsh create", lab.Bridged, measureBesideVirsh},
	{"hundred", "100 minimal VMs, one every 100 ms", lab.Bridged, measureHundred},
}

// roomy is a host that says it has room for everything that is asked of it.
var roomy = lab.With("vmm.capacity.vcpus = 1000000", `vmm.capacity.memory = "100000GiB"`, `vmm.capacity.disk = "100000GiB"`)

// guestsBench measures what users wait for, in labs: as root, with libvirt and QEMU.
// Parts are named in guestParts; "all" are all.
func guestsBench(ctx context.Context, o options) error {
	if missing := lab.Missing(); missing != "" {
		return fmt.Errorf("guests are measured in a lab of hosts; missing here: %s (try: sudo make deps)", missing)
	}
	if err := os.Setenv("ORCHD_BIN", o.orchd); err != nil { // the lab's hosts run it
		return err
	}
	wanted := strings.Split(o.guests, ",")
	for _, name := range wanted {
		if name != "all" && !slices.ContainsFunc(guestParts, func(p guestPart) bool { return p.name == name }) {
			return fmt.Errorf("-guests: %q is none of what can be measured", name)
		}
	}
	for _, part := range guestParts {
		if o.guests != "all" && !slices.Contains(wanted, part.name) {
			continue
		}
		fmt.Printf("## %s\n\n", part.title)
		err := onGround(3, []lab.Option{part.driver, roomy}, func(g *ground) error { return part.measure(ctx, g) })
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// A key that nobody has the other half of.
const someKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvbiYEVNcTLdvImbc9Qx1Yz0sGZdvmLxP3qSYvMKuTn anna@laptop"

// catalogue makes what a usual create names: a size, a network and a key.
func (g *ground) catalogue(ctx context.Context) error {
	c, err := g.admin(g.Host(0))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.CreateSize(ctx, api.SizeCreate{Name: "bench-s", VCPUs: 1, MemoryMiB: 128, DiskGiB: 1}); err != nil {
		return err
	}
	shape := api.NetworkShape{CIDR: lab.GuestNet, Gateway: lab.GuestGateway, First: lab.GuestFirst, Last: lab.GuestLast,
		DNS: []string{lab.GuestGateway}, Bridge: lab.GuestBridge}
	if _, err := c.CreateNetwork(ctx, api.NetworkCreate{Name: "lan", NetworkShape: shape}); err != nil {
		return err
	}
	_, err = c.CreateSSHKey(ctx, api.SSHKeyCreate{Name: "anna", PublicKey: someKey})
	return err
}

// nominalImage declares an image that simulated guests name and nobody reads.
func (g *ground) nominalImage(ctx context.Context) error {
	c, err := g.admin(g.Host(0))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.CreateImage(ctx, api.ImageCreate{Name: "debian", Source: api.SourcePath, Path: "/srv/debian.qcow2", Format: "qcow2"})
	return err
}

// usual is a create with all that a user's create has.
func usual(name string) api.VMCreate {
	return api.VMCreate{Name: name, Labels: map[string]string{"app": "shop", "tier": "web"},
		Spec: api.VMSpec{Size: "bench-s", Image: "debian", Network: "lan", SSHKeys: []string{"anna"}}}
}
