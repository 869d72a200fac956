package server

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/orchd/orchd/api"
)

// maxPath bounds a request's path: longer ones name nothing that exists.
const maxPath = 512

// methods are all that any route takes.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// routed finds the route. The mux alone would redirect //v1/vms, and some
// clients drop their body or credential on a redirect; and its 404 and 405 are
// plain text.
func (s *Server) routed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !cleanPath(r.URL) {
			writeProblem(w, r, errNoPath)
			return
		}
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		unrouted(mux, w, r)
	})
}

var errNoPath = &api.Error{Kind: api.NotFound, Msg: "there is nothing at this path; /docs lists what there is"}

// cleanPath removes doubled and trailing slashes and dot segments. It works on
// the escaped form, so that an escaped slash stays inside its segment.
func cleanPath(u *url.URL) bool {
	escaped := path.Clean("/" + u.EscapedPath())
	plain, err := url.PathUnescape(escaped)
	if err != nil || len(escaped) > maxPath {
		return false
	}
	u.Path, u.RawPath = plain, escaped
	return true
}

// unrouted answers what no route takes: OPTIONS with the methods that the path
// has, another method with 405, another path with 404.
func unrouted(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	allowed := allowedAt(mux, r)
	if len(allowed) == 0 {
		writeProblem(w, r, errNoPath)
		return
	}
	w.Header().Set("Allow", strings.Join(append(allowed, http.MethodOptions), ", "))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeProblem(w, r, errMethod)
}

// allowedAt lists the methods that the path of r takes.
func allowedAt(mux *http.ServeMux, r *http.Request) []string {
	var found []string
	for _, m := range methods {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := mux.Handler(probe); pattern != "" {
			found = append(found, m)
		}
	}
	return found
}
