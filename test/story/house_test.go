package story

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// house is a cluster in a lab, with an admin's token and a client for each host.
type house struct {
	*lab.Lab
	t       *testing.T
	token   string
	clients map[*lab.Host]*http.Client
}

// form makes a cluster of n hosts.
func form(t *testing.T, n int, options ...lab.Option) *house {
	t.Helper()
	h := &house{Lab: lab.Start(t, n, options...), t: t, clients: map[*lab.Host]*http.Client{}}
	h.Form()
	h.token = ask.Decode[api.NewToken](t, ask.Answer{Body: []byte(h.Host(0).CLI("token", "create", "--role", "admin", "--ttl", "24h", "-o", "json"))}).Token
	return h
}

// client is a host's client for its own peer; connections are kept.
func (h *house) client(at *lab.Host) *http.Client {
	h.t.Helper()
	if h.clients[at] == nil {
		c, err := at.HTTP(h.token)
		if err != nil {
			h.t.Fatalf("client of %s: %v", at.Name, err)
		}
		h.clients[at] = c
	}
	return h.clients[at]
}

// try asks the peer of a host; ctx bounds it.
func (h *house) try(ctx context.Context, at *lab.Host, method, path string, body any, headers ...string) (ask.Answer, error) {
	return ask.Send(ctx, h.client(at), method, at.URL()+path, body, headers...)
}

// patience is how long a request may take that nothing bounds.
const patience = 30 * time.Second

// do is try for a request that must be answered with that status.
func (h *house) do(at *lab.Host, want int, method, path string, body any, headers ...string) ask.Answer {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	a, err := h.try(ctx, at, method, path, body, headers...)
	if err != nil {
		h.t.Fatalf("%s %s on %s: %v", method, path, at.Name, err)
	}
	if a.Status != want {
		h.t.Fatalf("%s %s on %s: %d, want %d: %s", method, path, at.Name, a.Status, want, a.Body)
	}
	return a
}

// create makes a small VM and gives it as it was acknowledged.
func (h *house) create(at *lab.Host, name string) api.VM {
	h.t.Helper()
	return ask.Decode[api.VM](h.t, h.do(at, http.StatusCreated, "POST", "/v1/vms", ask.VM(name, 1, 64)))
}

// vms lists what the host's peer has, linearizably or, with query "consistency=local", as it is there.
func (h *house) vms(at *lab.Host, query string) map[string]api.VM {
	h.t.Helper()
	byName := map[string]api.VM{}
	for _, vm := range ask.Decode[api.Page[api.VM]](h.t, h.do(at, http.StatusOK, "GET", "/v1/vms?limit=10000&"+query, nil)).Items {
		byName[vm.Name] = vm
	}
	return byName
}

// vm reads one VM linearizably.
func (h *house) vm(at *lab.Host, name string) (api.VM, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	a, err := h.try(ctx, at, "GET", "/v1/vms/"+name, nil)
	if err != nil {
		return api.VM{}, err
	}
	if a.Status != http.StatusOK {
		return api.VM{}, fmt.Errorf("show %s: %d %s", name, a.Status, a.Body)
	}
	return ask.Decode[api.VM](h.t, a), nil
}

// becomes waits until a VM has that state.
func (h *house) becomes(at *lab.Host, name string, state api.VMState, within time.Duration) (vm api.VM) {
	h.t.Helper()
	lab.Eventually(h.t, within, func() (err error) {
		if vm, err = h.vm(at, name); err == nil && vm.Status.State != state {
			err = fmt.Errorf("%s is %s, want %s (%s)", name, vm.Status.State, state, vm.Status.Reason)
		}
		return err
	})
	return vm
}

// status is what one peer says of the cluster.
func (h *house) status(at *lab.Host) api.Status {
	h.t.Helper()
	return ask.Decode[api.Status](h.t, h.do(at, http.StatusOK, "GET", "/v1/status", nil))
}

// leader waits until all of these hosts agree on who leads, and it is one of them.
func (h *house) leader(among ...*lab.Host) (leader *lab.Host) {
	h.t.Helper()
	lab.Eventually(h.t, patience, func() error {
		leader = nil
		said := h.status(among[0]).Leader
		for _, host := range among {
			if name := h.status(host).Leader; name != said {
				return fmt.Errorf("%s says that %q leads, %s says %q", host.Name, name, among[0].Name, said)
			}
			if host.Name == said {
				leader = host
			}
		}
		if leader == nil {
			return fmt.Errorf("%q leads, which is none of these", said)
		}
		return nil
	})
	return leader
}

// but is all hosts but these.
func (h *house) but(gone ...*lab.Host) (rest []*lab.Host) {
next:
	for _, host := range h.Hosts() {
		for _, g := range gone {
			if g == host {
				continue next
			}
		}
		rest = append(rest, host)
	}
	return rest
}

// allVoters waits until every host has a vote.
func (h *house) allVoters() {
	h.t.Helper()
	lab.Eventually(h.t, patience, func() error {
		if st := h.status(h.Host(0)); st.Voters != min(len(h.Hosts()), st.VotersWanted) {
			return fmt.Errorf("%d voters", st.Voters)
		}
		return nil
	})
}
