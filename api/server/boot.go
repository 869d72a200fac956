package server

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// bootRoutes are what a node asks for while it boots. With a token, its cloud-init
// data is for admins, as any secret; its boot script for whoever may see the node.
// On the boot listener a node gets its own without one: see bootHandler.
var bootRoutes = append(under([]string{"/inventory", ""}, []facade{
	{get, "/ComputeNode/{id}/cloud-init/user-data", need{api.Read, "secret"}, closed, false, cloudInit(userData)},
	{get, "/ComputeNode/{id}/cloud-init/meta-data", need{api.Read, "secret"}, closed, false, cloudInit(metaData)},
	{get, "/ComputeNode/{id}/cloud-init/vendor-data", need{api.Read, "secret"}, closed, false, cloudInit(vendorData)},
}), facade{get, "/boot/v1/bootscript", need{api.Read, "node"}, ifReads, false, bootScript})

// ownRoutes are those of the boot listener where the address that asks is all
// that says which node, or which virtual machine, it is.
var ownRoutes = []facade{
	{get, "/cloud-init/user-data", need{}, closed, false, ownSeed("user-data", userData)},
	{get, "/cloud-init/meta-data", need{}, closed, false, ownSeed("meta-data", metaData)},
	{get, "/cloud-init/vendor-data", need{}, closed, false, ownSeed("vendor-data", vendorData)},
	{get, "/cloud-init/network-config", need{}, closed, false, ownSeed("network-config", nil)},
}

// ownSeed answers with a document of the node that has the address that asks, or else
// of the virtual machine that holds it. A node has those that there is a part for.
func ownSeed(file string, part cloudInitPart) func(*Server, http.ResponseWriter, *http.Request) error {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		v, _, err := s.viewFor(r)
		if err != nil {
			return err
		}
		_, err = s.nodeAt(r.Context(), v)
		switch {
		case api.IsKind(err, api.NotFound):
			return s.sendSeed(w, r, file)
		case err != nil:
			return err
		case part == nil:
			return api.Errorf(api.NotFound, "boot", "a node has no %s", file)
		}
		return cloudInit(part)(s, w, r)
	}
}

// sendSeed answers with a document of the virtual machine that asks, and puts on
// record that it was read.
func (s *Server) sendSeed(w http.ResponseWriter, r *http.Request, file string) error {
	from, _ := askerOf(r.Context())
	text, err := s.backend.VMSeed(r.Context(), from, file)
	if api.IsKind(err, api.NotFound) {
		err = &api.Error{Kind: api.NotFound, Op: "boot", Err: err, Msg: "no node and no virtual machine has the address " + from.String()}
	}
	if err != nil {
		return err
	}
	x := exchangeOf(r.Context())
	s.log.Info("seed read", "address", from, "path", r.URL.Path, "remote", x.remote, "request", x.id)
	return writeBytes(w, typeText, text)
}

// cloudInit answers with a part of the cloud-init data of the node that the path
// names, or that asks.
func cloudInit(part cloudInitPart) func(*Server, http.ResponseWriter, *http.Request) error {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		find := func(v View) (inventory.ComputeNode, error) { return s.nodeAt(r.Context(), v) }
		if ref := r.PathValue("id"); ref != "" {
			find = func(v View) (inventory.ComputeNode, error) { return v.ComputeNode(ref) }
		}
		n, err := s.bootingNode(r, find)
		if err != nil {
			return err
		}
		own, groups, err := s.backend.CloudInit(r.Context(), n.ID)
		if err != nil {
			return err
		}
		text, contentType, err := part(n, own, groups)
		if err != nil {
			return err
		}
		return s.sendBoot(w, r, n, contentType, text)
	}
}

// bootScript answers with the iPXE script of the node that has a MAC address, a
// name (its xname) or a node id, as the Boot Script Service does.
func bootScript(s *Server, w http.ResponseWriter, r *http.Request) error {
	by, value, err := bootKey(r)
	if err != nil {
		return err
	}
	n, err := s.bootingNode(r, func(v View) (inventory.ComputeNode, error) { return nodeBy(v, by, value) })
	if err != nil {
		return err
	}
	script, err := ipxe(n, by+"="+value)
	if err != nil {
		return err
	}
	return s.sendBoot(w, r, n, "text/plain; charset=utf-8", []byte(script))
}

// bootKey is the one thing by which a request for a boot script names its node,
// in a form that can stand in a URL as it is.
func bootKey(r *http.Request) (by, value string, err error) {
	q, err := queryOf(r)
	if err != nil {
		return "", "", err
	}
	for _, name := range []string{"mac", "name", "nid"} {
		switch given := q[name]; {
		case len(given) == 0:
		case len(given) > 1 || by != "":
			return "", "", badParameter("/query/"+name, "expected one of mac, name and nid, once")
		default:
			by, value = name, given[0]
		}
	}
	if by == "" {
		return "", "", badParameter("/query", "expected one of mac, name and nid")
	}
	if value = bootKeyForm[by](value); value == "" {
		return "", "", badParameter("/query/"+by, "expected a MAC address as mac, an xname as name, a number as nid")
	}
	return by, value, nil
}

