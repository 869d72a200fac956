// Command fuzz runs every fuzz target of the module for a while, with a line for each. It ends with 1 when one of them finds something, and says how
// to see it again; what was found stays below testdata/fuzz beside the target, where
// it is a test from then on.
//
//	go run ./test/fuzz -time 8s                      all targets
//	go run ./test/fuzz -time 10m -only FuzzApply ./fsm
//	go run ./test/fuzz -list
//	go run ./test/fuzz -C cmd/orchd-sql              the targets of another module
//
// Targets are found in the source, so that a new one needs to be named nowhere.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run is the program; ok tells that no target found anything.
func run(ctx context.Context, args []string, out io.Writer) (ok bool, err error) {
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	each := flags.Duration("time", 8*time.Second, "how long each target runs")
	only := flags.String("only", "", "a regular expression: of the targets, those whose names it matches")
	list := flags.Bool("list", false, "name the targets and run none")
	dir := flags.String("C", ".", "folder of the module")
	jobs := flags.Int("parallel", runtime.NumCPU(), "how many targets run at once")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return false, fmt.Errorf("-only: %w", err)
	}
	packages := flags.Args()
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	targets, err := find(ctx, *dir, packages, wanted)
	if err != nil {
		return false, err
	}
	if len(targets) == 0 {
		return false, fmt.Errorf("there is no fuzz target in %v that %q matches", packages, *only)
	}
	if *list {
		for _, t := range targets {
			fmt.Fprintln(out, t)
		}
		return true, nil
	}
	bin, err := os.MkdirTemp("", "orchd-fuzz-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(bin)
	cache, err := cacheDir(ctx)
	if err != nil {
		return false, err
	}
	began := time.Now()
	programs, err := build(ctx, *dir, bin, targets)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(out, "%d packages are built after %v\n", len(programs), time.Since(began).Round(time.Second))
	r := runner{programs: programs, cache: filepath.Join(cache, "fuzz"), each: *each, jobs: max(*jobs, 1), out: out}
	return r.all(ctx, targets), ctx.Err()
}
