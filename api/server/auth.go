package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/orchd/orchd/api"
)

// maxBearer bounds a credential before anyone looks at it. JSON Web Tokens of
// issuers that list groups and roles have some KiB.
const maxBearer = 16 << 10

type peerCredentialKey struct{}

// withPeerCredential notes who is at the other end of a unix socket
// (SO_PEERCRED, unix(7)), when the connection is made: the kernel's word.
func withPeerCredential(ctx context.Context, conn net.Conn) context.Context {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerCredentialKey{}, cred)
}

// authenticate says who asks: the bearer token's actor, or, on the unix socket
// without one, the process at its other end. A client certificate of the
// cluster says nothing here: peers are no administrators.
func (s *Server) authenticate(r *http.Request) (api.Actor, error) {
	return s.authenticateWith(r, s.backend.Authenticate)
}

// authenticateWith is authenticate where find knows the bearer tokens.
func (s *Server) authenticateWith(r *http.Request, find func(context.Context, string) (api.Actor, error)) (api.Actor, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		token, err := bearerOf(header)
		if err != nil {
			return api.Actor{}, err
		}
		return find(r.Context(), token)
	}
	cred, local := r.Context().Value(peerCredentialKey{}).(*unix.Ucred)
	switch {
	case !local:
		return api.Actor{}, unauthenticated("this needs a credential: send Authorization: Bearer TOKEN")
	case cred.Uid != 0 && cred.Uid != s.uid:
		return api.Actor{}, unauthenticated("on this socket only root needs no credential: send Authorization: Bearer TOKEN")
	}
	return api.Actor{ID: fmt.Sprintf("uid:%d", cred.Uid), Role: api.RoleAdmin}, nil
}

// bearerOf is the token of an Authorization header.
func bearerOf(header string) (string, error) {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxBearer || !printable(token) {
		return "", unauthenticated("the Authorization header is not of the form: Bearer TOKEN")
	}
	return token, nil
}

func unauthenticated(msg string) error {
	return &api.Error{Kind: api.Unauthenticated, Op: "authenticate", Msg: msg}
}

// printable tells whether s is made of visible ASCII and spaces.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
