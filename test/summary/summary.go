package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64 // seconds
}

// name is a test, or with an empty test the package itself.
type name struct{ pkg, test string }

type summary struct {
	out    io.Writer
	said   map[name]string // what tests said that have not ended
	failed map[string]int  // failed tests of each package that has not ended
	open   map[string]bool // packages that have begun and not ended
	skips  []string
	faults []string // of each failed test, the first thing that it complained of
	slow   []event  // tests that took long, the slowest first

	passes, failures int
}

// Of tests that take long the slowest are named: what to look at first.
const (
	slowest   = 12
	slowSince = 5 // seconds
)

// result begins a line of a test that is told also when the test passes: figures that
// it was run for.
const result = "result: "

// race is what the race detector says first, to whichever test it is that runs just then.
// One that comes to its end before fails the package alone.
const race = "WARNING: DATA RACE"

func newSummary(out io.Writer) *summary {
	return &summary{out: out, said: map[name]string{}, failed: map[string]int{}, open: map[string]bool{}}
}

// read takes the events until they end.
func (s *summary) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(s.out, lines.Text()) // a tool that does not speak JSON: worth seeing
			continue
		}
		s.see(e)
	}
	return lines.Err()
}

func (s *summary) see(e event) {
	switch e.Action {
	case "start":
		s.open[e.Package] = true
	case "output":
		s.said[name{e.Package, e.Test}] += e.Output
		if strings.HasPrefix(e.Output, result) {
			fmt.Fprint(s.out, e.Output)
		}
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.packageEnds(e)
		} else {
			s.testEnds(e)
		}
	}
}

func (s *summary) testEnds(e event) {
	n := name{e.Package, e.Test}
	if e.Elapsed >= slowSince && !strings.Contains(e.Test, "/") {
		s.slow = append(s.slow, e)
	}
	switch e.Action {
	case "pass":
		s.passes++
		if strings.Contains(s.said[n], race) {
			s.faults = append(s.faults, fmt.Sprintf("%s, while %s ran, which passed: %s", e.Package, e.Test, race))
			fmt.Fprint(s.out, s.said[n])
		}
	case "fail":
		s.failures++
		s.failed[e.Package]++
		s.faults = append(s.faults, fmt.Sprintf("%s %s: %s", e.Package, e.Test, complaint(s.said[n])))
		fmt.Fprint(s.out, s.said[n])
	case "skip":
		s.skips = append(s.skips, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(s.said[n])))
	}
	delete(s.said, n)
}

func (s *summary) packageEnds(e event) {
	delete(s.open, e.Package)
	if e.Action == "fail" && s.failed[e.Package] == 0 { // it does not build, or it died
		s.failures++
		s.tellAll(e.Package)
	}
	if e.Action != "skip" { // no test files
		fmt.Fprintf(s.out, "%-4s  %6.1fs  %s\n", e.Action, e.Elapsed, e.Package)
	}
	maps.DeleteFunc(s.said, func(n name, _ string) bool { return n.pkg == e.Package })
}

// tellAll prints what a package and its unfinished tests said: the last words of
// a process that died.
func (s *summary) tellAll(pkg string) {
	for _, n := range slices.SortedFunc(maps.Keys(s.said), func(a, b name) int { return strings.Compare(a.test, b.test) }) {
		if n.pkg == pkg {
			fmt.Fprint(s.out, s.said[n])
		}
	}
}

// reason is what a skipped test said, without go's own lines around it.
func reason(said string) string {
	var own []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			own = append(own, line)
		}
	}
	return strings.Join(own, " ")
}

// complaint is the first line that a failed test said by t.Error or its like, which
// begin with the place in its file. What follows may be pages of other programs' logs.
func complaint(said string) string {
	for line := range strings.Lines(said) {
		if at, _, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.Contains(at, "_test.go:") && !strings.Contains(at, " ") {
			return clipped(strings.TrimSpace(line))
		}
	}
	return clipped(reason(said))
}

// clipped keeps a line readable.
func clipped(line string) string {
	const most = 500
	if len(line) > most {
		return line[:most] + "..."
	}
	return line
}

// finish prints the slowest tests, the skips, once more what failed, for whoever sees
// the end only, and the counts.
func (s *summary) finish() {
	slices.SortFunc(s.slow, func(a, b event) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	for _, e := range s.slow[:min(slowest, len(s.slow))] {
		fmt.Fprintf(s.out, "slow  %6.1fs  %s %s\n", e.Elapsed, e.Package, e.Test)
	}
	for _, skip := range s.skips {
		fmt.Fprintln(s.out, "skip ", skip)
	}
	for _, fault := range s.faults {
		fmt.Fprintln(s.out, "fail ", fault)
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passes, s.failures, len(s.skips))
}

// verdict says why the tests as a whole did not pass; empty: they did.
func (s *summary) verdict(ci bool) string {
	switch {
	case s.failures > 0:
		return "tests failed"
	case len(s.open) > 0:
		return "cut short in " + strings.Join(slices.Sorted(maps.Keys(s.open)), ", ")
	case s.passes == 0:
		return "no test ran"
	case ci && len(s.skips) > 0:
		return "tests were skipped, which CI does not allow"
	}
	return ""
}
