package server

import (
	"context"
	"net/http"

	"github.com/orchd/orchd/api"
)

func (s *Server) showKeys(ctx context.Context, _ *struct{}) (*Reply[api.Keys], error) {
	keys, err := s.backend.Keys(ctx)
	if err != nil {
		return nil, err
	}
	return &Reply[api.Keys]{Status: http.StatusOK, Body: api.Keys{
		Authorities: filled(keys.Authorities), Certificates: filled(keys.Certificates), Keys: filled(keys.Keys), Rotations: filled(keys.Rotations),
	}}, nil
}

type rotateKeyInput struct {
	Keyed
	Body api.KeyRotate
}

func (s *Server) rotateKey(ctx context.Context, in *rotateKeyInput) (*Reply[Stored[api.KeyRotation]], error) {
	if in.Body.Now && in.Body.Kind != api.KeyCA {
		return nil, invalid("keys.rotate", []api.FieldError{{Pointer: "/now", Detail: "is for ca alone: the other keys need not be kept for clients"}})
	}
	done, err := s.backend.RotateKey(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	return written(http.StatusAccepted, done, done.Object.Kind), nil
}

type exportKeysInput struct {
	Body api.KeyExport
}

func (s *Server) exportKeys(ctx context.Context, in *exportKeysInput) (*Reply[api.KeyCopy], error) {
	file, err := s.backend.ExportKeys(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	return &Reply[api.KeyCopy]{Status: http.StatusOK, Body: file}, nil
}
