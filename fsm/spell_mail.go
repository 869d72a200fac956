package fsm

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
)

// mail is a message in the mailbox of a spell.
type mail struct {
	Spell string    `json:"spell"`
	Seq   int64     `json:"seq"`
	From  string    `json:"from"`
	Text  string    `json:"text,omitempty"`
	At    time.Time `json:"at"`
}

var spellMail = &table[mail]{
	name:        "spell_mail",
	bookkeeping: true,
	key:         func(m *mail) string { return seqKey(m.Spell, "", m.Seq) },
}

// seqKey is the key of what is numbered: in the order of the numbers.
func seqKey(spell, kind string, seq int64) string { return fmt.Sprintf("%s/%s%016d", spell, kind, seq) }

type mailPush struct {
	Spell string `cbor:"1,keyasint"`
	Text  string `cbor:"2,keyasint"`
}

// applyPushMail puts a message behind those that are in a mailbox.
func applyPushMail(tx *Txn, c mailPush) (object, error) {
	const op = "spell.mail"
	s, there := spells.one(tx.Reader, c.Spell)
	if err := mayMail(tx, op, s, c.Spell, there); err != nil {
		return nothing, err
	}
	if len(c.Text) > api.MaxKVValue {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the message is too long", Fields: []api.FieldError{{Pointer: "/text", Detail: "must be at most 65536 bytes"}}}
	}
	if n := len(tx.Mailbox(s.ID)); n >= api.MaxMailbox {
		return nothing, api.Errorf(api.Conflict, op, "the mailbox of spell %s holds %d messages, which is the most; the spell takes them out with mailbox.pop()", s.Alias, n)
	}
	runs, _ := spellRuns.one(tx.Reader, s.ID)
	runs.Mails++
	spellRuns.put(tx, runs)
	spellMail.put(tx, mail{s.ID, runs.Mails, tx.Actor.ID, c.Text, tx.Now})
	return nothing, nil
}

// mayMail asks whether the actor may put something into the mailbox of a spell: whoever
// may change the spell, and peers, for the services that they answer for.
func mayMail(tx *Txn, op string, s api.Spell, id string, there bool) error {
	if isPeer(tx.Actor) {
		if _, err := tx.asPeer(op); err != nil {
			return err
		}
		if !there {
			return api.Errorf(api.NotFound, op, "no spell %s", clipped(id))
		}
	} else if err := tx.reach(api.Update, op, api.Object{Kind: "spell", Account: s.Account}, clipped(id), there); err != nil {
		return err
	}
	return accountOpen(tx.Reader, op, s.Account)
}

type mailPop struct {
	Spell string `cbor:"1,keyasint"`
	Seq   int64  `cbor:"2,keyasint"`
}

// applyPopMail takes out the oldest message, for the spell that has read it.
func applyPopMail(tx *Txn, c mailPop) (object, error) {
	const op = "spell.mail"
	if _, err := tx.asPeer(op); err != nil {
		return nothing, err
	}
	s, there := spells.one(tx.Reader, c.Spell)
	if !there {
		return nothing, api.Errorf(api.NotFound, op, "no spell %s", clipped(c.Spell))
	}
	if err := tx.hosts(op, s.Scope); err != nil {
		return nothing, err
	}
	if box := tx.Mailbox(s.ID); len(box) == 0 || box[0].Seq != c.Seq {
		return nothing, api.Errorf(api.Precondition, op, "message %d is not the oldest in the mailbox of spell %s any more", c.Seq, s.Alias)
	}
	spellMail.remove(tx, seqKey(s.ID, "", c.Seq))
	return nothing, nil
}

// Mailbox lists the messages to a spell, oldest first.
func (r Reader) Mailbox(spell string) (all []api.Mail) {
	for m := range ofSpell(spellMail, r, spell+"/") {
		all = append(all, api.Mail{Seq: m.Seq, From: m.From, Text: m.Text, At: m.At})
	}
	return all
}

// ofSpell lists the rows of a table whose keys begin with a text.
func ofSpell[T any](t *table[T], r Reader, from string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		t.in(r.state).rows.ascend(from, func(key string, it *item[T]) bool {
			return strings.HasPrefix(key, from) && yield(&it.row)
		})
	}
}

// PushMail puts a message into the mailbox of a spell; Conflict when it is full.
func (w *Writer) PushMail(ctx context.Context, spell, text string) error {
	_, err := propose[struct{}](ctx, w, pushMail, mailPush{spell, text})
	return err
}

// PopMail takes out the oldest message, which is the one of that number.
func (w *Writer) PopMail(ctx context.Context, spell string, seq int64) error {
	_, err := propose[struct{}](ctx, w, popMail, mailPop{spell, seq})
	return err
}
