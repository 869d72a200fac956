package server

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/orchd/orchd/api"
)

// A facade is a route of a surface that clients know from elsewhere: the
// inventory of node-orchestrator and the State Manager API. These clients send
// what a closed schema refuses and expect shapes that huma does not make, so a
// facade is a plain handler: it writes an answer or returns an error, never both.
type facade struct {
	method, path string
	need         need
	open         openness
	versions     bool // takes If-Match
	answer       func(s *Server, w http.ResponseWriter, r *http.Request) error
}

// openness is which setting lets a route be read without a credential.
type openness uint8

const (
	closed  openness = iota // none
	ifReads                 // auth.anonymous_read
	ifSMD                   // auth.smd_anonymous, or auth.anonymous_read
)

// maxFacadeBody bounds a body of the facades: 10,000 nodes in one request.
const maxFacadeBody = 64 << 20

// facades are all routes of the facades, under every path that they have.
func facades() []facade {
	return slices.Concat(
		under([]string{"/inventory", ""}, inventoryRoutes),
		under([]string{"/hsm/v2", "/smd", "/smd/hsm/v2"}, smdRoutes),
		bootRoutes,
	)
}

// under is the routes with each of the prefixes.
func under(prefixes []string, routes []facade) (all []facade) {
	for _, prefix := range prefixes {
		for _, f := range routes {
			f.path = prefix + f.path
			all = append(all, f)
		}
	}
	return all
}

// mountFacades puts them on the mux.
func (s *Server) mountFacades() {
	for _, f := range facades() {
		in := intake{need: f.need, versions: f.versions, limit: maxFacadeBody, identify: s.identifyAt(f.open)}
		s.mux.Handle(f.method+" "+f.path, s.admitted(in, s.answering(f)))
	}
}

// answering is the handler of a facade, once its caller is admitted.
func (s *Server) answering(f facade) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f.answer(s, w, r); err != nil {
			writeProblem(w, r, asFacade(err))
		}
	})
}

// anybody is who brings no credential where none is needed.
var anybody = api.Actor{ID: "anonymous", Role: api.RoleViewer}

// identifyAt says who asks on a facade, where a JSON Web Token is as good as one of ours.
func (s *Server) identifyAt(o openness) func(*http.Request, need) (api.Actor, error) {
	return func(r *http.Request, n need) (api.Actor, error) {
		x := exchangeOf(r.Context())
		if r.Header.Get("Authorization") == "" && s.isOpen(o) {
			x.actor = anybody.ID
			return anybody, nil
		}
		actor, err := s.authenticateWith(r, s.backend.AuthenticateInventory)
		if err != nil {
			return actor, noToken(r, err) // never 429: these clients do not know it, and nobody guesses a token
		}
		x.actor = actor.ID
		return actor, n.allow(actor)
	}
}

// noToken is err in the words that these clients know when it is for want of a token.
func noToken(r *http.Request, err error) error {
	if _, none := bearerOf(r.Header.Get("Authorization")); none != nil && api.IsKind(err, api.Unauthenticated) {
		return unauthenticated("no token found")
	}
	return err
}

func (s *Server) isOpen(o openness) bool {
	switch a := s.backend.Anonymous(); o {
	case ifSMD:
		return a.SMD || a.Reads
	case ifReads:
		return a.Reads
	}
	return false
}

// asFacade gives an error the statuses that the clients of the facades know:
// what is wrong with a body is 400 there, whatever it is.
func asFacade(err error) error {
	e, known := err.(*api.Error)
	switch {
	case known && e.Kind == api.Invalid:
		return &otherStatus{e, http.StatusBadRequest}
	case known && e.Kind == api.Gone:
		return &otherStatus{e, http.StatusNotFound}
	}
	return err
}

// writeJSON answers with a body.
func writeJSON(w http.ResponseWriter, status int, body any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
	return nil
}

// consistencyOf is the promise that a facade's read asks for.
func consistencyOf(r *http.Request) (api.Consistency, error) {
	switch c := api.Consistency(r.URL.Query().Get("consistency")); c {
	case "", api.Linearizable:
		return api.Linearizable, nil
	case api.Local:
		return api.Local, nil
	default:
		return "", badParameter("/query/consistency", "expected linearizable or local")
	}
}
