package server

import (
	"net/http"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/smd"
)

// smdReady answers GET service/ready.
func (s *Server) smdReady(w http.ResponseWriter, _ *http.Request) error {
	if err := s.backend.Ready(); err != nil {
		return &api.Error{Kind: api.Unavailable, Op: "smd.ready", Msg: "this peer cannot serve yet; /readyz says what is missing", Err: err}
	}
	return writeJSON(w, http.StatusOK, smdMessage{0, "the State Manager is ready"})
}

// smdLiveness answers GET service/liveness.
func (s *Server) smdLiveness(w http.ResponseWriter, _ *http.Request) error { return writeNothing(w) }

// smdValues answers GET service/values.
func (s *Server) smdValues(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, smd.AllValues())
}

// smdValuesOf answers GET service/values/{field}.
func (s *Server) smdValuesOf(w http.ResponseWriter, r *http.Request) error {
	v, known := smd.ValuesOf(r.PathValue("field"))
	if !known {
		return errNoPath
	}
	return writeJSON(w, http.StatusOK, v)
}
