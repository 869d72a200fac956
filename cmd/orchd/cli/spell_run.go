package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) spellRun() *cobra.Command {
	var scope string
	var wait bool
	var timeout time.Duration
	cmd := a.verb(verb{
		use:     "run ALIAS",
		short:   "Run a spell now; comes back when the run began, with --wait when it ended",
		example: "orchd spell run beat\norchd spell run beat --wait --timeout 10m\norchd spell run nightly --scope cluster --wait",
		min:     1, max: 1, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var answer api.Answer
			run, err := c.api.RunSpell(ctx, args[0], api.WithScope(scope), api.WithAnswer(&answer))
			if err != nil {
				return c.failed(ctx, answer, err)
			}
			if !wait {
				return a.runs().result(a, run)
			}
			run, err = a.endOfRun(ctx, c, args[0], scope, run, timeout)
			if err != nil {
				return err
			}
			return errors.Join(a.runs().result(a, run), outcomeOfRun(args[0], run))
		},
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "come back when the run has ended, and fail when it did")
	patience(cmd, &timeout, "timeout", 5*time.Minute, "how long to wait")
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

func (a *App) runs() listing[api.SpellRun] {
	type R = api.SpellRun
	return listing[R]{
		name:  func(r R) string { return number(r.Number) },
		order: func(x, y R) int { return cmp.Compare(x.Number, y.Number) },
		columns: []column[R]{
			{head: "RUN", text: func(r R) string { return number(r.Number) }},
			{head: "STATE", text: func(r R) string { return string(r.State) }},
			{head: "FIRING", text: func(r R) string { return r.Firing.Kind }},
			{head: "PEER", text: func(r R) string { return r.Peer }},
			{head: "AGE", text: func(r R) string { return a.age(r.BeganAt) }, key: "began_at", raw: func(r R) string { return moment(r.BeganAt) }},
			{head: "ERROR", text: func(r R) string { return oneLine(r.Error) }, raw: func(r R) string { return r.Error }},
		},
	}
}

// endOfRun looks until a run has ended.
func (a *App) endOfRun(ctx context.Context, c client, ref, scope string, run api.SpellRun, timeout time.Duration) (api.SpellRun, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		var s api.SpellView
		k := spellCall("GET", ref, scope)
		k.out = &s
		err := c.do(ctx, k)
		if err == nil {
			if done, ended := endedRun(s.Status, run); ended {
				return a.toldOf(ctx, ref, scope, done)
			}
		}
		if err != nil && ctx.Err() == nil && !api.IsKind(err, api.Unavailable) {
			return run, err
		}
		if err := pause(ctx, lookEvery); errors.Is(err, context.DeadlineExceeded) {
			return run, &failure{exitUnreachable, fmt.Sprintf("run %d of %s goes on after %s", run.Number, ref, timeout), "see how it went: orchd spell show " + ref}
		} else if err != nil {
			return run, err
		}
	}
}

// runEnded is the state of a run of which only that is known.
const runEnded = "ended"

// endedRun is a run as it ended. When newer ones began since, only that it ended is
// known; its error, if there was one, is among those of the spell.
func endedRun(s api.SpellStatus, run api.SpellRun) (api.SpellRun, bool) {
	for _, r := range s.Running {
		if r.Number == run.Number {
			return run, false
		}
	}
	switch {
	case s.Last.Number == run.Number:
		return s.Last, s.Last.State != api.RunRunning
	case s.Last.Number > run.Number:
		run.State = runEnded
		return run, true
	}
	return run, false
}

// toldOf is a run of which only that it ended is known with what the spell's errors tell of it.
func (a *App) toldOf(ctx context.Context, ref, scope string, run api.SpellRun) (api.SpellRun, error) {
	if run.State != runEnded {
		return run, nil
	}
	k := spellCall("GET", ref, scope, "errors")
	lines, err := list[api.SpellLine](ctx, a, k.path, k.query)
	for _, l := range lines {
		if l.Run == run.Number {
			run.State, run.Error = api.RunFailed, l.Text
		}
	}
	if api.IsKind(err, api.Unavailable) {
		err = nil // that it ended is known
	}
	return run, err
}

// outcomeOfRun is nil for a run that succeeded.
func outcomeOfRun(ref string, run api.SpellRun) error {
	switch run.State {
	case api.RunFailed, api.RunInterrupted:
		msg := fmt.Sprintf("run %d of %s %s", run.Number, ref, run.State)
		if run.Error != "" {
			msg += ": " + oneLine(run.Error)
		}
		return &failure{exitFailed, msg, "all of it: orchd spell errors " + ref + " and orchd spell log " + ref}
	}
	return nil
}

// spellLines prints lines of a spell.
func (a *App) spellLines() listing[api.SpellLine] {
	type L = api.SpellLine
	return listing[L]{
		name:  func(l L) string { return number(l.Seq) },
		order: func(x, y L) int { return cmp.Compare(x.Seq, y.Seq) },
		columns: []column[L]{
			{head: "TIME", text: func(l L) string { return moment(l.At) }},
			{head: "RUN", text: func(l L) string { return number(l.Run) }},
			{head: "SEQ", wide: true, text: func(l L) string { return number(l.Seq) }},
			{head: "TEXT", text: func(l L) string { return oneLine(l.Text) }, raw: func(l L) string { return l.Text }},
		},
	}
}

func (a *App) spellLog() *cobra.Command {
	var scope string
	var follow bool
	cmd := a.verb(verb{
		use:     "log ALIAS",
		short:   "Print what a spell logged, the last 500 lines",
		example: "orchd spell log beat\norchd spell log beat --follow\norchd spell log beat -o json | jq -r .[].text",
		min:     1, max: 1, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			if follow {
				return a.followLog(ctx, args[0], scope)
			}
			return a.printLines(ctx, spellCall("GET", args[0], scope, "log"))
		},
	})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what it logs from now on, until interrupted")
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

func (a *App) spellErrors() *cobra.Command {
	var scope string
	cmd := a.verb(verb{
		use:     "errors ALIAS",
		short:   "Print what went wrong in a spell's runs, of the last 50 that failed",
		example: "orchd spell errors beat\norchd spell errors beat -o json",
		min:     1, max: 1, noun: spellAliases,
		run: func(ctx context.Context, args []string) error {
			return a.printLines(ctx, spellCall("GET", args[0], scope, "errors"))
		},
	})
	a.scopeFlag(cmd, &scope, whereAlias)
	return cmd
}

func (a *App) printLines(ctx context.Context, k call) error {
	items, err := list[api.SpellLine](ctx, a, k.path, k.query)
	if err != nil {
		return err
	}
	return a.spellLines().all(a, items)
}

// logLook is how often a log is looked at: runs are told of once a second.
const logLook = time.Second

// lineWidths are those of the columns of a log that is followed.
var lineWidths = []int{20, 5, 0}

// followLog prints what a spell logged, and what it logs from then on. Lines that fell
// out of the log between two looks are not there.
func (a *App) followLog(ctx context.Context, ref, scope string) error {
	out, since := a.newFeed(typed[api.SpellLine]{a.spellLines()}, lineWidths), int64(0)
	for {
		k := spellCall("GET", ref, scope, "log").with("since", number(since))
		items, err := list[api.SpellLine](ctx, a, k.path, k.query)
		if err != nil && !api.IsKind(err, api.Unavailable) {
			return err
		}
		for _, line := range items {
			if err := out.add(line); err != nil {
				return err
			}
			since = max(since, line.Seq)
		}
		if err := pause(ctx, logLook); err != nil {
			return err
		}
	}
}
