package server

import (
	"context"
	"net/http"
	"time"

	"github.com/orchd/orchd/api"
)

// maxTTL bounds how long a token may live.
const maxTTL = 8760 * time.Hour

func (s *Server) listTokens(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Token]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, v.Tokens(in.after), func(t api.Token) string { return t.ID },
		func(t api.Token) bool { return maySee(ctx, "token", t.Account) })
	return &Reply[api.Page[api.Token]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

type createTokenInput struct {
	Keyed
	Body api.TokenCreate
}

func (s *Server) createToken(ctx context.Context, in *createTokenInput) (*Reply[Stored[api.NewToken]], error) {
	if err := invalid("token.create", tokenErrors(in.Body)); err != nil {
		return nil, err
	}
	if err := permit(actorOf(ctx), api.Create, api.Object{Kind: "token", Account: in.Body.Account}); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateToken(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	return written(http.StatusCreated, done, done.Object.ID), nil
}

// tokenErrors is what the schema cannot say of a token.
func tokenErrors(c api.TokenCreate) []api.FieldError {
	var bad []api.FieldError
	if c.Account != "" {
		bad = nameErrors("/account", c.Account)
	}
	if c.TTL == "" {
		return bad
	}
	if ttl, err := time.ParseDuration(c.TTL); err != nil || ttl <= 0 || ttl > maxTTL {
		bad = append(bad, api.FieldError{Pointer: "/ttl", Detail: "expected a duration of up to 8760h, as 90s or 1h"})
	}
	return bad
}

type deleteTokenInput struct {
	ID string `path:"id" doc:"Id of the token"`
	Keyed
}

func (s *Server) deleteToken(ctx context.Context, in *deleteTokenInput) (*Nothing, error) {
	if !findable(in.ID) {
		return nil, notFound("token")
	}
	return &Nothing{}, s.backend.DeleteToken(ctx, in.ID)
}
