package fsm

import (
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
)

// spellLine is a line of a spell's log, or an error of one of its runs.
type spellLine struct {
	Spell string    `json:"spell"`
	Kind  string    `json:"kind"`
	Seq   int64     `json:"seq"`
	Run   int64     `json:"run"`
	At    time.Time `json:"at"`
	Text  string    `json:"text,omitempty"`
}

// The kinds of line. Each is numbered by itself, without gaps.
const (
	lineLog   = "log"
	lineError = "error"
)

var spellLines = &table[spellLine]{
	name:        "spell_lines",
	bookkeeping: true,
	key:         func(l *spellLine) string { return seqKey(l.Spell, l.Kind, l.Seq) },
}

// addLine keeps a line behind the last, whose number it moves on, and drops the oldest
// beyond keep.
func addLine(tx *Txn, l spellLine, last *int64, keep int64) {
	*last++
	l.Seq, l.Text = *last, cut(l.Text, api.MaxLogLine)
	spellLines.put(tx, l)
	spellLines.remove(tx, seqKey(l.Spell, l.Kind, *last-keep))
}

// log keeps what a run said, and fail what went wrong in it.
func (r *runs) log(tx *Txn, run int64, lines []api.SpellLine) {
	if n := len(lines); n > api.MaxSpellLog {
		lines = lines[n-api.MaxSpellLog:]
	}
	for _, l := range lines {
		if l.At.IsZero() {
			l.At = tx.Now
		}
		addLine(tx, spellLine{Spell: r.Spell, Kind: lineLog, Run: run, At: l.At, Text: l.Text}, &r.Logs, api.MaxSpellLog)
	}
}

func (r *runs) fail(tx *Txn, run int64, text string) {
	addLine(tx, spellLine{Spell: r.Spell, Kind: lineError, Run: run, At: tx.Now, Text: text}, &r.Errors, api.MaxSpellErrors)
}

// cut is the beginning of a text, at most that many bytes of it.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const mark = "..."
	return strings.ToValidUTF8(text[:most-len(mark)], "") + mark
}

// SpellLog are the lines that are kept of what a spell has logged, oldest first.
func (r Reader) SpellLog(id string) []api.SpellLine { return r.spellLines(id, lineLog) }

// SpellErrors are the errors that are kept of a spell's runs, oldest first.
func (r Reader) SpellErrors(id string) []api.SpellLine { return r.spellLines(id, lineError) }

func (r Reader) spellLines(id, kind string) (all []api.SpellLine) {
	for l := range ofSpell(spellLines, r, id+"/"+kind) {
		all = append(all, api.SpellLine{Seq: l.Seq, Run: l.Run, At: l.At, Text: l.Text})
	}
	return all
}

// forgetRuns drops what was kept of a spell's runs, its mail and what it said.
func forgetRuns(tx *Txn, spell string) {
	for _, l := range slices.Collect(ofSpell(spellLines, tx.Reader, spell+"/")) {
		spellLines.remove(tx, spellLines.key(l))
	}
	for _, m := range slices.Collect(ofSpell(spellMail, tx.Reader, spell+"/")) {
		spellMail.remove(tx, spellMail.key(m))
	}
	spellRuns.remove(tx, spell)
}
