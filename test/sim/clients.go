package sim

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// client is somebody who asks one peer after the other.
type client struct {
	world *world
	name  string
	rng   *rand.Rand
	think time.Duration // between two requests, about
	count int
}

func (w *world) newClient(name string, k uint64, think time.Duration) *client {
	return &client{world: w, name: name, rng: rand.New(rand.NewPCG(w.seed, 1000+k)), think: think}
}

// run does one thing after the other until stop is closed.
func (c *client) run(stop <-chan struct{}, once func()) {
	c.world.work.Go(func() {
		for {
			t := time.NewTimer(c.think/2 + time.Duration(c.rng.Int64N(int64(c.think))))
			select {
			case <-t.C:
			case <-stop:
				t.Stop()
				return
			}
			once()
		}
	})
}

var errUnsent = errors.New("nobody listens there")

// call asks a host's peer. The answer of a process that was killed reaches nobody,
// and that of a frozen one waits.
func (c *client) call(h *host, patience time.Duration, ask func(ctx context.Context, l *life) error) error {
	ctx, cancel := context.WithTimeout(c.world.ctx, patience)
	defer cancel()
	if err := h.thaw(ctx); err != nil {
		return errUnsent
	}
	l := h.running()
	if l == nil {
		return errUnsent
	}
	defer context.AfterFunc(l.ctx, cancel)()
	err := ask(ctx, l)
	if thawed := h.thaw(ctx); thawed != nil || l.ctx.Err() != nil {
		return api.Errorf(api.Unavailable, "sim", "the connection broke")
	}
	return err
}

// patience is how long the client waits for an answer: some do not wait for long.
func (c *client) patience() time.Duration {
	if c.rng.IntN(12) == 0 {
		return time.Duration(1+c.rng.IntN(30)) * time.Millisecond
	}
	return time.Duration(2+c.rng.IntN(12)) * time.Second
}

// host is the next to be asked: any that is up, so that clients notice much of what is wrong.
func (c *client) host() *host {
	if up := c.world.up(); len(up) > 0 {
		return pick(c.rng, up)
	}
	return pick(c.rng, c.world.all())
}

// answer is what a write gave.
type answer struct {
	id, command string
	index       uint64
	replayed    bool
}

// writing is a write that is sent until it is known what became of it, or the
// client gives up; its key makes it one.
func (c *client) writing(w write, keyed bool, send func(ctx context.Context, l *life) (answer, error)) (answer, outcome) {
	c.count++
	w.client = c.name
	w.call, w.floor = c.world.history.tick(), c.world.history.acked.Load()
	w.request = uuid.NewString()
	caller := api.Caller{Actor: admin, RequestID: w.request}
	if keyed {
		w.key = fmt.Sprintf("uid:0 POST /sim %s-%d", c.name, c.count)
		body := sha256.Sum256([]byte(w.key))
		caller.Once = &api.OnceKey{Key: w.key, Body: body[:]}
	}
	attempts := 1
	if keyed {
		attempts = 4
	}
	if keyed && c.rng.IntN(8) == 0 { // a duplicate through another peer, at the same time
		twin, h, patience := w, c.host(), c.patience()
		twin.twin = true
		c.world.work.Go(func() {
			var a answer
			err := c.call(h, patience, func(ctx context.Context, l *life) (err error) {
				a, err = send(api.WithCaller(ctx, caller), l)
				return err
			})
			c.note(twin, a, err, false)
		})
	}
	var a answer
	var err error
	sent := false
	for k := range attempts {
		h := c.host()
		err = c.call(h, c.patience(), func(ctx context.Context, l *life) (err error) {
			sent = true
			a, err = send(api.WithCaller(ctx, caller), l)
			return err
		})
		if err == nil || !passes(err) {
			break
		}
		if k+1 < attempts && !c.world.sleep(time.Duration(100+c.rng.IntN(1500))*time.Millisecond) {
			break
		}
	}
	return a, c.note(w, a, err, !sent)
}

// passes tells whether an error says nothing of the write.
func passes(err error) bool {
	return errors.Is(err, errUnsent) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || api.IsKind(err, api.Unavailable)
}

