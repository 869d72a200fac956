package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// waiting is the flags of a verb whose work goes on after it has been answered.
type waiting struct {
	wait, no bool
	timeout  time.Duration
}

func (w *waiting) register(cmd *cobra.Command) {
	patience(cmd, &w.timeout, "timeout", 5*time.Minute, "how long to wait")
	w.registerBare(cmd)
}

// registerBare is register for a verb whose --timeout means something else.
func (w *waiting) registerBare(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", true, "come back when it is done")
	cmd.Flags().BoolVar(&w.no, "no-wait", false, "come back when it is recorded")
	cmd.MarkFlagsMutuallyExclusive("wait", "no-wait")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w.no = w.no || !w.wait
		return run(cmd, args)
	}
}

// longPoll is how long one request waits for an operation; a peer may be lost meanwhile and then the next is asked.
const longPoll = 20 * time.Second

// finish waits until an operation is done and tells how far it is. Its error is
// the operation's own, or says how to follow it from here.
func (a *App) finish(ctx context.Context, c client, id string, timeout time.Duration) error {
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	op, err := a.follow(ctx, c, id)
	if err == nil {
		return outcome(op)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		a.say("the operation goes on; follow it with: orchd operation wait %s", id)
		return context.Canceled
	}
	if ctx.Err() != nil {
		return &failure{exitUnreachable, fmt.Sprintf("not done after %s", timeout), "the operation goes on; follow it with: orchd operation wait " + id}
	}
	return err
}

// follow asks until the operation is done, through elections and lost peers.
func (a *App) follow(ctx context.Context, c client, id string) (api.Operation, error) {
	steps := stepper{app: a}
	defer steps.end()
	for {
		var op api.Operation
		err := c.do(ctx, call{method: http.MethodGet, path: operationPath(id), wait: a.pollTime(), out: &op})
		switch {
		case ctx.Err() != nil:
			return op, ctx.Err()
		case err != nil && !api.IsKind(err, api.Unavailable):
			return op, err
		case err != nil:
			steps.end()
			a.say("%v; asking again", message(err))
			if err := pause(ctx, lookEvery); err != nil {
				return op, err
			}
			continue
		}
		steps.tell(op)
		if op.State.Done() {
			return op, nil
		}
	}
}

// pollTime is how long one request waits: steps are shown to who looks on.
func (a *App) pollTime() time.Duration {
	if a.live() {
		return time.Second
	}
	return longPoll
}

// outcome is nil for an operation that succeeded.
func outcome(op api.Operation) error {
	if op.State == api.OpSucceeded {
		return nil
	}
	msg := fmt.Sprintf("%s of %s %s", op.Kind, targetName(op), op.State)
	if op.Error != "" {
		msg += ": " + op.Error
	}
	return &failure{exitFailed, msg, "all of it: orchd operation show " + op.ID}
}

func targetName(op api.Operation) string {
	if op.Target.Name != "" {
		return op.Target.Name
	}
	return op.Target.ID
}

// lookEvery is how often something is looked at that cannot be waited for.
const lookEvery = 300 * time.Millisecond

// pause waits d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
