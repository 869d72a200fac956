package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/nearest"
)

// The exit codes, as the handbook lists them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitNotAllowed  = 5
	exitUnreachable = 6 // also: no leader, timed out
	exitNoHost      = 7
	exitInterrupted = 130
)

// exitOf is the exit code of each kind of failure of the API.
var exitOf = map[api.Kind]int{
	api.Internal:        exitFailed,
	api.Invalid:         exitUsage,
	api.NotFound:        exitNotFound,
	api.Conflict:        exitConflict,
	api.Unavailable:     exitUnreachable,
	api.NoCapacity:      exitNoHost,
	api.Unauthenticated: exitNotAllowed,
	api.Forbidden:       exitNotAllowed,
	api.Precondition:    exitConflict,
	api.Gone:            exitNotFound,
	api.TooLarge:        exitUsage,
	api.TooMany:         exitFailed,
	api.Mismatch:        exitConflict,
	api.Malformed:       exitUsage,
	api.ServiceFailed:   exitFailed,
	api.ServiceDeadline: exitUnreachable,
}

// failure is an error that this package found itself.
type failure struct {
	code int
	msg  string // what failed and why; empty: it has been said already
	hint string // what to do next
}

func (f *failure) Error() string { return f.msg }

// usage makes wrong usage of an error.
func usage(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return &failure{exitUsage, err.Error(), ""}
}

func usagef(format string, args ...any) error {
	return &failure{exitUsage, fmt.Sprintf(format, args...), ""}
}

// exitCode is the only place where an error becomes an exit code.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if all, ok := err.(failures); ok {
		return all.exitCode()
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return exitOf[e.Kind]
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return exitUnreachable
	}
	return exitFailed
}

// exitCode is the worst of several: the highest.
func (f failures) exitCode() int {
	worst := exitDone
	for _, one := range f {
		worst = max(worst, exitCode(one.err))
	}
	return worst
}

// explain writes what failed, why, and what to do next: at most three lines,
// and one for each host where no host fits.
// Of several names each has its own.
func (a *App) explain(cmd *cobra.Command, err error) {
	if all, several := err.(failures); several {
		for _, one := range all {
			a.explainOne(cmd, one)
		}
		return
	}
	a.explainOne(cmd, failed{"", err})
}

func (a *App) explainOne(cmd *cobra.Command, one failed) {
	err := one.err
	if err == nil || err.Error() == "" || errors.Is(err, context.Canceled) {
		return
	}
	has := flagsOf(cmd)
	lines := []string{cmd.CommandPath() + ": " + one.line(has)}
	if e, ok := errors.AsType[*api.Error](err); ok {
		lines = append(lines, has.details(e)...)
	}
	if hint := hintOf(err, cmd); hint != "" {
		lines = append(lines, hint)
	}
	fmt.Fprintln(a.Stderr, strings.Join(lines, "\n"))
}

// message is the sentence of an error: what is wrong with the first field,
// where fields are wrong. Several errors of one configuration keep their lines.
func message(err error) string { return flagSet(nil).message(err) }

func (has flagSet) message(err error) string {
	e, ok := errors.AsType[*api.Error](err)
	switch {
	case !ok:
		return err.Error()
	case len(e.Fields) > 0:
		return has.fieldLine(e.Fields[0])
	default:
		return e.Msg
	}
}

// details says which hosts do not fit, or which other fields are wrong.
func (has flagSet) details(e *api.Error) []string {
	var lines []string
	for _, h := range e.Hosts {
		lines = append(lines, "  "+hostLine(h.Peer, h.Status, h.Reason))
	}
	switch n := len(e.Fields); {
	case n == 2:
		lines = append(lines, "  "+has.fieldLine(e.Fields[1]))
	case n > 2:
		lines = append(lines, fmt.Sprintf("  and %d more fields are wrong", n-1))
	}
	return lines
}

func hostLine(peer string, status api.HostStatus, reason string) string {
	line := peer + ": " + strings.ReplaceAll(string(status), "_", " ")
	if reason != "" {
		line += ": " + reason
	}
	return line
}

// hints is what to do about a kind of failure that does not say so itself.
var hints = map[api.Kind]string{
	api.Unauthenticated: "give a token with --token-file or ORCHD_TOKEN, or run this as root on a peer",
	api.Forbidden:       "use a token of a role that may; root on a peer may do everything",
	api.Precondition:    "somebody was faster; look at it and try again",
	api.Internal:        "the peer's log has the details",
}

func hintOf(err error, cmd *cobra.Command) string {
	if f, ok := errors.AsType[*failure](err); ok {
		if f.code == exitUsage && f.hint == "" {
			return "see " + cmd.CommandPath() + " --help"
		}
		return f.hint
	}
	if e, ok := errors.AsType[*api.Error](err); ok && len(e.Fields) == 0 && cmd.Name() != "join" { // joining says what to do itself
		switch {
		case e.Kind == api.Forbidden && strings.Contains(e.Msg, "suspended"):
			return "an admin lets it go on with: orchd account resume NAME"
		case e.Kind == api.Forbidden && strings.Contains(e.Msg, "trust.image_weight"):
			return "" // no role does without a signature; what does, it says itself
		}
		return hints[e.Kind]
	}
	return ""
}

// unknownWord is a word of the command line that means nothing here.
func unknownWord(what, word string, known []string) error {
	f := &failure{exitUsage, fmt.Sprintf("unknown %s %q", what, word), ""}
	if near := nearest.Of(word, known); near != "" {
		f.hint = "did you mean " + near + "?"
	}
	return f
}

var misspeltFlag = regexp.MustCompile(`^unknown flag: (--[^ =]+)`)

// flagError is a flag that does not exist, or that cannot have this value.
func flagError(cmd *cobra.Command, err error) error {
	m := misspeltFlag.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	var names []string
	note := func(f *pflag.Flag) { names = append(names, "--"+f.Name) }
	cmd.Flags().VisitAll(note)
	cmd.InheritedFlags().VisitAll(note)
	return unknownWord("flag", m[1], names)
}

// didYouMean adds to a failed search the name that was probably meant.
func (a *App) didYouMean(ctx context.Context, n noun, args []string, err error) error {
	if all, several := err.(failures); several {
		for i := range all {
			all[i].err = a.didYouMean(ctx, n, []string{all[i].ref}, all[i].err)
		}
		return all
	}
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Kind != api.NotFound || n == nil || len(args) == 0 {
		return err
	}
	names, listErr := n(ctx, a)
	for _, word := range args {
		if near := nearest.Of(word, names); listErr == nil && near != "" && !slices.Contains(names, word) {
			return &failure{exitOf[e.Kind], e.Msg, "did you mean " + near + "?"}
		}
	}
	return err
}
