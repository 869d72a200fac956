package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) keys() *cobra.Command {
	return a.group("keys", "Keys and certificates of the cluster: look at them, replace them, keep a copy", `
orchd keys status
orchd keys rotate gossip
orchd keys export --passphrase-file passphrase --file keys.age`,
		a.keysStatus(), a.keysRotate(), a.keysExport())
}

func (a *App) keysStatus() *cobra.Command {
	return a.verb(verb{
		use:   "status",
		short: "Show certificates, keys by name, and how far rotations are",
		long: `Show which certificates the peers have and until when, which keys are there (by name,
never the keys), and how far each rotation is and what it waits for. It works without
quorum and shows then what the asked peer knows.`,
		example: "orchd keys status\norchd keys status -o json",
		run: func(ctx context.Context, _ []string) error {
			k, err := show[api.Keys](ctx, a, "/v1/keys")
			if err != nil {
				return err
			}
			return a.object(k, func(w io.Writer) error { return printKeys(w, k) })
		},
	})
}

// printKeys prints one screen.
func printKeys(w io.Writer, k api.Keys) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "PEER\tCERTIFICATE UNTIL\tSTATE")
	for _, c := range k.Certificates {
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.Peer, moment(c.NotAfter), c.State)
	}
	fmt.Fprintln(t, "\nCA PIN\tUNTIL\tUSE")
	for n, authority := range k.Authorities {
		fmt.Fprintf(t, "%s\t%s\t%s\n", authority.Hash, moment(authority.NotAfter), inUse(n == 0, "signs", "still trusted"))
	}
	fmt.Fprintln(t, "\nKEY\tKIND\tUSE")
	for _, key := range k.Keys {
		fmt.Fprintf(t, "%s\t%s\t%s\n", key.Name, key.Kind, inUse(key.InUse, "in use", "still accepted"))
	}
	for n, r := range k.Rotations {
		if n == 0 {
			fmt.Fprintln(t, "\nROTATION\tSTEP\tWHAT IT WAITS FOR")
		}
		fmt.Fprintf(t, "%s to %s\t%s\t%s\n", r.Kind, r.Key, r.Step, waitsFor(r))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(k.Authorities) > 1 {
		fmt.Fprintln(w, "\nThe CA is being replaced. Clients that trust a file must have both certificates before the old one goes:\n"+
			"  orchd keys status -o json | jq -r '.authorities[].pem' > ca.pem     (or copy tls/ca.pem of any peer)")
	}
	return nil
}

func inUse(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// waitsFor says what a rotation waits for.
func waitsFor(r api.KeyRotation) string {
	switch {
	case r.Step == "done":
		return "nothing; done " + moment(r.StepAt)
	case r.Values > 0:
		return fmt.Sprintf("%d values are still sealed with %s", r.Values, r.Old)
	case len(r.Waiting) > 0:
		return "peers " + strings.Join(r.Waiting, ", ") + ": they must run; one that is gone for good: orchd peer remove NAME"
	case r.NotBefore != nil:
		return r.Old + " is accepted until " + moment(*r.NotBefore)
	}
	return "the leader"
}

func (a *App) keysRotate() *cobra.Command {
	var now bool
	cmd := a.verb(verb{
		use:   "rotate seal|gossip|ca|all",
		short: "Replace a key of the cluster, step by step, while everything runs",
		long: `Replace a key of the cluster. The command begins it; the leader takes the steps, through
elections and restarts, and "orchd keys status" says how far it is.

  seal     the key of the secrets in the tables: new ones are sealed with the new key at
           once, old ones are sealed anew, then the old key is gone. Secrets in snapshots
           from before cannot be rolled back to any more.
  gossip   every peer gets the new key, then all write with it; the old one is accepted for
           another day. All peers must run.
  ca       every peer trusts the new authority too, then gets a certificate of it. Clients
           are shown the old one for another day: within it, give those that trust a file
           the new ca.pem. --now ends that day.

Keep a fresh copy afterwards: orchd keys export.`,
		example: `
orchd keys rotate seal
orchd keys rotate all && orchd keys status
orchd keys rotate ca --now              # the old authority must not be trusted any more`,
		min: 1, max: 1,
		run: func(ctx context.Context, args []string) error { return a.rotateKeys(ctx, args[0], now) },
	})
	cmd.Flags().BoolVar(&now, "now", false, "ca: do not keep the old authority for a day; may be given for a rotation that is under way")
	cmd.ValidArgs = append(slices.Clone(api.KeyKinds), "all")
	cmd.ValidArgsFunction = nil
	return cmd
}

func (a *App) rotateKeys(ctx context.Context, kind string, now bool) error {
	kinds := []string{kind}
	if kind == "all" {
		kinds = api.KeyKinds
	} else if !slices.Contains(api.KeyKinds, kind) {
		return unknownWord("kind of key", kind, append(slices.Clone(api.KeyKinds), "all"))
	}
	if now && !slices.Contains(kinds, api.KeyCA) {
		return usagef("--now is for ca alone: no client waits for the other keys")
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	begun := []api.KeyRotation{}
	for _, kind := range kinds {
		var r api.KeyRotation
		in := api.KeyRotate{Kind: kind, Now: now && kind == api.KeyCA}
		if err := c.do(ctx, call{method: "POST", path: "/v1/keys/rotate", in: in, out: &r}); err != nil {
			return err
		}
		begun = append(begun, r)
		a.say("the %s key is being replaced by %s", kind, r.Key)
	}
	a.say("see how far it is: orchd keys status")
	l := listing[api.KeyRotation]{
		name:  func(r api.KeyRotation) string { return r.Kind },
		order: func(x, y api.KeyRotation) int { return 0 },
		columns: []column[api.KeyRotation]{
			{head: "KIND", text: func(r api.KeyRotation) string { return r.Kind }},
			{head: "STEP", text: func(r api.KeyRotation) string { return r.Step }},
			{head: "KEY", text: func(r api.KeyRotation) string { return r.Key }},
			{head: "REPLACES", text: func(r api.KeyRotation) string { return r.Old }},
			{head: "STARTED", wide: true, text: func(r api.KeyRotation) string { return r.StartedAt.Format(time.RFC3339) }},
		},
	}
	return l.all(a, begun)
}
