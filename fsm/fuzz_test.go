package fsm

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// goldenCommands are the commands of a log that an earlier release wrote.
func goldenCommands(f *testing.F, file string) (all [][]byte, micros []int64) {
	f.Helper()
	in, err := os.Open(file)
	if err != nil {
		f.Fatal(err)
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var index uint64
		var at int64
		var body string
		if n, _ := fmt.Sscanf(lines.Text(), "%d %d %s", &index, &at, &body); n != 3 {
			continue // the hash
		}
		command, err := hex.DecodeString(body)
		if err != nil {
			f.Fatal(err)
		}
		all, micros = append(all, command), append(micros, at)
	}
	return all, micros
}

// FuzzApply applies commands that may be anything to a state with something of
// everything: one that does not decode stops the machine with a sentence, and any other
// gives the same answer and state twice, a state whose hash is that of its rows and
// which promises no host more than it has.
func FuzzApply(f *testing.F) {
	commands, micros := goldenCommands(f, "testdata/log.golden")
	m, seeds := New(), map[Type]int{}
	for i, command := range commands {
		m.Apply(uint64(i+1), 0, time.UnixMicro(micros[i]), command)
		if e, _, err := decode(command); err == nil && seeds[e.Type] < 2 {
			seeds[e.Type]++
			f.Add(command)
		}
	}
	for _, hostile := range []string{"", "a0", "bf", "a10100", "a401190065020103617805a0", "9b7fffffffffffffff", "a3011819020103" + strings.Repeat("81", 40)} {
		b, err := hex.DecodeString(hostile)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	base := m.published.Load()
	f.Fuzz(func(t *testing.T, command []byte) {
		var hashes [2]string
		var answers [2]Result
		for i := range hashes {
			m := machineAt(base)
			stopped := stops(func() { answers[i] = m.Apply(base.index+1, 0, base.now.Add(time.Second), command).(Result) })
			if stopped != nil {
				if _, _, err := decode(command); err == nil && !saysWhy(stopped) {
					t.Fatalf("the machine stopped at a command that it can read: %v", stopped)
				}
				return
			}
			hashes[i] = m.Read().Hash()
			if i == 1 {
				if err := m.Verify(); err != nil {
					t.Error(err)
				}
				ledgerHolds(t, 0, m.Read())
			}
		}
		if hashes[0] != hashes[1] || fmt.Sprint(answers[0].Err) != fmt.Sprint(answers[1].Err) || answers[0].Key != answers[1].Key {
			t.Errorf("applied twice to one state it gives %s %+v and %s %+v", hashes[0], answers[0], hashes[1], answers[1])
		}
		if _, err := answers[0].MarshalBinary(); err != nil {
			t.Errorf("its answer cannot be sent: %v", err)
		}
	})
}

// machineAt is a machine with a state that others have as well: who watches its tables
// is woken by this machine alone.
func machineAt(s *state) *Machine {
	tx := newTxn(s, s.index, s.now)
	for pos := range s.trees {
		tx.changing(pos)
	}
	m := New()
	m.published.Store(tx.state)
	return m
}

// stops is what f panics with.
func stops(f func()) (with any) {
	defer func() { with = recover() }()
	f()
	return nil
}

// saysWhy tells whether a machine stopped because of what it cannot read.
func saysWhy(stopped any) bool {
	switch stopped.(type) {
	case undecodable, *api.Error:
		return true
	}
	return false
}

// FuzzToken: what is no token that was made speaks for nobody, and lets nobody join.
func FuzzToken(f *testing.F) {
	m := New()
	tx := newTxn(emptyState(), 1, epoch0)
	tokens.put(tx, token{Hash: hashSecret("secret"), Token: api.Token{ID: "id", Role: api.RoleAdmin, ExpiresAt: epoch0.Add(time.Hour)}})
	tokens.put(tx, token{Hash: hashSecret("secret"), Token: api.Token{ID: "join", Role: api.RolePeer, Uses: 1, ExpiresAt: epoch0.Add(time.Hour)}})
	m.publish(tx)
	for _, bearer := range []string{"orchd_id_secret", "orchd_id_secret ", "orchd_ID_secret", "orchd_id_", "orchd__", "id_secret", "orchd_join_secret", "orchd_orchd_id_secret", "orchd_id_secret\x00", "\xff"} {
		f.Add(bearer, "join", "secret")
	}
	f.Fuzz(func(t *testing.T, bearer, id, secret string) {
		r := m.Read()
		if a, ok := r.TokenActor(bearer, epoch0); ok != (bearer == "orchd_id_secret") || ok && a.Role != api.RoleAdmin {
			t.Errorf("%q speaks for %+v: %v", bearer, a, ok)
		}
		if err := r.MayJoin(id, secret, nil); (err == nil) != (id == "join" && secret == "secret") {
			t.Errorf("one may join with %q and %q: %v", id, secret, err)
		}
	})
}

// FuzzPatchSettings: a merge patch of the settings is refused, or leaves settings that
// can be shown and are all within their bounds.
func FuzzPatchSettings(f *testing.F) {
	for _, patch := range []string{`{"voters":3}`, `{"voters":null}`, `{"snapshot":{"retain":48}}`, `{"auth":{"jwt_secret":"x"}}`, `{"snapshot":{"interval":"1h","interval":"2h"}}`, `{"voters":1e0}`, `null`, `{"a":{}}`, `{"snapshot":[]}`, `{} {}`} {
		f.Add([]byte(patch))
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		m := New()
		w := NewWriter(onto{m}, nil, marking{})
		if _, err := w.PatchSettings(api.WithCaller(t.Context(), api.Caller{Actor: admin}), patch); err != nil {
			if m.Index() > 0 && !api.IsKind(err, api.Invalid) {
				t.Errorf("got into the log, and gave %v", err)
			}
			return
		}
		if v := m.Read().Settings().Voters; v != 1 && v != 3 && v != 5 {
			t.Errorf("%s leaves %d voters", patch, v)
		}
	})
}

// onto is a Proposer that applies what it is given.
type onto struct{ *Machine }

func (p onto) Propose(_ context.Context, command []byte) ([]byte, error) {
	return p.Apply(p.Index()+1, 0, epoch0, command).(Result).MarshalBinary()
}
