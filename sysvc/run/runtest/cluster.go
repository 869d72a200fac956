package runtest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
)

// Cluster is the world as one process of a peer has it: a state.Cluster.
type Cluster struct {
	world *World
	id    string
	// Delay is how long each write takes.
	Delay time.Duration

	mu     sync.Mutex
	lost   func() bool
	dead   bool
	cut    bool
	frozen *tables       // cut off: what it still knows
	held   chan struct{} // not nil: it stands still until this is closed
}

var _ state.Cluster = (*Cluster)(nil)

// Peer is a new process of a peer.
func (w *World) Peer(id string) *Cluster {
	c := &Cluster{world: w, id: id, Delay: 5 * time.Millisecond}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers = append(w.peers, c)
	return c
}

// SetLost: lost is asked after each write; true, and the answer is lost on its way back.
func (c *Cluster) SetLost(lost func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = lost
}

// Kill ends the process: whatever it still does reaches nobody.
func (c *Cluster) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	if c.held != nil {
		close(c.held)
		c.held = nil
	}
}

// Dead tells whether the process was killed.
func (c *Cluster) Dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// Hold makes the process stand still, or go on.
func (c *Cluster) Hold(still bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if still && c.held == nil && !c.dead {
		c.held = make(chan struct{})
	}
	if !still && c.held != nil {
		close(c.held)
		c.held = nil
	}
}

// Partition cuts the process off from the majority, or lets it come back.
func (c *Cluster) Partition(off bool) {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut, c.frozen = off, nil
	if off {
		known := c.world.tables.clone()
		c.frozen = &known
	}
}

