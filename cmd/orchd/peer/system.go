package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/sysvc/state"
)

// system is the cluster as this host's system services see it.
type system struct{ *Peer }

var _ state.Cluster = system{}

// systemView is one state as system services see it.
type systemView struct{ fsm.Reader }

func (v systemView) Peers() iter.Seq[api.Peer] { return v.Members() }
func (v systemView) Deals() iter.Seq[api.Deal] { return v.Reader.Deals("") }

func (s system) Self() string     { return s.identity.PeerID }
func (s system) Now() time.Time   { return s.cfg.Now() }
func (s system) View() state.View { return systemView{s.machine.Read()} }

// Fresh waits until this peer knows everything that was acknowledged before.
func (s system) Fresh(ctx context.Context) (state.View, error) {
	if err := s.node.ReadIndex(ctx); err != nil {
		return nil, err
	}
	return s.View(), nil
}

// Watch is closed at the next change of what decides which services and spells there are.
func (s system) Watch() <-chan struct{} { return s.machine.Read().ServicesChanged() }

// Alive are the members that gossip knows to be alive, and this one.
func (s system) Alive() []string {
	loads, alive := s.node.Loads(), []string{}
	for member := range s.machine.Read().Members() {
		if _, heard := loads[member.ID]; heard || member.ID == s.identity.PeerID {
			alive = append(alive, member.ID)
		}
	}
	return alive
}

// Events are the changes behind a position, of all accounts: what a spell may see of
// them is its host's business.
func (s system) Events(ctx context.Context, since api.Position, tables []string) (state.Events, error) {
	return s.Peer.Events(s.asPeer(ctx), since, 0, api.EventFilter{Tables: tables})
}

// settled waits, after a write, until this peer shows it.
func (s system) settled(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	return s.node.ReadIndex(ctx)
}

// wrote is settled for a write that gives a row.
func wrote[T any](ctx context.Context, s system, d fsm.Done[T], err error) (T, error) {
	return d.Object, s.settled(ctx, err)
}

// onBehalf is ctx with this peer as the one who asks, for the run or call that ctx is
// of: its fence stays.
func (s system) onBehalf(ctx context.Context) context.Context {
	caller := api.CallerOf(ctx)
	caller.Actor = fsm.ActorOfPeer(s.identity.PeerID)
	return api.WithCaller(ctx, caller)
}

func (s system) DeployService(ctx context.Context, d api.ServiceDeploy) (api.Service, error) {
	if err := s.room("service.deploy"); err != nil {
		return api.Service{}, err
	}
	done, err := s.writer.DeployService(s.asPeer(ctx), d)
	return wrote(ctx, s, done, err)
}

func (s system) MoveAlias(ctx context.Context, service string) (api.Service, error) {
	done, err := s.writer.MoveAlias(s.asPeer(ctx), service)
	return wrote(ctx, s, done, err)
}

func (s system) RemoveService(ctx context.Context, service, alias, wishes string) error {
	return s.settled(ctx, unlessGone(s.writer.RemoveService(s.asPeer(ctx), service, alias, wishes)))
}

func (s system) DeploySpell(ctx context.Context, d api.SpellDeploy) (api.Spell, error) {
	if err := s.room("spell.deploy"); err != nil {
		return api.Spell{}, err
	}
	done, err := s.writer.DeploySpell(s.asPeer(ctx), d)
	return wrote(ctx, s, done, err)
}

func (s system) RemoveSpell(ctx context.Context, spell, wishes string) error {
	return s.settled(ctx, unlessGone(s.writer.RemoveSpell(s.asPeer(ctx), spell, wishes)))
}

// unlessGone forgives that what is to be removed is not there.
func unlessGone(err error) error {
	if api.IsKind(err, api.NotFound) {
		return nil
	}
	return err
}

func (s system) ReportDeployment(ctx context.Context, d api.Deployment) error {
	return s.settled(ctx, s.writer.ReportDeployment(s.asPeer(ctx), d))
}

func (s system) Claim(ctx context.Context, scope, life string) (api.Holder, error) {
	done, err := s.writer.Claim(s.asPeer(ctx), scope, life)
	return wrote(ctx, s, done, err)
}

func (s system) Runs(ctx context.Context, b api.RunBatch) error {
	return s.settled(ctx, s.writer.Runs(s.asPeer(ctx), b))
}

func (s system) ChangeKV(ctx context.Context, c api.KVChange) (api.KVEntry, error) {
	done, err := s.writer.ChangeKV(s.onBehalf(ctx), c)
	return wrote(ctx, s, done, err)
}

func (s system) PushMail(ctx context.Context, spell, text string) error {
	if err := s.room("spell.mail"); err != nil {
		return err
	}
	return s.settled(ctx, s.writer.PushMail(ctx, spell, text))
}

func (s system) PopMail(ctx context.Context, spell string, seq int64) error {
	return s.settled(ctx, s.writer.PopMail(s.onBehalf(ctx), spell, seq))
}

