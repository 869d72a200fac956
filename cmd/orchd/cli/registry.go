package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// registryService is the service of the package registry.
const registryService = "registry"

func (a *App) registry() *cobra.Command {
	return a.group("registry", "Names and where they lead, as the package registry keeps them", `
orchd registry lookup web1.default.vm
orchd registry list`,
		a.registryLookup(), a.registryList())
}

func (a *App) registryLookup() *cobra.Command {
	return a.verb(verb{
		use:     "lookup NAME",
		short:   "Say where a name leads",
		example: "orchd registry lookup web1.default.vm\norchd registry lookup db -o json",
		min:     1, max: 1, noun: registryNames,
		run: func(ctx context.Context, args []string) error {
			found, err := a.askRegistry(ctx, "lookup", map[string]string{"name": args[0]})
			if err != nil {
				return withoutRegistry(err)
			}
			if len(found) == 0 {
				return &failure{exitNotFound, "the registry does not know " + args[0], "see what it knows: orchd registry list"}
			}
			return records().all(a, found)
		},
	})
}

func (a *App) registryList() *cobra.Command {
	var prefix string
	cmd := a.verb(verb{
		use:     "list",
		short:   "List all names and where they lead",
		example: "orchd registry list\norchd registry list --prefix web -o csv",
		run: func(ctx context.Context, _ []string) error {
			found, err := a.registryRecords(ctx, prefix)
			if err != nil {
				return withoutRegistry(err)
			}
			return records().all(a, found)
		},
	})
	cmd.Aliases = []string{"ls"}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only names that begin so")
	return cmd
}

// record is a name and one of the endpoints that it leads to.
type record struct {
	Name      string `json:"name"`
	Endpoint  string `json:"endpoint"`
	Address   string `json:"address,omitempty"`
	Account   string `json:"account"`
	ExpiresAt int64  `json:"expires_at,omitempty"` // seconds since 1970; 0: while its VM runs
}

func records() listing[record] {
	type R = record
	return listing[R]{
		name: func(r R) string { return r.Name },
		order: func(x, y R) int {
			return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Endpoint, y.Endpoint))
		},
		columns: []column[R]{
			{head: "NAME", text: func(r R) string { return oneLine(r.Name) }},
			{head: "ENDPOINT", text: func(r R) string { return oneLine(r.Endpoint) }},
			{head: "ACCOUNT", text: func(r R) string { return oneLine(r.Account) }},
			{head: "EXPIRES", text: expiry, key: "expires_at"},
		},
	}
}

func expiry(r record) string {
	if r.ExpiresAt <= 0 {
		return ""
	}
	return moment(time.Unix(r.ExpiresAt, 0))
}

// askRegistry calls a function of the registry that answers with records.
func (a *App) askRegistry(ctx context.Context, function string, args map[string]string) (found []record, err error) {
	body, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	result, err := a.callService(ctx, registryService, function, "", body)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(result, &found) != nil {
		return nil, &failure{exitFailed, "the service registry of this cluster answers in another way than that of the package registry",
			"see for yourself: orchd service call registry " + function}
	}
	return found, nil
}

// registryRecords are all records whose names begin with prefix; the registry gives
// them piece by piece.
func (a *App) registryRecords(ctx context.Context, prefix string) (all []record, err error) {
	for after := ""; ; {
		piece, err := a.askRegistry(ctx, "list", map[string]string{"prefix": prefix, "after": after})
		if err != nil || len(piece) == 0 || piece[len(piece)-1].Name <= after {
			return all, err
		}
		all, after = append(all, piece...), piece[len(piece)-1].Name
	}
}

// withoutRegistry adds to a failure that there is no registry how one comes to be.
func withoutRegistry(err error) error {
	if api.IsKind(err, api.NotFound) {
		return &failure{exitNotFound, message(err), "is the package registry enabled, and has it been deployed? see orchd package list"}
	}
	return err
}

// registryNames are the names that the registry knows.
func registryNames(ctx context.Context, a *App) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	found, err := a.registryRecords(ctx, "")
	var names []string
	for _, r := range found {
		names = append(names, r.Name)
	}
	return slices.Compact(names), err
}
