package server

import (
	"context"
	"net/http"

	"github.com/orchd/orchd/api"
)

// NetworkRef names a network.
type NetworkRef struct {
	Name string `path:"name" doc:"Name or id"`
}

func (s *Server) listNetworks(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Network]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, v.Networks(in.after), func(n api.Network) string { return n.ID },
		func(api.Network) bool { return true })
	return &Reply[api.Page[api.Network]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

type showNetworkInput struct {
	NetworkRef
	Freshness
}

func (s *Server) showNetwork(ctx context.Context, in *showNetworkInput) (*Reply[api.Network], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	network, err := findNetwork(v, in.Name)
	if err != nil {
		return nil, err
	}
	out := &Reply[api.Network]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: network}
	out.ETag = etag(network.Version)
	return out, nil
}

func findNetwork(v View, ref string) (api.Network, error) {
	if !findable(ref) {
		return api.Network{}, notFound("network")
	}
	return v.Network(ref)
}

type createNetworkInput struct {
	Keyed
	Body api.NetworkCreate
}

func (s *Server) createNetwork(ctx context.Context, in *createNetworkInput) (*Reply[Stored[api.Network]], error) {
	done, err := s.backend.CreateNetwork(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	out := written(http.StatusCreated, done, done.Object.ID)
	out.Location = "/v1/networks/" + done.Object.ID
	if !done.Gone {
		out.ETag = etag(done.Object.Version)
	}
	return out, nil
}

type deleteNetworkInput struct {
	NetworkRef
	Keyed
}

func (s *Server) deleteNetwork(ctx context.Context, in *deleteNetworkInput) (*Nothing, error) {
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return nil, err
	}
	network, err := findNetwork(v, in.Name)
	if mayBeRetry(ctx, err) && findable(in.Name) {
		network.ID, err = in.Name, nil
	}
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.DeleteNetwork(ctx, network.ID)
}
