package server

import (
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// smdQuery is what a request's URL asks of a list. A URL that is not well formed asks what can be read of it.
func smdQuery(u *url.URL) smd.Query { return smd.QueryOf(u.Query()) }

// listComponents answers GET State/Components.
func (s *Server) listComponents(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewAnyhow(w, r)
	if err != nil {
		return err
	}
	return writeComponents(w, r, v, smdQuery(r.URL), nil)
}

// writeComponents answers with the components that a query asks for, below
// places when there are any.
func writeComponents(w http.ResponseWriter, r *http.Request, v View, q smd.Query, places []string) error {
	rows, err := componentsFor(v, q, places)
	if err != nil {
		return err
	}
	shown := smd.Shown(q)
	return writeRows(w, r, `{"Components":[`, mapped(rows, func(c smd.Component) smd.Component { return shown(usualComponent(c)) }), `]}`)
}

// usualComponent is a component that says of itself whether it is enabled.
func usualComponent(c smd.Component) smd.Component {
	if c.Enabled == nil {
		c.Enabled = &enabled
	}
	return c
}

var enabled = true // what is not said of an object

// componentsFor are the components that a query asks for, in the order of their names.
func componentsFor(v View, q smd.Query, places []string) (iter.Seq[smd.Component], error) {
	filter, err := smd.ComponentFilter(q, func(id string) smd.Membership { return membershipOf(v, id) })
	if err != nil {
		return nil, err
	}
	if len(places) > 0 {
		filter.Under(places, func(c *smd.Component) string { return c.ID })
	}
	all := v.Components("")
	if ids, few := namedIn(v, q); few {
		all = looked(canonical(ids), v.Component)
	}
	return kept(all, filter), nil
}

// namedIn are the only components that a query can mean, when it names some or their group.
func namedIn(v View, q smd.Query) (ids []string, few bool) {
	if ids = q.Wanted("id"); ids != nil {
		return ids, true
	}
	for _, kind := range []collectionView{groups, partitions} {
		names := q.Wanted(kind.key)
		if names == nil || slices.Contains(names, "NULL") {
			continue
		}
		for _, name := range names {
			if c, err := kind.find(v, name); err == nil {
				ids = append(ids, c.Nodes...)
			}
		}
		return ids, true
	}
	return nil, false
}

// looked finds objects by their keys, each once and in the order of keys; what is not there is left out.
func looked[T any](keys []string, find func(string) (T, error)) iter.Seq[T] {
	slices.Sort(keys)
	return func(yield func(T) bool) {
		for _, key := range slices.Compact(keys) {
			if row, err := find(key); err == nil && !yield(row) {
				return
			}
		}
	}
}

// canonical are the forms in which names are compared.
func canonical(ids []string) []string {
	keys := make([]string, 0, len(ids))
	for _, id := range ids {
		keys = append(keys, xname.Canonical(id))
	}
	return keys
}

// kept are the rows that a filter keeps.
func kept[T any](rows iter.Seq[T], f smd.Filter[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		var row T // one for all of them, because a test may keep it from the stack
		for row = range rows {
			if f.Keeps(&row) && !yield(row) {
				return
			}
		}
	}
}

// mapped gives each row as f makes it.
func mapped[T, U any](rows iter.Seq[T], f func(T) U) iter.Seq[U] {
	return func(yield func(U) bool) {
		for row := range rows {
			if !yield(f(row)) {
				return
			}
		}
	}
}

// showComponent answers GET State/Components/{xname}.
func (s *Server) showComponent(w http.ResponseWriter, r *http.Request) error {
	x, err := pathName(r)
	if err != nil {
		return err
	}
	return showRow(s, w, r, View.Component, x, usualComponent)
}

// showRow answers with one object.
func showRow[T any](s *Server, w http.ResponseWriter, r *http.Request, find func(View, string) (T, error), id string, shown func(T) T) error {
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	row, err := find(v, id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, shown(row))
}

// componentsBelow answers GET State/Components/ByNID/{nid}, /Query/{xname} and
// /{xname}/Query: one pattern, because none of these is more special than the others.
func (s *Server) componentsBelow(w http.ResponseWriter, r *http.Request) error {
	one, two := r.PathValue("xname"), r.PathValue("below")
	place := one
	switch {
	case one == "ByNID":
		return s.showNID(w, r, two)
	case one == "Query":
		place = two
	case two != "Query":
		return errNoPath
	}
	if !xname.ValidComponent(place) {
		return errNoName
	}
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	return writeComponents(w, r, v, smdQuery(r.URL), []string{place})
}

// showNID answers GET State/Components/ByNID/{nid}.
func (s *Server) showNID(w http.ResponseWriter, r *http.Request, text string) error {
	nid, err := strconv.ParseInt(text, 10, 64)
	if err != nil || nid < 0 {
		return api.Errorf(api.Malformed, "smd", "the path does not name a NID: expected a whole number")
	}
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	c, err := v.ComponentByNID(nid)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, usualComponent(c))
}

