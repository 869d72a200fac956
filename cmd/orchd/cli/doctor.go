package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// diagnosis is all that doctor has found.
type diagnosis struct {
	Warnings []api.Warning `json:"warnings"`
	Findings []api.Finding `json:"findings"`
}

func (a *App) doctor() *cobra.Command {
	return a.verb(verb{
		use:   "doctor",
		short: "What is wrong with the cluster and its hosts, each with the command that mends it",
		long: "What is wrong with the cluster and its hosts, each with the command that mends it: the warnings of orchd status,\n" +
			"and in what hosts and records disagree. It looks and changes nothing. Exits 0 when all is well and 1 when not.",
		example: `
orchd doctor
orchd doctor -o json | jq -r '.findings[].action'
orchd doctor --local                 # also without quorum`,
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			found, failed := a.examine(ctx, c)
			if failed != nil && found.clean() {
				return failed
			}
			if err := a.printDiagnosis(found, failed == nil); err != nil {
				return err
			}
			if failed == nil && !found.clean() {
				return &failure{code: exitFailed}
			}
			return failed
		},
	})
}

func (d diagnosis) clean() bool { return len(d.Warnings)+len(d.Findings) == 0 }

// examine asks for all that can be wrong; what it could learn is there beside an error.
func (a *App) examine(ctx context.Context, c client) (diagnosis, error) {
	found := diagnosis{[]api.Warning{}, []api.Finding{}}
	var s api.Status
	failed := c.get(ctx, "/v1/status", nil, &s)
	if nobodyThere(failed) || ctx.Err() != nil {
		return found, failed
	}
	found.Warnings = append(found.Warnings, s.Warnings...)
	findings, err := list[api.Finding](ctx, a, "/v1/findings", nil)
	found.Findings = append(found.Findings, findings...)
	return found, together(failed, err)
}

// all is warnings and findings alike.
func (d diagnosis) all() []api.Finding {
	var all []api.Finding
	for _, w := range d.Warnings {
		all = append(all, api.Finding{Code: w.Code, Peer: w.Peer, VM: w.VM, Detail: w.Detail, Action: w.Action})
	}
	return append(all, d.Findings...)
}

// printDiagnosis prints what was found; whole says that nothing was left unasked.
func (a *App) printDiagnosis(d diagnosis, whole bool) error {
	switch format := a.flags.output; format {
	case "json", "yaml":
		return printObject(a.Stdout, format, d)
	case "table", "wide":
		return d.print(a.Stdout, whole)
	}
	return findings().all(a, d.all())
}

// print writes for people what is wrong, and what to do.
func (d diagnosis) print(w io.Writer, whole bool) error {
	for _, f := range d.all() {
		if _, err := fmt.Fprintf(w, "! %s%s\n  do: %s\n", findingSubject(f), f.Detail, f.Action); err != nil {
			return err
		}
	}
	if d.clean() && whole {
		_, err := fmt.Fprintln(w, "all is well")
		return err
	}
	return nil
}

func findingSubject(f api.Finding) string {
	about := cmp.Or(f.Name, f.VM)
	switch {
	case f.Peer != "" && about != "":
		return f.Peer + ": " + about + ": "
	case f.Peer != "" || about != "":
		return f.Peer + about + ": "
	}
	return ""
}

func findings() listing[api.Finding] {
	type F = api.Finding
	return listing[F]{
		name:  func(f F) string { return f.Code },
		order: func(F, F) int { return 0 },
		columns: []column[F]{
			{head: "CODE", text: func(f F) string { return f.Code }},
			{head: "PEER", text: func(f F) string { return f.Peer }},
			{head: "NAME", text: func(f F) string { return f.Name }},
			{head: "VM", text: func(f F) string { return f.VM }},
			{head: "DETAIL", text: func(f F) string { return f.Detail }},
			{head: "ACTION", text: func(f F) string { return f.Action }},
		},
	}
}
