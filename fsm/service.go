package fsm

import (
	"context"
	"iter"
	"slices"

	"github.com/orchd/orchd/api"
)

// services are what answers calls. A service that is being made has no alias yet, and
// one that another has taken the place of has none any more; both keep the alias that
// they were made for in Wanted.
var services = &table[api.Service]{
	name:    "services",
	key:     func(s *api.Service) string { return s.ID },
	account: func(s *api.Service) string { return s.Account },
	by: map[string]func(*api.Service) string{
		"scope":   func(s *api.Service) string { return s.Scope },
		"account": func(s *api.Service) string { return s.Account },
		"store":   func(s *api.Service) string { return s.Store },
		"wanted":  func(s *api.Service) string { return aliasKey(s.Scope, s.Wanted) },
	},
	unique: map[string]func(*api.Service) []string{
		"alias": func(s *api.Service) []string {
			if s.Alias == "" {
				return nil
			}
			return []string{aliasKey(s.Scope, s.Alias)}
		},
	},
}

func aliasKey(scope, alias string) string { return scope + "/" + alias }

// applyDeployService makes a service without an alias, unless the same is there.
func applyDeployService(tx *Txn, c api.ServiceDeploy) (object, error) {
	const op = "service.deploy"
	if err := tx.hosts(op, c.Scope); err != nil {
		return nothing, err
	}
	if c.CallTTL == 0 {
		c.CallTTL = api.DefaultCallTTL
	}
	if err := serviceFaults(c).refusal(op, "the service is not valid"); err != nil {
		return nothing, err
	}
	for s := range services.all(tx.Reader, "wanted", aliasKey(c.Scope, c.Alias)) {
		if s.Package == c.Package && s.Blueprint == c.Blueprint && s.Account == c.Account {
			return object{table: services, key: s.ID}, nil
		}
	}
	if err := aliasFor(tx.Reader, op, c.Scope, c.Alias, c.Package); err != nil {
		return nothing, err
	}
	if err := accountOpen(tx.Reader, op, c.Account); err != nil {
		return nothing, err
	}
	s := api.Service{ID: tx.newID(), Scope: c.Scope, Wanted: c.Alias, Package: c.Package, Account: c.Account, Blueprint: c.Blueprint, Modules: c.Modules,
		Grants: c.Grants, Access: c.Access, CallTTL: c.CallTTL, CreatedAt: tx.Now}
	s.Store = s.ID
	return putService(tx, s), nil
}

// aliasFor refuses an alias for a service of a package when a spell, or a service of
// another package, has it.
func aliasFor(r Reader, op, scope, alias, pkg string) error {
	if s, taken := spells.holder(r, "alias", aliasKey(scope, alias)); taken {
		return api.Errorf(api.Conflict, op, "the alias %q is that of a spell%s; remove it first: orchd spell remove %s", alias, ofPackage(s.Package), alias)
	}
	if s, taken := services.holder(r, "alias", aliasKey(scope, alias)); taken && s.Package != pkg {
		return api.Errorf(api.Conflict, op, "the alias %q is that of a service%s", alias, ofPackage(s.Package))
	}
	return nil
}

func ofPackage(name string) string {
	if name == "" {
		return ""
	}
	return " of package " + name
}

func putService(tx *Txn, s api.Service) object {
	s.Version++
	s.UpdatedAt = tx.Now
	services.put(tx, s)
	return object{table: services, key: s.ID}
}

type serviceID struct {
	ID string `cbor:"1,keyasint"`
}

// applyMoveAlias lets a service take the place of the one that has its alias: one step,
// so that the alias always has somebody who answers. It inherits the values of the
// old one; what it has kept while it was made lies over them, key by key.
func applyMoveAlias(tx *Txn, c serviceID) (object, error) {
	const op = "service.move-alias"
	s, there := services.one(tx.Reader, c.ID)
	if !there {
		return nothing, api.Errorf(api.NotFound, op, "no service %s", c.ID)
	}
	if err := tx.hosts(op, s.Scope); err != nil {
		return nothing, err
	}
	if s.Alias != "" {
		return object{table: services, key: s.ID}, nil
	}
	if err := aliasFor(tx.Reader, op, s.Scope, s.Wanted, s.Package); err != nil {
		return nothing, err
	}
	if old, taken := services.holder(tx.Reader, "alias", aliasKey(s.Scope, s.Wanted)); taken {
		before := *old
		before.Alias = ""
		putService(tx, before)
		if err := inheritStore(tx, op, &s, before); err != nil {
			return nothing, err
		}
	}
	s.Alias = s.Wanted
	return putService(tx, s), nil
}

// inheritStore gives a service the store of the one that it takes the place of.
func inheritStore(tx *Txn, op string, s *api.Service, old api.Service) error {
	own := s.Store
	s.Store = old.Store
	if own != s.Store {
		for _, e := range slices.Collect(kvIn(tx.Reader, own, "")) {
			spellKV.remove(tx, spellKV.key(&e))
			e.Store = s.Store
			if was, there := spellKV.one(tx.Reader, spellKV.key(&e)); there {
				e.Version = max(e.Version, was.Version)
			}
			putKV(tx, e)
		}
	}
	if old.Account != s.Account {
		reassignStore(tx, s.Store, s.Account)
	}
	return storeFits(tx.Reader, op, s.Store, storeSize{})
}