// queryComponents answers POST State/Components/Query and /{xname}/Query: a
// query in the body, to which the URL may add.
func (s *Server) queryComponents(w http.ResponseWriter, r *http.Request) error {
	q, err := queryIn(r, r.PathValue("xname") == "")
	if err != nil {
		return err
	}
	places := q["componentids"]
	if x := r.PathValue("xname"); x != "" {
		places = []string{x}
	}
	for i, p := range places {
		if !xname.ValidComponent(p) {
			return smd.BadName("/ComponentIDs/" + strconv.Itoa(i))
		}
	}
	if len(places) == 0 {
		return smd.Bad("/ComponentIDs", "names of components are required")
	}
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	return writeComponents(w, r, v, q, places)
}

// queryNIDs answers POST State/Components/ByNID/Query.
func (s *Server) queryNIDs(w http.ResponseWriter, r *http.Request) error {
	q, err := queryIn(r, true)
	if err != nil {
		return err
	}
	delete(q, "nid_start")
	delete(q, "nid_end")
	if len(q["nidranges"]) == 0 {
		return smd.Bad("/NIDRanges", "ranges of NIDs are required")
	}
	if err := q.NIDRanges(q["nidranges"]); err != nil {
		return err
	}
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	return writeComponents(w, r, v, q, nil)
}

// queryIn is the query of a body and of the URL together: a value in a body is
// text, a number, true or false, or a list of these.
func queryIn(r *http.Request, required bool) (smd.Query, error) {
	var fields map[string]json.RawMessage
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if len(body) > 0 || required {
		if err := smd.Decode(body, &fields); err != nil {
			return nil, err
		}
	}
	values := map[string][]string(r.URL.Query())
	for key, raw := range fields {
		list, err := textsIn(raw)
		if err != nil {
			return nil, smd.Bad("/"+escapePointer(key), "expected text, a number, true or false, or a list of these")
		}
		values[key] = append(values[key], list...)
	}
	return smd.QueryOf(values), nil
}

func textsIn(raw json.RawMessage) (list []string, err error) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		items = []json.RawMessage{raw}
	}
	for _, item := range items {
		text := string(item)
		switch {
		case text == "null":
			continue
		case strings.HasPrefix(text, `"`):
			err = json.Unmarshal(item, &text)
		case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
			err = errBadValue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, nil
}

var errBadValue = api.Errorf(api.Malformed, "query", "not a value")

// postComponents answers POST State/Components, whose body is {"Components":[...]} or the list alone.
func (s *Server) postComponents(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Components []smd.ComponentPost
		Force      bool
	}
	var raw json.RawMessage
	if err := bodyInto(r, &raw); err != nil {
		return err
	}
	var into any = &body
	if strings.HasPrefix(string(raw), "[") {
		into = &body.Components
	}
	if err := smd.Decode(raw, into); err != nil {
		return err
	}
	if len(body.Components) == 0 {
		return smd.Bad("/Components", "at least one component is required")
	}
	if err := countErrors("/Components", len(body.Components)); err != nil {
		return err
	}
	components := make([]smd.Component, 0, len(body.Components))
	for i, p := range body.Components {
		c, err := p.Checked("/Components/" + strconv.Itoa(i))
		if err != nil {
			return err
		}
		components = append(components, c)
	}
	return s.storeComponents(w, r, components, body.Force)
}

// putComponent answers PUT State/Components/{xname}.
func (s *Server) putComponent(w http.ResponseWriter, r *http.Request) error {
	x, err := pathName(r)
	if err != nil {
		return err
	}
	var body struct {
		Component *smd.ComponentPost
		Force     bool
	}
	if err := bodyInto(r, &body); err != nil {
		return err
	}
	if body.Component == nil {
		return smd.Bad("/Component", "a component is required")
	}
	if body.Component.ID, err = sameName(x, body.Component.ID, "/Component/ID"); err != nil {
		return err
	}
	c, err := body.Component.Checked("/Component")
	if err != nil {
		return err
	}
	return s.storeComponents(w, r, []smd.Component{c}, body.Force)
}

