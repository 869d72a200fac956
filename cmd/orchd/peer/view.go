package peer

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/fsm"
)

// View opens the state for one request.
func (p *Peer) View(ctx context.Context, c api.Consistency) (server.View, error) {
	v := view{peer: p}
	if c == api.Local {
		v.Reader, v.age = p.machine.Read(), p.node.Age()
	} else {
		if err := p.node.ReadIndex(ctx); err != nil {
			return nil, err
		}
		v.Reader = p.machine.Read()
	}
	v.actor = api.CallerOf(ctx).Actor
	v.sight = p.look(v.Reader)
	return v, nil
}

// view is one unchanging state with what is seen of the peers just now.
type view struct {
	fsm.Reader
	peer  *Peer
	actor api.Actor
	sight sight
	age   time.Duration
}

func (v view) AgeMs() int64 { return v.age.Milliseconds() }

// VM finds a VM by id, by name, or by ACCOUNT/NAME.
func (v view) VM(account, ref string) (api.VM, error) {
	if vm, ok := v.Reader.VM(ref); ok {
		return v.seen(vm), nil
	}
	if a, name, both := strings.Cut(ref, "/"); both && account == "" {
		account, ref = a, name
	}
	if account == "" {
		account = v.actor.Account
	}
	if account != "" {
		if vm, ok := v.VMNamed(account, ref); ok {
			return v.seen(vm), nil
		}
		return api.VM{}, api.Errorf(api.NotFound, "vm", "no VM %q in account %q", ref, account)
	}
	switch found := slices.Collect(v.VMsNamed(ref)); len(found) {
	case 0:
		return api.VM{}, api.Errorf(api.NotFound, "vm", "no VM %q", ref)
	case 1:
		return v.seen(found[0]), nil
	default:
		return api.VM{}, api.Errorf(api.Conflict, "vm", "several accounts have a VM %q: say which, as %s", ref, fullNames(found))
	}
}

func fullNames(vms []api.VM) string {
	var names []string
	for _, vm := range vms {
		names = append(names, vm.Account+"/"+vm.Name)
	}
	return strings.Join(names, ", ")
}

func (v view) VMs(after string) iter.Seq[api.VM] {
	return func(yield func(api.VM) bool) {
		for vm := range v.Reader.VMs(after) {
			if !yield(v.seen(vm)) {
				return
			}
		}
	}
}

// seen says unknown of a VM whose owner is silent: what it last reported may be wrong by now.
func (v view) seen(vm api.VM) api.VM {
	if since, silent := v.sight.silent[vm.Status.OwnerID]; silent && vm.Status.State != api.VMLost {
		vm.Status.State = api.VMUnknown
		vm.Status.Reason = fmt.Sprintf("peer %s was not heard since %s", vm.Status.Owner, since)
	}
	return vm
}

func (v view) Operation(id string) (api.Operation, error) {
	op, ok := v.Reader.Operation(id)
	if !ok {
		return op, api.Errorf(api.NotFound, "operation", "no operation %q", id)
	}
	return op, nil
}

func (v view) Image(ref string) (api.Image, error) {
	i, ok := v.Reader.Image(ref)
	if !ok {
		return i, api.Errorf(api.NotFound, "image", "no image %q", ref)
	}
	return i, nil
}

func (v view) Peer(ref string) (api.PeerView, error) {
	p, ok := v.Reader.Peer(ref)
	if !ok {
		return api.PeerView{}, api.Errorf(api.NotFound, "peer", "no peer %q", ref)
	}
	return v.sight.of(v.Reader, p), nil
}

func (v view) Peers(after string) iter.Seq[api.PeerView] {
	return func(yield func(api.PeerView) bool) {
		for p := range v.Members() {
			if p.ID > after && !yield(v.sight.of(v.Reader, p)) {
				return
			}
		}
	}
}

func (v view) Watch() <-chan struct{} { return v.OperationsChanged() }
