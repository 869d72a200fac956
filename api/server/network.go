package server

import (
	"context"
	"fmt"

	"github.com/orchd/orchd/api"
)

// NetworkRef names a network.
type NetworkRef struct {
	Name string `path:"name" doc:"Name or id"`
}

func (r NetworkRef) find(v View) (api.Network, error) {
	if !findable(r.Name) {
		return api.Network{}, notFound("network")
	}
	return v.Network(r.Name)
}

func keyOfNetwork(n api.Network) string { return n.ID }

func (s *Server) listNetworks(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Network]], error) {
	return listing(ctx, s, *in, View.Networks, keyOfNetwork, all[api.Network])
}

type showNetworkInput struct {
	NetworkRef
	Freshness
}

func (s *Server) showNetwork(ctx context.Context, in *showNetworkInput) (*Reply[api.Network], error) {
	return showing(ctx, s, in.Consistency, in.find, func(n api.Network) uint64 { return n.Version })
}

type createNetworkInput struct {
	Keyed
	Body api.NetworkCreate
}

func (s *Server) createNetwork(ctx context.Context, in *createNetworkInput) (*Reply[Stored[api.Network]], error) {
	if err := invalid("network.create", networkErrors(in.Body)); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateNetwork(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	return made(done, "/v1/networks", done.Object.ID, done.Object.Version), nil
}

// networkErrors is which fields exclude or need each other; what a range is, and what
// lies in it, apply knows.
func networkErrors(c api.NetworkCreate) []api.FieldError {
	bad := nameErrors("/name", c.Name)
	for _, f := range []struct {
		pointer string
		wrong   bool
		detail  string
	}{
		{"/cidr", c.CIDR == "", "is required: the IPv4 range, or the only IPv6 range"},
		{"/libvirt", c.Bridge != "" && c.Libvirt != "", "a network is plugged in by a bridge or by a network of libvirt: leave out one of them"},
		{"/gateway6", c.CIDR6 == "" && c.Gateway6 != "", "there is no cidr6 that it could be in"},
	} {
		if f.wrong {
			bad = append(bad, api.FieldError{Pointer: f.pointer, Detail: f.detail})
		}
	}
	return append(bad, poolErrors(c.Pools)...)
}

func poolErrors(pools []api.AddressPool) (bad []api.FieldError) {
	for i, p := range pools {
		at := fmt.Sprintf("/pools/%d", i)
		if p.Peer == "" {
			bad = append(bad, api.FieldError{Pointer: at + "/peer", Detail: "is required"})
		}
		bad = append(bad, refErrors(at+"/peer", "peer", p.Peer)...)
	}
	return bad
}

type deleteNetworkInput struct {
	NetworkRef
	Keyed
}

func (s *Server) deleteNetwork(ctx context.Context, in *deleteNetworkInput) (*Nothing, error) {
	id, err := target(ctx, s, in.Name, in.find, keyOfNetwork)
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.DeleteNetwork(ctx, id)
}