// stand waits while the process stands still.
func (c *Cluster) stand() (dead, cut bool) {
	c.mu.Lock()
	held := c.held
	c.mu.Unlock()
	if held != nil {
		<-held
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead, c.cut
}

var errDead = errors.New("this process was killed")

// reach is the way to the majority and back: write is done there.
func (c *Cluster) reach(ctx context.Context, write func() error) error {
	t := time.NewTimer(c.Delay)
	defer t.Stop()
	dead, cut := c.stand()
	if dead {
		return errDead
	}
	if !cut {
		select {
		case <-t.C:
		case <-ctx.Done():
			return api.Errorf(api.Unavailable, "propose", "%w", ctx.Err())
		}
		_, cut = c.stand()
	}
	if cut {
		<-ctx.Done() // no leader to be found
		return api.Errorf(api.Unavailable, "propose", "no leader: %w", ctx.Err())
	}
	err := write()
	if dead, _ := c.stand(); dead {
		return errDead
	}
	c.mu.Lock()
	lost := c.lost
	c.mu.Unlock()
	if lost != nil && lost() {
		return api.Errorf(api.Unavailable, "propose", "the answer was lost")
	}
	return err
}

// apply is a write as an entry of the log, with the fence of the caller looked at.
func (c *Cluster) apply(ctx context.Context, f func(*tables, api.Caller) error) error {
	return c.reach(ctx, func() error {
		c.world.mu.Lock()
		defer c.world.mu.Unlock()
		c.world.tables.index++
		caller := api.CallerOf(ctx)
		if err := c.world.tables.fenced(caller); err != nil {
			return err
		}
		return f(&c.world.tables, caller)
	})
}

func (c *Cluster) Self() string { return c.id }

func (c *Cluster) Now() time.Time {
	c.stand()
	return time.Now()
}

func (c *Cluster) View() state.View {
	c.stand()
	c.mu.Lock()
	defer c.mu.Unlock()
	return live{c.world, c.frozen}
}

func (c *Cluster) Fresh(ctx context.Context) (state.View, error) {
	if dead, cut := c.stand(); dead || cut {
		<-ctx.Done()
		return nil, api.Errorf(api.Unavailable, "read", "no leader: %w", ctx.Err())
	}
	return c.View(), nil
}

func (c *Cluster) Watch() <-chan struct{} {
	c.stand()
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	return c.world.changed
}

func (c *Cluster) Alive() []string {
	c.stand()
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	var all []string
	for _, id := range slices.Sorted(maps.Keys(c.world.alive)) {
		if c.world.alive[id] || id == c.id {
			all = append(all, id)
		}
	}
	return all
}

func (c *Cluster) Events(ctx context.Context, since api.Position, names []string) (state.Events, error) {
	if dead, cut := c.stand(); dead || cut {
		return nil, api.Errorf(api.Unavailable, "events", "no leader")
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if since.Index+1 < c.world.oldest {
		return nil, api.Errorf(api.Gone, "events", "changes after %s are not kept any more", since)
	}
	return &events{c, since, names}, nil
}

type events struct {
	c     *Cluster
	since api.Position
	names []string
}

func (e *events) Next(ctx context.Context) (api.Event, error) {
	for {
		if dead, _ := e.c.stand(); dead {
			return api.Event{}, errDead
		}
		w := e.c.world
		w.mu.Lock()
		grew, all := w.grew, w.events
		w.mu.Unlock()
		for _, event := range all {
			if e.since.Before(event.Position()) && slices.Contains(e.names, event.Table) {
				e.since = event.Position()
				return event, nil
			}
		}
		select {
		case <-ctx.Done():
			return api.Event{}, ctx.Err()
		case <-grew:
		}
	}
}

func (e *events) Close() {}

func (c *Cluster) Claim(ctx context.Context, scope, life string) (h api.Holder, err error) {
	lost := c.reach(ctx, func() error {
		h, err = c.world.claim(scope, c.id, life)
		return err
	})
	return h, lost
}

func (c *Cluster) Runs(ctx context.Context, b api.RunBatch) error {
	return c.reach(ctx, func() error { return c.world.run(b) })
}

func (c *Cluster) ChangeKV(ctx context.Context, change api.KVChange) (e api.KVEntry, err error) {
	err = c.apply(ctx, func(t *tables, caller api.Caller) error {
		if change.By == api.KVBySelf && caller.Actor.Role != api.RolePeer {
			return api.Errorf(api.Forbidden, "kv.change", "only a peer writes for a spell")
		}
		var err error
		e, err = t.changeKV(change, time.Now())
		return err
	})
	return e, err
}

func (c *Cluster) PushMail(ctx context.Context, spell, text string) error {
	return c.apply(ctx, func(t *tables, caller api.Caller) error {
		box := t.mail[spell]
		if len(box) >= api.MaxMailbox {
			return api.Errorf(api.Conflict, "mail.push", "the mailbox is full")
		}
		t.mail[spell] = append(slices.Clone(box), api.Mail{Seq: int64(t.index), From: caller.Actor.ID, Text: text, At: time.Now()})
		return nil
	})
}

func (c *Cluster) PopMail(ctx context.Context, spell string, seq int64) error {
	return c.apply(ctx, func(t *tables, caller api.Caller) error {
		if box := t.mail[spell]; len(box) == 0 || box[0].Seq != seq || caller.Actor.Role != api.RolePeer {
			return api.Errorf(api.Precondition, "mail.pop", "it is not the oldest")
		}
		t.mail[spell] = slices.Clone(t.mail[spell][1:])
		return nil
	})
}

func (c *Cluster) Read(ctx context.Context, table string, filter map[string]string) (rows []json.RawMessage, err error) {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	for _, vm := range sorted(c.world.tables.vms, every) {
		account := api.CallerOf(ctx).Actor.Account
		if name, asked := filter["name"]; table != "vms" || asked && name != vm.Name || account != "" && account != vm.Account {
			continue
		}
		text, _ := json.Marshal(vm)
		rows = append(rows, text)
	}
	return rows, nil
}

func (c *Cluster) CreateVM(ctx context.Context, create api.VMCreate) (vm api.VM, err error) {
	err = c.apply(ctx, func(t *tables, caller api.Caller) error {
		if caller.Actor.Account != "" && caller.Actor.Account != create.Account {
			return api.Errorf(api.Forbidden, "vm.create", "not your account")
		}
		vm = api.VM{ID: create.Account + "-" + create.Name, Name: create.Name, Account: create.Account, Spec: create.Spec}
		t.vms[create.Account+"/"+create.Name] = vm
		return nil
	})
	return vm, err
}

func (c *Cluster) DeleteVM(ctx context.Context, account, name string) error {
	return c.apply(ctx, func(t *tables, _ api.Caller) error {
		if _, there := t.vms[account+"/"+name]; !there {
			return api.Errorf(api.NotFound, "vm.delete", "there is no VM %s", name)
		}
		delete(t.vms, account+"/"+name)
		return nil
	})
}

func (c *Cluster) ActOnVM(ctx context.Context, account, name, action string) error {
	return c.apply(ctx, func(t *tables, _ api.Caller) error {
		vm, there := t.vms[account+"/"+name]
		if !there {
			return api.Errorf(api.NotFound, "vm.act", "there is no VM %s", name)
		}
		vm.Status.Reason = action
		t.vms[account+"/"+name] = vm
		return nil
	})
}

func (c *Cluster) ReportDeal(ctx context.Context, r api.DealReport) error {
	return c.apply(ctx, func(t *tables, caller api.Caller) error {
		d, there := t.deals[r.ID]
		if !there || caller.Actor.Role != api.RolePeer {
			return api.Errorf(api.NotFound, "deal.report", "there is no deal %s", r.ID)
		}
		d.Reason, d.Workers = r.Reason, r.Workers
		t.deals[r.ID] = d
		return nil
	})
}

func (c *Cluster) CreateDeal(ctx context.Context, create api.DealCreate) (d api.Deal, err error) {
	err = c.apply(ctx, func(t *tables, _ api.Caller) error {
		d = api.Deal{ID: create.Account + "-" + create.Name, Name: create.Name, Account: create.Account, Spec: create.Spec}
		t.deals[d.ID] = d
		return nil
	})
	return d, err
}

func (c *Cluster) UpdateDeal(ctx context.Context, account, name string, u api.DealUpdate) error {
	return c.apply(ctx, func(t *tables, _ api.Caller) error {
		d, there := t.deals[account+"-"+name]
		if !there {
			return api.Errorf(api.NotFound, "deal.update", "there is no deal %s", name)
		}
		d.Spec, d.State = u.Spec, u.State
		t.deals[d.ID] = d
		return nil
	})
}

func (c *Cluster) DeleteDeal(ctx context.Context, account, name string) error {
	return c.apply(ctx, func(t *tables, _ api.Caller) error {
		delete(t.deals, account+"-"+name)
		return nil
	})
}

// What makes services and spells is not for tests of what runs.
var errNotHere = errors.New("not in this fake")

func (c *Cluster) DeployService(context.Context, api.ServiceDeploy) (api.Service, error) {
	return api.Service{}, errNotHere
}
func (c *Cluster) MoveAlias(context.Context, string) (api.Service, error) {
	return api.Service{}, errNotHere
}
func (c *Cluster) RemoveService(context.Context, string, string, string) error { return errNotHere }
func (c *Cluster) DeploySpell(context.Context, api.SpellDeploy) (api.Spell, error) {
	return api.Spell{}, errNotHere
}
func (c *Cluster) RemoveSpell(context.Context, string, string) error      { return errNotHere }
func (c *Cluster) ReportDeployment(context.Context, api.Deployment) error { return errNotHere }
