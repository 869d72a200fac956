package fsm

import (
	"fmt"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// BenchmarkRunBatch1000 is a second in the life of a peer with 1,000 spells of a period
// of one second: their runs of the last second end, and the next begin.
func BenchmarkRunBatch1000(b *testing.B) {
	const n = 1000
	l := newLog(b, "a")
	a := ActorOfPeer("a")
	for k := range n {
		l.must(a, deploySpell, spellWrite{Package: "p", Scope: "a", Alias: fmt.Sprint("s", k), Script: "def run(): pass", Trigger: api.Trigger{Clock: api.Clock{StartSec: 1, PeriodSec: 1}}})
	}
	l.must(a, claimScope, scopeClaim{"a", "one"})
	tick := int64(0)
	for b.Loop() {
		batch := api.RunBatch{Scope: "a", Peer: "a", Term: 1}
		for s := range l.m.Read().Spells() {
			if tick > 0 {
				batch.End = append(batch.End, api.RunEnd{Spell: s.ID, Number: tick, State: api.RunSucceeded, Log: []api.SpellLine{{Text: "all is well"}}})
			}
			batch.Begin = append(batch.Begin, api.RunBegin{Spell: s.ID, Version: s.Version, Firing: api.Firing{Kind: "clock", Tick: tick, Due: l.at}})
		}
		l.at = l.at.Add(time.Second)
		l.must(a, runSpells, batch)
		tick++
	}
	for s := range l.m.Read().Spells() {
		if got := l.m.Read().SpellStatus(s.ID); got.Counter != tick {
			b.Fatalf("after %d ticks %+v", tick, got)
		}
	}
}