type serviceRemoval struct {
	ID      string  `cbor:"1,keyasint"`
	IfAlias *string `cbor:"2,keyasint,omitempty"`
	Wishes  *string `cbor:"3,keyasint,omitempty"` // of others, as api.WishesOfOthers has them
}

// applyRemoveService forgets a service, and its values when no other has its store. One
// that is not there was removed before. Who says which alias it is to have, none or one,
// is refused when it has another: what was left over when somebody looked may have
// taken the place of another since, with its values. So is who says what others want of
// the package, and they want something else by now: they may have found it and be glad of it.
func applyRemoveService(tx *Txn, c serviceRemoval) (object, error) {
	const op = "service.remove"
	s, there := services.one(tx.Reader, c.ID)
	if !there {
		_, err := tx.asPeer(op)
		return nothing, err
	}
	if err := tx.hosts(op, s.Scope); err != nil {
		return nothing, err
	}
	if c.IfAlias != nil && s.Alias != *c.IfAlias {
		return nothing, api.Errorf(api.Precondition, op, "service %s has the alias %q now, and was to be removed with %q", s.ID, s.Alias, *c.IfAlias)
	}
	if err := wishesStand(tx, op, s.Package, c.Wishes); err != nil {
		return nothing, err
	}
	dropService(tx, s)
	return nothing, nil
}

// wishesStand refuses what was decided when other peers wanted something else of a package.
func wishesStand(tx *Txn, op, pkg string, wishes *string) error {
	if wishes == nil {
		return nil
	}
	p, err := tx.asPeer(op)
	if err == nil && api.WishesOfOthers(tx.Deployments(), pkg, p.ID) != *wishes {
		err = api.Errorf(api.Precondition, op, "what other peers want of the package %q has changed", pkg)
	}
	return err
}

func dropService(tx *Txn, s api.Service) {
	services.remove(tx, s.ID)
	if _, still := services.with(tx.Reader, "store", s.Store); !still {
		dropStore(tx, s.Store)
	}
}

// forgetScope drops what a peer that is no member any more had for itself: its
// services, its spells, the runs that it had in hand, and what it said of its packages.
func forgetScope(tx *Txn, peer string) {
	for _, s := range slices.Collect(services.all(tx.Reader, "scope", peer)) {
		dropService(tx, s)
	}
	for _, s := range slices.Collect(spells.all(tx.Reader, "scope", peer)) {
		dropSpell(tx, s)
	}
	for _, d := range slices.Collect(deployments.all(tx.Reader, "peer", peer)) {
		deployments.remove(tx, deployments.key(&d))
	}
	holders.remove(tx, peer)
	wakeServices(tx)
}

// wakeServices wakes who waits for anything of system services to change.
func wakeServices(tx *Txn) { tx.changing(services.pos) }

// ServicesChanged is closed when services, spells, deployments, deals, who has the runs
// of a scope in hand, or whether an account is suspended may have changed. Runs,
// values and mail do not close it.
func (r Reader) ServicesChanged() <-chan struct{} { return r.state.trees[services.pos].changed() }

// Services lists the services by id.
func (r Reader) Services() iter.Seq[api.Service] { return services.each(r, "") }

// Service finds a service by id.
func (r Reader) Service(id string) (api.Service, bool) { return services.one(r, id) }

// ServiceAt finds the service that has an alias in a scope.
func (r Reader) ServiceAt(scope, alias string) (api.Service, bool) {
	s, ok := services.holder(r, "alias", aliasKey(scope, alias))
	if !ok {
		return api.Service{}, false
	}
	return *s, true
}

// DeployService makes a service that has no alias yet, for the peer that asks. One that
// is there with the same scope, package, account, wanted alias and blueprint is given back.
func (w *Writer) DeployService(ctx context.Context, d api.ServiceDeploy) (Done[api.Service], error) {
	d.Modules = slices.Clone(d.Modules)
	for i := range d.Modules {
		settings, ok := compactObject(d.Modules[i].Settings)
		if !ok {
			return Done[api.Service]{}, fault("/modules", "the settings of module "+d.Modules[i].Name+" must be a JSON object")
		}
		d.Modules[i].Settings = settings
	}
	done, err := propose[api.Service](ctx, w, deployService, d)
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}

// MoveAlias gives a service the alias that it was made for; who had it has none then.
func (w *Writer) MoveAlias(ctx context.Context, id string) (Done[api.Service], error) {
	return propose[api.Service](ctx, w, moveAlias, serviceID{id})
}

// RemoveService forgets a service that has an alias, or none; one that is not there is
// no error. It fails with Precondition when the service has another alias by now, or
// api.WishesOfOthers of its package are not wishes any more.
func (w *Writer) RemoveService(ctx context.Context, id, alias, wishes string) error {
	_, err := propose[struct{}](ctx, w, removeService, serviceRemoval{id, &alias, &wishes})
	return err
}
