package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// KVRef names a value of a spell.
type KVRef struct {
	SpellRef
	Of string `path:"key" doc:"Key of the value"`
}

// keyErrors checks the key of a value.
func keyErrors(at, key string) []api.FieldError {
	if keyForm(key) {
		return nil
	}
	return []api.FieldError{{Pointer: at, Detail: fmt.Sprintf("a key is 1 to %d bytes of printable text", api.MaxKVKey)}}
}

func keyForm(key string) bool {
	return key != "" && len(key) <= api.MaxKVKey && showable(key, api.MaxKVKey)
}

type listKVInput struct {
	SpellRef
	ListInput
	Prefix string `query:"prefix" maxLength:"256" doc:"Only keys that begin so"`
}

func (s *Server) listKV(ctx context.Context, in *listKVInput) (*Reply[api.Page[api.KVEntry]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	x, err := in.finder(ctx)(v)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, v.KVs(x.ID, in.Prefix), func(e api.KVEntry) string { return e.Key }, func(e api.KVEntry) bool { return e.Key > in.after })
	return &Reply[api.Page[api.KVEntry]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

type showKVInput struct {
	KVRef
	Freshness
}

func (s *Server) showKV(ctx context.Context, in *showKVInput) (*Reply[api.KVEntry], error) {
	return showing(ctx, s, in.Consistency, in.find(ctx), func(e api.KVEntry) uint64 { return e.Version })
}

// find looks for the value with the eyes of the caller.
func (r KVRef) find(ctx context.Context) func(View) (api.KVEntry, error) {
	return func(v View) (api.KVEntry, error) {
		x, err := r.finder(ctx)(v)
		if err != nil {
			return api.KVEntry{}, err
		}
		if !keyForm(r.Of) {
			return api.KVEntry{}, notFound("value")
		}
		return v.KV(x.ID, r.Of)
	}
}

// writable refuses keys that are for others than people to write.
func (r KVRef) writable() error {
	switch {
	case !keyForm(r.Of):
		return notFound("value")
	case api.KVByAccount.MayWrite(r.Of):
		return nil
	}
	return &api.Error{Kind: api.Forbidden, Op: "kv.put",
		Msg: "the key is not for you to write: those beginning with w_ and hw_ are, but for hw_counter and hw_trigger; h_ is the host's, and the rest the spell's own"}
}

type putKVInput struct {
	KVRef
	Keyed
	Matching
	Body api.KVPut
}

// Resolve asks for one kind of value.
func (in *putKVInput) Resolve(ctx huma.Context) []error {
	given := 0
	for _, is := range []bool{in.Body.Text != nil, in.Body.U32 != nil, in.Body.List != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return []error{&huma.ErrorDetail{Location: "body", Message: "expected one of text, u32 and list"}}
	}
	return in.Matching.Resolve(ctx)
}

// putKV sets a value of the keys that are for people to write.
func (s *Server) putKV(ctx context.Context, in *putKVInput) (*Reply[Stored[api.KVEntry]], error) {
	if err := invalid("kv.put", valueErrors(in.Body)); err != nil {
		return nil, err
	}
	done, err := retried(ctx, "kv.put", in.version, func(ctx context.Context) (Done[api.KVEntry], error) {
		x, err := s.targetSpell(ctx, in.SpellRef)
		if err == nil {
			err = in.writable()
		}
		if err != nil {
			return Done[api.KVEntry]{}, err
		}
		ops, err := s.opsFor(ctx, x.ID, in)
		if err != nil {
			return Done[api.KVEntry]{}, err
		}
		return s.backend.ChangeKV(ctx, api.KVChange{Store: x.ID, By: api.KVByAccount, Ops: ops})
	})
	if err != nil {
		return nil, err
	}
	return changed(http.StatusOK, done, done.Object.Key, done.Object.Version), nil
}

// valueErrors is what the schema cannot say of a value: it counts characters.
func valueErrors(p api.KVPut) []api.FieldError {
	if p.Text != nil && len(*p.Text) > api.MaxKVValue {
		return []api.FieldError{{Pointer: "/text", Detail: fmt.Sprintf("a value has at most %s", sizeInWords(api.MaxKVValue))}}
	}
	total := 0
	for _, element := range p.List {
		total += len(element)
	}
	if total > api.MaxKVValue {
		return []api.FieldError{{Pointer: "/list", Detail: fmt.Sprintf("the elements of a list have at most %s together", sizeInWords(api.MaxKVValue))}}
	}
	return nil
}

// opsFor are the ops that make a value what the body says. A list takes the place of
// what is there, so that it is made for the version that is.
func (s *Server) opsFor(ctx context.Context, store string, in *putKVInput) ([]api.KVOp, error) {
	op := api.KVOp{Key: in.Of, IfVersion: in.version}
	switch {
	case in.Body.Text != nil:
		op.Verb, op.Text = api.KVSet, *in.Body.Text
		return []api.KVOp{op}, nil
	case in.Body.U32 != nil:
		op.Verb, op.U32 = api.KVSetU32, uint32(*in.Body.U32)
		return []api.KVOp{op}, nil
	}
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return nil, err
	}
	old, err := v.KV(store, in.Of)
	var ops []api.KVOp
	switch {
	case err == nil:
		ops = append(ops, api.KVOp{Verb: api.KVRemove, Key: in.Of, IfVersion: cmp.Or(in.version, old.Version)})
	case api.IsKind(err, api.NotFound):
		ops = append(ops, api.KVOp{Verb: api.KVCompare, Key: in.Of, IfAbsent: in.version == 0, IfVersion: in.version})
	default:
		return nil, err
	}
	for _, element := range in.Body.List {
		ops = append(ops, api.KVOp{Verb: api.KVPush, Key: in.Of, Text: element})
	}
	return ops, nil
}

type deleteKVInput struct {
	KVRef
	Keyed
	Matching
}

func (s *Server) deleteKV(ctx context.Context, in *deleteKVInput) (*Nothing, error) {
	x, err := s.targetSpell(ctx, in.SpellRef)
	if err == nil {
		err = in.writable()
	}
	if err != nil {
		return nil, err
	}
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return nil, err
	}
	if _, err := v.KV(x.ID, in.Of); err != nil && !mayBeRetry(ctx, err) {
		return nil, err
	}
	_, err = s.backend.ChangeKV(ctx, api.KVChange{Store: x.ID, By: api.KVByAccount, Ops: []api.KVOp{{Verb: api.KVRemove, Key: in.Of, IfVersion: in.version}}})
	return &Nothing{}, err
}

func (s *Server) mailbox(ctx context.Context, in *linesInput) (*Reply[api.Page[api.Mail]], error) {
	return ofSpell(ctx, s, in, View.Mailbox, func(m api.Mail) int64 { return m.Seq })
}

type pushMailInput struct {
	SpellRef
	Keyed
	Body api.MailCreate
}

// pushMail puts a message into a spell's mailbox; only the spell takes it out.
func (s *Server) pushMail(ctx context.Context, in *pushMailInput) (*Nothing, error) {
	if len(in.Body.Text) > api.MaxKVValue {
		return nil, invalid("mailbox.push", []api.FieldError{{Pointer: "/text", Detail: fmt.Sprintf("a message has at most %s", sizeInWords(api.MaxKVValue))}})
	}
	x, err := s.targetSpell(ctx, in.SpellRef)
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.PushMail(ctx, x.ID, in.Body.Text)
}
