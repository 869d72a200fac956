package server

import (
	"cmp"
	"context"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/schema"
)

// inventoryKind is a kind of the inventory: what the routes, which are alike for
// all of them, need to know of it.
type inventoryKind[T any] struct {
	kind    string                // as api.Object has it
	noun    string                // as texts have it
	named   func(ref string) bool // whether ref can name one
	made    int                   // status of an answer to a create
	taken   int                   // what a Conflict over a name or address is answered as
	decode  func(body []byte) (T, error)
	find    func(v InventoryView, ref string) (T, error)
	rows    func(v InventoryView, q url.Values, after string) (iter.Seq[T], error)
	create  func(w InventoryWrites, ctx context.Context, object T) (Done[T], error)
	replace func(w InventoryWrites, ctx context.Context, id string, ifVersion uint64, object T) (Done[T], error)
	remove  func(w InventoryWrites, ctx context.Context, id string, ifVersion uint64) (Done[inventory.DeletedNode], error)
	reveal  func(w InventoryWrites, ctx context.Context, ref string) (T, error) // nil: it has nothing to reveal
	shown   func(object T) T                                                    // as answers have it
	head    func(object *T) (id *string, version uint64)
	append  func(to []byte, object *T) []byte // its JSON, the same as encoding/json's but sooner; nil: that
}

// routes are what every kind has at a path of its own.
func (k inventoryKind[T]) routes(path string) []facade {
	one := path + "/{id}"
	write := need{api.Update, k.kind}
	if k.kind == "node" {
		write.kind = nodeOrStatus // a controller may write the status: apply looks which fields change
	}
	return []facade{
		{get, path, need{api.Read, k.kind}, ifReads, false, k.list},
		{post, path, need{api.Create, k.kind}, closed, false, k.add},
		{get, one, need{api.Read, k.kind}, ifReads, false, k.show},
		{put, one, write, closed, true, k.put},
		{post, one, write, closed, true, k.put}, // as the first server of these clients had it
		{patch, one, write, closed, true, k.patch},
		{del, one, need{api.Delete, k.kind}, closed, true, k.delete},
	}
}

// list answers with all objects as a bare array, sent while the table is walked,
// or, to who asks for pages, with one of them.
func (k inventoryKind[T]) list(s *Server, w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	if q.Has("reveal") {
		return badParameter("/query/reveal", "secrets are shown one object at a time")
	}
	paging, paged, err := pagingIn(q)
	if err != nil {
		return err
	}
	v, head, err := s.viewFor(r)
	if err != nil {
		return err
	}
	rows, err := k.rows(v, q, paging.after)
	if err != nil {
		return err
	}
	head.addTo(w.Header())
	switch {
	case r.Method == http.MethodHead:
		return headOnly(w)
	case paged:
		page := pageOf(paging, rows, k.id, func(T) bool { return true })
		for i := range page.Items {
			page.Items[i] = k.shown(page.Items[i])
		}
		return writeJSON(w, http.StatusOK, page)
	}
	sendRows(w, r, http.StatusOK, rows, k.appendShown)
	return nil
}

// show answers with one object; to an admin who asks for it, with its secrets.
func (k inventoryKind[T]) show(s *Server, w http.ResponseWriter, r *http.Request) error {
	ref, err := k.ref(r)
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	reveals, err := flagIn(q, "reveal")
	if err != nil {
		return err
	}
	if reveals {
		return k.showRevealed(s, w, r, ref)
	}
	v, head, err := s.viewFor(r)
	if err != nil {
		return err
	}
	object, err := k.find(v, ref)
	if err != nil {
		return k.refused(err)
	}
	return k.answer(w, http.StatusOK, head, object)
}

