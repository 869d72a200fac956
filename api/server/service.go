package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// ScopeRef says where an alias is looked for.
type ScopeRef struct {
	Scope string `query:"scope" maxLength:"128" doc:"cluster, or a peer by name or id; default: the asked peer, then the cluster"`
}

// ServiceRef names a service.
type ServiceRef struct {
	Alias string `path:"alias" doc:"Alias or id"`
	ScopeRef
}

func (r ServiceRef) find(v View) (api.Service, error) {
	if !findable(r.Alias) || !r.findable() {
		return api.Service{}, notFound("service")
	}
	return v.Service(r.Scope, r.Alias)
}

// findable tells whether the scope could be one.
func (r ScopeRef) findable() bool { return r.Scope == "" || findable(r.Scope) }

// scopeID is the scope that somebody means as rows have it; what is the name of nothing
// stays as it is, and then no row has it.
func scopeID(v View, scope string) string {
	if scope == "" || scope == api.ScopeCluster {
		return scope
	}
	if p, err := v.Peer(scope); err == nil {
		return p.ID
	}
	return scope
}

func keyOfService(s api.Service) string { return s.ID }

type listServicesInput struct {
	ListInput
	ScopeRef
	Package string `query:"package" maxLength:"63" doc:"Only those that came with this package"`
	Alias   string `query:"alias" maxLength:"63" doc:"Only those with this alias, in whichever scope"`
}