// maxRead is how many rows a script gets at once.
const maxRead = 10_000

// Read lists rows of a table that the caller may see, as JSON.
func (s system) Read(ctx context.Context, table string, filter map[string]string) ([]json.RawMessage, error) {
	if hidden(ctx)(table) {
		return nil, api.Errorf(api.Forbidden, "read", "table %s is for admins", table)
	}
	rows, err := rowsLike(s.machine.Read(), table, filter)
	if err != nil {
		return nil, err
	}
	actor, found := api.CallerOf(ctx).Actor, []json.RawMessage{}
	for row := range rows {
		if row.Account != "" && actor.Account != "" && row.Account != actor.Account {
			continue
		}
		text := row.JSON()
		if !matches(text, filter) {
			continue
		}
		if found = append(found, text); len(found) > maxRead {
			return nil, api.Errorf(api.TooLarge, "read", "more than %d rows of %s match: narrow the filter", maxRead, table)
		}
	}
	return found, nil
}

// rowsLike are the rows of a table that a filter may match: one where it names the id,
// which is the key of most tables.
func rowsLike(r fsm.Reader, table string, filter map[string]string) (iter.Seq[fsm.PublicRow], error) {
	row, found, err := r.PublicRow(table, filter["id"])
	if err == nil && found {
		return func(yield func(fsm.PublicRow) bool) { yield(row) }, nil
	}
	return r.PublicRows(table)
}

// matches tells whether the fields of a row, with dots between levels, have those values.
func matches(text json.RawMessage, filter map[string]string) bool {
	if len(filter) == 0 {
		return true
	}
	var row map[string]any
	if json.Unmarshal(text, &row) != nil {
		return false
	}
	for path, want := range filter {
		if at, there := field(row, path); !there || fmt.Sprint(at) != want {
			return false
		}
	}
	return true
}

func field(row any, path string) (any, bool) {
	for name := range strings.SplitSeq(path, ".") {
		object, is := row.(map[string]any)
		if !is {
			return nil, false
		}
		if row, is = object[name]; !is {
			return nil, false
		}
	}
	return row, true
}

func (s system) CreateVM(ctx context.Context, c api.VMCreate) (api.VM, error) {
	if err := s.room("vm.create"); err != nil {
		return api.VM{}, err
	}
	done, err := s.writer.CreateVM(ctx, c)
	return wrote(ctx, s, done, err)
}

// named finds a VM by its name in an account, or by its id.
func (s system) named(account, name string) (api.VM, error) {
	r := s.machine.Read()
	if vm, ok := r.VMNamed(account, name); ok {
		return vm, nil
	}
	if vm, ok := r.VM(name); ok && vm.Account == account {
		return vm, nil
	}
	return api.VM{}, api.Errorf(api.NotFound, "vm", "no VM %q in account %q", name, account)
}

func (s system) DeleteVM(ctx context.Context, account, name string) error {
	vm, err := s.named(account, name)
	if err != nil {
		return err
	}
	_, err = s.writer.DeleteVM(ctx, vm.ID, 0)
	return s.settled(ctx, err)
}

func (s system) ActOnVM(ctx context.Context, account, name, action string) error {
	if !slices.Contains(plainActs, action) {
		return api.Errorf(api.Invalid, "vm", "a VM cannot be asked to %q; it can: %s", action, strings.Join(plainActs, ", "))
	}
	vm, err := s.named(account, name)
	if err != nil {
		return err
	}
	_, err = s.writer.ActOnVM(ctx, vm.ID, 0, api.VMAct{Verb: action})
	return s.settled(ctx, err)
}

// plainActs are the verbs that need nothing but a VM.
var plainActs = []string{api.ActStart, api.ActStop, api.ActForceStop, api.ActRestart, api.ActPause, api.ActResume}

func (s system) ReportDeal(ctx context.Context, r api.DealReport) error {
	return s.settled(ctx, s.writer.ReportDeal(s.onBehalf(ctx), r))
}

func (s system) CreateDeal(ctx context.Context, c api.DealCreate) (api.Deal, error) {
	if err := s.room("deal.create"); err != nil {
		return api.Deal{}, err
	}
	done, err := s.writer.CreateDeal(ctx, c)
	return wrote(ctx, s, done, err)
}

func (s system) UpdateDeal(ctx context.Context, account, name string, u api.DealUpdate) error {
	deal, ok := s.machine.Read().Deal(account, name)
	if !ok {
		return api.Errorf(api.NotFound, "deal", "no deal %q in account %q", name, account)
	}
	_, err := s.writer.UpdateDeal(ctx, deal.ID, 0, u)
	return s.settled(ctx, err)
}

func (s system) DeleteDeal(ctx context.Context, account, name string) error {
	deal, ok := s.machine.Read().Deal(account, name)
	if !ok {
		return nil
	}
	_, err := s.writer.DeleteDeal(ctx, deal.ID)
	return s.settled(ctx, err)
}
