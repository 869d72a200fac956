// Package deploy makes the services and spells of packages be there: those that this
// peer's configuration enables are made, initialised, replaced when they changed, and
// removed when they are no longer wanted. What is as it should be is not touched: a
// second start writes nothing to the log.
//
// The middle is plan, which is pure. Around it the Deployer looks at the tables, takes
// the steps of each package, reports, and tries again what failed. DESIGN.md says what
// always holds. Start with New.
package deploy

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/pack"
	"github.com/orchd/orchd/sysvc/state"
)

// Modules keeps the code that packages bring.
type Modules interface {
	Put(content []byte) (digest string, err error)
}

// Config is what a Deployer is told.
type Config struct {
	Cluster state.Cluster
	Modules Modules
	// Call calls a function of a service, which may have no alias yet, and ends by itself
	// when the service takes too long.
	Call func(ctx context.Context, service api.Service, function string, args json.RawMessage) error
	// Check says what is wrong with the code of a package, as far as that shows without running it.
	Check        func(ctx context.Context, p pack.Package) error
	Wanted       []pack.Package // that this peer is to have
	KeepDisabled bool           // leave what is no longer enabled
	Log          *slog.Logger
}

// Deployer is the loop around plan.
type Deployer struct {
	cfg    Config
	wanted wanted
	done   chan struct{}
	wake   chan struct{} // holds one: a package has had its turn

	mu    sync.Mutex
	first map[string]bool   // packages that have not had their first turn; nil before the first look
	turns map[string]*turns // by package
}

// turns is how it goes with a package.
type turns struct {
	busy   bool
	count  int       // how many since it was last as it should be
	due    time.Time // when it may have another one
	failed *api.Deployment
}

// New makes a deployer; Run makes it work.
func New(cfg Config) *Deployer {
	w := wanted{self: cfg.Cluster.Self(), packages: map[string]want{}, keep: cfg.KeepDisabled}
	for _, p := range cfg.Wanted {
		w.packages[p.Name] = want{p, p.ScopeOn(w.self), p.Digest(), p.InitDigest()}
	}
	return &Deployer{cfg: cfg, wanted: w, done: make(chan struct{}), wake: make(chan struct{}, 1), turns: map[string]*turns{}}
}

const (
	sideBySide  = 4                      // packages that are worked on at once
	firstRetry  = time.Second            // and twice as long after each further failure
	lastRetry   = 5 * time.Minute        // but no longer than this
	betweenLook = 100 * time.Millisecond // changes that come together make one look
)

// Run works until ctx ends. What it had in hand then the next life finds half done, and goes on with.
func (d *Deployer) Run(ctx context.Context) error {
	if !d.arrive(ctx) {
		return nil
	}
	var workers errgroup.Group
	workers.SetLimit(sideBySide)
	for ctx.Err() == nil {
		changed := d.cfg.Cluster.Watch()
		d.rest(ctx, changed, d.look(ctx, &workers))
	}
	return workers.Wait()
}

// arrive waits until this peer knows what the cluster knows: a peer that looks at old
// tables would make what is there.
func (d *Deployer) arrive(ctx context.Context) bool {
	for ctx.Err() == nil {
		_, err := d.cfg.Cluster.Fresh(ctx)
		if err == nil {
			return true
		}
		d.cfg.Log.Debug("system services wait for the cluster", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(firstRetry):
		}
	}
	return false
}

// look gives each package that is not as it should be to a worker, if its time has come
// and one is free, and says how long it is until the next one's time comes.
func (d *Deployer) look(ctx context.Context, workers *errgroup.Group) time.Duration {
	there := survey(d.cfg.Cluster, d.cfg.Cluster.View(), d.wanted)
	todo := map[string]bool{}
	for _, s := range plan(d.wanted, there) {
		todo[s.pkg] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(todo)
	wait := lastRetry
	for _, name := range slices.Sorted(maps.Keys(todo)) {
		t := d.turns[name]
		left := time.Until(t.due)
		switch {
		case t.busy:
		case left > 0:
			wait = min(wait, left)
		default:
			// Without a free worker: the one that becomes free wakes the loop.
			t.busy = workers.TryGo(func() error { d.turn(ctx, name); return nil })
		}
	}
	return wait
}

// note takes in which packages have something to do. Those that have not are as they
// should be, for now.
func (d *Deployer) note(todo map[string]bool) {
	if d.first == nil {
		d.first = maps.Clone(todo)
	}
	for name := range todo {
		if d.turns[name] == nil {
			d.turns[name] = &turns{}
		}
	}
	for name, t := range d.turns {
		if !todo[name] && !t.busy {
			delete(d.turns, name)
			delete(d.first, name)
		}
	}
	d.finish()
}

// finish closes done once every package has had its first turn.
func (d *Deployer) finish() {
	if len(d.first) > 0 {
		return
	}
	select {
	case <-d.done:
	default:
		close(d.done)
	}
}

// turn works on one package.
func (d *Deployer) turn(ctx context.Context, name string) {
	failed, err := d.attempt(ctx, name)
	d.mu.Lock()
	t := d.turns[name]
	pause := min(firstRetry<<min(t.count, 16), lastRetry)
	t.busy, t.failed, t.due = false, failed, time.Now().Add(pause)
	t.count++
	if ctx.Err() == nil {
		delete(d.first, name)
		d.finish()
	}
	d.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		d.cfg.Log.Warn("package is not deployed", "package", name, "err", err, "again_in", pause)
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// rest waits for a reason to look, and then a little for more of them.
func (d *Deployer) rest(ctx context.Context, changed <-chan struct{}, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-changed:
	case <-d.wake:
	case <-time.After(wait):
	}
	select {
	case <-ctx.Done():
	case <-time.After(betweenLook):
	}
}

// Done is closed once every package has been tried.
func (d *Deployer) Done() <-chan struct{} { return d.done }

// Failed are the packages that could not be deployed when they were last tried, in the
// order of their names.
func (d *Deployer) Failed() (failed []api.Deployment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.turns)) {
		if t := d.turns[name]; t.failed != nil {
			failed = append(failed, *t.failed)
		}
	}
	return failed
}
