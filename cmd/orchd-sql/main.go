package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/duckdb/duckdb-go/v2"
)

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitWrong       = 2
	exitInterrupted = 130
)

// errUsage is behind the error of a command line that makes no sense.
var errUsage = errors.New("wrong usage")

// options are the command line.
type options struct {
	prelude   string
	statement string
	file      string // of statements; "-" for stdin
	format    string
	out       string // file for the result; empty: stdout
	history   string // file of what was typed; empty: none is kept
	memory    string
	threads   int
	noHeaders bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program without its process.
func run(ctx context.Context, args []string, in io.Reader, out, complaints io.Writer) int {
	o, err := parse(args, complaints)
	if err == nil {
		err = o.work(ctx, in, out, complaints)
	}
	return explain(err, complaints)
}

func parse(args []string, complaints io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("orchd-sql", flag.ContinueOnError)
	f.SetOutput(complaints)
	f.StringVar(&o.prelude, "prelude", "", "file of SQL that names the parquet files beside it (needed)")
	f.StringVar(&o.statement, "c", "", "statements to run")
	f.StringVar(&o.file, "f", "", "file of statements to run, - for stdin")
	f.StringVar(&o.format, "o", "table", strings.Join(formats, ", "))
	f.StringVar(&o.out, "out", "", "file for the result of the only statement")
	f.StringVar(&o.history, "history", "", "file that remembers what was typed")
	f.StringVar(&o.memory, "memory", "2GiB", "how much memory the engine may use; what needs more goes to disk")
	f.IntVar(&o.threads, "threads", runtime.NumCPU(), "how many threads it may use")
	f.BoolVar(&o.noHeaders, "no-headers", false, "leave out the first line of a table or csv")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return o, err
	case err != nil:
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	return o, o.check(f.Args())
}

func (o options) check(rest []string) error {
	switch {
	case o.prelude == "":
		return fmt.Errorf("%w: name the prelude with --prelude FILE", errUsage)
	case len(rest) > 0:
		return fmt.Errorf("%w: %q is no flag; statements come with -c or -f", errUsage, rest[0])
	case o.statement != "" && o.file != "":
		return fmt.Errorf("%w: -c and -f exclude each other", errUsage)
	case !slices.Contains(formats, o.format):
		return fmt.Errorf("%w: unknown output format %q; use %s", errUsage, o.format, strings.Join(formats, ", "))
	case o.threads < 1:
		return fmt.Errorf("%w: --threads must be at least 1", errUsage)
	case o.out != "" && o.interactive():
		return fmt.Errorf("%w: --out is for the result of -c or -f", errUsage)
	}
	return nil
}

func (o options) interactive() bool { return o.statement == "" && o.file == "" }

func (o options) work(ctx context.Context, in io.Reader, out, complaints io.Writer) (err error) {
	text, err := o.statements(in)
	if err != nil {
		return err
	}
	p := printer{format: o.format, headers: !o.noHeaders, out: out}
	if p.file, err = absolute(o.out); err != nil {
		return err
	}
	e, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if o.interactive() {
		return newSession(e, p, complaints).run(ctx, o.history)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	return e.runAll(ctx, text, p)
}

// statements is what was asked for on the command line; nothing when interactive.
func (o options) statements(in io.Reader) (string, error) {
	var text []byte
	var err error
	switch o.file {
	case "":
		return o.statement, nil
	case "-":
		text, err = io.ReadAll(in)
	default:
		text, err = os.ReadFile(o.file)
	}
	if err != nil {
		return "", fmt.Errorf("read the statements: %w", err)
	}
	return string(text), nil
}

// explain says what went wrong and gives the exit code.
func explain(err error, complaints io.Writer) int {
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitDone
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	fmt.Fprintln(complaints, message(err))
	if isWrong(err) {
		return exitWrong
	}
	return exitFailed
}

// message is an error in the words of the engine, where they are its own.
func message(err error) string {
	if e, ok := errors.AsType[*duckdb.Error](err); ok {
		return e.Msg
	}
	return err.Error()
}

// isWrong tells whether the statement or the command line is to blame, not the machine.
func isWrong(err error) bool {
	e, ok := errors.AsType[*duckdb.Error](err)
	if !ok {
		return errors.Is(err, errUsage) || errors.Is(err, errRefused)
	}
	switch e.Type {
	case duckdb.ErrorTypeOutOfMemory, duckdb.ErrorTypeIO, duckdb.ErrorTypeInternal, duckdb.ErrorTypeFatal:
		return false
	}
	return true
}
