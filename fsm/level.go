package fsm

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// This file is how behaviour changes while peers of two releases run. What a command
// means, and which there are, goes by the level in force: a row that is alike on all
// peers, and never by what a program knows. It is raised, by a command, once every
// peer has said in its row that it knows the next level, and is never lowered. A
// peer that is away holds it back; one that was removed does not.
//
// The levels so far:
//
//	1  what there was at first
//	2  system services: services, spells and their stores, mail, deals; certificates that are
//	   renewed, and keys that are rotated; the version that an object was given is remembered
//	   with the answer; no node is allotted the address of a name server or of a peer; a row
//	   that a rollback brings back has a version that it never had; chunks are dropped over gaps
//
// Level 2 is open until the first release: what is added to it is no upgrade for anybody.
//
// To add one: name it here, say since(N) of the new commands in the table, and ask
// tx.Level() where an old command changes its meaning.
const (
	LevelServices uint64 = 2
	LevelKeys     uint64 = 2
	LevelVersions uint64 = 2
	LevelAllotted uint64 = 2
	highestLevel         = LevelKeys
)

// Level is the highest behaviour level that this program knows.
func Level() uint64 { return planted.Level(highestLevel) }

// Level is the behaviour level in force.
func (r Reader) Level() uint64 {
	n, err := strconv.ParseUint(r.Setting(SettingLevel), 10, 64)
	if err != nil {
		return 1 // of a time before there were levels, or before the first entry
	}
	return n
}

// CommonLevel is the highest level that every member knows, by its own word.
func (r Reader) CommonLevel() uint64 {
	common, some := uint64(0), false
	for p := range r.Members() {
		if l := levelOf(p); !some || l < common {
			common, some = l, true
		}
	}
	return max(common, 1)
}

// NextLevel is the next level that some member knows, and the members that do not, by
// id: the level waits for them. It is 0 where nobody knows a higher one than is in force.
func (r Reader) NextLevel() (next uint64, without []api.Peer) {
	highest, now := uint64(0), r.Level()
	for p := range r.Members() {
		highest = max(highest, p.Level)
	}
	if highest <= now {
		return 0, nil
	}
	for p := range r.Members() {
		if levelOf(p) <= now {
			without = append(without, p)
		}
	}
	return now + 1, without
}

// levelOf is the highest level that a peer knows; one that said nothing knows the first.
func levelOf(p api.Peer) uint64 { return max(p.Level, 1) }

// knows refuses a peer whose program does not know the level in force.
func (tx *Txn) knows(op string, level uint64, release string) error {
	if now := tx.Level(); max(level, 1) < now {
		return api.Errorf(api.Conflict, op, "this cluster is at behaviour level %d, and %s knows level %d: %s", now, program(release), max(level, 1), install(tx.Setting(SettingRelease)))
	}
	return nil
}

// program names a release of orchd.
func program(release string) string { return strings.TrimSpace("orchd " + release) }

// install says what helps where a program is too old.
func install(release string) string {
	if release == "" {
		return "install the release that the other peers run, or a newer one, and start it again"
	}
	return fmt.Sprintf("install orchd %s or newer on that host and start it again", release)
}

// tooOld is the error of a program that does not know the level of what it reads.
func tooOld(level uint64, release string) error {
	return api.Errorf(api.Conflict, "level", "the cluster is at behaviour level %d, and this orchd knows level %d: nothing was changed here, %s", level, Level(), install(release))
}

// Suits is nil when this program knows a level that was raised by that release, and
// else the error with which it must not start.
func Suits(level uint64, release string) error {
	if level <= Level() {
		return nil
	}
	return tooOld(level, release)
}

type levelRaise struct {
	To      uint64 `cbor:"1,keyasint"`
	Release string `cbor:"2,keyasint,omitempty"` // of the peer that proposes it
}

// applyRaiseLevel puts a level into force that every member knows. A program that does
// not know it, although this peer once said that it does, stops here.
func applyRaiseLevel(tx *Txn, c levelRaise) (object, error) {
	const op = "level.raise"
	if _, err := tx.asPeer(op); err != nil {
		return nothing, err
	}
	if c.To <= tx.Level() {
		return nothing, nil
	}
	for p := range tx.Members() {
		if levelOf(p) < c.To {
			return nothing, api.Errorf(api.Conflict, op, "peer %q knows level %d, not %d", p.Name, levelOf(p), c.To)
		}
	}
	if err := Suits(c.To, c.Release); err != nil {
		panic(err)
	}
	for name, value := range ordered(map[string]string{SettingLevel: strconv.FormatUint(c.To, 10), SettingRelease: c.Release}) {
		s, _ := settings.one(tx.Reader, name)
		s.Name, s.Value = name, value
		s.Version++
		settings.put(tx, s)
	}
	return nothing, nil
}

// RaiseLevel puts a level into force, as a peer of that release. It is refused while
// a member does not know it, and does nothing when it, or a higher one, is in force.
func (w *Writer) RaiseLevel(ctx context.Context, to uint64, release string) error {
	_, err := propose[struct{}](ctx, w, raiseLevel, levelRaise{to, release})
	return err
}

// allowed refuses a command of a level that is not in force: a peer that does not
// know it would stop at its entry.
func (w *Writer) allowed(t Type) error {
	needs := commands[kind{t, 1}].level
	p, has := w.proposer.(tabled)
	if needs == 0 || !has {
		return nil
	}
	r := p.Tables()
	now := r.Level()
	if needs <= now {
		return nil
	}
	_, without := r.NextLevel()
	waits := "it is raised in a moment: try again"
	if len(without) > 0 {
		waits = fmt.Sprintf("peer %q runs %s, which does not know it: install a newer one there, start it if it is away, or remove that peer", without[0].Name, program(without[0].Software))
	}
	return api.Errorf(api.Conflict, "level", "this needs behaviour level %d, and the cluster is at %d: %s", needs, now, waits)
}
