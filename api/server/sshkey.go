package server

import (
	"cmp"
	"context"
	"strings"

	"github.com/orchd/orchd/api"
)

// SSHKeyRef names an SSH key.
type SSHKeyRef struct {
	Name    string `path:"name" doc:"Id, or name in the account"`
	Account string `query:"account" maxLength:"63" doc:"Account of the name; default: the token's, else \"default\""`
}

// finder looks for the key with the eyes of the caller.
func (r SSHKeyRef) finder(ctx context.Context) func(View) (api.SSHKey, error) {
	return func(v View) (api.SSHKey, error) {
		if !findable(r.Name) {
			return api.SSHKey{}, notFound("ssh-key")
		}
		k, err := v.SSHKey(cmp.Or(r.Account, actorOf(ctx).Account, api.DefaultAccount), r.Name)
		if err == nil && !maySee(ctx, "ssh-key", k.Account) {
			err = notFound("ssh-key")
		}
		return k, err
	}
}

func keyOfSSHKey(k api.SSHKey) string { return k.ID }

type listSSHKeysInput struct {
	ListInput
	Account string `query:"account" maxLength:"63" doc:"Only those of this account"`
}

func (s *Server) listSSHKeys(ctx context.Context, in *listSSHKeysInput) (*Reply[api.Page[api.SSHKey]], error) {
	return listing(ctx, s, in.ListInput, View.SSHKeys, keyOfSSHKey, func(k api.SSHKey) bool {
		return (in.Account == "" || in.Account == k.Account) && maySee(ctx, "ssh-key", k.Account)
	})
}

type showSSHKeyInput struct {
	SSHKeyRef
	Freshness
}

func (s *Server) showSSHKey(ctx context.Context, in *showSSHKeyInput) (*Reply[api.SSHKey], error) {
	return showing(ctx, s, in.Consistency, in.finder(ctx), func(k api.SSHKey) uint64 { return k.Version })
}

type createSSHKeyInput struct {
	Keyed
	Body api.SSHKeyCreate
}

func (s *Server) createSSHKey(ctx context.Context, in *createSSHKeyInput) (*Reply[Stored[api.SSHKey]], error) {
	c := in.Body
	c.Account = cmp.Or(c.Account, actorOf(ctx).Account, api.DefaultAccount)
	if err := invalid("ssh-key.create", sshKeyErrors(c)); err != nil {
		return nil, err
	}
	if err := permit(actorOf(ctx), api.Create, api.Object{Kind: "ssh-key", Account: c.Account}); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateSSHKey(ctx, c)
	if err != nil {
		return nil, err
	}
	return made(done, "/v1/ssh-keys", done.Object.ID, done.Object.Version), nil
}

// sshKeyErrors is what can be said of a key without taking it apart.
func sshKeyErrors(c api.SSHKeyCreate) []api.FieldError {
	bad := append(nameErrors("/name", c.Name), nameErrors("/account", c.Account)...)
	text := strings.TrimSpace(c.PublicKey)
	switch {
	case strings.Contains(text, "PRIVATE KEY"):
		bad = append(bad, api.FieldError{Pointer: "/public_key", Detail: "this is a private key: keep it to yourself, and give the one line of the .pub file beside it"})
	case text == "" || !showable(text, len(text)):
		bad = append(bad, api.FieldError{Pointer: "/public_key", Detail: "expected one line, as ssh-keygen writes it to a .pub file"})
	}
	return bad
}

type deleteSSHKeyInput struct {
	SSHKeyRef
	Keyed
}

func (s *Server) deleteSSHKey(ctx context.Context, in *deleteSSHKeyInput) (*Nothing, error) {
	id, err := target(ctx, s, in.Name, in.finder(ctx), keyOfSSHKey)
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.DeleteSSHKey(ctx, id)
}
