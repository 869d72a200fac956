package server

import (
	"context"
	"net"
	"net/http"
	"slices"

	"github.com/orchd/orchd/api"
)

// maxJoin bounds a body that anybody may send.
const maxJoin = 64 << 10

type joinInput struct {
	Body api.JoinRequest
}

// join makes the caller a peer. It asks for no bearer: the token is in the body.
func (s *Server) join(ctx context.Context, in *joinInput) (*Reply[api.JoinAnswer], error) {
	if err := invalid("peer.join", joinErrors(in.Body)); err != nil {
		return nil, err
	}
	answer, err := s.backend.Join(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	answer.GossipKeys = filled(answer.GossipKeys)
	return &Reply[api.JoinAnswer]{Status: http.StatusOK, Body: answer}, nil
}

// joinErrors is what the schema cannot say of a newcomer.
func joinErrors(r api.JoinRequest) []api.FieldError {
	bad := append(nameErrors("/name", r.Name), labelErrors("/host/labels", r.Host.Labels)...)
	for _, f := range []struct {
		pointer string
		valid   bool
		detail  string
	}{
		{"/token", r.Token != "" && printable(r.Token), "expected ID.SECRET"},
		{"/host/addresses/api", isHostPort(r.Host.Addresses.API), "expected HOST:PORT"},
		{"/host/addresses/raft", isHostPort(r.Host.Addresses.Raft), "expected HOST:PORT"},
		{"/host/addresses/gossip", isHostPort(r.Host.Addresses.Gossip), "expected HOST:PORT"},
		{"/host/driver", slices.Contains([]string{api.DriverLibvirt, api.DriverSim, api.DriverNone}, r.Host.Driver), "expected libvirt, sim or none"},
		{"/host/host_uuid", r.Host.HostUUID == "" || api.IsUUID(r.Host.HostUUID), "expected a UUID"},
		{"/host/software", showable(r.Host.Software, 64), "at most 64 printable characters"},
		{"/host/problem", showable(r.Host.Problem, 1024), "at most 1024 printable characters"},
	} {
		if !f.valid {
			bad = append(bad, api.FieldError{Pointer: f.pointer, Detail: f.detail})
		}
	}
	return bad
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && port != "" && printable(s) && len(s) <= 260
}
