package server

import (
	"context"
	"net/http"

	"github.com/orchd/orchd/api"
)

// PeerRef names a peer.
type PeerRef struct {
	Name string `path:"name" doc:"Name or id"`
}

func (s *Server) listPeers(ctx context.Context, in *ListInput) (*Reply[api.Page[api.PeerView]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, v.Peers(in.after), func(p api.PeerView) string { return p.ID },
		func(api.PeerView) bool { return true })
	return &Reply[api.Page[api.PeerView]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

type showPeerInput struct {
	PeerRef
	Freshness
}

func (s *Server) showPeer(ctx context.Context, in *showPeerInput) (*Reply[api.PeerView], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	peer, err := findPeer(v, in.Name)
	if err != nil {
		return nil, err
	}
	return &Reply[api.PeerView]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: peer}, nil
}

func findPeer(v View, ref string) (api.PeerView, error) {
	if !findable(ref) {
		return api.PeerView{}, notFound("peer")
	}
	return v.Peer(ref)
}

type changePeerInput struct {
	PeerRef
	Keyed
}

// schedulable is the handler of cordon (false) and uncordon (true).
func schedulable(on bool) func(*Server, context.Context, *changePeerInput) (*Reply[Stored[api.PeerView]], error) {
	return func(s *Server, ctx context.Context, in *changePeerInput) (*Reply[Stored[api.PeerView]], error) {
		id, err := s.targetPeer(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		done, err := s.backend.SetSchedulable(ctx, id, on)
		if err != nil {
			return nil, err
		}
		return written(http.StatusOK, done, id), nil
	}
}

func (s *Server) removePeer(ctx context.Context, in *changePeerInput) (*Nothing, error) {
	id, err := s.targetPeer(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.RemovePeer(ctx, id)
}

func (s *Server) drainPeer(context.Context, *changePeerInput) (*Nothing, error) {
	return nil, errUnsupported
}

// targetPeer finds the id of the peer that a write is about; see targetVM.
func (s *Server) targetPeer(ctx context.Context, ref string) (string, error) {
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return "", err
	}
	peer, err := findPeer(v, ref)
	if mayBeRetry(ctx, err) && findable(ref) {
		return ref, nil
	}
	return peer.ID, err
}

type losePeerInput struct {
	PeerRef
	Keyed
	Body api.PeerLost
}

// losePeer takes the caller's word that a host is off for good. The name stands in the
// body once more, because nothing takes this back.
func (s *Server) losePeer(ctx context.Context, in *losePeerInput) (*Reply[Stored[api.PeerView]], error) {
	if !showable(in.Body.Reason, 500) {
		return nil, invalid("peer.lose", []api.FieldError{{Pointer: "/reason", Detail: "at most 500 printable characters on one line"}})
	}
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return nil, err
	}
	peer, err := findPeer(v, in.Name)
	if err != nil {
		return nil, err
	}
	if in.Body.Name != peer.Name {
		return nil, invalid("peer.lose", []api.FieldError{{Pointer: "/name", Detail: "expected the name of this very peer: to lose a peer that still runs makes two of each of its virtual machines"}})
	}
	done, err := s.backend.LosePeer(ctx, peer.ID, in.Body)
	if err != nil {
		return nil, err
	}
	return written(http.StatusOK, s.asPeerView(ctx, done), peer.ID), nil
}

// asPeerView is a peer as other answers show it.
func (s *Server) asPeerView(ctx context.Context, done Done[api.Peer]) Done[api.PeerView] {
	out := about(done, api.PeerView{Peer: done.Object, Health: "unknown"})
	if v, err := s.backend.View(ctx, api.Local); err == nil {
		if now, err := v.Peer(done.Object.ID); err == nil {
			now.Peer = done.Object
			out.Object = now
		}
	}
	return out
}
