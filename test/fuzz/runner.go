package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// runner runs targets, some side by side.
type runner struct {
	programs map[string]string // the tests, by package
	cache    string            // where go test keeps inputs of interest
	each     time.Duration
	jobs     int // targets that run at once
	out      io.Writer
}

// outcome is what became of a target.
type outcome struct {
	target target
	took   time.Duration
	said   []byte
	err    error
}

// all runs all targets and tells whether none of them failed.
func (r *runner) all(ctx context.Context, targets []target) bool {
	waiting, ended := make(chan target), make(chan outcome)
	var jobs sync.WaitGroup
	for range r.jobs {
		jobs.Go(func() {
			for t := range waiting {
				began := time.Now()
				said, err := r.one(ctx, t)
				ended <- outcome{t, time.Since(began).Round(100 * time.Millisecond), said, err}
			}
		})
	}
	go func() {
		for _, t := range targets {
			waiting <- t
		}
		close(waiting)
		jobs.Wait()
		close(ended)
	}()
	failed := 0
	for o := range ended {
		if ctx.Err() == nil && !r.tell(o) {
			failed++
		}
	}
	fmt.Fprintf(r.out, "%d of %d targets found nothing\n", len(targets)-failed, len(targets))
	return failed == 0 && ctx.Err() == nil
}

// tell says what became of a target, and whether that is well.
func (r *runner) tell(o outcome) bool {
	count, interesting := tried(o.said)
	switch {
	case o.err != nil:
		fmt.Fprintf(r.out, "FAIL %s after %v: %v\n%s\n", o.target, o.took, o.err, o.said)
		r.again(o.target, o.said)
		return false
	case count == 0: // a target that tried nothing has shown nothing
		fmt.Fprintf(r.out, "FAIL %s tried no input in %v\n%s\n", o.target, o.took, o.said)
		return false
	}
	fmt.Fprintf(r.out, "ok   %s: %d inputs, %d of interest, in %v\n", o.target, count, interesting, o.took)
	return true
}

// minimise is how many tries go into making an input of interest smaller. By default it
// is a minute: of a target that runs for eight seconds nothing else would be seen.
const minimise = "50x"

// one runs a target and gives what it said.
func (r *runner) one(ctx context.Context, t target) ([]byte, error) {
	fuzz := exec.CommandContext(ctx, r.programs[t.pkg], "-test.run=^$", "-test.fuzz=^"+t.name+"$", "-test.fuzztime="+r.each.String(),
		"-test.fuzzcachedir="+filepath.Join(r.cache, filepath.FromSlash(t.pkg)), "-test.parallel=1",
		"-test.fuzzminimizetime="+minimise,
		"-test.timeout="+(r.each+10*time.Minute).String())
	fuzz.Dir = t.dir
	said, err := fuzz.CombinedOutput()
	if err != nil && timeWasUp(said) {
		err = nil
	}
	return said, err
}

// timeWasUp tells whether a target is said to have failed for nothing but that its time
// was up: of Go 1.26 that is a race of the program that leads the workers, not of the target
// (golang/go issue 75804, mended in Go 1.27). A target that found something has written
// the input down.
func timeWasUp(said []byte) bool { return deadline.Match(said) && !written.Match(said) }

// Words of go test.
var (
	elapsed  = regexp.MustCompile(`fuzz: elapsed: [^,]*, execs: (\d+) [^,]*, new interesting: (\d+) \(total: (\d+)\)`)
	deadline = regexp.MustCompile(`(?m)^--- FAIL: \w+ \([0-9.]+s\)\n +context deadline exceeded\nFAIL$`)
	written  = regexp.MustCompile(`Failing input written to testdata/fuzz/(\S+)`)
)

// tried is how many inputs a target has tried beside those that it was given, and how many
// took a way of their own. Those given are counted by go test, too.
func tried(said []byte) (inputs, interesting int) {
	all := elapsed.FindAllSubmatch(said, -1)
	if len(all) == 0 {
		return 0, 0
	}
	last := all[len(all)-1]
	inputs, _ = strconv.Atoi(string(last[1]))
	interesting, _ = strconv.Atoi(string(last[2]))
	total, _ := strconv.Atoi(string(last[3]))
	return max(inputs-(total-interesting), 0), interesting
}

// again says how to see a failure once more.
func (r *runner) again(t target, said []byte) {
	if input := written.FindSubmatch(said); input != nil {
		fmt.Fprintf(r.out, "again: (cd %s && go test -run='^%s$' .), with testdata/fuzz/%s; keep that file with what mends it\n", t.dir, input[1], input[1])
		return
	}
	fmt.Fprintf(r.out, "again: (cd %s && go test -run='^%s$' .), or with -fuzz in place of -run\n", t.dir, t.name)
}
