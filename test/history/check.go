package history

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Bounds of what is judged at once. Linearizability is NP-complete in the length of
// a history: what does not fit is a fault of the workload, not something to pass over.
const (
	MaxPerObject = 300
	MaxTime      = 60 * time.Second // per object; who runs into it has failed
)

// Summary counts what was judged.
type Summary struct {
	OK, Fail, Unknown int
	Happened          int // of the unknown, those that the log holds
	Objects           int
	Longest           int           // operations on one object
	Took              time.Duration // by porcupine
}

// Check judges operations by the log that they led to. The error has a line for
// each fault. Pictures of objects that are not linearizable go to the folder
// artifacts, if that is not empty.
func Check(ops []Operation, log *Log, artifacts string) (Summary, error) {
	s := Summary{}
	for _, o := range ops {
		switch o.Outcome {
		case OK:
			s.OK++
		case Fail:
			s.Fail++
		default:
			s.Unknown++
			if o.writes() && log.at(o.ID) != 0 {
				s.Happened++
			}
		}
	}
	faults := append(promises(ops, log), order(ops, log)...)
	began := time.Now()
	objects := byObject(settle(ops, log))
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		of := objects[name]
		s.Objects++
		s.Longest = max(s.Longest, len(of))
		if err := linearizable(name, of, artifacts); err != nil {
			faults = append(faults, err)
		}
	}
	s.Took = time.Since(began)
	return s, errors.Join(faults...)
}

// promises are those that hold for each operation alone: acknowledged is in the
// log, refused is not, and nothing is there twice.
func promises(ops []Operation, log *Log) (faults []error) {
	seen := map[string]bool{}
	for _, o := range ops {
		if seen[o.ID] {
			faults = append(faults, fmt.Errorf("two operations have the id %s: the history is worth nothing", o.ID))
		}
		seen[o.ID] = true
		at := log.at(o.ID)
		switch {
		case !o.writes():
		case o.Outcome == OK && at == 0 && o.Kind == Machine && o.Verb == Delete: // it was being deleted already
		case o.Outcome == OK && at == 0:
			faults = append(faults, fmt.Errorf("lost write: %s was acknowledged, and the log does not hold it", o.tell()))
		case o.Outcome == Fail && at != 0:
			faults = append(faults, fmt.Errorf("%s was refused (%s), and took effect at index %d", o.tell(), o.Reason, at))
		case o.Outcome == OK && o.Index != 0 && o.Index < at:
			faults = append(faults, fmt.Errorf("%s was acknowledged at index %d, before it took effect at %d", o.tell(), o.Index, at))
		}
		if log.twice(o.ID) {
			faults = append(faults, fmt.Errorf("double apply: %s took effect at %v", o.tell(), log.byRequest[o.ID]))
		}
	}
	return faults
}

// order is real time against the order of the log, across all objects: what began
// after an answer was out is not older than that answer.
func order(ops []Operation, log *Log) (faults []error) {
	type event struct {
		at  time.Duration
		end bool
		op  int
	}
	var events []event
	for i, o := range ops {
		if o.Outcome != OK || indexOf(o, log) == 0 {
			continue
		}
		events = append(events, event{o.Begin, false, i}, event{o.End, true, i})
	}
	slices.SortFunc(events, func(a, b event) int { // what begins when another ends is beside it
		if c := cmp.Compare(a.at, b.at); c != 0 || a.end == b.end {
			return c
		}
		if b.end {
			return -1
		}
		return 1
	})
	known, by := uint64(0), 0
	floor, witness := make([]uint64, len(ops)), make([]int, len(ops))
	for _, e := range events {
		o := ops[e.op]
		index := indexOf(o, log)
		if !e.end {
			floor[e.op], witness[e.op] = known, by
			continue
		}
		if index < floor[e.op] || o.writes() && index == floor[e.op] {
			faults = append(faults, fmt.Errorf("stale: %s is of index %d, and %s had been answered with index %d before it began",
				o.tell(), index, ops[witness[e.op]].tell(), floor[e.op]))
		}
		if index > known {
			known, by = index, e.op
		}
	}
	return faults
}

