package cluster

import (
	"context"
	"slices"
	"sync"
	"time"
)

// groups is where commands wait for a way out: on the leader into the log, on
// any other peer to the leader. Whatever waits when a group may leave goes in it.
// A lone command waits for nobody, and the longer a group is under way, the more
// go together in the next; the leader waits a moment for more where there are many.
type groups struct {
	most    int  // groups under way at once
	gathers bool // whether others are waited for after a group of many; see gatherFrom
	// carry takes a group where it goes and gives the verdict on each command.
	carry func(commands [][]byte) []verdict
	over  <-chan struct{} // closed when nobody is to wait any more; nil: never

	mu       sync.Mutex
	waiting  []*proposal // oldest first
	underway int
}

// proposal is one command that waits for its verdict.
type proposal struct {
	command []byte
	given   chan verdict
}

// verdict is what became of a proposal.
type verdict struct {
	answer any    // the machine's
	index  uint64 // of its entry, which is committed; 0: not known
	err    error
}

// maxGroup is how many commands go together at most; MaxEntry bounds their bytes.
// Answers go back together as well, and have to fit into a message.
const maxGroup = 256

// submit waits for the verdicts on commands, which keep their order. When ctx
// ends before, or it is over, those that have not left are taken back; the outcome
// of the others is unknown.
func (g *groups) submit(ctx context.Context, commands ...[]byte) []verdict {
	mine := make([]*proposal, len(commands))
	for i, c := range commands {
		mine[i] = &proposal{c, make(chan verdict, 1)}
	}
	g.mu.Lock()
	g.waiting = append(g.waiting, mine...)
	if g.underway < g.most {
		g.underway++
		go g.run()
	}
	g.mu.Unlock()
	verdicts := make([]verdict, len(mine))
	for i, p := range mine {
		select {
		case verdicts[i] = <-p.given:
		case <-ctx.Done():
			g.withdraw(p)
			verdicts[i] = verdict{err: ctx.Err()}
		case <-g.over:
			g.withdraw(p)
			verdicts[i] = verdict{err: context.Canceled}
		}
	}
	return verdicts
}

func (g *groups) withdraw(p *proposal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, p); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
}

// run sends one group after the other as long as commands wait.
func (g *groups) run() {
	for group := g.next(); len(group) > 0; group = g.next() {
		commands := make([][]byte, len(group))
		for i, p := range group {
			commands[i] = p.command
		}
		began := time.Now()
		verdicts := g.carry(commands)
		took := time.Since(began)
		for i, p := range group {
			p.given <- verdicts[i]
		}
		if g.gathers && len(group) >= gatherFrom {
			time.Sleep(min(took/2, gatherMost))
		}
	}
}

// Where many propose at once, those who have just been answered come back a moment too
// late for the next group, and go by turns with those that wait: in twice as many groups,
// each half as large. To wait half as long as the last group took brings them together:
// 64 clients then take a tenth less of the processors. A few would only wait.
const (
	gatherFrom = 8 // commands in the last group
	gatherMost = 10 * time.Millisecond
)

// next takes the oldest commands that fit together. None: the place under way is given back.
func (g *groups) next() []*proposal {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, size := 0, frameHeader
	for ; n < min(len(g.waiting), maxGroup); n++ {
		if size += lengthSize + len(g.waiting[n].command); n > 0 && size > MaxEntry {
			break
		}
	}
	if n == 0 {
		g.underway--
		g.waiting = nil
		return nil
	}
	group := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return group
}

// all is the same verdict for each of n commands.
func all(n int, v verdict) []verdict { return slices.Repeat([]verdict{v}, n) }
