// Package sysvc makes this host's system services and spells match what is wanted, and
// runs them. It alone runs scripts and WebAssembly, in child processes.
//
// A package (sysvc/pack) holds services, which answer calls, and spells, which run when
// their trigger fires. The deployer (sysvc/deploy) puts what this host's configuration
// enables into the cluster's tables; the runner (sysvc/run) runs the spells of this
// host, and of the cluster while this host holds them; both run code through a pool of
// workers (sysvc/worker), for which sysvc/host is the world. Start with Open.
package sysvc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/deploy"
	"github.com/orchd/orchd/sysvc/host"
	"github.com/orchd/orchd/sysvc/modules"
	"github.com/orchd/orchd/sysvc/pack"
	"github.com/orchd/orchd/sysvc/run"
	"github.com/orchd/orchd/sysvc/state"
	"github.com/orchd/orchd/sysvc/worker"
)

// Config is what system services are told.
type Config struct {
	Cluster      state.Cluster
	Modules      *modules.Store
	Packages     []pack.Package // that this host is to have
	KeepDisabled bool           // leave what is no longer enabled
	Worker       []string       // program and arguments that run worker.Main
	// HTTP sends a request of a package to one of the hosts that it was granted.
	HTTP func(ctx context.Context, granted []string, r *http.Request) (*http.Response, error)
	Log  *slog.Logger
}

// Services is what this host runs on the cluster's behalf.
type Services struct {
	cfg      Config
	pool     *worker.Pool
	hosts    *host.Hosts
	runner   *run.Runner
	deployer *deploy.Deployer
}

// Open puts the parts together; nothing runs yet.
func Open(c Config) (*Services, error) {
	for _, p := range c.Packages {
		for digest, content := range p.Files {
			if put, err := c.Modules.Put(content); err != nil || put != digest {
				return nil, fmt.Errorf("package %s: keep its modules: %w", p.Name, err)
			}
		}
	}
	s := &Services{cfg: c}
	s.hosts = host.New(host.Config{Cluster: c.Cluster, HTTP: c.HTTP, Log: c.Log})
	s.pool = worker.New(worker.Config{Command: c.Worker, Source: s.hosts.Source(c.Modules), Log: c.Log})
	s.runner = run.New(run.Config{Cluster: c.Cluster, Pool: s.pool, Hosts: s.hosts, Log: c.Log})
	s.deployer = deploy.New(deploy.Config{Cluster: c.Cluster, Modules: c.Modules, Call: s.initialise, Check: s.check, Wanted: c.Packages, KeepDisabled: c.KeepDisabled, Log: c.Log})
	return s, nil
}

// Run deploys and runs until ctx ends.
func (s *Services) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.deployer.Run(ctx) })
	g.Go(func() error { return s.runner.Run(ctx) })
	g.Go(func() error { s.sweep(ctx); return nil })
	return g.Wait()
}

// Close ends the workers.
func (s *Services) Close() { s.pool.Close() }

// sweepEvery is the time between two looks for modules that no service has.
const sweepEvery = time.Hour

func (s *Services) sweep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepEvery):
		}
		if err := s.cfg.Modules.Sweep(s.inUse(), s.cfg.Cluster.Now()); err != nil {
			s.cfg.Log.Warn("modules not swept", "err", err)
		}
	}
}

// inUse are the digests of the modules that services have, or that packages here hold.
func (s *Services) inUse() map[string]bool {
	keep := map[string]bool{}
	for service := range s.cfg.Cluster.View().Services() {
		for _, m := range service.Modules {
			keep[m.Digest] = true
		}
	}
	for _, p := range s.cfg.Packages {
		for digest := range p.Files {
			keep[digest] = true
		}
	}
	return keep
}

// initialise calls a function of a service that may have no alias yet, for its package.
func (s *Services) initialise(ctx context.Context, service api.Service, function string, args json.RawMessage) error {
	_, err := s.hosts.Call(ctx, s.pool, service, function, args, api.Actor{ID: "deployer", Role: api.RoleAdmin})
	return err
}

// check compiles what a package brings, in a worker.
func (s *Services) check(ctx context.Context, p pack.Package) error {
	for _, service := range p.Services {
		if _, err := s.pool.Functions(ctx, host.ProgramOf(service.Modules)); err != nil {
			return fmt.Errorf("service %s: %w", service.Alias, err)
		}
	}
	for _, spell := range p.Spells {
		if err := s.checkSpell(ctx, strings.TrimSuffix(spell.File, ".star"), spell.Script); err != nil {
			return fmt.Errorf("spell %s: %w", spell.Alias, err)
		}
	}
	return nil
}

// Call calls a function of a service for the caller in ctx.
func (s *Services) Call(ctx context.Context, service api.Service, function string, args json.RawMessage) (json.RawMessage, error) {
	return s.hosts.Call(ctx, s.pool, service, function, args, api.CallerOf(ctx).Actor)
}

// RunNow runs a spell of this host, or of the cluster while this host holds it.
func (s *Services) RunNow(ctx context.Context, spell string) error { return s.runner.Now(ctx, spell) }

// Functions are the functions of a service that can be called.
func (s *Services) Functions(ctx context.Context, service api.Service) ([]string, error) {
	program, _, _ := s.hosts.ForService(service, api.CallerOf(ctx).Actor)
	return s.pool.Functions(ctx, program)
}

// CheckScript compiles the script of a spell; Invalid says what is wrong with it, and where.
func (s *Services) CheckScript(ctx context.Context, script string) error {
	err := s.checkSpell(ctx, "spell", script)
	if fault := (*worker.ScriptError)(nil); errors.As(err, &fault) {
		return &api.Error{Kind: api.Invalid, Op: "spell", Msg: "the script does not compile", Fields: []api.FieldError{{Pointer: "/script", Detail: fault.Error()}}}
	}
	if errors.Is(err, errNoRun) {
		return &api.Error{Kind: api.Invalid, Op: "spell", Msg: "the script has no function run", Fields: []api.FieldError{{Pointer: "/script", Detail: "define run(): it is called each time the trigger fires"}}}
	}
	return err
}

var errNoRun = errors.New("its script does not define run(), which is called when the trigger fires")

// checkSpell compiles a script; name is what errors call it.
func (s *Services) checkSpell(ctx context.Context, name, script string) error {
	program, forget := s.hosts.Script(name, script)
	defer forget()
	functions, err := s.pool.Functions(ctx, program)
	if err == nil && !slices.Contains(functions, "run") {
		err = errNoRun
	}
	return err
}

// Deployed is closed once every package has been tried once.
func (s *Services) Deployed() <-chan struct{} { return s.deployer.Done() }

// Failed are the packages of this host that are not as they should be.
func (s *Services) Failed() []api.Deployment { return s.deployer.Failed() }
