package server

import (
	"net/http"
	"strconv"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/smd"
)

// usualEndpoint is an endpoint as it may be shown: without its password, which a view
// does not hold, but the answer of a write may, and saying whether it is enabled.
func usualEndpoint(e smd.RedfishEndpoint) smd.RedfishEndpoint {
	e.Password = ""
	if e.Enabled == nil {
		e.Enabled = &enabled
	}
	return e
}

// usualPart is the same of a component endpoint.
func usualPart(e smd.ComponentEndpoint) smd.ComponentEndpoint {
	if e.Enabled == nil {
		e.Enabled = &enabled
	}
	return e
}

// listEndpoints answers GET Inventory/RedfishEndpoints.
func (s *Server) listEndpoints(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	q := smdQuery(r.URL)
	filter, err := smd.RedfishFilter(q)
	if err != nil {
		return err
	}
	all := v.RedfishEndpoints("")
	if ids := q.Wanted("id"); ids != nil {
		all = looked(canonical(ids), v.RedfishEndpoint)
	}
	return writeRows(w, r, `{"RedfishEndpoints":[`, mapped(kept(all, filter), usualEndpoint), `]}`)
}

// showEndpoint answers GET Inventory/RedfishEndpoints/{xname}.
func (s *Server) showEndpoint(w http.ResponseWriter, r *http.Request) error {
	x, err := pathName(r)
	if err != nil {
		return err
	}
	return showRow(s, w, r, View.RedfishEndpoint, x, usualEndpoint)
}

// postEndpoints answers POST Inventory/RedfishEndpoints: one endpoint with what
// was seen there, or {"RedfishEndpoints":[...]}, each of which takes effect by itself.
func (s *Server) postEndpoints(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		smd.RedfishPost
		RedfishEndpoints []smd.RedfishPost
	}
	if err := bodyInto(r, &body); err != nil {
		return err
	}
	posts := body.RedfishEndpoints
	if len(posts) == 0 {
		posts = []smd.RedfishPost{body.RedfishPost}
	}
	if err := countErrors("/RedfishEndpoints", len(posts)); err != nil {
		return err
	}
	records := make([]smd.EndpointRecord, 0, len(posts))
	for _, p := range posts { // all are looked at before the first is stored
		record, err := smd.Derive(p)
		if err != nil {
			return err
		}
		records = append(records, record)
	}
	uris := make([]resource, 0, len(records))
	for i, record := range records {
		done, err := s.backend.PutEndpoint(withTry(r.Context(), i), record, false)
		if err != nil {
			return stoppedAt(i, len(records), err)
		}
		headOf(done).addTo(w.Header())
		uris = append(uris, resource{smdBase + "/Inventory/RedfishEndpoints/" + record.Endpoint.ID})
	}
	return writeCreated(w, smdBase+"/Inventory/RedfishEndpoints", uris)
}

// stoppedAt says how far a list of writes came.
func stoppedAt(i, n int, err error) error {
	e, known := err.(*api.Error)
	if !known || n == 1 {
		return err
	}
	e2 := *e
	e2.Msg = "the first " + strconv.Itoa(i) + " of " + strconv.Itoa(n) + " are stored; of the next: " + e.Msg
	return &e2
}

// writeCreated answers with where new objects are.
func writeCreated(w http.ResponseWriter, collection string, uris []resource) error {
	if len(uris) == 1 {
		collection = uris[0].URI
	}
	w.Header().Set("Location", collection)
	return writeJSON(w, http.StatusCreated, uris)
}

// putEndpoint answers PUT Inventory/RedfishEndpoints/{xname}.
func (s *Server) putEndpoint(w http.ResponseWriter, r *http.Request) error {
	x, err := pathName(r)
	if err != nil {
		return err
	}
	var body smd.RedfishPost
	if err := bodyInto(r, &body); err != nil {
		return err
	}
	if body.ID, err = sameName(x, body.ID, "/ID"); err != nil {
		return err
	}
	record, err := smd.Derive(body)
	if err != nil {
		return err
	}
	done, err := s.backend.PutEndpoint(r.Context(), record, true)
	if err != nil {
		return err
	}
	headOf(done).addTo(w.Header())
	return writeJSON(w, http.StatusOK, usualEndpoint(done.Object))
}

// listComponentEndpoints answers GET Inventory/ComponentEndpoints.
func (s *Server) listComponentEndpoints(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	q := smdQuery(r.URL)
	filter, err := smd.ComponentEndpointFilter(q)
	if err != nil {
		return err
	}
	all := v.ComponentEndpoints("")
	if ids := q.Wanted("id"); ids != nil {
		all = looked(canonical(ids), v.ComponentEndpoint)
	}
	return writeRows(w, r, `{"ComponentEndpoints":[`, mapped(kept(all, filter), usualPart), `]}`)
}

// showComponentEndpoint answers GET Inventory/ComponentEndpoints/{xname}.
func (s *Server) showComponentEndpoint(w http.ResponseWriter, r *http.Request) error {
	x, err := pathName(r)
	if err != nil {
		return err
	}
	return showRow(s, w, r, View.ComponentEndpoint, x, usualPart)
}
