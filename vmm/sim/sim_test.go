package sim_test

import (
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
	"github.com/orchd/orchd/vmm/sim"
	"github.com/orchd/orchd/vmm/vmmtest"
)

func newHost(*testing.T) vmmtest.Host {
	d := sim.New(api.Resources{}, "33333333-3333-4333-8333-333333333333")
	return vmmtest.Host{
		Driver:        d,
		Cluster:       "44444444-4444-4444-8444-444444444444",
		PlantStranger: func(*testing.T) { d.PlantStranger() },
		Files:         func(*testing.T) []string { return d.Files() },
		Booted:        func(*testing.T, vmm.Build) {},
		Restart:       func(*testing.T) { d.Down(); d.Mend() },
		Write:         func(_ *testing.T, b vmm.Build, text string) { d.Scribble(b.Mark.VM, text) },
		Wrote:         func(_ *testing.T, b vmm.Build) string { text, _ := d.Scribbled(b.Mark.VM); return text },
		NIC:           &vmm.NIC{MAC: "52:54:00:00:00:01", Bridge: "br0", IPs: []string{"10.0.0.5"}, Filter: true},
	}
}

func TestCore(t *testing.T)   { vmmtest.Core(t, newHost) }
func TestGuests(t *testing.T) { vmmtest.Guests(t, newHost) }
