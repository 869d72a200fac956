package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
)

// Trigger says when a spell runs. An empty one never fires: the spell is installed
// and runs only when somebody asks for it.
type Trigger struct {
	Clock       Clock        `json:"clock,omitzero" doc:"At times"`
	Connections Connections  `json:"connections,omitzero" doc:"When peers come or go"`
	Events      []EventMatch `json:"events,omitempty" maxItems:"16" doc:"When rows of the cluster's tables change"`
	Overlap     Overlap      `json:"overlap,omitempty" enum:"queue,allow" doc:"Whether a run may begin while another one of the same spell goes on; default queue: it waits for its turn"`
	Missed      Missed       `json:"missed,omitempty" enum:"skip,run-once" doc:"What becomes of ticks that nobody could run in time; default skip"`
	Retry       bool         `json:"retry,omitempty" doc:"Run again what was cut off by the end of its peer"`
}

// Clock fires at StartSec, and every PeriodSec from there until EndSec. Ticks do not
// drift: the n-th is at StartSec + n x PeriodSec. The words and their meaning are those
// of Fluence's trigger configuration.
type Clock struct {
	StartSec  int64 `json:"start_sec,omitempty" minimum:"0" doc:"Seconds since 1970; 0: the clock is off; in the past: now"`
	EndSec    int64 `json:"end_sec,omitempty" minimum:"0" doc:"Seconds since 1970 from which on it fires no more; 0: for ever"`
	PeriodSec int64 `json:"period_sec,omitempty" minimum:"0" doc:"Seconds; 0: once"`
}

// Connections fires once for each peer that comes, or goes.
type Connections struct {
	Connect    bool `json:"connect,omitempty"`
	Disconnect bool `json:"disconnect,omitempty"`
}

// EventMatch picks changes; what is empty picks all.
type EventMatch struct {
	Table string            `json:"table" doc:"Such as vms or compute_nodes"`
	Verb  ChangeVerb        `json:"verb,omitempty" enum:"create,update,delete"`
	Where map[string]string `json:"where,omitempty" doc:"Fields of the row after the change, with dots between levels, and the values that they must have become with it, as in status.state: failed"`
}

// Overlap says whether runs of one spell may go on side by side.
type Overlap string

// Whether runs overlap.
const (
	OverlapQueue Overlap = "queue"
	OverlapAllow Overlap = "allow"
)

// Missed says what becomes of ticks that nobody could run in time.
type Missed string

// What becomes of missed ticks.
const (
	MissedSkip    Missed = "skip"     // they are gone
	MissedRunOnce Missed = "run-once" // one run stands for all of them
)

// IsOff tells whether a clock never fires.
func (c Clock) IsOff() bool { return c.StartSec == 0 }

// Empty tells whether a trigger never fires.
func (t Trigger) Empty() bool {
	return t.Clock.IsOff() && t.Connections == (Connections{}) && len(t.Events) == 0
}

// maxPeriod of a clock: a hundred years.
const maxPeriod = 100 * 365 * 24 * time.Hour

// LastSecond is the last that a time may lie in, in seconds since 1970: what comes after the
// year 9999 cannot be written (RFC 3339, 5.6).
const LastSecond = 253402300799

var errClockYear = errors.New("invalid config: start_sec and end_sec are seconds since 1970, up to the end of the year 9999")

// Errors of clocks, in the words of the system that they come from.
var (
	errClockEnd    = errors.New("invalid config: end_sec is less than start_sec or in the past")
	errClockPeriod = errors.New("invalid config: period is too big")
)

// At is the clock as it stands when it is set at now: a start that lies in the past is
// now. The error says what is wrong with it.
func (c Clock) At(now time.Time) (Clock, error) {
	if c.IsOff() {
		return Clock{}, nil
	}
	switch {
	case c.StartSec < 0 || c.EndSec < 0 || c.PeriodSec < 0:
		return c, errors.New("invalid config: start_sec, end_sec and period_sec are whole seconds of 0 or more")
	case c.EndSec != 0 && (c.EndSec < c.StartSec || c.EndSec <= now.Unix()):
		return c, errClockEnd
	case c.PeriodSec > int64(maxPeriod/time.Second):
		return c, errClockPeriod
	}
	c.StartSec = max(c.StartSec, now.Unix())
	return c, nil
}

// Check says what is wrong with a clock that is to be set at now. It knows more than At, which is
// for what has been set already.
func (c Clock) Check(now time.Time) error {
	at, err := c.At(now)
	if err == nil && (at.StartSec > LastSecond || at.EndSec > LastSecond) {
		return errClockYear
	}
	return err
}

// UnmarshalJSON names what this system has no use for: a trigger that is silently
// ignored would never fire.
func (t *Trigger) UnmarshalJSON(text []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	if _, has := all["blockchain"]; has {
		return errors.New("a blockchain trigger is not supported: orchd follows no chain; use clock, connections or events")
	}
	type plain Trigger
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(t))
}