func (k inventoryKind[T]) showRevealed(s *Server, w http.ResponseWriter, r *http.Request, ref string) error {
	if k.reveal == nil {
		return badParameter("/query/reveal", "nothing of a "+k.noun+" can be revealed")
	}
	if err := permit(actorOf(r.Context()), api.Read, api.Object{Kind: "secret"}); err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		return headOnly(w) // shows nothing, so that there is nothing to put on record
	}
	object, err := k.reveal(s.backend, r.Context(), ref)
	if err != nil {
		return k.refused(err)
	}
	w.Header().Set("Cache-Control", "no-store")
	return k.answerAs(w, http.StatusOK, Head{}, object)
}

// add stores a new object.
func (k inventoryKind[T]) add(s *Server, w http.ResponseWriter, r *http.Request) error {
	object, err := decoded(r, k.decode)
	if err != nil {
		return err
	}
	done, err := k.create(s.backend, r.Context(), object)
	if err != nil {
		return k.refused(err)
	}
	return k.written(w, r, k.made, done)
}

// put replaces an object and keeps its id.
func (k inventoryKind[T]) put(s *Server, w http.ResponseWriter, r *http.Request) error {
	version, err := ifMatch(r)
	if err != nil {
		return err
	}
	object, err := decoded(r, k.decode)
	if err != nil {
		return err
	}
	old, err := k.target(s, r)
	if err != nil {
		return err
	}
	done, err := k.replace(s.backend, r.Context(), k.id(old), version, object)
	if err != nil {
		return k.refused(err)
	}
	return k.written(w, r, http.StatusOK, done)
}

// patch writes the merged object against the version that it read; when someone
// was faster and the caller named no version, it reads again.
func (k inventoryKind[T]) patch(s *Server, w http.ResponseWriter, r *http.Request) error {
	version, err := ifMatch(r)
	if err != nil {
		return err
	}
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	for n := range patchTries {
		done, err := k.patchOnce(s, r.WithContext(withTry(r.Context(), n)), version, body)
		switch {
		case err == nil:
			return k.written(w, r, http.StatusOK, done)
		case version != 0 || !api.IsKind(err, api.Precondition):
			return err
		}
	}
	return &api.Error{Kind: api.Conflict, Op: k.kind + ".patch", Msg: "others keep changing it; try again"}
}

func (k inventoryKind[T]) patchOnce(s *Server, r *http.Request, version uint64, body []byte) (Done[T], error) {
	old, err := k.target(s, r)
	if err != nil {
		return Done[T]{}, err
	}
	id, current := k.head(&old)
	next := old
	if current != 0 { // else it is gone, and the backend may know this very request
		if next, err = k.merged(old, body); err != nil {
			return Done[T]{}, err
		}
	}
	done, err := k.replace(s.backend, r.Context(), *id, cmp.Or(version, current), next)
	return done, k.refused(err)
}

// merged is an object with a merge patch laid over it.
func (k inventoryKind[T]) merged(old T, body []byte) (T, error) {
	whole, err := schema.Merge(k.shown(old), body)
	if err != nil {
		var none T
		return none, err
	}
	return k.decode(whole)
}

