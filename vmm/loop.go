package vmm

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
)

// Loop plans, acts, reports, and looks again. One VM is worked on by one worker
// at a time; several VMs side by side.
type Loop struct {
	cfg     Config
	hv      Hypervisor
	records Records
	log     *slog.Logger

	wake   chan struct{} // holds one: somebody wants the loop to look
	ended  chan outcome  // what workers bring back
	mem    *memory       // belongs to the goroutine that looks
	todo   backlog       // the same
	busy   *places       // VMs that a worker or an export has
	guests *guests       // that are on
	stats  statsCache

	fetching atomic.Int32 // workers that wait for an image

	mu    sync.Mutex
	host  api.HostReport // as the hypervisor last said
	asked time.Time      // when it was asked again; zero when it has answered
}

// NotAsked is the error of a host's report until its hypervisor has been asked for the
// first time: nothing is known of it, good or bad.
const NotAsked = "not asked yet"

// New makes a loop; Run makes it work.
func New(cfg Config, hv Hypervisor, records Records, log *slog.Logger) *Loop {
	cfg = cfg.orDefaults()
	busy := newPlaces()
	return &Loop{
		cfg:     cfg,
		hv:      hv,
		records: records,
		log:     log,
		wake:    make(chan struct{}, 1),
		ended:   make(chan outcome, mostWorkers(cfg)),
		mem:     newMemory(cfg, busy),
		busy:    busy,
		guests:  newGuests(),
		host:    api.HostReport{Driver: hv.Driver(), Error: NotAsked},
	}
}

// Run works until ctx ends and leaves the guests as they are then. What a
// worker had in hand is found by the first look of the next life.
func (l *Loop) Run(ctx context.Context) error {
	if err := l.cfg.Validate(); err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error { l.hv.Watch(ctx, l.poke); return nil })
	g.Go(func() error { l.watchHost(ctx); return nil })
	g.Go(func() error { l.watchKeys(ctx); return nil })
	g.Go(func() error { l.watchAddresses(ctx); return nil })
	for ctx.Err() == nil {
		began := time.Now()
		changed := l.look(ctx, &g)
		// A look costs as much as there are VMs: at most a tenth of one
		// processor goes into looking.
		l.rest(ctx, &g, changed, min(9*time.Since(began), time.Second))
	}
	return g.Wait()
}

// poke makes the loop look soon.
func (l *Loop) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// rest waits for a reason to look, and then for pause, so that reasons that
// come together make one look. Workers that come back meanwhile go on with what the
// last look has left.
func (l *Loop) rest(ctx context.Context, workers *errgroup.Group, changed <-chan struct{}, pause time.Duration) {
	tick := time.NewTimer(l.mem.untilDue(time.Now()))
	defer tick.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-l.wake:
	case <-tick.C:
	case o := <-l.ended:
		l.learn(o)
		l.handOut(ctx, workers)
	}
	calm := time.NewTimer(pause)
	defer calm.Stop()
	for {
		select {
		case o := <-l.ended:
			l.learn(o)
			l.handOut(ctx, workers)
		case <-calm.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// look compares what is wanted with what is there and gives each VM that needs
// something to a worker, as far as there are any. The channel is closed when what
// is wanted may have changed.
func (l *Loop) look(ctx context.Context, workers *errgroup.Group) <-chan struct{} {
	wanted, changed := l.records.Wanted()
	listing, err := l.hv.List(ctx)
	l.mem.blind = err != nil
	if err != nil { // watchHost tells the cluster
		l.log.Debug("hypervisor does not list its domains", "err", err)
		return changed
	}
	p := l.mem.look(wanted, listing, time.Now())
	l.guests.look(l.ours(wanted, listing.Domains), time.Now())
	// What is said here of a VM that somebody works on will be old when he is done.
	vms := slices.DeleteFunc(perVM(plan(l.me(), wanted, p)), func(steps []step) bool { return l.busy.has(steps[0].vm) })
	l.todo = backlog{wanted, p, vms}
	l.handOut(ctx, workers)
	return changed
}

// backlog is what the last look found to do and nobody has been given yet.
type backlog struct {
	wanted  Wanted
	present present
	vms     [][]step // of one VM each
}

// handOut gives VMs of the backlog to workers until none is free. Those that may have to
// wait for an image stay while as many wait as may.
func (l *Loop) handOut(ctx context.Context, workers *errgroup.Group) {
	var stay [][]step
	defer func() { l.todo.vms = append(stay, l.todo.vms...) }()
	for len(l.todo.vms) > 0 && l.mem.free(int(l.fetching.Load())) {
		steps, p := l.todo.vms[0], l.todo.present
		l.todo.vms = l.todo.vms[1:]
		if l.mem.full() && slices.ContainsFunc(steps, step.fetches) {
			stay = append(stay, steps)
			continue
		}
		row, _ := l.todo.wanted.Row(steps[0].vm)
		job, due := l.mem.take(row, steps, time.Now())
		if !due {
			continue
		}
		workers.Go(func() error {
			l.ended <- l.work(ctx, p, job)
			return nil
		})
	}
}

// learn takes in what a worker brings back.
func (l *Loop) learn(o outcome) {
	l.mem.learn(o, time.Now())
	for _, s := range o.did {
		if s.do == start || s.do == create {
			l.guests.forget(s.vm)
		}
	}
}

// ours are the domains that run a VM of ours, at the epoch at which it is.
func (l *Loop) ours(w Wanted, domains []Domain) (ids []string) {
	for _, d := range domains {
		row, known := w.Row(d.Mark.VM)
		if known && d.UUID == row.ID && d.Power == Running && row.Status.OwnerID == l.cfg.Peer && d.Mark.Epoch == row.Status.Epoch {
			ids = append(ids, row.ID)
		}
	}
	return ids
}

func (l *Loop) me() self { return self{l.cfg.Peer, l.cfg.Name, l.cfg.Cluster, l.cfg.Seeds} }

// perVM cuts a plan into the steps of each VM.
func perVM(steps []step) [][]step {
	var parts [][]step
	for i, s := range steps {
		if i == 0 || s.vm != steps[i-1].vm {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], s)
	}
	return parts
}
