package guest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Ready is what the guest says once it answers questions.
const Ready = "orchd guest ready"

// answerLimit is how long the guest may take to answer.
const answerLimit = 30 * time.Second

// Shell asks the small guest questions over its serial console. ask.sh has what
// it answers to.
type Shell struct {
	console io.Writer
	lines   chan string
	asked   int

	mu   sync.Mutex
	tick int
	lost error // why no more lines come
}

// Talk takes a serial console over. It reads until the console is closed, which is
// left to the caller.
func Talk(console io.ReadWriter) *Shell {
	s := &Shell{console: console, lines: make(chan string, 1000)}
	go s.listen(console)
	return s
}

// Ask gives the lines of the guest's answer, without the last line's end. The
// error of a command that failed in the guest has what it said.
func (s *Shell) Ask(command string) (string, error) {
	return s.AskWithin(answerLimit, command)
}

// AskWithin is Ask with a limit of the caller's.
func (s *Shell) AskWithin(limit time.Duration, command string) (string, error) {
	s.asked++
	id := fmt.Sprintf("%d-%d", time.Now().UnixNano()%1e9, s.asked) // an answer to somebody before us is none to us
	if _, err := fmt.Fprintf(s.console, "@%s %s\n", id, command); err != nil {
		return "", fmt.Errorf("ask the guest %q: %w", command, err)
	}
	return s.answer(id, command, time.After(limit))
}

// AwaitReady waits until the guest answers; what it is asked while it boots is lost.
func (s *Shell) AwaitReady(limit time.Duration) (err error) {
	for start := time.Now(); time.Since(start) < limit; {
		if _, err = s.AskWithin(2*time.Second, "hello"); err == nil || s.Lost() != nil {
			return err
		}
	}
	return err
}

// Tick is the newest second that the guest has counted on this console.
func (s *Shell) Tick() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tick
}

// Lost is why no more is heard; nil while the console is open.
func (s *Shell) Lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

func (s *Shell) answer(id, command string, limit <-chan time.Time) (string, error) {
	var said []string
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				return "", fmt.Errorf("ask the guest %q: the console is closed: %w", command, s.Lost())
			}
			if text, is := after(line, "orchd "+id+"| "); is {
				said = append(said, text)
			}
			if status, is := after(line, "orchd "+id+"= "); is {
				answer := strings.Join(said, "\n")
				if status != "0" {
					return answer, fmt.Errorf("the guest failed at %q with status %s: %s", command, status, answer)
				}
				return answer, nil
			}
		case <-limit:
			return "", fmt.Errorf("the guest has not answered %q; it has said %q", command, said)
		}
	}
}

// after cuts what a console may have put before an answer: an echo, a prompt.
func after(line, mark string) (string, bool) {
	_, text, found := strings.Cut(line, mark)
	return text, found
}

var tickForm = regexp.MustCompile(`orchd tick (\d+)`)

// listen keeps what nobody awaits only as long as there is room.
func (s *Shell) listen(console io.Reader) {
	r := bufio.NewReader(console)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			s.end(err)
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if n := LastTick(line); n > 0 {
			s.mu.Lock()
			s.tick = n
			s.mu.Unlock()
		}
		select {
		case s.lines <- line:
		default: // nobody asks: the guest boots
		}
	}
}

func (s *Shell) end(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	s.mu.Lock()
	s.lost = err
	s.mu.Unlock()
	close(s.lines)
}

// LastTick is the newest second that the guest counted in what its console said; 0: none.
func LastTick(said string) (n int) {
	if all := tickForm.FindAllStringSubmatch(said, -1); len(all) > 0 {
		n, _ = strconv.Atoi(all[len(all)-1][1]) // digits
	}
	return n
}
