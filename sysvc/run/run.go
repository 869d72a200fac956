// Package run runs spells: it finds what is due, has it marked in the log, and runs
// what the log then says is to be run.
//
// What always holds in it: a run begins only after its mark was read back from the
// tables; who marks is the one holder of the scope; and once a term is over, all that
// was begun in it is cancelled. So a tick runs at most once, whoever dies. DESIGN.md
// tells why; start with scope.step.
package run

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/host"
	"github.com/orchd/orchd/sysvc/state"
)

// Config is what a runner works with.
type Config struct {
	Cluster  state.Cluster
	Pool     host.Pool // a *worker.Pool
	Hosts    *host.Hosts
	Parallel int          // runs at once; 0: two for each core, at most 8, as the pool has workers
	Log      *slog.Logger // nil: silent
}

// Runner runs the spells of one peer, and those of the cluster while this peer has them in hand.
type Runner struct {
	cfg    Config
	life   string // one life of this process
	queue  *queue
	scopes []*scope
}

// New makes a runner; nothing runs before Run.
func New(c Config) *Runner {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Parallel <= 0 {
		c.Parallel = min(2*runtime.NumCPU(), 8)
	}
	r := &Runner{cfg: c, life: rand.Text(), queue: newQueue()}
	for _, name := range []string{c.Cluster.Self(), api.ScopeCluster} {
		r.scopes = append(r.scopes, newScope(r, name))
	}
	return r
}

// Run runs spells until ctx ends. Then it waits a moment for the runs in hand, cuts off
// what is left, says how all of them ended, and gives the cluster's spells back.
func (r *Runner) Run(ctx context.Context) error {
	var workers, scopes sync.WaitGroup
	for range r.cfg.Parallel {
		workers.Go(r.queue.work)
	}
	for _, s := range r.scopes {
		scopes.Go(func() { s.run(ctx) })
	}
	scopes.Wait()
	r.queue.close()
	workers.Wait()
	return nil
}

// Now runs a spell that nobody waits for, and returns when the run has been marked.
// NotFound: there is no such spell. Conflict: it is disarmed, or runs already, or
// another peer has it in hand (the row of the scope's holder says which). Unavailable:
// ctx ended before it was marked; whether it runs is not known.
func (r *Runner) Now(ctx context.Context, spell string) error {
	v, err := r.cfg.Cluster.Fresh(ctx)
	if err != nil {
		return err
	}
	s, err := r.inCharge(v, spell)
	if err != nil {
		return err
	}
	a := &asking{spell: spell, answer: make(chan error, 1)}
	s.inbox.add(a)
	select {
	case err := <-a.answer:
		return err
	case <-ctx.Done():
		a.gone.Store(true)
		return api.Errorf(api.Unavailable, opNow, "the run was not marked in time: look at the spell's runs before you try again")
	}
}

const opNow = "spell.run"

// inCharge is the scope that is to run a spell now, or why this peer does not.
func (r *Runner) inCharge(v state.View, id string) (*scope, error) {
	spell, found := v.Spell(id)
	if !found {
		return nil, api.Errorf(api.NotFound, opNow, "there is no spell %s", id)
	}
	if why := Disarmed(v, spell); why != "" {
		return nil, api.Errorf(api.Conflict, opNow, "%s does not run: %s", spell.Alias, why)
	}
	if spell.Trigger.Overlap != api.OverlapAllow && len(v.SpellStatus(id).Running) > 0 {
		return nil, isRunning(spell)
	}
	self := r.cfg.Cluster.Self()
	for _, s := range r.scopes {
		if s.name != spell.Scope {
			continue
		}
		if h, has := v.Holder(s.name); has && h.Peer != self && r.cfg.Cluster.Now().Before(claimable(v, h)) {
			return nil, api.Errorf(api.Conflict, opNow, "peer %s runs the cluster's spells just now: ask it", h.Peer)
		}
		return s, nil
	}
	return nil, api.Errorf(api.Conflict, opNow, "%s is a spell of peer %s: ask it", spell.Alias, spell.Scope)
}

func isRunning(spell api.Spell) error {
	return api.Errorf(api.Conflict, opNow, "a run of %s goes on: wait for its end, or let it overlap (overlap = \"allow\")", spell.Alias)
}

// Disarmed says why a spell does not run now whatever its trigger says; empty: it does.
func Disarmed(v state.View, spell api.Spell) string {
	if v.Suspended(spell.Account) {
		return fmt.Sprintf("account %s is suspended", spell.Account)
	}
	if spell.Package != "" && !deployed(v, spell) {
		return fmt.Sprintf("package %s is not deployed yet", spell.Package)
	}
	return ""
}

// deployed tells whether the package of a spell once was whole: all of it is there, and
// its init has succeeded. A spell that has run goes on running while its package is
// updated, or an update fails: what was there before stays in force.
func deployed(v state.View, spell api.Spell) bool {
	whole := func(d api.Deployment) bool {
		first := d.State == api.PackageCreated && d.Deploying
		done := d.State == api.PackageCreated || d.State == api.PackageExisting || d.State == api.PackageUpdated
		return d.Package == spell.Package && d.Scope == spell.Scope && (done && !first || d.Init != "")
	}
	if v.SpellStatus(spell.ID).Counter > 0 {
		return true
	}
	if spell.Scope != api.ScopeCluster {
		d, found := v.Deployment(spell.Scope, spell.Package)
		return found && whole(d)
	}
	for d := range v.Deployments() {
		if whole(d) {
			return true
		}
	}
	return false
}

// claimable is from when on another peer may have the cluster's spells: the lease is
// over, and whatever the holder began last has come to its deadline.
func claimable(v state.View, h api.Holder) time.Time {
	longest := int64(0)
	for spell := range v.Spells() {
		if spell.Scope == h.Scope && len(v.SpellStatus(spell.ID).Running) > 0 {
			longest = max(longest, spell.CallTTL)
		}
	}
	return h.Renewed.Add(api.HolderLease + time.Duration(longest)*time.Second)
}
