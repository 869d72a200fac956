package host

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/orchd/orchd/api"
)

// Limits of what one run may say. The rest is counted and dropped.
const (
	maxLines     = api.MaxSpellLog
	maxLineBytes = 256 << 10
	maxErrors    = 4 << 10 // bytes of the errors of a run, together
)

// Lines gathers what a run says: lines of its log, and errors. The zero value is
// empty and ready.
type Lines struct {
	mu      sync.Mutex
	log     []api.SpellLine
	bytes   int
	dropped int
	errors  strings.Builder
}

func (l *Lines) add(kind string, run int64, at time.Time, text string) {
	text = Clipped(text, api.MaxLogLine)
	l.mu.Lock()
	defer l.mu.Unlock()
	if kind == kindError {
		if l.errors.Len() > 0 {
			text = "\n" + text
		}
		l.errors.WriteString(Clipped(text, maxErrors-l.errors.Len()))
		return
	}
	if len(l.log) >= maxLines-1 || l.bytes+len(text) > maxLineBytes { // one is kept for the count
		l.dropped++
		return
	}
	l.bytes += len(text)
	l.log = append(l.log, api.SpellLine{Run: run, At: at, Text: text})
}

// Log is what was logged, oldest first. Where lines were dropped the last one says how many.
func (l *Lines) Log() []api.SpellLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := append([]api.SpellLine(nil), l.log...)
	if l.dropped > 0 {
		last := api.SpellLine{Text: fmt.Sprintf("%d more lines were dropped: a run keeps %d lines and %d KiB", l.dropped, maxLines, maxLineBytes>>10)}
		if n := len(l.log); n > 0 {
			last.Run, last.At = l.log[n-1].Run, l.log[n-1].At
		}
		all = append(all, last)
	}
	return all
}

// Errors is what the script called errors, one a line.
func (l *Lines) Errors() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errors.String()
}

// Clipped is text in at most so many bytes, cut between characters.
func Clipped(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const mark = "..."
	if most < len(mark) {
		return ""
	}
	cut := most - len(mark)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}