// delete removes an object: 204, or 200 when there is something to tell.
func (k inventoryKind[T]) delete(s *Server, w http.ResponseWriter, r *http.Request) error {
	version, err := ifMatch(r)
	if err != nil {
		return err
	}
	old, err := k.target(s, r)
	if err != nil {
		return err
	}
	done, err := k.remove(s.backend, r.Context(), k.id(old), version)
	if err != nil {
		return k.refused(err)
	}
	if done.Replayed {
		if done.Object, err = k.deletedAgain(s, r, done.Object); err != nil {
			return err
		}
	}
	headOf(done).addTo(w.Header())
	if len(done.Object.Collections) > 0 {
		return writeJSON(w, http.StatusOK, done.Object)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// deletedAgain is what there is to tell of a node to who repeats its deletion by its
// xname: the collections that list it, as the first answer had them. Who names it by
// its id is told no more, for nobody remembers which xname it had.
func (k inventoryKind[T]) deletedAgain(s *Server, r *http.Request, d inventory.DeletedNode) (inventory.DeletedNode, error) {
	ref := r.PathValue("id")
	if k.kind != "node" || len(d.Collections) > 0 || api.IsUUID(strings.ToLower(ref)) {
		return d, nil
	}
	v, err := s.backend.View(r.Context(), api.Linearizable)
	if err != nil {
		return d, err
	}
	d.XName = ref
	for c := range v.CollectionsOf(ref) {
		d.Collections = append(d.Collections, c.Name)
	}
	return d, nil
}

// deletedPlain is the deletion of what leaves nothing to tell.
func deletedPlain(d Done[struct{}], err error) (Done[inventory.DeletedNode], error) {
	return Done[inventory.DeletedNode]{Replayed: d.Replayed, Index: d.Index}, err
}

// ref is what the path names.
func (k inventoryKind[T]) ref(r *http.Request) (string, error) {
	ref := r.PathValue("id")
	if lower := strings.ToLower(ref); api.IsUUID(lower) {
		return lower, nil
	}
	if !k.named(ref) {
		return "", &api.Error{Kind: api.Malformed, Op: k.kind + ".show", Msg: "malformed " + k.noun + " ID",
			Fields: []api.FieldError{{Pointer: "/path/id", Detail: "expected a UUID or an xname"}}}
	}
	return ref, nil
}

// target finds what a write is about. With an Idempotency-Key a thing that is
// gone is still asked for, by what it was called: this may be the retry of the
// very request that removed it.
func (k inventoryKind[T]) target(s *Server, r *http.Request) (T, error) {
	var object T
	ref, err := k.ref(r)
	if err != nil {
		return object, err
	}
	v, err := s.backend.View(r.Context(), api.Linearizable)
	if err != nil {
		return object, err
	}
	if object, err = k.find(v, ref); mayBeRetry(r.Context(), err) {
		var gone T
		id, _ := k.head(&gone)
		*id = ref
		return gone, nil
	}
	return object, k.refused(err)
}

// refused is err in the words and with the statuses of these routes.
func (k inventoryKind[T]) refused(err error) error {
	e, known := err.(*api.Error)
	if !known {
		return err
	}
	switch e.Kind {
	case api.NotFound:
		other := *e
		other.Msg = k.noun + " not found"
		return &other
	case api.Conflict:
		return &otherStatus{e, k.taken}
	}
	return err
}

// written answers a write with the object that it made or changed.
func (k inventoryKind[T]) written(w http.ResponseWriter, r *http.Request, status int, done Done[T]) error {
	head := headOf(done)
	id, version := k.head(&done.Object)
	if status == http.StatusCreated {
		head.Location = r.URL.EscapedPath() + "/" + *id
	}
	if done.Gone || version == 0 {
		head.addTo(w.Header())
		return writeJSON(w, status, remains{*id})
	}
	head.ETag = etagAfter(done, version)
	return k.answer(w, status, head, done.Object)
}

// remains is what there is to show of an object that is gone.
type remains struct {
	ID string `json:"id"`
}

// answer shows an object, without its secrets.
func (k inventoryKind[T]) answer(w http.ResponseWriter, status int, head Head, object T) error {
	return k.answerAs(w, status, head, k.shown(object))
}

// answerAs shows an object as it is.
func (k inventoryKind[T]) answerAs(w http.ResponseWriter, status int, head Head, object T) error {
	_, version := k.head(&object)
	head.ETag = cmp.Or(head.ETag, etag(version))
	head.addTo(w.Header())
	if k.append == nil {
		return writeJSON(w, status, object)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(k.append(make([]byte, 0, 1<<10), &object), '\n')) // the client has gone
	return nil
}

func (k inventoryKind[T]) id(object T) string {
	id, _ := k.head(&object)
	return *id
}

// appendShown appends the JSON of a row of a list.
func (k inventoryKind[T]) appendShown(to []byte, object T) []byte {
	object = k.shown(object)
	switch id, version := k.head(&object); {
	case version == 0:
		return appendJSON(to, remains{*id})
	case k.append != nil:
		return k.append(to, &object)
	}
	return appendJSON(to, object)
}
