package server

import (
	"context"
	"net/http"

	"github.com/orchd/orchd/api"
)

// SizeRef names a size.
type SizeRef struct {
	Name string `path:"name" doc:"Name or id"`
}

func (r SizeRef) find(v View) (api.Size, error) {
	if !findable(r.Name) {
		return api.Size{}, notFound("size")
	}
	return v.Size(r.Name)
}

func keyOfSize(z api.Size) string   { return z.ID }
func sizeVersion(z api.Size) uint64 { return z.Version }
func sizeReply(d Done[api.Size]) *Reply[Stored[api.Size]] {
	return changed(http.StatusOK, d, d.Object.ID, d.Object.Version)
}

func (s *Server) listSizes(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Size]], error) {
	return listing(ctx, s, *in, View.Sizes, keyOfSize, all[api.Size])
}

type showSizeInput struct {
	SizeRef
	Freshness
}

func (s *Server) showSize(ctx context.Context, in *showSizeInput) (*Reply[api.Size], error) {
	return showing(ctx, s, in.Consistency, in.find, sizeVersion)
}

type createSizeInput struct {
	Keyed
	Body api.SizeCreate
}

func (s *Server) createSize(ctx context.Context, in *createSizeInput) (*Reply[Stored[api.Size]], error) {
	if err := invalid("size.create", nameErrors("/name", in.Body.Name)); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateSize(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	return made(done, "/v1/sizes", done.Object.ID, done.Object.Version), nil
}

type patchSizeInput struct {
	SizeRef
	Keyed
	Matching
	Body api.SizeUpdate
}

func (s *Server) patchSize(ctx context.Context, in *patchSizeInput) (*Reply[Stored[api.Size]], error) {
	id, err := target(ctx, s, in.Name, in.find, keyOfSize)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.UpdateSize(ctx, id, in.version, in.Body)
	if err != nil {
		return nil, err
	}
	return sizeReply(done), nil
}

type deleteSizeInput struct {
	SizeRef
	Keyed
}

func (s *Server) deleteSize(ctx context.Context, in *deleteSizeInput) (*Nothing, error) {
	id, err := target(ctx, s, in.Name, in.find, keyOfSize)
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.DeleteSize(ctx, id)
}
