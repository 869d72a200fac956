package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/lossy"
)

// powerFaults are those of a run in which each peer's folder lies on a disk that forgets,
// when power goes, what was not synced: F7, and of the others those that need no network.
var powerFaults = []fault{
	{"F7 power of all", powerOfAll},
	{"F7 power of a majority", powerOfMajority},
	{"F7 power of the leader", powerOfLeader},
	{"F7 power of a follower", powerOfFollower},
	{"F1 kill the leader", killLeader},
	{"F1 kill in a row", killInARow},
	{"F2 pause the leader", pauseLeader},
}

// power is the disks of a run.
type power struct {
	mu    sync.Mutex
	disks map[*lab.Host]*outlet
}

// outlet is where a host's disk is plugged in.
type outlet struct {
	disk    *lossy.Disk
	unmount func()
}

// install puts a disk under the folder of each host, before anything lies there.
func (p *power) install(l *lab.Lab) error {
	p.disks = map[*lab.Host]*outlet{}
	for _, h := range l.Hosts() {
		p.disks[h] = &outlet{disk: lossy.NewDisk()}
		if err := p.plugIn(h); err != nil {
			return err
		}
	}
	return nil
}

func (p *power) plugIn(h *lab.Host) (err error) {
	o := p.disks[h]
	o.unmount, err = o.disk.Mount(h.DataDir())
	return err
}

// remove takes the disks away, whoever still uses them.
func (p *power) remove() {
	for h, o := range p.disks {
		h.Kill()
		if o.unmount != nil {
			o.unmount()
		}
	}
}

// lose ends a peer and lets its disk forget; restored has it again.
func (p *power) lose(h *lab.Host, seed uint64) (ops int, err error) {
	h.Kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.disks[h]
	o.unmount()
	o.unmount = nil
	ops = o.disk.Ops()
	o.disk.Crash(seed)
	return ops, p.plugIn(h)
}

// without lets hosts lose power, all at the same time, and starts them again.
func (r *run) without(hosts []*lab.Host, rng *rand.Rand) (string, error) {
	time.Sleep(between(rng, 0, 2*time.Second)) // for clients to be told something
	for _, h := range hosts {
		go h.Kill() // none of them outlives another for long
	}
	var said []string
	for _, h := range hosts {
		ops, err := r.power.lose(h, rng.Uint64())
		if err != nil {
			return "", err
		}
		said = append(said, fmt.Sprintf("%s %d", h.Name, ops))
	}
	for _, h := range hosts {
		h.Start()
	}
	return "operations of the disk since it was mounted: " + strings.Join(said, ", "), nil
}

// powerOfAll is F7 of a whole room: what any client was told is on some disk.
func powerOfAll(r *run, rng *rand.Rand) (string, error) { return r.without(r.members(), rng) }

func powerOfMajority(r *run, rng *rand.Rand) (string, error) {
	all := r.majority(rng)
	if all == nil {
		return "", nil
	}
	return r.without(all, rng)
}

func powerOfLeader(r *run, rng *rand.Rand) (string, error) {
	leader, _ := r.leader()
	if leader == nil {
		return "", nil
	}
	return r.without([]*lab.Host{leader}, rng)
}

func powerOfFollower(r *run, rng *rand.Rand) (string, error) {
	h := r.follower(rng)
	if h == nil {
		return "", nil
	}
	return r.without([]*lab.Host{h}, rng)
}
