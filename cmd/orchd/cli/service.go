package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/nearest"
)

func (a *App) service() *cobra.Command {
	return a.group("service", "What the cluster runs on its own behalf, and answers calls", `
orchd service list
orchd service functions registry
orchd service call registry lookup name=web1.default.vm`,
		a.serviceList(), a.serviceShow(), a.serviceFunctions(), a.serviceCall())
}

func (a *App) services() listing[api.Service] {
	type S = api.Service
	return listing[S]{
		name:  func(s S) string { return cmp.Or(s.Alias, s.ID) },
		order: func(x, y S) int { return cmp.Or(strings.Compare(x.Alias, y.Alias), strings.Compare(x.Scope, y.Scope)) },
		columns: []column[S]{
			{head: "ALIAS", text: func(s S) string { return s.Alias }},
			{head: "SCOPE", text: func(s S) string { return s.Scope }},
			{head: "PACKAGE", text: func(s S) string { return s.Package }},
			{head: "ACCOUNT", text: func(s S) string { return s.Account }},
			{head: "MODULES", text: moduleNames},
			{head: "AGE", text: func(s S) string { return a.age(s.CreatedAt) }, key: "created_at", raw: func(s S) string { return moment(s.CreatedAt) }},
			{head: "WANTED", wide: true, text: func(s S) string { return s.Wanted }, key: "wanted_alias"},
			{head: "CALL-TTL", wide: true, text: func(s S) string { return seconds(s.CallTTL) }, key: "call_ttl", raw: func(s S) string { return number(s.CallTTL) }},
			{head: "GRANTS", wide: true, text: func(s S) string { return grantsText(s.Grants) }},
			{head: "ID", wide: true, text: func(s S) string { return s.ID }},
			{head: "BLUEPRINT", wide: true, text: func(s S) string { return s.Blueprint }},
		},
	}
}

func moduleNames(s api.Service) string {
	var all []string
	for _, m := range s.Modules {
		all = append(all, m.Name)
	}
	return strings.Join(all, " ")
}

// seconds is a number of seconds as a person reads it.
func seconds(n int64) string {
	if n == 0 {
		return ""
	}
	return (time.Duration(n) * time.Second).String()
}

// grantsText says what a script may do, as --grant takes it.
func grantsText(g api.Grants) string {
	var all []string
	for _, x := range []struct {
		name string
		on   bool
		of   []string
	}{{"kv", g.KV, nil}, {"call", false, g.Call}, {"http", false, g.HTTP}, {"read", false, g.Read}, {"vms", g.VMs, nil},
		{"any_account", g.AnyAccount, nil}, {"now", g.Now, nil}, {"random", g.Random, nil}} {
		if x.on {
			all = append(all, x.name)
		}
		for _, of := range x.of {
			all = append(all, x.name+"="+of)
		}
	}
	return strings.Join(all, " ")
}

func serviceAliases(ctx context.Context, a *App) ([]string, error) {
	names, err := namesOf(ctx, a, "/v1/services", func(s api.Service) string { return s.Alias })
	return slices.DeleteFunc(names, func(s string) bool { return s == "" }), err
}

// scopeNames are what a scope may be.
func scopeNames(ctx context.Context, a *App) ([]string, error) {
	names, err := peerNames(ctx, a)
	return append([]string{api.ScopeCluster}, names...), err
}

// scopeFlag gives a command the flag that says where an alias is looked for.
func (a *App) scopeFlag(cmd *cobra.Command, scope *string, what string) {
	cmd.Flags().StringVar(scope, "scope", "", what)
	a.completeFlag(cmd, "scope", scopeNames)
}

const whereAlias = "where its alias is: cluster, or a peer (default: the asked peer, then the cluster)"

// inScope is the query that says where an alias is looked for.
func inScope(scope string) url.Values {
	if scope == "" {
		return nil
	}
	return url.Values{"scope": {scope}}
}

func servicePath(ref string) string { return "/v1/services/" + url.PathEscape(ref) }

