package server

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// showWhy tells how the owner of a virtual machine was chosen.
func (s *Server) showWhy(ctx context.Context, in *showVMInput) (*Reply[api.Why], error) {
	return showing(ctx, s, in.Consistency, func(v View) (api.Why, error) {
		vm, err := findVM(ctx, v, in.VMRef)
		if err != nil {
			return api.Why{}, err
		}
		why, err := v.Why(vm.ID)
		if api.IsKind(err, api.NotFound) {
			err = &api.Error{Kind: api.NotFound, Op: "vm.why", Msg: "nothing is kept of how this virtual machine was placed: it was adopted, or made by an earlier release", Err: err}
		}
		why.Candidates = append([]api.Candidate{}, why.Candidates...)
		return why, err
	}, nil)
}

var accountParameter = queryParameter("account", "Account of the name, where several have it", &huma.Schema{Type: huma.TypeString, MaxLength: new(63)})

// describeVMText documents the routes of a virtual machine that answer with something
// else than JSON.
func describeVMText(mediaType, meaning string, more ...*huma.Param) func(huma.API, *huma.Operation) {
	return func(_ huma.API, op *huma.Operation) {
		op.Parameters = append([]*huma.Param{
			pathParameter("id", "Id or name"),
			accountParameter,
			queryParameter("consistency", "linearizable: every write acknowledged before is in it; local: what this peer has",
				&huma.Schema{Type: huma.TypeString, Enum: []any{"linearizable", "local"}, Default: "linearizable"}),
		}, more...)
		op.Responses["200"] = &huma.Response{Description: meaning, Content: map[string]*huma.MediaType{
			mediaType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}
	}
}

// vmInPath finds the virtual machine of a plain route with the eyes of the caller.
func (s *Server) vmInPath(r *http.Request) (api.VM, Head, error) {
	v, head, err := s.viewFor(r)
	if err != nil {
		return api.VM{}, head, err
	}
	account := r.URL.Query().Get("account")
	if account != "" && !api.ValidName(account) {
		return api.VM{}, head, badParameter("/query/account", "expected the name of an account")
	}
	vm, err := findVM(r.Context(), v, VMRef{ID: r.PathValue("id"), Account: account})
	return vm, head, err
}

const typeText = "text/plain; charset=utf-8"

// knownHosts answers with lines for a known_hosts file (sshd(8)): the guest's keys
// under its name and under each of its addresses.
func (s *Server) knownHosts(w http.ResponseWriter, r *http.Request) error {
	vm, head, err := s.vmInPath(r)
	if err != nil {
		return err
	}
	if len(vm.Status.SSHHostKeys) == 0 {
		return &api.Error{Kind: api.NotFound, Op: "vm.known_hosts", Msg: "no SSH keys of this guest are known: they are gathered while it starts, and only from a guest with cloud-init"}
	}
	head.addTo(w.Header())
	return writeBytes(w, typeText, []byte(knownHostLines(vm)))
}

// writeBytes answers with something that nobody is to keep.
func writeBytes(w http.ResponseWriter, mediaType string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff") // whatever a guest has printed
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the client has gone
	return nil
}

func knownHostLines(vm api.VM) string {
	hosts := []string{vm.Name}
	for _, a := range vm.Status.Addresses {
		if ip, err := netip.ParseAddr(a.IP); err == nil {
			hosts = append(hosts, ip.Unmap().String())
		}
	}
	keys := slices.DeleteFunc(slices.Clone(vm.Status.SSHHostKeys), func(k api.HostKey) bool {
		return !oneWord(k.Type) || !oneWord(k.Key) // they come out of the guest
	})
	slices.SortStableFunc(keys, func(a, b api.HostKey) int { return cmp.Compare(a.Type, b.Type) })
	var lines strings.Builder
	for _, host := range slices.Compact(hosts) {
		for _, k := range keys {
			fmt.Fprintf(&lines, "%s %s %s\n", host, k.Type, k.Key)
		}
	}
	return lines.String()
}

// oneWord tells whether text can stand between two spaces of a line.
func oneWord(text string) bool {
	return text != "" && showable(text, len(text)) && !strings.Contains(text, " ")
}

// How much of a console's log is answered.
const (
	usualTail = 64 << 10
	maxTail   = 8 << 20
)

var tailParameter = queryParameter("tail", "How many of its last bytes; default 65536, at most 8388608",
	&huma.Schema{Type: huma.TypeInteger, Minimum: new(1.0), Maximum: new(float64(maxTail))})

// tailIn is how much of a log a request asks for.
func tailIn(r *http.Request) (int64, error) {
	text := r.URL.Query().Get("tail")
	if text == "" {
		return usualTail, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > maxTail {
		return 0, badParameter("/query/tail", "expected a number of bytes from 1 to 8388608")
	}
	return n, nil
}

// consoleLog answers with what the console has said.
func (s *Server) consoleLog(w http.ResponseWriter, r *http.Request) error {
	tail, err := tailIn(r)
	if err != nil {
		return err
	}
	vm, _, err := s.vmInPath(r)
	if err != nil {
		return err
	}
	log, err := s.backend.ConsoleLog(r.Context(), vm, tail)
	if err != nil {
		return err
	}
	defer log.Close()
	text, release, err := s.bodies.read(io.LimitReader(log, tail))
	defer release()
	if err != nil {
		return err
	}
	return writeBytes(w, typeText, text)
}

// screenshot answers with what the guest shows on its screen.
func (s *Server) screenshot(w http.ResponseWriter, r *http.Request) error {
	vm, _, err := s.vmInPath(r)
	if err != nil {
		return err
	}
	png, err := s.backend.Screenshot(r.Context(), vm)
	if err != nil {
		return err
	}
	return writeBytes(w, "image/png", png)
}
