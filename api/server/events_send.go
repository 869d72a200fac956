package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/orchd/orchd/api"
)

// eventSender sends the events of a stream to one client.
type eventSender struct {
	sender
	stream    EventStream
	from      time.Time // earlier events are left out
	actor     api.Actor
	stillGood func() error
	checked   time.Time // when the credential was last found good
	due       time.Time // when what is collected goes out, or silence is broken
}

// run sends until the stream ends, ctx does, the client takes no more, or its
// credential is no longer good.
func (out *eventSender) run(ctx context.Context) error {
	out.tellPlace() // a client that begins at now can come back to it
	for {
		if !out.flush() {
			return out.err
		}
		if err := out.check(); err != nil {
			return err
		}
		more, err := out.collect(ctx)
		if ctx.Err() != nil || err != nil {
			return err
		}
		if !more {
			out.flush()
			return out.err
		}
	}
}

// collect takes events until it is time to send; false when there are no more.
func (out *eventSender) collect(ctx context.Context) (more bool, err error) {
	for out.due = time.Now().Add(eventSilence); len(out.buf) < sendAt && time.Now().Before(out.due); {
		e, err := out.next(ctx)
		switch {
		case ctx.Err() != nil:
			return false, nil
		case errors.Is(err, io.EOF):
			out.tellEnd()
			return false, nil
		case errors.Is(err, context.DeadlineExceeded):
		case err != nil:
			return false, err
		case out.sees(e):
			if err := out.add(e); err != nil {
				return false, err
			}
		}
	}
	if len(out.buf) == 0 {
		out.buf = append(out.buf, ":\n"...)
		out.tellPlace()
	}
	return true, nil
}

// next waits for an event until it is time to send.
func (out *eventSender) next(ctx context.Context) (api.Event, error) {
	ctx, cancel := context.WithDeadline(ctx, out.due)
	defer cancel()
	return out.stream.Next(ctx)
}

// kindOfTable are the tables whose rows belong to accounts, with the kind of object that they hold.
var kindOfTable = map[string]string{"vms": "vm", "operations": "operation", "accounts": "account", "tokens": "token",
	"placements": "vm", "disk_snapshots": "disk-snapshot", "images": "image", "ssh_keys": "ssh-key", "usage": "usage",
	"services": "service", "spells": "spell", "spell_kv": "spell", "deals": "deal"}

// sees tells whether the client wants the event and may have it: all of them with
// the right to read snapshots, which tell the same, else the rows of its account.
func (out *eventSender) sees(e api.Event) bool {
	if e.Time.Before(out.from) {
		return false
	}
	if api.Allowed(out.actor, api.Read, api.Object{Kind: "snapshot"}) {
		return true
	}
	kind, known := kindOfTable[e.Table]
	return known && e.Account != "" && e.Account == out.actor.Account && api.Allowed(out.actor, api.Read, api.Object{Kind: kind, Account: e.Account})
}

// add collects an event. The first one says when all go.
func (out *eventSender) add(e api.Event) error {
	if soon := time.Now().Add(eventLinger); len(out.buf) == 0 && soon.Before(out.due) {
		out.due = soon
	}
	var line bytes.Buffer
	text := json.NewEncoder(&line) // ends with a newline and has no other
	text.SetEscapeHTML(false)
	if err := text.Encode(e); err != nil {
		return err
	}
	out.tellID(e.Position())
	out.buf = append(out.buf, "event: change\ndata: "...)
	out.buf = append(append(out.buf, line.Bytes()...), '\n')
	return nil
}

// tellID names a position: the client sends the last one when it comes back.
func (out *eventSender) tellID(p api.Position) {
	out.buf = append(append(append(out.buf, "id: "...), p.String()...), '\n')
}

// tellPlace says how far the stream has come, which is no event.
func (out *eventSender) tellPlace() {
	out.tellID(out.stream.At())
	out.buf = append(out.buf, '\n')
}

// tellEnd is the last event of a stream that does not follow: without it, the
// connection has only been cut.
func (out *eventSender) tellEnd() {
	out.tellID(out.stream.At())
	out.buf = append(out.buf, "event: end\ndata: {}\n\n"...)
}

// flush brings what is collected to the client; false when it takes no more. In
// between there is no deadline: over HTTP/2 it would end a silent stream.
func (out *eventSender) flush() bool {
	if !out.send() {
		return false
	}
	if out.err = out.deadline.Flush(); out.err == nil {
		_ = out.deadline.SetWriteDeadline(time.Time{}) // not supported in memory
	}
	return out.err == nil
}

// check looks every so often whether the credential is still good.
func (out *eventSender) check() error {
	if time.Since(out.checked) < credentialCheck {
		return nil
	}
	out.checked = time.Now()
	err := out.stillGood()
	if err != nil {
		out.buf = append(out.buf, ": the credential is no longer good\n\n"...)
		out.flush()
	}
	return err
}