// indexOf is the state that an operation made or saw; 0: not known.
func indexOf(o Operation, log *Log) uint64 {
	if o.writes() {
		return log.at(o.ID)
	}
	return o.Index
}

// settle drops what had no effect and tells nothing, and gives each operation
// without an answer that took effect the latest end that the log allows: the first
// answer that shows its index or a later one.
func settle(ops []Operation, log *Log) (all []Operation) {
	type answer struct {
		index uint64
		end   time.Duration
	}
	var answers []answer
	for _, o := range ops {
		if index := indexOf(o, log); o.Outcome == OK && index != 0 {
			answers = append(answers, answer{index, o.End})
		}
	}
	slices.SortFunc(answers, func(a, b answer) int { return cmp.Compare(a.index, b.index) })
	earliest := make([]time.Duration, len(answers)+1) // of the answers from that one on
	earliest[len(answers)] = math.MaxInt64
	for i := len(answers) - 1; i >= 0; i-- {
		earliest[i] = min(answers[i].end, earliest[i+1])
	}
	for _, o := range ops {
		at := log.at(o.ID)
		switch {
		case o.Outcome == Fail && o.Reason == Nothing, o.Outcome == Unknown && (!o.writes() || at == 0):
			continue
		case o.Outcome == Unknown:
			i, _ := slices.BinarySearchFunc(answers, at, func(a answer, at uint64) int { return cmp.Compare(a.index, at) })
			o.End = max(o.Begin, earliest[i])
		}
		if o.Kind == Machine && o.Verb == Create && o.Saw.ID == "" {
			o.Saw.ID = log.key(o.ID, "vms")
		}
		all = append(all, o)
	}
	return all
}

// byObject sorts operations by what they are about.
func byObject(ops []Operation) map[string][]Operation {
	objects := map[string][]Operation{}
	for _, o := range ops {
		name := string(o.Kind) + " " + o.Object
		objects[name] = append(objects[name], o)
	}
	return objects
}

// linearizable judges the operations on one object.
func linearizable(name string, of []Operation, artifacts string) error {
	if len(of) > MaxPerObject {
		return fmt.Errorf("%s has %d operations, at most %d can be judged: the workload must take another object sooner", name, len(of), MaxPerObject)
	}
	var entries []porcupine.Operation
	for _, o := range of {
		e := entry{verb: o.Verb, want: o.Want, saw: o.Saw}
		if o.Outcome == Fail {
			e.refused = o.Reason
		}
		entries = append(entries, porcupine.Operation{ClientId: o.Client, Input: e, Output: o.ID, Call: int64(o.Begin), Return: int64(o.End)})
	}
	m := model(of[0].Kind)
	m.DescribeOperation = func(input, output any) string { return fmt.Sprintf("%v %+v", output, input) }
	verdict, info := porcupine.CheckOperationsVerbose(m, entries, MaxTime)
	if verdict == porcupine.Ok {
		return nil
	}
	if artifacts != "" {
		file := strings.Map(func(c rune) rune {
			if c == ' ' || c == '/' {
				return '-'
			}
			return c
		}, name)
		if err := porcupine.VisualizePath(m, info, filepath.Join(artifacts, file+".html")); err != nil {
			return fmt.Errorf("%s is not linearizable, and its picture cannot be drawn: %w", name, err)
		}
	}
	if verdict == porcupine.Unknown {
		return fmt.Errorf("%s: %d operations were not judged within %v", name, len(of), MaxTime)
	}
	return fmt.Errorf("%s is not linearizable: no order of its %d operations explains what clients saw", name, len(of))
}

// tell names an operation for people.
func (o Operation) tell() string {
	return fmt.Sprintf("%s (%s %s %s, asked %s)", o.ID, o.Verb, o.Kind, o.Object, o.Peer)
}
