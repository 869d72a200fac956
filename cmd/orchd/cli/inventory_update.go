package cli

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"
)

func (a *App) inventoryUpdate() *cobra.Command {
	var from checking
	var patch bool
	var version uint64
	cmd := a.verb(verb{
		use:   "update KIND ID --file FILE|--data JSON",
		short: "Replace an object of the inventory, or change some of its fields with --patch",
		example: `
orchd update node x1000c4s4b1n1 --file node.json --if-version 3
orchd update node x1000c4s4b1n1 --patch --data '{"hostname":"login1"}'
orchd update collection "Partition 1" --patch --data '{"nodes":[]}'`,
		min: 2, max: 2,
		run: func(ctx context.Context, args []string) error {
			k, err := fleetKindOf(args[0])
			if err != nil {
				return err
			}
			body, err := a.soleInput(k, from, patch)
			if err != nil || from.dryRun {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			want := call{method: http.MethodPut, path: k.one(args[1]), ifMatch: version, in: body}
			if patch {
				want.method = http.MethodPatch
			}
			var changed json.RawMessage
			want.out = &changed
			if err := c.do(ctx, want); err != nil {
				return err
			}
			if format := a.flags.output; format == "table" || format == "wide" {
				return k.printer(a).some(a, []json.RawMessage{changed})
			}
			return k.printer(a).one(a, changed)
		},
	})
	from.register(cmd)
	cmd.Flags().BoolVar(&patch, "patch", false, "the input is a JSON merge patch (RFC 7396): what it leaves out stays, null takes away")
	cmd.Flags().Uint64Var(&version, "if-version", 0, "only if that is still its version")
	cmd.MarkFlagsMutuallyExclusive("patch", "schema-dir")
	a.completeKind(cmd, 1)
	return cmd
}

// soleInput is the one object of an input. A patch is not checked: what it would
// make of the object only the server knows.
func (a *App) soleInput(k fleetKind, from checking, patch bool) (json.RawMessage, error) {
	check, err := from.check(k)
	if err != nil {
		return nil, err
	}
	text, err := from.open(a)
	if err != nil {
		return nil, usage(err)
	}
	defer text.Close()
	var sole json.RawMessage
	for in, err := range inputs(text) {
		switch {
		case err != nil:
			return nil, usagef("%s: %v", in.place(), err)
		case in.n > 1:
			return nil, usagef("the input holds more than one object")
		}
		sole = in.raw
	}
	switch {
	case sole == nil:
		return nil, usagef("the input holds no object")
	case check == nil || patch:
		return sole, nil
	}
	return sole, check(sole)
}
