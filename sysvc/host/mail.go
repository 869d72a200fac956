package host

import (
	"context"

	"github.com/orchd/orchd/api"
)

// mailPop takes the oldest message out of the spell's own mailbox; None: it is empty.
func mailPop(w *world, ctx context.Context, a arguments) (any, error) {
	if w.owner.kind != "spell" {
		return nil, a.wrong("only spells have a mailbox")
	}
	for range tries {
		v, err := w.session.view(ctx)
		if err != nil {
			return nil, err
		}
		box := v.Mailbox(w.owner.id)
		if len(box) == 0 {
			return nil, nil
		}
		oldest := box[0]
		err = w.cluster().PopMail(w.asPeer(ctx), w.owner.id, oldest.Seq)
		if err == nil {
			return map[string]string{"from": oldest.From, "text": oldest.Text}, nil
		}
		if !w.popped(ctx, oldest.Seq, err) {
			return nil, err
		}
	}
	return nil, api.Errorf(api.Conflict, a.function, "others took %d messages in between: try again later", tries)
}

// popped tells whether a pop was refused because another had the message.
func (w *world) popped(ctx context.Context, seq int64, err error) bool {
	if !api.IsKind(err, api.Precondition) {
		return false
	}
	w.session.again()
	v, viewErr := w.session.view(ctx)
	if viewErr != nil {
		return false
	}
	box := v.Mailbox(w.owner.id)
	return len(box) == 0 || box[0].Seq != seq
}

// mailPush leaves a message for another spell of the account.
func mailPush(w *world, ctx context.Context, a arguments) (any, error) {
	var alias, text string
	if err := a.all("alias", &alias, "text", &text); err != nil {
		return nil, err
	}
	if len(text) > api.MaxKVValue {
		return nil, api.Errorf(api.TooLarge, a.function, "the message has %d bytes: at most %d", len(text), api.MaxKVValue)
	}
	v, err := w.session.view(ctx)
	if err != nil {
		return nil, err
	}
	to, err := w.other(v, a.function, alias)
	if err != nil {
		return nil, err
	}
	if to.kind != "spell" {
		return nil, a.wrong("%s is a service: only spells have a mailbox", alias)
	}
	return nil, w.cluster().PushMail(w.asSelf(ctx), to.id, text)
}
