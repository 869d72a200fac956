package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/orchd/orchd/fsm"
)

// levelFile remembers the behaviour level in force, for the next start: a program that
// does not know it must not open the log, in which there may be what it cannot read.
func levelFile(dataDir string) string { return filepath.Join(dataDir, "raft", "level.json") }

// levelNote is what stands in it.
type levelNote struct {
	Level   uint64 `json:"level"`
	Release string `json:"release,omitempty"` // of orchd, that raised it
}

// wantLevel refuses a data folder whose cluster is at a level that this program does
// not know.
func wantLevel(dataDir string) error {
	text, err := os.ReadFile(levelFile(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read the behaviour level: %w", err)
	}
	var n levelNote
	if err := json.Unmarshal(text, &n); err != nil {
		return fmt.Errorf("read %s: %w. Nothing is lost with it: remove it", levelFile(dataDir), err)
	}
	return fsm.Suits(n.Level, n.Release)
}

// keepLevel writes the level down whenever another is in force.
func (p *Peer) keepLevel(ctx context.Context) error {
	var kept levelNote
	for {
		now := p.machine.Read()
		if n := (levelNote{now.Level(), now.Setting(fsm.SettingRelease)}); n != kept && now.Index() > 0 {
			if err := writeLevel(p.cfg.DataDir, n); err != nil {
				p.log.Warn("behaviour level not written down; tried again at the next change of a setting", "level", n.Level, "err", err)
			} else {
				p.log.Info("behaviour level in force", "level", n.Level, "release", n.Release)
				kept = n
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-now.SettingsChanged():
		}
	}
}

func writeLevel(dataDir string, n levelNote) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return renameio.WriteFile(levelFile(dataDir), append(text, '\n'), 0o600)
}

// raiseLevel puts the next level into force once every peer has said that it knows it.
func (p *Peer) raiseLevel(ctx context.Context) {
	now := p.machine.Read()
	if to := min(now.CommonLevel(), fsm.Level()); to > now.Level() {
		p.tried(ctx, "raise the behaviour level", func() error { return p.writer.RaiseLevel(ctx, to, p.cfg.Version) })
	}
}

// awaitLevel returns once a level is in force; false when ctx ended before.
func (p *Peer) awaitLevel(ctx context.Context, level uint64) bool {
	for {
		now := p.machine.Read()
		if now.Level() >= level {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-now.SettingsChanged():
		}
	}
}