// note keeps what came of a write.
func (c *client) note(w write, a answer, err error, unsentAtAll bool) outcome {
	w.ret = c.world.history.tick()
	w.id, w.index, w.command = a.id, a.index, a.command
	switch {
	case err == nil:
		w.outcome = done
		c.world.count("ack " + w.what)
		if w.twin {
			c.world.count("twins")
		}
		c.world.count("acknowledged")
		if !c.world.journal.has(a.index) {
			c.world.violation("%s was acknowledged at index %d, which no peer has applied", w.what, a.index)
		}
		if a.index <= w.floor && !a.replayed && w.key == "" {
			c.world.violation("%s got index %d, though index %d was acknowledged before it was sent", w.what, a.index, w.floor)
		}
	case unsentAtAll:
		w.outcome, w.ret = unsent, 0
		c.world.count("unsent")
	case passes(err):
		w.outcome, w.ret = unknown, 0
		c.world.count("unknown")
	default:
		w.outcome = refused
		w.refusal = fmt.Sprint(err)
		if e, ok := errors.AsType[*api.Error](err); ok {
			w.refusal = e.Kind.Code()
		}
		c.world.count("refused " + w.refusal)
	}
	c.world.trace("%s %s %s: %d %v index %d", c.name, w.what, w.object+w.value, w.outcome, err, a.index)
	c.world.history.wrote(w)
	return w.outcome
}

// registers are the nodes that clients change and read. One that was asked often
// enough gives way to another: a history that is to be checked is short.
type registers struct {
	mu   sync.Mutex
	list []*register
}

type register struct {
	id  string
	ops int
}

const (
	registersAtOnce = 5
	opsPerRegister  = 220
)

// use gives a register, or false when another is to be made.
func (r *registers) use(rng *rand.Rand, k int) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = slices.DeleteFunc(r.list, func(one *register) bool { return one.ops >= opsPerRegister })
	if len(r.list) < registersAtOnce {
		return "", false
	}
	one := pick(rng, r.list)
	one.ops += k
	return one.id, true
}

func (r *registers) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.list, func(one *register) bool { return one.id == id }) {
		r.list = append(r.list, &register{id: id})
	}
}

func node(value string) inventory.ComputeNode {
	return inventory.ComputeNode{Hostname: "n", Architecture: "x86_64", Description: value}
}

// inventory changes nodes by compare-and-set.
func (c *client) inventory(r *registers) {
	value := fmt.Sprintf("%s-%d", c.name, c.count)
	id, ok := r.use(c.rng, 2)
	if !ok {
		a, what := c.writing(write{what: "node.create", value: value}, true, func(ctx context.Context, l *life) (answer, error) {
			d, err := l.peer.Writer().CreateNodes(ctx, []inventory.ComputeNode{node(value)}, false)
			a := answer{command: d.Command, index: d.Index, replayed: d.Replayed}
			if err == nil && len(d.Object) == 1 {
				a.id = d.Object[0]
			}
			return a, err
		})
		if what == done && a.id != "" {
			r.add(a.id)
		}
		return
	}
	version, found := c.look(id, c.rng.IntN(3) > 0)
	if !found {
		return
	}
	if c.rng.IntN(10) == 0 {
		version = 0 // whatever is there
	}
	c.writing(write{what: "node.replace", object: id, ifVersion: version, value: value}, c.rng.IntN(2) == 0, func(ctx context.Context, l *life) (answer, error) {
		d, err := l.peer.Writer().ReplaceNode(ctx, id, version, node(value))
		return answer{id: id, command: d.Command, index: d.Index, replayed: d.Replayed}, err
	})
}

// look reads a node, linearizably or as the asked peer has it.
func (c *client) look(id string, linear bool) (version uint64, ok bool) {
	return c.lookAt(c.host(), id, linear)
}

