package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/peterh/liner"
)

// lineReader gives what a person types, line by line.
type lineReader interface {
	// Prompt gives the next line; liner.ErrPromptAborted after ctrl-C, io.EOF at the end.
	Prompt(prompt string) (string, error)
	AppendHistory(item string)
}

// session is an interactive one.
type session struct {
	engine  *engine
	printer printer
	notes   io.Writer // what is said beside the results
	words   words
}

func newSession(e *engine, p printer, notes io.Writer) *session {
	return &session{engine: e, printer: p, notes: notes}
}

const help = `Statements end with a semicolon and may take several lines.
  \d        tables and views
  \d NAME   columns of one of them
  \q        leave (also ctrl-D)
Ctrl-C ends a statement that runs, or drops what was typed; the tab key completes names.
`

// run talks to the person at the terminal until they leave. history is the path
// of the file that remembers what they typed; empty: none does.
func (s *session) run(ctx context.Context, history string) error {
	var err error
	if s.words, err = s.engine.words(ctx); err != nil {
		return err
	}
	stop := ignoreInterrupts()
	defer stop()
	line := liner.NewLiner()
	defer line.Close()
	defer context.AfterFunc(ctx, func() { // nothing else ends the wait for a key
		line.Close()
		os.Exit(exitInterrupted)
	})()
	line.SetCtrlCAborts(true)
	line.SetMultiLineMode(true)
	line.SetTabCompletionStyle(liner.TabPrints)
	line.SetWordCompleter(s.words.complete)
	s.remembered(line, history)
	fmt.Fprintln(s.notes, `\d lists the tables, \? helps, \q leaves`)
	return errors.Join(s.talk(ctx, line), s.remember(line, history))
}

// ignoreInterrupts keeps a ctrl-C that comes a moment too late from ending the session.
func ignoreInterrupts() (stop func()) {
	late := make(chan os.Signal, 1)
	signal.Notify(late, os.Interrupt)
	return func() { signal.Stop(late) }
}

// remembered reads the history; that there is none yet is no news.
func (s *session) remembered(line *liner.State, path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := line.ReadHistory(bufio.NewReader(f)); err != nil {
		fmt.Fprintln(s.notes, "the history could not be read:", err)
	}
}

// remember writes the history, for nobody else to read.
func (s *session) remember(line *liner.State, path string) (err error) {
	if path == "" {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the history: %w", err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = line.WriteHistory(f)
	return errors.Join(err, f.Close())
}

// talk takes lines until the person leaves.
func (s *session) talk(ctx context.Context, in lineReader) error {
	typed := ""
	for ctx.Err() == nil {
		prompt := "orchd> "
		if typed != "" {
			prompt = "   ... "
		}
		line, err := in.Prompt(prompt)
		switch {
		case errors.Is(err, liner.ErrPromptAborted):
			typed = ""
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(s.notes)
			return nil
		case err != nil:
			return err
		}
		if typed == "" && isCommand(line) {
			in.AppendHistory(line)
			if !s.command(ctx, strings.Fields(line)) {
				return nil
			}
			continue
		}
		typed = s.statements(ctx, in, typed+line+"\n")
	}
	return nil
}

// isCommand tells whether a line is a word to the session, not a statement.
func isCommand(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, `\`) || line == "exit" || line == "quit"
}

// command obeys a line that is no statement; false: the person leaves.
func (s *session) command(ctx context.Context, words []string) bool {
	switch {
	case words[0] == `\q` || words[0] == "exit" || words[0] == "quit":
		return false
	case words[0] == `\d` && len(words) == 1:
		s.show(ctx, tablesQuery)
	case words[0] == `\d` && len(words) == 2:
		s.show(ctx, "DESCRIBE "+words[1])
	default:
		fmt.Fprint(s.notes, help)
	}
	return true
}

// statements runs what is complete of what was typed, and gives the rest.
func (s *session) statements(ctx context.Context, in lineReader, typed string) (rest string) {
	complete, rest := split(typed)
	for _, text := range complete {
		in.AppendHistory(strings.Join(strings.Fields(text), " ") + ";")
		s.show(ctx, text)
	}
	if rest == "" {
		return ""
	}
	return rest + "\n"
}

// show runs a statement and prints what comes of it; ctrl-C ends it.
func (s *session) show(ctx context.Context, text string) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	began := time.Now()
	rows, err := s.engine.run(ctx, text, s.printer)
	took := time.Since(began).Round(time.Millisecond)
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(s.notes, "interrupted")
	case err != nil:
		fmt.Fprintln(s.notes, message(err))
	case rows >= 0:
		fmt.Fprintf(s.notes, "(%d rows, %v)\n", rows, took)
	}
}
