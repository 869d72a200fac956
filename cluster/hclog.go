package cluster

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLog lets raft speak through slog. It says much that is worth nothing in a
// year, and repeats several times a second that a peer is away: only its errors
// are heard, each sentence once a minute, and none while the node ends.
type raftLog struct {
	hclog.Logger // discards what is not overridden
	log          *slog.Logger
	ctx          context.Context // ends with the node
	said         *said
}

// repeatAfter is how long the same sentence of raft's is not said again.
const repeatAfter = time.Minute

// maxSaid bounds what is remembered of them.
const maxSaid = 1000

// said remembers when each sentence was said.
type said struct {
	mu sync.Mutex
	at map[string]time.Time
}

// again tells whether the sentence was said a short while ago, and notes it if not.
func (s *said) again(sentence string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.at[sentence]; ok && time.Since(last) < repeatAfter {
		return true
	}
	if s.at == nil || len(s.at) > maxSaid {
		s.at = map[string]time.Time{}
	}
	s.at[sentence] = time.Now()
	return false
}

func newRaftLog(ctx context.Context, l *slog.Logger) hclog.Logger {
	return raftLog{hclog.NewNullLogger(), l, ctx, &said{}}
}

func (r raftLog) Error(msg string, args ...any) {
	level := slog.LevelWarn
	if r.ctx.Err() != nil || r.said.again(msg) {
		level = slog.LevelDebug
	}
	r.say(level, msg, args)
}
func (r raftLog) Warn(msg string, args ...any) { r.say(slog.LevelDebug, msg, args) }
func (r raftLog) Info(msg string, args ...any) { r.say(slog.LevelDebug, msg, args) }
func (r raftLog) Named(string) hclog.Logger    { return r }
func (r raftLog) With(args ...any) hclog.Logger {
	return raftLog{r.Logger, r.log.With(plain(args)...), r.ctx, r.said}
}

func (r raftLog) say(level slog.Level, msg string, args []any) {
	if r.log.Enabled(r.ctx, level) {
		r.log.Log(r.ctx, level, "raft: "+msg, plain(args)...)
	}
}

// plain renders raft's lazy formats and names errors as everywhere else.
func plain(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case hclog.Format:
			a = fmt.Sprintf(v[0].(string), v[1:]...)
		case fmt.Stringer:
			a = v.String()
		case string:
			if v == "error" && i%2 == 0 {
				a = "err"
			}
		}
		out[i] = a
	}
	return out
}

// gossipLog gives memberlist a logger that ends in slog. Gossip is a hint and
// mends itself: what it calls an error is worth a line, the rest is not.
func gossipLog(ctx context.Context, l *slog.Logger) *log.Logger {
	return log.New(gossipLines{ctx, l, &said{}}, "", 0)
}

type gossipLines struct {
	ctx  context.Context
	log  *slog.Logger
	said *said
}

func (g gossipLines) Write(line []byte) (int, error) {
	level, msg := slog.LevelDebug, strings.TrimSpace(string(line))
	tag, rest, tagged := strings.Cut(msg, " memberlist: ")
	if tagged {
		msg = rest
	}
	if (tag == "[ERR]" || tag == "[WARN]") && g.ctx.Err() == nil && !g.said.again(msg) {
		level = slog.LevelInfo
	}
	g.log.Log(g.ctx, level, "gossip: "+msg)
	return len(line), nil
}