func (c *client) lookAt(h *host, id string, linear bool) (version uint64, ok bool) {
	r := read{client: c.name, object: id, linear: linear, call: c.world.history.tick(), floor: c.world.history.acked.Load()}
	err := c.call(h, c.patience(), func(ctx context.Context, l *life) error {
		if linear {
			if err := l.peer.Node().ReadIndex(ctx); err != nil {
				return err
			}
		}
		now := l.machine.Read()
		r.index, r.hash = now.Index(), now.Hash()
		if n, found := now.ComputeNode(id); found {
			r.version, r.value = n.Version, n.Description
		}
		return nil
	})
	if err != nil {
		c.world.count("reads failed")
		return 0, false
	}
	r.ret = c.world.history.tick()
	c.world.count("reads")
	if linear && r.index < r.floor {
		c.world.violation("%s read index %d on %s, though index %d was acknowledged before", c.name, r.index, h.name, r.floor)
	}
	c.world.history.saw(r)
	return r.version, true
}

// guests makes, switches and removes virtual machines.
func (c *client) guests() {
	rows := c.vms()
	busy := len(rows)
	switch k := c.rng.IntN(10); {
	case k < 4 || busy == 0:
		c.createVM(fmt.Sprintf("vm%d", c.rng.IntN(40)))
	case k < 7 || busy > 26:
		vm := pick(c.rng, rows)
		c.writing(write{what: "vm.delete", object: vm.ID}, c.rng.IntN(2) == 0, func(ctx context.Context, l *life) (answer, error) {
			d, err := l.peer.Writer().DeleteVM(ctx, vm.ID, 0)
			return answer{d.ID, d.Command, d.Index, d.Replayed}, err
		})
	default:
		vm := pick(c.rng, rows)
		verb := pick(c.rng, []string{api.ActStart, api.ActStop, api.ActForceStop, api.ActRestart})
		c.writing(write{what: "vm." + verb, object: vm.ID}, c.rng.IntN(2) == 0, func(ctx context.Context, l *life) (answer, error) {
			d, err := l.peer.Writer().ActOnVM(ctx, vm.ID, 0, api.VMAct{Verb: verb})
			return answer{d.ID, d.Command, d.Index, d.Replayed}, err
		})
	}
}

func (c *client) createVM(name string) {
	spec := api.VMSpec{VCPUs: int64(1 + c.rng.IntN(3)), MemoryMiB: 256}
	if c.rng.IntN(4) > 0 {
		spec.Network = "net"
	}
	labels := map[string]string{"by": c.name, "rack": fmt.Sprint(c.rng.IntN(9)), "role": "web", "zone": "z"}
	c.writing(write{what: "vm.create", value: name}, c.rng.IntN(5) > 0, func(ctx context.Context, l *life) (answer, error) {
		d, err := l.peer.Writer().CreateVM(ctx, api.VMCreate{Name: name, Spec: spec, Labels: labels})
		return answer{d.ID, d.Command, d.Index, d.Replayed}, err
	})
}

// vms lists the virtual machines.
func (c *client) vms() (rows []api.VM) {
	h, linear, floor := c.host(), c.rng.IntN(2) == 0, c.world.history.acked.Load()
	var index uint64
	err := c.call(h, c.patience(), func(ctx context.Context, l *life) error {
		if linear {
			if err := l.peer.Node().ReadIndex(ctx); err != nil {
				return err
			}
		}
		now := l.machine.Read()
		index = now.Index()
		for vm := range now.VMs("") {
			rows = append(rows, vm)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	c.world.count("lists")
	if linear && index < floor {
		c.world.violation("%s listed VMs of index %d on %s, though index %d was acknowledged before", c.name, index, h.name, floor)
	}
	return rows
}

// writingAt changes a node through that host, whatever its version is.
func (c *client) writingAt(h *host, id string) {
	w := write{client: c.name, what: "node.replace", object: id, value: uuid.NewString(), request: uuid.NewString(), call: c.world.history.tick(), floor: c.world.history.acked.Load()}
	var a answer
	err := c.call(h, 3*time.Second, func(ctx context.Context, l *life) error {
		d, err := l.peer.Writer().ReplaceNode(api.WithCaller(ctx, api.Caller{Actor: admin, RequestID: w.request}), id, 0, node(w.value))
		a = answer{id: id, command: d.Command, index: d.Index, replayed: d.Replayed}
		return err
	})
	c.note(w, a, err, errors.Is(err, errUnsent))
}
