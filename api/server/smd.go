package server

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// What operations of the State Manager API ask of their caller. Controllers may
// change what they see: state, flag, whether a component is enabled, its software.
var (
	readComponents  = need{api.Read, "component"}
	makeComponents  = need{api.Create, "component"}
	editComponents  = need{api.Update, "component"}
	dropComponents  = need{api.Delete, "component"}
	seeComponents   = need{api.Update, "component-state"}
	dropFleet       = need{api.Delete, "fleet"}
	readCollections = need{api.Read, "collection"}
	makeCollections = need{api.Create, "collection"}
	editCollections = need{api.Update, "collection"}
	dropCollections = need{api.Delete, "collection"}
)

// smdRoutes are the State Manager API.
var smdRoutes = []facade{
	{get, "/service/ready", readComponents, ifSMD, false, (*Server).smdReady},
	{get, "/service/liveness", readComponents, ifSMD, false, (*Server).smdLiveness},
	{get, "/service/values", readComponents, ifSMD, false, (*Server).smdValues},
	{get, "/service/values/{field}", readComponents, ifSMD, false, (*Server).smdValuesOf},

	{get, "/State/Components", readComponents, ifSMD, false, (*Server).listComponents},
	{get, "/State/Components/{xname}", readComponents, ifReads, false, (*Server).showComponent},
	{get, "/State/Components/{xname}/{below}", readComponents, ifReads, false, (*Server).componentsBelow},
	{post, "/State/Components/Query", readComponents, ifReads, false, (*Server).queryComponents},
	{post, "/State/Components/{xname}/Query", readComponents, ifReads, false, (*Server).queryComponents},
	{post, "/State/Components/ByNID/Query", readComponents, ifReads, false, (*Server).queryNIDs},
	{post, "/State/Components", makeComponents, closed, false, (*Server).postComponents},
	{put, "/State/Components/{xname}", makeComponents, closed, false, (*Server).putComponent},
	{del, "/State/Components", dropFleet, closed, false, deleteAll(Backend.DeleteComponents)},
	{del, "/State/Components/{xname}", dropComponents, closed, false, deleteNamed(Backend.DeleteComponents)},

	{patch, "/State/Components/BulkStateData", seeComponents, closed, false, patchMany(smd.StatePatch)},
	{patch, "/State/Components/BulkFlagOnly", seeComponents, closed, false, patchMany(smd.FlagPatch)},
	{patch, "/State/Components/BulkEnabled", seeComponents, closed, false, patchMany(smd.EnabledPatch)},
	{patch, "/State/Components/BulkSoftwareStatus", seeComponents, closed, false, patchMany(smd.SoftwarePatch)},
	{patch, "/State/Components/BulkRole", editComponents, closed, false, patchMany(smd.RolePatch)},
	{patch, "/State/Components/BulkNID", editComponents, closed, false, (*Server).patchNIDs},
	{patch, "/State/Components/{xname}/StateData", seeComponents, closed, false, patchNamed(smd.StatePatch)},
	{patch, "/State/Components/{xname}/FlagOnly", seeComponents, closed, false, patchNamed(smd.FlagPatch)},
	{patch, "/State/Components/{xname}/Enabled", seeComponents, closed, false, patchNamed(smd.EnabledPatch)},
	{patch, "/State/Components/{xname}/SoftwareStatus", seeComponents, closed, false, patchNamed(smd.SoftwarePatch)},
	{patch, "/State/Components/{xname}/Role", editComponents, closed, false, patchNamed(smd.RolePatch)},
	{patch, "/State/Components/{xname}/NID", editComponents, closed, false, patchNamed(smd.NIDPatch)},

	{get, "/Inventory/RedfishEndpoints", readComponents, ifReads, false, (*Server).listEndpoints},
	{get, "/Inventory/RedfishEndpoints/{xname}", readComponents, ifReads, false, (*Server).showEndpoint},
	{post, "/Inventory/RedfishEndpoints", makeComponents, closed, false, (*Server).postEndpoints},
	{put, "/Inventory/RedfishEndpoints/{xname}", editComponents, closed, false, (*Server).putEndpoint},
	{del, "/Inventory/RedfishEndpoints", dropFleet, closed, false, deleteAll(Backend.DeleteEndpoints)},
	{del, "/Inventory/RedfishEndpoints/{xname}", dropComponents, closed, false, deleteNamed(Backend.DeleteEndpoints)},

	{get, "/Inventory/ComponentEndpoints", readComponents, ifReads, false, (*Server).listComponentEndpoints},
	{get, "/Inventory/ComponentEndpoints/{xname}", readComponents, ifReads, false, (*Server).showComponentEndpoint},
	{del, "/Inventory/ComponentEndpoints", dropFleet, closed, false, deleteAll(Backend.DeleteComponentEndpoints)},
	{del, "/Inventory/ComponentEndpoints/{xname}", dropComponents, closed, false, deleteNamed(Backend.DeleteComponentEndpoints)},

	{get, "/Inventory/EthernetInterfaces", readComponents, ifSMD, false, (*Server).listInterfaces},
	{get, "/Inventory/EthernetInterfaces/{id}", readComponents, ifReads, false, (*Server).showInterface},
	{get, "/Inventory/EthernetInterfaces/{id}/IPAddresses", readComponents, ifReads, false, (*Server).showAddresses},
	{post, "/Inventory/EthernetInterfaces", makeComponents, closed, false, (*Server).postInterface},
	{patch, "/Inventory/EthernetInterfaces/{id}", editComponents, closed, false, (*Server).patchInterface},
	{del, "/Inventory/EthernetInterfaces", dropFleet, closed, false, deleteAll(Backend.DeleteInterfaces)},
	{del, "/Inventory/EthernetInterfaces/{id}", dropComponents, closed, false, (*Server).deleteInterface},

	{get, "/groups", readCollections, ifReads, false, groups.list},
	{get, "/groups/labels", readCollections, ifReads, false, groups.listNames},
	{get, "/groups/{name}", readCollections, ifReads, false, groups.showOne},
	{post, "/groups", makeCollections, closed, false, groups.create},
	{patch, "/groups/{name}", editCollections, closed, false, groups.patch},
	{del, "/groups/{name}", dropCollections, closed, false, groups.drop},
	{get, "/groups/{name}/members", readCollections, ifReads, false, groups.showMembers},
	{post, "/groups/{name}/members", editCollections, closed, false, groups.addMember},
	{put, "/groups/{name}/members", editCollections, closed, false, groups.putMembers},
	{del, "/groups/{name}/members/{xname}", editCollections, closed, false, groups.dropMember},

	{get, "/partitions", readCollections, ifReads, false, partitions.list},
	{get, "/partitions/names", readCollections, ifReads, false, partitions.listNames},
	{get, "/partitions/{name}", readCollections, ifReads, false, partitions.showOne},
	{post, "/partitions", makeCollections, closed, false, partitions.create},
	{patch, "/partitions/{name}", editCollections, closed, false, partitions.patch},
	{del, "/partitions/{name}", dropCollections, closed, false, partitions.drop},
	{get, "/partitions/{name}/members", readCollections, ifReads, false, partitions.showMembers},
	{post, "/partitions/{name}/members", editCollections, closed, false, partitions.addMember},
	{put, "/partitions/{name}/members", editCollections, closed, false, partitions.putMembers},
	{del, "/partitions/{name}/members/{xname}", editCollections, closed, false, partitions.dropMember},

	{get, "/memberships", readCollections, ifReads, false, (*Server).listMemberships},
	{get, "/memberships/{xname}", readCollections, ifReads, false, (*Server).showMembership},
}