// bootKeyForm bring a value into its one form; empty: it is none.
var bootKeyForm = map[string]func(string) string{
	"mac": inventory.MACKey,
	"name": func(s string) string {
		if len(s) > 64 || slices.ContainsFunc([]byte(s), func(c byte) bool {
			return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-'
		}) {
			return ""
		}
		return s
	},
	"nid": func(s string) string {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			return ""
		}
		return strconv.FormatUint(n, 10)
	},
}

// nodeBy finds the node that a boot script is for.
func nodeBy(v View, by, value string) (inventory.ComputeNode, error) {
	switch by {
	case "name":
		return v.ComputeNode(value)
	case "nid":
		nid, _ := strconv.ParseInt(value, 10, 64) // bootKeyForm has
		c, err := v.ComponentByNID(nid)
		if err != nil {
			return inventory.ComputeNode{}, err
		}
		return v.ComputeNode(c.ID)
	}
	for n := range v.ComputeNodes(inventory.NodeFilter{BootMAC: value}, "") {
		return n, nil
	}
	nic, err := v.EthernetInterface(value) // a node may boot from another interface than it should
	if err != nil {
		return inventory.ComputeNode{}, err
	}
	return v.ComputeNode(nic.ComponentID)
}

// bootingNode finds the node whose data is asked for, and refuses an address that
// is not that node's own.
func (s *Server) bootingNode(r *http.Request, find func(View) (inventory.ComputeNode, error)) (inventory.ComputeNode, error) {
	v, _, err := s.viewFor(r)
	if err != nil {
		return inventory.ComputeNode{}, err
	}
	n, err := find(v)
	from, byAddress := askerOf(r.Context())
	switch {
	case !byAddress || err != nil && !api.IsKind(err, api.NotFound):
		return n, err
	case err != nil || !slices.Contains(addressesOf(n), from):
		return n, &api.Error{Kind: api.Forbidden, Op: "boot", Err: err,
			Msg: "a node gets its boot data from the address that is recorded for it, and this is another; elsewhere it takes a token"}
	}
	return n, nil
}

// addressesOf are the addresses that are recorded for a node.
func addressesOf(n inventory.ComputeNode) (all []netip.Addr) {
	texts := []string{n.BootIPv4, n.BootIPv6}
	for _, i := range n.NetworkInterfaces {
		texts = append(texts, i.IPv4Address, i.IPv6Address)
	}
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, a.Unmap().WithZone(""))
		}
	}
	return all
}

// nodeAt finds the node that asks, by its address.
func (s *Server) nodeAt(ctx context.Context, v View) (found inventory.ComputeNode, err error) {
	from, _ := askerOf(ctx)
	for n := range v.NodesAt(from) {
		switch {
		case ctx.Err() != nil:
			return found, ctx.Err()
		case !slices.Contains(addressesOf(n), from):
		case found.ID != "":
			return found, api.Errorf(api.Conflict, "boot", "the address %s is recorded for several nodes, %s and %s among them: take it from all but one", from, found.ID, n.ID)
		default:
			found = n
		}
	}
	if found.ID == "" {
		return found, api.Errorf(api.NotFound, "boot", "no node has the address %s", from)
	}
	return found, nil
}

// sendBoot answers with what a node asked for, and puts on record who read it.
func (s *Server) sendBoot(w http.ResponseWriter, r *http.Request, n inventory.ComputeNode, contentType string, text []byte) error {
	x := exchangeOf(r.Context())
	s.log.Info("boot data read", "node", n.ID, "xname", n.XName, "path", r.URL.Path, "actor", x.actor, "remote", x.remote, "request", x.id)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text) // the client has gone
	return nil
}

type askerKey struct{}

// askerOf is the address that asks on the boot listener.
func askerOf(ctx context.Context) (netip.Addr, bool) {
	a, ok := ctx.Value(askerKey{}).(netip.Addr)
	return a, ok
}

// bootHandler serves a node its own boot data: whoever asks needs no token and is
// known by the address of its connection, never by what it says of itself.
func (s *Server) bootHandler() http.Handler {
	mux := http.NewServeMux()
	for _, f := range slices.Concat(bootRoutes, ownRoutes) {
		in := intake{identify: identifyByAddress}
		mux.Handle(f.method+" "+f.path, s.withAsker(s.admitted(in, s.answering(f))))
	}
	return s.logged(s.routed(mux))
}

// withAsker notes the address that asks.
func (s *Server) withAsker(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			writeProblem(w, r, &api.Error{Kind: api.Forbidden, Op: "boot", Msg: "the address that asks is not known", Err: err})
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), askerKey{}, from.Addr().Unmap().WithZone(""))))
	})
}

// identifyByAddress makes an actor of the address that asks. It may do nothing that
// is asked of a role: the handlers ask which node it is.
func identifyByAddress(r *http.Request, _ need) (api.Actor, error) {
	from, _ := askerOf(r.Context())
	actor := api.Actor{ID: "address:" + from.String()}
	exchangeOf(r.Context()).actor = actor.ID
	return actor, nil
}
