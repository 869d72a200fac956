package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) operationCancel() *cobra.Command {
	var w waiting
	cmd := a.verb(verb{
		use:     "cancel ID...",
		short:   "End work in hand: a create is torn down, a stop is taken back, a fetch of an image ends",
		example: "orchd operation cancel 0197e3c5-0e1c-7000-8000-000000000000",
		min:     1, max: many, noun: operationIDs,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var ops []api.Operation
			failed := each(ctx, args, func(id string) error {
				op, err := a.cancelOperation(ctx, c, id, w)
				if err == nil {
					ops = append(ops, op)
				}
				return err
			})
			if len(ops) == 0 {
				return failed
			}
			return together(failed, a.operations().all(a, ops))
		},
	})
	w.register(cmd)
	return cmd
}

// cancelOperation asks for the end of an operation and waits for it. That it ends
// as cancelled is what was wanted; that it was done before is not.
func (a *App) cancelOperation(ctx context.Context, c client, id string, w waiting) (api.Operation, error) {
	var op api.Operation
	if err := c.do(ctx, call{method: "DELETE", path: operationPath(id), out: &op}); err != nil {
		return op, err
	}
	if !w.no && !op.State.Done() {
		ended := a.finish(ctx, c, op.ID, w.timeout)
		if ctx.Err() != nil {
			return op, ended
		}
		if err := c.get(ctx, operationPath(op.ID), nil, &op); err != nil {
			return op, err
		}
		if !op.State.Done() {
			return op, ended
		}
	}
	if op.State == api.OpSucceeded {
		return op, &failure{exitConflict, fmt.Sprintf("%s of %s was done before it could be cancelled", op.Kind, targetName(op)), ""}
	}
	return op, nil
}