// smdBase is where the State Manager API says that its resources are, whichever
// of its prefixes a request came by.
const smdBase = "/hsm/v2"

// isStateManager tells whether a path belongs to the State Manager API.
func isStateManager(path string) bool {
	for _, prefix := range []string{"/hsm/v2", "/smd"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// smdProblem is a failure as the State Manager API tells of it (RFC 9457).
type smdProblem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Status int    `json:"status"`
}

// asStateManager is p in that form: what is wrong with which field goes into the detail.
func (p *problem) asStateManager() smdProblem {
	detail := p.Detail
	if len(p.Errors) > 0 {
		detail = "the request is not valid"
	}
	for i, e := range p.Errors {
		if i == 5 {
			detail += "; and more"
			break
		}
		detail += "; " + strings.TrimPrefix(e.Pointer+": ", ": ") + e.Detail
	}
	return smdProblem{Type: "about:blank", Title: p.Title, Detail: detail, Status: p.Status}
}

// viewOn is the state that a read answers from; the answer's headers tell of it.
func (s *Server) viewOn(w http.ResponseWriter, r *http.Request) (View, error) {
	v, head, err := s.viewFor(r)
	if err == nil {
		head.addTo(w.Header())
	}
	return v, err
}

// viewAnyhow is viewOn for the lists that DHCP and DNS servers live by: without a
// quorum it is what this peer has, with its age.
func (s *Server) viewAnyhow(w http.ResponseWriter, r *http.Request) (View, error) {
	v, err := s.viewOn(w, r)
	if !api.IsKind(err, api.Unavailable) {
		return v, err
	}
	if v, err = s.backend.View(r.Context(), api.Local); err == nil {
		seen(v, api.Local).addTo(w.Header())
	}
	return v, err
}

// writeRows answers with a list of any length, row by row, between before and
// after: sendRows for the envelopes of this API. A list that could not be sent
// to its end has none, so that no client takes a part for the whole.
func writeRows[T any](w http.ResponseWriter, r *http.Request, before string, rows iter.Seq[T], after string) error {
	if r.Method == http.MethodHead {
		return headOnly(w)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out := rowsOut{sender{w: w, deadline: http.NewResponseController(w), buf: make([]byte, 0, sendAt+sendAt/8)}}
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	out.buf = append(out.buf, before...)
	row, between := *new(T), ""
	for row = range rows {
		out.buf = append(out.buf, between...)
		between = ","
		err := enc.Encode(&row)
		if err == nil && len(out.buf) >= sendAt && !out.send() {
			err = out.err
		}
		if err != nil {
			exchangeOf(r.Context()).err = err
			return nil
		}
	}
	out.buf = append(append(out.buf, after...), '\n')
	if !out.send() {
		exchangeOf(r.Context()).err = out.err
	}
	return nil
}

// rowsOut collects what an encoder writes.
type rowsOut struct{ sender }

// Write keeps b until it is sent.
func (o *rowsOut) Write(b []byte) (int, error) {
	o.buf = append(o.buf, b...)
	return len(b), nil
}

// resource tells where a new object is.
type resource struct {
	URI string `json:"URI"`
}

// smdMessage is an answer of words.
type smdMessage struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func writeNothing(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// bodyInto decodes the request's body as these clients write it.
func bodyInto(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body) // from memory: admission has read it
	if err != nil {
		return err
	}
	return smd.Decode(body, into)
}

// pathName is the xname in a request's path.
func pathName(r *http.Request) (string, error) {
	x := r.PathValue("xname")
	if !xname.ValidComponent(x) {
		return "", errNoName
	}
	return x, nil
}

var errNoName = api.Errorf(api.Malformed, "smd", "the path does not name a component: expected an xname as x1000c0s0b0n0")

// deleter is a write that forgets objects: those named, or all for nil.
type deleter = func(Backend, context.Context, []string) (Done[int], error)

// deleteAll is the handler that forgets a whole collection.
func deleteAll(forget deleter) func(*Server, http.ResponseWriter, *http.Request) error {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		done, err := forget(s.backend, r.Context(), nil)
		if err == nil && done.Object == 0 && !done.Replayed {
			err = api.Errorf(api.NotFound, "smd", "no entries to delete")
		}
		if err != nil {
			return err
		}
		headOf(done).addTo(w.Header())
		return writeJSON(w, http.StatusOK, smdMessage{0, "deleted " + strconv.Itoa(done.Object) + " entries"})
	}
}

// deleteNamed is the handler that forgets the object of an xname.
func deleteNamed(forget deleter) func(*Server, http.ResponseWriter, *http.Request) error {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		x, err := pathName(r)
		if err != nil {
			return err
		}
		return s.deleteOne(w, r, forget, x)
	}
}

func (s *Server) deleteOne(w http.ResponseWriter, r *http.Request, forget deleter, id string) error {
	done, err := forget(s.backend, r.Context(), []string{id})
	if err == nil && done.Object == 0 && !done.Replayed {
		err = api.Errorf(api.NotFound, "smd", "there is nothing under this name")
	}
	if err != nil {
		return err
	}
	headOf(done).addTo(w.Header())
	return writeJSON(w, http.StatusOK, deletedOne)
}

var deletedOne = smdMessage{0, "deleted 1 entry"}

// maxItems is how many objects one request may write: each is part of one entry of
// the log, or an entry of its own.
const maxItems = 10000

// countErrors refuses a list that is longer than that.
func countErrors(pointer string, n int) error {
	if n <= maxItems {
		return nil
	}
	return smd.Bad(pointer, "at most "+strconv.Itoa(maxItems)+" at once: send them in parts")
}
