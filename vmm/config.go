package vmm

import (
	"cmp"
	"errors"
	"time"

	"github.com/orchd/orchd/api"
)

// Config is what a Loop must know of its place in the cluster. Zero durations
// and counts mean the defaults.
type Config struct {
	Cluster string // id of the cluster: domains with another are strangers
	Peer    string // id of this peer
	Name    string // its name

	// Capacity overrides what the hypervisor says, field by field where it is not zero.
	Capacity api.Resources

	StopAfter time.Duration // a guest that was asked to stop has this long; default 30 s
	LookEvery time.Duration // look again without being woken; default 30 s
	HostEvery time.Duration // ask the hypervisor whether it is there; default 5 s
	Workers   int           // VMs that are worked on side by side; default 8
	Tries     int           // a create or start that failed this often is reported as failed; default 3
}

// Validate reports everything that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	if !api.IsUUID(c.Cluster) {
		errs = append(errs, errors.New("vmm: cluster is no UUID"))
	}
	if !api.IsUUID(c.Peer) {
		errs = append(errs, errors.New("vmm: peer is no UUID"))
	}
	if c.Name == "" {
		errs = append(errs, errors.New("vmm: the peer's name is missing"))
	}
	if c.StopAfter < 0 || c.LookEvery < 0 || c.HostEvery < 0 || c.Workers < 0 || c.Tries < 0 {
		errs = append(errs, errors.New("vmm: durations and counts are not negative"))
	}
	if c.Capacity.VCPUs < 0 || c.Capacity.MemoryMiB < 0 || c.Capacity.DiskGiB < 0 {
		errs = append(errs, errors.New("vmm: a capacity override is negative"))
	}
	return errors.Join(errs...)
}

// orDefaults fills in what was left out.
func (c Config) orDefaults() Config {
	c.StopAfter = cmp.Or(c.StopAfter, 30*time.Second)
	c.LookEvery = cmp.Or(c.LookEvery, 30*time.Second)
	c.HostEvery = cmp.Or(c.HostEvery, 5*time.Second)
	c.Workers = cmp.Or(c.Workers, 8)
	c.Tries = cmp.Or(c.Tries, 3)
	return c
}

// overridden is what the hypervisor says, with the overrides in force.
func (c Config) overridden(r api.Resources) api.Resources {
	return api.Resources{
		VCPUs:     cmp.Or(c.Capacity.VCPUs, r.VCPUs),
		MemoryMiB: cmp.Or(c.Capacity.MemoryMiB, r.MemoryMiB),
		DiskGiB:   cmp.Or(c.Capacity.DiskGiB, r.DiskGiB),
	}
}
