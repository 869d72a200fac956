package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"net/http"
	"net/url"
	"time"

	"github.com/orchd/orchd/api"
)

const (
	maxBody     = 1 << 20          // bytes of a request body
	bodyTimeout = 10 * time.Second // for the client to send it, and
	bodyRate    = 1 << 20          // bytes in each further second, where a body may be large
	maxKey      = 128              // characters of an Idempotency-Key
)

// need is what a route asks of its caller. The zero need asks nothing.
type need struct {
	verb api.Verb
	kind string
}

func (n need) open() bool { return n.kind == "" }

// ofAccounts are the kinds whose objects belong to accounts: an actor that is
// bound to one reaches its own. The handler asks again about the object itself.
var ofAccounts = map[string]bool{"vm": true, "operation": true, "account": true, "token": true, "image": true, "ssh-key": true, "spell": true, "deal": true}

// nodeOrStatus is the kind of a write of a node of which a controller may do a part.
const nodeOrStatus = "node or its status"

// allow refuses an actor whose role forbids it, before the body is read. For
// writes this is early, and apply decides.
func (n need) allow(a api.Actor) error {
	o := api.Object{Kind: n.kind}
	switch {
	case ofAccounts[n.kind]:
		o.Account = cmp.Or(a.Account, api.DefaultAccount) // some account: who is bound to none reaches each
	case n.kind == nodeOrStatus && api.Allowed(a, n.verb, api.Object{Kind: "node-status"}):
		return nil
	case n.kind == nodeOrStatus:
		o.Kind = "node"
	}
	return permit(a, n.verb, o)
}

// permit asks the one rule, api.Allowed, and says no in words.
func permit(a api.Actor, v api.Verb, o api.Object) error {
	if api.Allowed(a, v, o) {
		return nil
	}
	return &api.Error{Kind: api.Forbidden, Op: o.Kind + "." + string(v),
		Msg: "a credential of role " + string(a.Role) + " may not " + string(v) + " this " + o.Kind}
}

// intake is what a route takes in.
type intake struct {
	need
	body     bool                                         // a JSON body
	optional bool                                         // which may be missing
	versions bool                                         // If-Match
	limit    int64                                        // bytes of a body; 0: maxBody
	verbatim string                                       // a pointer below which numbers need not be whole
	stream   bool                                         // the handler reads the body itself, as it comes
	identify func(*http.Request, need) (api.Actor, error) // nil: (*Server).identify
}

// admitted lets a request through to next once it is known who asks and that
// they may; from there on its context carries the caller and its body is in memory.
func (s *Server) admitted(in intake, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, release, err := s.admit(w, r, in)
		defer release()
		if err != nil {
			writeProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admit gives back the request to go on with; with an error, the one to refuse.
// release is to be called once the request is answered.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, in intake) (_ *http.Request, release func(), err error) {
	release = func() {}
	identify := in.identify
	if identify == nil {
		identify = s.identify
	}
	actor, err := identify(r, in.need)
	if err != nil {
		return r, release, err
	}
	if !in.versions && writes(r) && r.Header.Get("If-Match") != "" {
		return r, release, badParameter("/header/If-Match", "this route knows no versions")
	}
	caller := api.Caller{Actor: actor, RequestID: exchangeOf(r.Context()).id}
	if !in.stream {
		var body []byte
		if body, release, err = s.readBody(w, r, actor, cmp.Or(in.limit, maxBody)); err == nil {
			caller.Once, err = in.check(r, actor, body)
		}
		if err != nil {
			return r, release, err
		}
		r.Body = heldBody{bytes.NewReader(body), body}
		r.Header.Set("Content-Type", "application/json") // whatever it was called: curl -d says it is a form
	}
	return r.WithContext(api.WithCaller(r.Context(), caller)), release, nil
}

// check looks at a body that is in memory, and gives the request's Idempotency-Key.
func (in intake) check(r *http.Request, actor api.Actor, body []byte) (*api.OnceKey, error) {
	if in.body && !(in.optional && len(body) == 0) {
		if err := checkJSON(body, in.verbatim); err != nil {
			return nil, err
		}
	}
	return onceOf(r, actor, body)
}

// identify says who asks and refuses whom the route is not for.
func (s *Server) identify(r *http.Request, n need) (api.Actor, error) {
	if n.open() {
		return api.Actor{}, nil
	}
	x := exchangeOf(r.Context())
	actor, err := s.authenticate(r)
	if err != nil {
		return api.Actor{}, s.failures.judge(x.remote, err)
	}
	x.actor = actor.ID
	return actor, n.allow(actor)
}

// writes tells whether a request is to change something.
func writes(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// onceOf is the Idempotency-Key of a write, tied to who sent it, where, and with
// which body; nil when there is none, or nobody to tie it to.
func onceOf(r *http.Request, a api.Actor, body []byte) (*api.OnceKey, error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" || a.ID == "" || !writes(r) {
		return nil, nil
	}
	if len(key) > maxKey || !printable(key) || len(r.Header.Values("Idempotency-Key")) > 1 {
		return nil, badParameter("/header/Idempotency-Key", "one key of at most 128 printable ASCII characters")
	}
	sum := bodyAndQuery(r, body)
	// The subject of a JSON Web Token may hold a space, which ends the principal in a key.
	return &api.OnceKey{Key: url.PathEscape(a.ID) + " " + r.Method + " " + r.URL.EscapedPath() + " " + key, Body: sum[:]}, nil
}

// bodyAndQuery is the hash of what a request asks for: of its body, as it was sent, and
// of the parameters of its query where there are any. How long to wait for an end
// makes no other request of it.
func bodyAndQuery(r *http.Request, body []byte) [sha256.Size]byte {
	sum := sha256.Sum256(body)
	q := r.URL.Query()
	if q.Del("wait"); len(q) == 0 {
		return sum
	}
	return sha256.Sum256(append(sum[:], q.Encode()...))
}

// actorOf is who asks.
func actorOf(ctx context.Context) api.Actor { return api.CallerOf(ctx).Actor }
