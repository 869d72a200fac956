package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
)

// meter shows on a terminal how far bytes on their way are.
type meter struct {
	app  *App
	name string
	last time.Time
	used bool
}

// meterEvery is how often the line of a meter changes.
const meterEvery = 100 * time.Millisecond

// live tells whether a person looks on: only then anything moves.
func (a *App) live() bool { return !a.flags.quiet && isTerminal(a.Stderr) }

func (m *meter) tell(done, total int64) {
	now := m.app.Now()
	if !m.app.live() || m.used && done != total && now.Sub(m.last) < meterEvery {
		return
	}
	m.last, m.used = now, true
	fmt.Fprintf(m.app.Stderr, "\r\x1b[K%s: %s", m.name, far(done, total))
}

// end leaves an empty line for what comes next.
func (m *meter) end() {
	if m.used {
		fmt.Fprint(m.app.Stderr, "\r\x1b[K")
	}
}

// barWidth is how many characters a bar has between its brackets.
const barWidth = 24

// far is how far something is: "1MiB of 4MiB, 25% [======                  ]".
func far(done, total int64) string {
	if total <= 0 {
		return about(done)
	}
	full := int(min(done, total) * barWidth / total)
	return fmt.Sprintf("%s of %s, %d%% [%s%s]", about(done), about(total), done*100/total, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full))
}

// stepper shows on a terminal the steps of an operation: a line for each that is
// done, and a meter for the one that is under way.
type stepper struct {
	app   *App
	state api.OpState // that has been said
	told  int         // steps that have a line
	meter meter
}

// tell says the state when it is another one, to everybody, and the steps: a final
// state after them.
func (s *stepper) tell(op api.Operation) {
	fresh := op.State != s.state
	s.state = op.State
	if fresh && !op.State.Done() {
		s.say(op)
	}
	s.show(op)
	if fresh && op.State.Done() {
		s.end()
		s.say(op)
	}
}

func (s *stepper) say(op api.Operation) {
	s.app.say("%s of %s: %s", op.Kind, targetName(op), op.State)
}

func (s *stepper) show(op api.Operation) {
	if !s.app.live() {
		return
	}
	for ; s.told < len(op.Steps); s.told++ {
		step := op.Steps[s.told]
		if underWay(step) && !op.State.Done() {
			s.meter = meter{s.app, "  " + step.Name, s.meter.last, s.meter.used}
			s.meter.tell(step.Done, step.Total)
			return
		}
		s.end()
		fmt.Fprintf(s.app.Stderr, "  %s %s\n", step.Name, time.Duration(step.TookMs)*time.Millisecond)
	}
}

func underWay(s api.OpStep) bool { return s.Total > 0 && s.Done < s.Total && s.TookMs == 0 }

// end clears the line of the step under way.
func (s *stepper) end() {
	s.meter.end()
	s.meter = meter{}
}