func (a *App) serviceList() *cobra.Command {
	var scope, pkg string
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the services",
		long:    "List the services. What became of packages, peer by peer, is in orchd package list.",
		example: "orchd service list\norchd service list --scope cluster -o wide\norchd service list --package registry -o json",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Service](ctx, a, "/v1/services", filters("scope", scope, "package", pkg))
			if err != nil {
				return err
			}
			nameScopes(ctx, a, items, func(s *api.Service) *string { return &s.Scope })
			return a.services().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	a.scopeFlag(cmd, &scope, "only those of this scope: cluster, or a peer")
	cmd.Flags().StringVar(&pkg, "package", "", "only those that came with this package")
	return cmd
}

// filters is a query of names and values in turn, without those that are empty.
func filters(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func (a *App) serviceShow() *cobra.Command {
	var scope string
	cmd := a.verb(verb{
		use:     "show ALIAS",
		short:   "Show a service and its functions",
		example: "orchd service show registry\norchd service show aqua-ipfs --scope h1 -o json",
		min:     1, max: 1, noun: serviceAliases,
		run: func(ctx context.Context, args []string) error {
			_, s, err := a.findService(ctx, args[0], scope)
			if err != nil {
				return err
			}
			return a.serviceViews().one(a, s)
		},
	})
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

// serviceViews prints services with their functions.
func (a *App) serviceViews() listing[api.ServiceView] {
	type S = api.ServiceView
	l := listing[S]{name: func(s S) string { return cmp.Or(s.Alias, s.ID) }}
	for _, c := range a.services().columns {
		inner := column[S]{head: c.head, wide: c.wide, key: c.key, text: func(s S) string { return c.text(s.Service) }}
		if c.raw != nil {
			inner.raw = func(s S) string { return c.raw(s.Service) }
		}
		l.columns = append(l.columns, inner)
	}
	l.columns = append(l.columns, column[S]{head: "FUNCTIONS", text: func(s S) string { return strings.Join(functionNames(s), " ") }},
		column[S]{head: "REASON", text: func(s S) string { return s.Reason }})
	return l
}

func functionNames(s api.ServiceView) []string {
	var all []string
	for _, f := range s.Functions {
		all = append(all, f.Name)
	}
	return all
}

func (a *App) findService(ctx context.Context, ref, scope string) (client, api.ServiceView, error) {
	var s api.ServiceView
	c, err := a.client()
	if err != nil {
		return c, s, err
	}
	return c, s, c.get(ctx, servicePath(ref), inScope(scope), &s)
}

func (a *App) serviceFunctions() *cobra.Command {
	var scope string
	cmd := a.verb(verb{
		use:     "functions ALIAS",
		short:   "List what can be called of a service, and who may",
		example: "orchd service functions registry\norchd service functions registry -o name",
		min:     1, max: 1, noun: serviceAliases,
		run: func(ctx context.Context, args []string) error {
			_, s, err := a.findService(ctx, args[0], scope)
			if err != nil {
				return err
			}
			if s.Reason != "" {
				return &failure{exitUnreachable, "the functions of " + args[0] + " cannot be told: " + s.Reason, "see which peers are well: orchd status"}
			}
			return functions().all(a, s.Functions)
		},
	})
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

func functions() listing[api.ServiceFunction] {
	type F = api.ServiceFunction
	return listing[F]{
		name: func(f F) string { return f.Name },
		columns: []column[F]{
			{head: "FUNCTION", text: func(f F) string { return f.Name }},
			{head: "ROLE", text: func(f F) string { return string(f.Role) }},
		},
	}
}

func (a *App) serviceCall() *cobra.Command {
	var scope, given string
	cmd := a.verb(verb{
		use:   "call ALIAS FUNCTION [NAME=VALUE...]",
		short: "Call a function of a service and print its result",
		long: "Call a function of a service and print its result. A VALUE that is JSON, as 5, true or [1,2], is taken as that, all\n" +
			"else as text. A call whose answer is lost is not made again.",
		example: `
orchd service call registry lookup name=web1.default.vm
orchd service call registry register --args '{"name":"db","endpoint":"10.0.0.9:5432","ttl":3600}'
orchd service call trust-graph get_weight --args '["abc"]' -o json`,
		min: 2, max: many, noun: serviceAliases,
		run: func(ctx context.Context, args []string) error {
			body, err := a.arguments(args[2:], given)
			if err == nil {
				err = a.suitsObject()
			}
			if err != nil {
				return err
			}
			result, err := a.callService(ctx, args[0], args[1], scope, body)
			if err != nil {
				return err
			}
			return a.object(result, func(w io.Writer) error { return printResult(w, result) })
		},
	})
	cmd.ValidArgsFunction = a.completeFunctions(&scope)
	cmd.Flags().StringVar(&given, "args", "", "all arguments at once: a JSON object or array, @FILE, or - for stdin")
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

// completeFunctions completes a service and then one of its functions.
func (a *App) completeFunctions(scope *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.completeArgs(serviceAliases, 1)(cmd, args, typed)
		}
		names := func(ctx context.Context, a *App) ([]string, error) {
			ctx, cancel := context.WithTimeout(ctx, nameTime)
			defer cancel()
			_, s, err := a.findService(ctx, args[0], *scope)
			return functionNames(s), err
		}
		return a.completeArgs(names, 1)(cmd, args[1:], typed)
	}
}

// arguments makes the body of a call.
func (a *App) arguments(pairs []string, given string) (json.RawMessage, error) {
	if given != "" {
		if len(pairs) > 0 {
			return nil, usagef("arguments are given by --args or by NAME=VALUE, not by both")
		}
		body, err := a.body(given)
		text, _ := body.(json.RawMessage)
		if text = bytes.TrimSpace(text); err == nil && (len(text) == 0 || text[0] != '{' && text[0] != '[') {
			err = usagef("--args wants a JSON object, with arguments by name, or an array, in order")
		}
		return text, err
	}
	named := map[string]json.RawMessage{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("want NAME=VALUE, got %q", pair)
		}
		named[name] = jsonOf(value)
	}
	return json.Marshal(named)
}

// jsonOf is the JSON that a word of the command line stands for: itself, or as text.
func jsonOf(word string) json.RawMessage {
	if json.Valid([]byte(word)) {
		return json.RawMessage(word)
	}
	text, err := json.Marshal(word)
	if err != nil {
		panic(err) // a string can always be written
	}
	return text
}

// callService calls a function. It looks at the service first, to know how long a call
// may take, and whether the function is one of its own.
func (a *App) callService(ctx context.Context, ref, function, scope string, args json.RawMessage) (json.RawMessage, error) {
	c, s, err := a.findService(ctx, ref, scope)
	if err != nil {
		return nil, err
	}
	if names := functionNames(s); len(names) > 0 && !slices.Contains(names, function) {
		return nil, noSuchFunction(ref, function, names)
	}
	var answer api.Answer
	patience := time.Duration(cmp.Or(s.CallTTL, api.DefaultCallTTL)) * time.Second
	result, err := c.api.CallService(ctx, s.ID, function, args, api.WithPatience(patience), api.WithAnswer(&answer))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case api.IsKind(err, api.ServiceDeadline):
		return nil, &failure{exitUnreachable, message(err), "a call of " + ref + " may take " + seconds(s.CallTTL) + ": its package says so in call_ttl"}
	case err != nil:
		return nil, c.explained(answer, err)
	}
	return result, nil
}

func noSuchFunction(ref, function string, names []string) error {
	f := &failure{exitNotFound, fmt.Sprintf("%s has no function %s that can be called", ref, function), "see what it has: orchd service functions " + ref}
	if near := nearest.Of(function, names); near != "" {
		f.hint = "did you mean " + near + "?"
	}
	return f
}

// printResult writes the result of a call for people: text as it is, all else as JSON.
func printResult(w io.Writer, result json.RawMessage) error {
	var text string
	if json.Unmarshal(result, &text) == nil && bytes.HasPrefix(result, []byte(`"`)) {
		_, err := fmt.Fprintln(w, text)
		return err
	}
	return printObject(w, "json", result)
}
