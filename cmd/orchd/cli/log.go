package cli

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"github.com/orchd/orchd/cmd/orchd/config"
)

// logger writes what the daemon has to say: for people on a terminal, for programs elsewhere.
func logger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	// Validate has seen that it is one of slog's words.
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		panic(err)
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if c.Format == "json" || c.Format == "auto" && !isTerminal(w) {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// readable writes durations with their unit: JSON would have bare nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// isTerminal tells whether a person may be looking at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
