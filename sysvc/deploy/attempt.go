package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
)

// survey is what there is of each package that this peer has to do with.
func survey(c state.Cluster, v state.View, w wanted) map[string]present {
	there := map[string]present{}
	change := func(name string, f func(*present)) {
		p := there[name]
		f(&p)
		there[name] = p
	}
	here := func(pkg, scope string) bool { return pkg != "" && (scope == w.self || scope == api.ScopeCluster) }
	for s := range v.Services() {
		if here(s.Package, s.Scope) {
			change(s.Package, func(p *present) { p.services = append(p.services, s) })
		}
	}
	for s := range v.Spells() {
		if here(s.Package, s.Scope) {
			change(s.Package, func(p *present) { p.spells = append(p.spells, s) })
		}
	}
	members := map[string]bool{}
	for p := range v.Peers() {
		members[p.ID] = true
	}
	for d := range v.Deployments() {
		if members[d.Peer] && here(d.Package, d.Scope) {
			change(d.Package, func(p *present) { p.rows = append(p.rows, d) })
		}
	}
	alive := map[string]bool{w.self: true}
	for _, peer := range c.Alive() {
		alive[peer] = true
	}
	for name, wants := range w.packages {
		change(name, func(p *present) { p.strange = strangers(v, wants) })
	}
	for name := range there {
		change(name, func(p *present) { p.alive = alive })
	}
	return there
}

// strangers are the aliases that a package wants and that something else has.
func strangers(v state.View, wants want) map[string]string {
	all := map[string]string{}
	for _, s := range wants.Services {
		if row, has := v.SpellAt(wants.scope, s.Alias); has {
			all[s.Alias] = "a spell" + from(row.Package)
		} else if row, has := v.ServiceAt(wants.scope, s.Alias); has && row.Package != wants.Name {
			all[s.Alias] = "a service" + from(row.Package)
		}
	}
	for _, s := range wants.Spells {
		if row, has := v.ServiceAt(wants.scope, s.Alias); has {
			all[s.Alias] = "a service" + from(row.Package)
		} else if row, has := v.SpellAt(wants.scope, s.Alias); has && row.Package != wants.Name {
			all[s.Alias] = "a spell" + from(row.Package)
		}
	}
	return all
}

func from(pkg string) string {
	if pkg == "" {
		return " of no package"
	}
	return " of package " + pkg
}

// attempt is one turn of one package.
type attempt struct {
	*Deployer
	want   want
	own    api.Deployment         // as the cluster has it, or is to be told next
	news   map[string]api.Service // services that were made, by alias
	wishes string                 // what other peers wanted of the package when the steps were planned
}

// attempt takes the steps of one package, as the newest tables have them. Of a failure
// the cluster is told; failed is what it is told.
func (d *Deployer) attempt(ctx context.Context, name string) (failed *api.Deployment, err error) {
	view, err := d.cfg.Cluster.Fresh(ctx)
	if err != nil {
		return nil, err
	}
	there := survey(d.cfg.Cluster, view, d.wanted)[name]
	m := matter{w: d.wanted, name: name, p: there}
	own, known := m.rowOf(d.wanted.self)
	if !known {
		own.Scope = d.wanted.packages[name].scope
	}
	a := attempt{Deployer: d, want: d.wanted.packages[name], own: own, news: map[string]api.Service{},
		wishes: api.WishesOfOthers(view.Deployments(), name, d.wanted.self)}
	steps := planOne(d.wanted, there, name)
	for i, s := range steps {
		d.cfg.Log.Debug("step of a package", "package", name, "step", s.do.String(), "alias", s.alias, "id", s.id)
		err := a.checked(ctx, steps[:i], s)
		if err == nil {
			err = a.take(ctx, s)
		}
		if (s.do == removeService || s.do == removeSpell) && api.IsKind(err, api.Precondition) {
			return nil, nil // another peer has been at it meanwhile, or wants it now: look again
		}
		if err != nil {
			return a.fail(ctx, s, err), err
		}
	}
	return nil, nil
}

// checked looks at the package's code before the first step that brings any of it to the
// cluster: what cannot even be compiled takes the place of nothing.
func (a *attempt) checked(ctx context.Context, before []step, s step) error {
	brings := func(s step) bool { return s.do == create || s.do == cast }
	if !brings(s) || slices.ContainsFunc(before, brings) {
		return nil
	}
	return a.cfg.Check(ctx, a.want.Package)
}

