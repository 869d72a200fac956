package sim

import (
	"fmt"

	"github.com/orchd/orchd/fsm"
)

// verify compares the committed log, what clients were told and what the peers had.
func (w *world) verify() {
	judge := fsm.New()
	log := w.journal.ordered()
	for _, e := range log {
		judge.ApplyAll(e.index, e.at, e.commands)
		if got := judge.Read().Hash(); got != e.hash {
			w.violation("the log applied again has the hash %s at index %d, the peers had %s", got, e.index, e.hash)
			return
		}
	}
	w.add("entries", len(log))
	w.trace("verified %d entries", len(log))
	_ = fmt.Sprint
}
