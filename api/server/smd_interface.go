package server

import (
	"net/http"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
)

// usualInterface is an interface as clients expect it, whoever wrote it: its MAC in
// the usual form, and its addresses a list, be it empty.
func usualInterface(i smd.EthernetInterface) smd.EthernetInterface {
	i.MACAddress = smd.UsualMAC(i.MACAddress)
	if i.IPAddresses == nil {
		i.IPAddresses = []smd.IPAddress{}
	}
	return i
}

// listInterfaces answers GET Inventory/EthernetInterfaces.
func (s *Server) listInterfaces(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewAnyhow(w, r)
	if err != nil {
		return err
	}
	q := smdQuery(r.URL)
	filter, err := smd.InterfaceFilter(q)
	if err != nil {
		return err
	}
	all := v.EthernetInterfaces("")
	if macs := q.Wanted("macaddress"); macs != nil {
		all = looked(keysOf(macs), v.EthernetInterface)
	}
	return writeRows(w, r, `[`, mapped(kept(all, filter), usualInterface), `]`)
}

func keysOf(macs []string) (keys []string) {
	for _, mac := range macs {
		keys = append(keys, inventory.MACKey(mac))
	}
	return keys
}

// interfaceID is the id in a request's path: a MAC, in whichever form.
func interfaceID(r *http.Request) (string, error) {
	if id := inventory.MACKey(r.PathValue("id")); id != "" {
		return id, nil
	}
	return "", api.Errorf(api.NotFound, "smd", "there is no interface with this id: an id is a MAC address")
}

// interfaceAt finds the interface that a read is about.
func (s *Server) interfaceAt(w http.ResponseWriter, r *http.Request) (smd.EthernetInterface, error) {
	id, err := interfaceID(r)
	if err != nil {
		return smd.EthernetInterface{}, err
	}
	v, err := s.viewOn(w, r)
	if err != nil {
		return smd.EthernetInterface{}, err
	}
	i, err := v.EthernetInterface(id)
	return usualInterface(i), err
}

// showInterface answers GET Inventory/EthernetInterfaces/{id}.
func (s *Server) showInterface(w http.ResponseWriter, r *http.Request) error {
	i, err := s.interfaceAt(w, r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, i)
}

// showAddresses answers GET Inventory/EthernetInterfaces/{id}/IPAddresses.
func (s *Server) showAddresses(w http.ResponseWriter, r *http.Request) error {
	i, err := s.interfaceAt(w, r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, i.IPAddresses)
}

// postInterface answers POST Inventory/EthernetInterfaces.
func (s *Server) postInterface(w http.ResponseWriter, r *http.Request) error {
	var body smd.InterfacePost
	if err := bodyInto(r, &body); err != nil {
		return err
	}
	i, err := body.Checked()
	if err != nil {
		return err
	}
	done, err := s.backend.CreateInterface(r.Context(), i)
	if err != nil {
		return err
	}
	headOf(done).addTo(w.Header())
	at := resource{smdBase + "/Inventory/EthernetInterfaces/" + i.ID}
	w.Header().Set("Location", at.URI)
	return writeJSON(w, http.StatusCreated, at) // an object, where all other collections answer a list
}

// patchInterface answers PATCH Inventory/EthernetInterfaces/{id}.
func (s *Server) patchInterface(w http.ResponseWriter, r *http.Request) error {
	id, err := interfaceID(r)
	if err != nil {
		return err
	}
	var body smd.InterfacePatch
	if err := bodyInto(r, &body); err != nil {
		return err
	}
	p, err := body.Checked()
	if err != nil {
		return err
	}
	done, err := s.backend.PatchInterface(r.Context(), id, p)
	if err != nil {
		return err
	}
	headOf(done).addTo(w.Header())
	return writeJSON(w, http.StatusOK, usualInterface(done.Object))
}

// deleteInterface answers DELETE Inventory/EthernetInterfaces/{id}.
func (s *Server) deleteInterface(w http.ResponseWriter, r *http.Request) error {
	id, err := interfaceID(r)
	if err != nil {
		return err
	}
	return s.deleteOne(w, r, Backend.DeleteInterfaces, id)
}