func (a *attempt) take(ctx context.Context, s step) (err error) {
	c := a.cfg.Cluster
	switch s.do {
	case announce, report:
		return a.tell(ctx, s.row)
	case create:
		return a.create(ctx, s)
	case initialise:
		return a.initialise(ctx)
	case move:
		return a.move(ctx, s.alias)
	case cast:
		return a.cast(ctx, s.alias)
	case removeSpell:
		err = c.RemoveSpell(ctx, s.id, a.wishes)
	case removeService:
		err = c.RemoveService(ctx, s.id, s.has, a.wishes)
	case refuse:
		return errors.New(s.reason)
	}
	if err != nil && !api.IsKind(err, api.NotFound) {
		return fmt.Errorf("%s %s: %w", s.do, s.alias, err)
	}
	return nil
}

// tell writes this peer's row.
func (a *attempt) tell(ctx context.Context, row api.Deployment) error {
	row.At = a.cfg.Cluster.Now()
	if err := a.cfg.Cluster.ReportDeployment(ctx, row); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if row.State != a.own.State && !row.Deploying {
		a.cfg.Log.Info("package is "+string(row.State), "package", row.Package, "version", row.Version, "scope", row.Scope)
	}
	a.own = row
	return nil
}

// fail tells the cluster why this turn came to nothing, unless it was this that could
// not be told: then the row says nothing wrong, and the next turn tells.
func (a *attempt) fail(ctx context.Context, s step, why error) *api.Deployment {
	row := a.own
	row.State, row.Error, row.Deploying = api.PackageFailed, why.Error(), false
	_, row.Enabled = a.wanted.packages[row.Package]
	row.Attempts++
	if ctx.Err() == nil && s.do != announce && s.do != report {
		if err := a.tell(ctx, row); err != nil {
			a.cfg.Log.Debug("failure not reported", "package", row.Package, "err", err)
		}
	}
	return &row
}

// create makes a service that has no alias yet, or takes the one that was made before.
func (a *attempt) create(ctx context.Context, s step) error {
	wants, _ := a.want.Service(s.alias)
	for _, m := range wants.Modules {
		if _, err := a.cfg.Modules.Put(a.want.Files[m.Digest]); err != nil {
			return fmt.Errorf("service %s: %w", s.alias, err)
		}
	}
	if s.id != "" {
		if row, there := a.cfg.Cluster.View().Service(s.id); there {
			a.news[s.alias] = row
			return nil
		}
	}
	row, err := a.cfg.Cluster.DeployService(ctx, api.ServiceDeploy{
		Scope: a.want.scope, Alias: s.alias, Package: a.want.Name, Account: a.want.Account, Blueprint: wants.Blueprint,
		Modules: wants.Modules, Grants: a.want.Grants, Access: wants.Access, CallTTL: wants.CallTTL,
	})
	if err != nil {
		return fmt.Errorf("make service %s: %w", s.alias, err)
	}
	a.news[s.alias] = row
	return nil
}

// initialise makes the calls of [[init]], in order: of services that were just made by
// their id, for they may have no alias yet.
func (a *attempt) initialise(ctx context.Context) error {
	for _, call := range a.want.Init {
		service, there := a.news[call.Service]
		if !there {
			service, there = a.cfg.Cluster.View().ServiceAt(a.want.scope, call.Service)
		}
		if !there {
			return fmt.Errorf("init of %s: the service is not there", call.Service)
		}
		if err := a.cfg.Call(ctx, service, call.Function, call.Args); err != nil {
			return fmt.Errorf("init of %s: %s: %w", call.Service, call.Function, err)
		}
	}
	a.own.Init = a.want.init // to be told, whatever becomes of the rest
	return nil
}

// move gives a new service its alias, and with it the values of who had it.
func (a *attempt) move(ctx context.Context, alias string) error {
	if _, err := a.cfg.Cluster.MoveAlias(ctx, a.news[alias].ID); err != nil {
		return fmt.Errorf("give alias %s to the new service: %w", alias, err)
	}
	return nil
}

func (a *attempt) cast(ctx context.Context, alias string) error {
	wants, _ := a.want.Spell(alias)
	if err := wants.Trigger.Clock.Check(a.cfg.Cluster.Now()); err != nil {
		return fmt.Errorf("spell %s: %w", alias, err)
	}
	_, err := a.cfg.Cluster.DeploySpell(ctx, api.SpellDeploy{Package: a.want.Name, SpellCreate: api.SpellCreate{
		Alias: alias, Scope: a.want.scope, Account: a.want.Account, Script: wants.Script, KV: wants.KV,
		Trigger: wants.Trigger, Grants: a.want.Grants, CallTTL: wants.CallTTL,
	}})
	if err != nil {
		return fmt.Errorf("spell %s: %w", alias, err)
	}
	return nil
}
