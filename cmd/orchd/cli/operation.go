package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) operation() *cobra.Command {
	return a.group("operation", "Work in hand and work done", "orchd operation list\norchd operation wait ID\norchd operation cancel ID",
		a.operationList(), a.operationShow(), a.operationWait(), a.operationCancel())
}

func (a *App) operations() listing[api.Operation] {
	type O = api.Operation
	return listing[O]{
		name:  func(o O) string { return o.ID },
		order: func(x, y O) int { return x.CreatedAt.Compare(y.CreatedAt) },
		columns: []column[O]{
			{head: "ID", text: func(o O) string { return o.ID }},
			{head: "KIND", text: func(o O) string { return o.Kind }},
			{head: "TARGET", text: targetName},
			{head: "STATE", text: func(o O) string { return string(o.State) }},
			{head: "HOST", text: ownerOf},
			{head: "AGE", text: func(o O) string { return a.age(o.CreatedAt) }, key: "created_at", raw: func(o O) string { return moment(o.CreatedAt) }},
			{head: "TOOK", wide: true, text: took},
			{head: "ACTOR", wide: true, text: func(o O) string { return o.Actor }},
			{head: "HOSTS", wide: true, text: func(o O) string { return hostParts(o.Hosts) }},
			{head: "STEPS", wide: true, text: steps},
			{head: "ERROR", wide: true, text: func(o O) string { return o.Error }},
		},
	}
}

// ownerOf is the host to which the work was given.
func ownerOf(o api.Operation) string {
	for _, h := range o.Hosts {
		if h.Status == api.Assigned {
			return h.Peer
		}
	}
	return ""
}

func took(o api.Operation) string {
	if o.FinishedAt.IsZero() {
		return ""
	}
	return o.FinishedAt.Sub(o.CreatedAt).Round(time.Millisecond).String()
}

func steps(o api.Operation) string {
	var all []string
	for _, s := range o.Steps {
		all = append(all, fmt.Sprintf("%s %dms", s.Name, s.TookMs))
	}
	return strings.Join(all, ", ")
}

func (a *App) operationList() *cobra.Command {
	var follow *bool
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the operations of the last seven days",
		example: "orchd operation list -o wide\norchd operation list --watch",
		run: func(ctx context.Context, _ []string) error {
			if *follow {
				return a.watch(ctx, watched{path: "/v1/operations", table: "operations", printer: typed[api.Operation]{a.operations()}, sorted: true,
					again: below[api.Operation]("/v1/operations", nil)})
			}
			items, err := list[api.Operation](ctx, a, "/v1/operations", nil)
			if err != nil {
				return err
			}
			return a.operations().all(a, items)
		},
	})
	follow = watchFlag(cmd)
	return cmd
}

func operationPath(id string) string { return "/v1/operations/" + url.PathEscape(id) }

func (a *App) operationShow() *cobra.Command {
	return a.verb(verb{
		use:     "show ID",
		short:   "Show an operation: each host's part, each step, the error",
		example: "orchd operation show 0197e3c5-0e1c-7000-8000-000000000000",
		min:     1, max: 1, noun: operationIDs,
		run: func(ctx context.Context, args []string) error {
			o, err := show[api.Operation](ctx, a, operationPath(args[0]))
			if err != nil {
				return err
			}
			return a.operations().one(a, o)
		},
	})
}

func (a *App) operationWait() *cobra.Command {
	var timeout time.Duration
	cmd := a.verb(verb{
		use:     "wait ID",
		short:   "Wait until an operation is done",
		example: "orchd operation wait 0197e3c5-0e1c-7000-8000-000000000000 --timeout 10m",
		min:     1, max: 1, noun: operationIDs,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := a.finish(ctx, c, args[0], timeout); err != nil {
				return err
			}
			o, err := show[api.Operation](ctx, a, operationPath(args[0]))
			if err != nil {
				return err
			}
			return a.operations().result(a, o)
		},
	})
	patience(cmd, &timeout, "timeout", 5*time.Minute, "how long to wait")
	return cmd
}
