package vmm

import (
	"cmp"
	"context"
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

	Images Images // brings images that orchd keeps onto this host; nil: there are none
	Seeds  Seeds  // makes what cloud-init reads; nil: no VM has a seed

	// Capacity overrides what the hypervisor says, field by field where it is not zero.
	Capacity api.Resources

	StopAfter time.Duration // a guest that was asked to stop has this long; default 30 s
	LookEvery time.Duration // look again without being woken; default 30 s
	HostEvery time.Duration // ask the hypervisor whether it is there; default 5 s
	KeysEvery time.Duration // look whether a guest has shown its SSH keys on its console; default 3 s
	SeenEvery time.Duration // look which addresses guests use; default 1 min
	Workers   int           // VMs that are worked on side by side; default 8
	Tries     int           // a create or start that failed this often is reported as failed; default 3
}

// Images brings images onto this host.
type Images interface {
	// Ensure gives the path of this host's copy of an image that orchd keeps, and
	// fetches it first when there is none. Unavailable: try again later.
	Ensure(ctx context.Context, image api.Image, progress func(done, total int64)) (path string, err error)
}

// Seeds makes what cloud-init reads when a guest first boots.
type Seeds interface {
	// Seed is the NoCloud image of a VM on network n; ok is false when it needs none.
	Seed(ctx context.Context, vm api.VM, n api.Network) (iso []byte, ok bool, err error)
	// Seeded tells whether a VM has one, without making it.
	Seeded(vm api.VM) bool
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
	if min(c.StopAfter, c.LookEvery, c.HostEvery, c.KeysEvery, c.SeenEvery) < 0 || min(c.Workers, c.Tries) < 0 {
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
	c.KeysEvery = cmp.Or(c.KeysEvery, 3*time.Second)
	c.SeenEvery = cmp.Or(c.SeenEvery, time.Minute)
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