func (s *Server) listServices(ctx context.Context, in *listServicesInput) (*Reply[api.Page[api.Service]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	scope := scopeID(v, in.Scope)
	page := pageOf(in.Paging, v.Services(in.after), keyOfService, func(x api.Service) bool {
		return passes(scope, x.Scope) && passes(in.Package, x.Package) && passes(in.Alias, x.Alias)
	})
	return &Reply[api.Page[api.Service]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

// passes tells whether a filter lets a value through; an empty filter lets all.
func passes(filter, value string) bool { return filter == "" || filter == value }

type showServiceInput struct {
	ServiceRef
	Freshness
}

// showService shows a service and its functions. That they cannot be told, because its
// modules are on a peer that is silent, is no reason to show nothing.
func (s *Server) showService(ctx context.Context, in *showServiceInput) (*Reply[api.ServiceView], error) {
	return showing(ctx, s, in.Consistency, func(v View) (api.ServiceView, error) {
		svc, err := in.find(v)
		if err != nil {
			return api.ServiceView{}, err
		}
		shown := api.ServiceView{Service: svc, Functions: []api.ServiceFunction{}}
		names, err := s.backend.Functions(ctx, svc)
		if err != nil {
			shown.Reason = problemDetail(ctx, err)
		}
		slices.Sort(names)
		for _, name := range names {
			if role := svc.Access.RoleFor(name); role != "" {
				shown.Functions = append(shown.Functions, api.ServiceFunction{Name: name, Role: role})
			}
		}
		return shown, nil
	}, func(x api.ServiceView) uint64 { return x.Version })
}

// problemDetail is what a caller may read of an error that does not end its request.
func problemDetail(ctx context.Context, err error) string { return describe(ctx, err).Detail }

type listPackagesInput struct {
	ListInput
	Peer    string           `query:"peer" maxLength:"128" doc:"Only on this peer, by name or id"`
	Package string           `query:"package" maxLength:"63" doc:"Only this package"`
	State   api.PackageState `query:"state" enum:"created,existing,updated,removed,failed" doc:"Only in this state"`
}

// listPackages tells what became of packages, peer by peer.
func (s *Server) listPackages(ctx context.Context, in *listPackagesInput) (*Reply[api.Page[api.Deployment]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	peer := scopeID(v, in.Peer)
	page := pageOf(in.Paging, v.Deployments(in.after), func(d api.Deployment) string { return d.Peer + "/" + d.Package }, func(d api.Deployment) bool {
		return passes(peer, d.Peer) && passes(in.Package, d.Package) && passes(string(in.State), string(d.State))
	})
	return &Reply[api.Page[api.Deployment]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

var functionForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,62}$`)

func describeCall(h huma.API, op *huma.Operation) {
	op.Description = "The answer is the function's result as it stands. A function that fails answers 422 with the code service-failed and its own " +
		"text, one that takes longer than call_ttl 504 with service-deadline. An Idempotency-Key is not remembered here: a call that is repeated is made again."
	op.Parameters = []*huma.Param{pathParameter("alias", "Alias or id of the service"), pathParameter("function", "Name of the function"),
		queryParameter("scope", "cluster, or a peer by name or id; default: the asked peer, then the cluster", &huma.Schema{Type: huma.TypeString})}
	anything := func() *huma.MediaType { return &huma.MediaType{Schema: &huma.Schema{}} }
	op.RequestBody = &huma.RequestBody{Description: "An object, by name, or an array, in order; nothing: no arguments",
		Content: map[string]*huma.MediaType{"application/json": anything()}}
	op.Responses["200"] = &huma.Response{Description: "The result of the function: any JSON", Content: map[string]*huma.MediaType{"application/json": anything()}}
	for _, status := range []string{"422", "504"} {
		op.Responses[status] = op.Responses["default"]
	}
}

// callService answers POST /v1/services/{alias}/{function}.
func (s *Server) callService(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	args, err := argumentsIn(body)
	if err != nil {
		return err
	}
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return err
	}
	ref := ServiceRef{r.PathValue("alias"), ScopeRef{r.URL.Query().Get("scope")}}
	svc, err := ref.find(v)
	if err != nil {
		return err
	}
	function := r.PathValue("function")
	if err := mayCall(api.CallerOf(ctx).Actor, svc, function); err != nil {
		return err
	}
	result, err := s.backend.CallService(ctx, svc, function, args)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, err = w.Write(result)
	exchangeOf(ctx).err = err // the answer has begun
	return nil
}

// mayCall tells whether somebody may call a function of a service.
func mayCall(a api.Actor, svc api.Service, function string) error {
	role := svc.Access.RoleFor(function)
	allowed := role == api.RoleViewer
	switch role {
	case "":
		return noFunction(svc, function)
	case api.RoleOperator:
		allowed = a.Role == api.RoleOperator || a.Role == api.RoleAdmin
	case api.RoleAdmin:
		allowed = isWholeAdmin(a)
	}
	if !functionForm.MatchString(function) {
		return noFunction(svc, function)
	}
	if !allowed {
		return api.Errorf(api.Forbidden, "service.call", "a credential of role %s may not call %s of %s: it is for an %s%s", a.Role, function, svc.Alias, role,
			map[api.Role]string{api.RoleAdmin: " of the whole cluster"}[role])
	}
	return nil
}

// isWholeAdmin tells whether somebody is an admin, and of more than one account.
func isWholeAdmin(a api.Actor) bool { return a.Role == api.RoleAdmin && a.Account == "" }

func noFunction(svc api.Service, function string) error {
	name := "that name"
	if functionForm.MatchString(function) {
		name = "the name " + function
	}
	return api.Errorf(api.NotFound, "service.call", "the service %s has no function of %s that can be called; orchd service functions %s lists those", svc.Alias, name, svc.Alias)
}

// argumentsIn reads the body of a call: an object or an array that every reader
// understands alike. Numbers are the function's business.
func argumentsIn(body []byte) (json.RawMessage, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return json.RawMessage("{}"), nil
	}
	p := parser{dec: json.NewDecoder(bytes.NewReader(body)), verbatim: everywhere}
	p.dec.UseNumber()
	if first := bytes.TrimSpace(body)[0]; first != '{' && first != '[' {
		return nil, malformed("the body must be a JSON object, with arguments by name, or an array, with arguments in order")
	}
	if _, err := p.value("", 0); err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("something follows the arguments")
	}
	return json.RawMessage(body), invalid("service.call", p.bad)
}