// sameName is the name of an object that stands in the path and may stand in the body again.
func sameName(path, body, pointer string) (string, error) {
	if body != "" && xname.Canonical(body) != xname.Canonical(path) {
		return "", smd.Bad(pointer, "another name than in the path")
	}
	return path, nil
}

func (s *Server) storeComponents(w http.ResponseWriter, r *http.Request, c []smd.Component, force bool) error {
	done, err := s.backend.PutComponents(r.Context(), c, force)
	if err != nil {
		return err
	}
	headOf(done).addTo(w.Header())
	return writeNothing(w)
}

// patchMany is the handler of a bulk PATCH: one change of many components.
func patchMany(patch smd.Patch) func(*Server, http.ResponseWriter, *http.Request) error {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		var body smd.ComponentUpdate
		if err := bodyInto(r, &body); err != nil {
			return err
		}
		names, err := body.Names()
		if err == nil {
			err = countErrors("/ComponentIDs", len(names))
		}
		if err != nil {
			return err
		}
		return s.patchComponents(w, r, body.Fields(), patch, names)
	}
}

// patchNamed is the handler of a PATCH of one component.
func patchNamed(patch smd.Patch) func(*Server, http.ResponseWriter, *http.Request) error {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		x, err := pathName(r)
		if err != nil {
			return err
		}
		var body smd.ComponentUpdate
		if err := bodyInto(r, &body); err != nil {
			return err
		}
		if _, err := sameName(x, body.ID, "/ID"); err != nil {
			return err
		}
		return s.patchComponents(w, r, body.Fields(), patch, []string{x})
	}
}

func (s *Server) patchComponents(w http.ResponseWriter, r *http.Request, u smd.ComponentUpdate, patch smd.Patch, names []string) error {
	p, err := patch(u)
	if err != nil {
		return err
	}
	changes := make([]smd.ComponentChange, 0, len(names))
	for _, x := range names {
		changes = append(changes, smd.ComponentChange{ID: x, ComponentPatch: p})
	}
	return s.changeComponents(w, r, changes, u.Force)
}

// patchNIDs answers PATCH State/Components/BulkNID, where each component has a value of its own.
func (s *Server) patchNIDs(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Components []smd.ComponentUpdate
		Force      bool
	}
	if err := bodyInto(r, &body); err != nil {
		return err
	}
	if len(body.Components) == 0 {
		return smd.Bad("/Components", "at least one component is required")
	}
	if err := countErrors("/Components", len(body.Components)); err != nil {
		return err
	}
	changes := make([]smd.ComponentChange, 0, len(body.Components))
	for i, c := range body.Components {
		at := "/Components/" + strconv.Itoa(i)
		p, err := smd.NIDPatch(c)
		switch {
		case err != nil:
			return smd.Bad(at+"/NID", "a NID from 1 on is required")
		case !xname.ValidComponent(c.ID):
			return smd.BadName(at + "/ID")
		}
		changes = append(changes, smd.ComponentChange{ID: c.ID, ComponentPatch: p})
	}
	return s.changeComponents(w, r, changes, body.Force)
}

func (s *Server) changeComponents(w http.ResponseWriter, r *http.Request, changes []smd.ComponentChange, force bool) error {
	done, err := s.backend.PatchComponents(r.Context(), changes, force)
	if err != nil {
		return err
	}
	headOf(done).addTo(w.Header())
	return writeNothing(w)
}

// listMemberships answers GET memberships: what each component is in.
func (s *Server) listMemberships(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	rows, err := componentsFor(v, smdQuery(r.URL), nil)
	if err != nil {
		return err
	}
	return writeRows(w, r, `[`, mapped(rows, func(c smd.Component) smd.Membership { return membershipOf(v, c.ID) }), `]`)
}

// showMembership answers GET memberships/{xname}.
func (s *Server) showMembership(w http.ResponseWriter, r *http.Request) error {
	x, err := pathName(r)
	if err != nil {
		return err
	}
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	m := membershipOf(v, x)
	if len(m.GroupLabels) == 0 && m.PartitionName == "" { // a member need not be there
		if _, err := v.Component(x); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, m)
}

// membershipOf is what a component is in.
func membershipOf(v InventoryView, id string) smd.Membership {
	m := smd.Membership{ID: id, GroupLabels: []string{}}
	for c := range v.CollectionsOf(id) {
		if c.Type == inventory.Partition {
			m.PartitionName = c.Name
			continue
		}
		m.GroupLabels = append(m.GroupLabels, c.Name)
	}
	slices.Sort(m.GroupLabels)
	return m
}
