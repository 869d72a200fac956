package peer

import (
	"context"
	"io"
	"net/http"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
)

// What the API asks for.

// CreateImage makes an image known; what has to be brought in is brought in by this
// peer, or by the one that has the file.
func (p *Peer) CreateImage(ctx context.Context, c api.ImageCreate) (server.Done[api.Image], error) {
	if err := p.room("image.create"); err != nil {
		return server.Done[api.Image]{}, err
	}
	via := p.identity.PeerID
	if c.Source == api.SourcePeer {
		host, known := p.machine.Read().Peer(c.Peer)
		if !known {
			return server.Done[api.Image]{}, &api.Error{Kind: api.Invalid, Op: "image.create", Msg: "the image is not valid",
				Fields: []api.FieldError{{Pointer: "/peer", Detail: "no such peer"}}}
		}
		via = host.ID
	}
	if err := p.imageVouched(ctx, c); err != nil {
		return server.Done[api.Image]{}, err
	}
	return done(p.writer.CreateImage(ctx, via, c))
}

// DeleteImage forgets an image; the peers remove their copies.
func (p *Peer) DeleteImage(ctx context.Context, id string) error {
	return p.writer.DeleteImage(ctx, id)
}

// PutImage stores the content of an image that waits for it: on the peer that was
// asked to make it, whichever is asked now.
func (p *Peer) PutImage(ctx context.Context, image api.Image, body io.Reader) (server.Done[api.Image], error) {
	if err := p.room("image.create"); err != nil {
		return server.Done[api.Image]{}, err
	}
	if err := p.putImage(ctx, image, body); err != nil {
		return server.Done[api.Image]{}, err
	}
	if err := p.node.ReadIndex(ctx); err != nil {
		return server.Done[api.Image]{}, err
	}
	r := p.machine.Read()
	now, there := r.Image(image.ID)
	return server.Done[api.Image]{Object: now, Gone: !there, Index: r.Index()}, nil
}

func (p *Peer) putImage(ctx context.Context, image api.Image, body io.Reader) error {
	if image.Via != p.identity.PeerID {
		resp, err := p.request(ctx, image.Via, http.MethodPost, "/peer/images/"+image.ID, body)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	content, err := p.images.depot.Receive(ctx, asWanted(image), body, p.cfg.ImageMax, p.images.progress(ctx, image.ID))
	if err != nil {
		return err
	}
	content.Image = image.ID
	return p.writer.StoredImage(p.asPeer(ctx), content)
}

// servePut is the other side of putImage. The log says which image waits for what.
func (i *images) servePut(w http.ResponseWriter, r *http.Request) {
	image, known := i.machine.Read().Image(r.PathValue("id"))
	if !known || image.Source != api.SourceUpload || image.State != api.ImagePending || image.Via != i.identity.PeerID {
		answerPeer(w, nil, api.Errorf(api.Conflict, "image.upload", "this image does not wait for content here"))
		return
	}
	answerPeer(w, struct{}{}, i.putImage(r.Context(), image, r.Body))
}
