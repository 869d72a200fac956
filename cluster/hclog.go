package cluster

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// raftLog lets raft speak through slog. It says much that is worth nothing in a
// year, and calls errors what is tried again by itself: each level goes down one.
type raftLog struct {
	hclog.Logger // discards what is not overridden
	log          *slog.Logger
}

func newRaftLog(l *slog.Logger) hclog.Logger { return raftLog{hclog.NewNullLogger(), l} }

func (r raftLog) Error(msg string, args ...any) { r.say(slog.LevelWarn, msg, args) }
func (r raftLog) Warn(msg string, args ...any)  { r.say(slog.LevelInfo, msg, args) }
func (r raftLog) Info(msg string, args ...any)  { r.say(slog.LevelDebug, msg, args) }
func (r raftLog) With(args ...any) hclog.Logger { return raftLog{r.Logger, r.log.With(plain(args)...)} }
func (r raftLog) Named(string) hclog.Logger     { return r }

func (r raftLog) say(level slog.Level, msg string, args []any) {
	if r.log.Enabled(context.Background(), level) {
		r.log.Log(context.Background(), level, msg, plain(args)...)
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

// gossipLog gives memberlist a logger that ends in slog. Its levels stand in
// the text.
func gossipLog(l *slog.Logger) *log.Logger { return log.New(gossipLines{l}, "", 0) }

type gossipLines struct{ log *slog.Logger }

func (g gossipLines) Write(line []byte) (int, error) {
	level, msg := slog.LevelDebug, strings.TrimSpace(string(line))
	for tag, l := range map[string]slog.Level{"[ERR] ": slog.LevelWarn, "[ERROR] ": slog.LevelWarn, "[WARN] ": slog.LevelInfo, "[INFO] ": slog.LevelDebug, "[DEBUG] ": slog.LevelDebug} {
		if rest, ok := strings.CutPrefix(msg, tag); ok {
			level, msg = l, rest
		}
	}
	g.log.Log(context.Background(), level, "gossip", "said", strings.TrimPrefix(msg, "memberlist: "))
	return len(line), nil
}
