package peer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm/depot"
)

// How a host comes by a copy of an image that another has, and gives it.

// Ensure brings a copy of an image onto this host, from whichever peer has one, and
// gives its path; it makes images a vmm.Images.
func (i *images) Ensure(ctx context.Context, image api.Image, progress func(done, total int64)) (string, error) {
	if !image.Kept() {
		return image.Path, nil
	}
	if image.State != api.ImageAvailable {
		return "", api.Errorf(api.Unavailable, "image", "image %q is %s", image.Name, image.State)
	}
	if path, err := i.depot.Path(image.ID); err == nil {
		return path, nil
	}
	err := error(api.Errorf(api.Unavailable, "image", "no peer has a copy of image %q", image.Name))
	for _, peer := range i.machine.Read().ImagePeers(image.ID) {
		if peer == i.identity.PeerID {
			continue
		}
		if _, err = i.depot.FetchFrom(ctx, asWanted(image), i.source(peer, image.ID), progress); err == nil {
			i.tell(ctx, contentOf(image))
			return i.depot.Path(image.ID)
		}
		i.log.Warn("image not fetched", "image", image.Name, "peer", peer, "err", err)
	}
	return "", api.Errorf(api.Unavailable, "image", "image %q could not be fetched: %w", image.Name, err)
}

// source reads an image from a peer, from any place in it on.
func (i *images) source(peer, id string) depot.Source {
	return func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		resp, err := i.download(ctx, peer, "/peer/images/"+id+"?offset="+strconv.FormatInt(offset, 10))
		if err != nil {
			return nil, err
		}
		return resp.Body, nil
	}
}

// serve is the other side of source.
func (i *images) serve(w http.ResponseWriter, r *http.Request) {
	offset, err := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
	if err != nil || offset < 0 {
		answerPeer(w, nil, api.Errorf(api.Malformed, "image", "offset is no number"))
		return
	}
	f, err := i.open(r.PathValue("id"), offset)
	i.send(w, f, err)
}

// open reads this host's copy from an offset on.
func (i *images) open(id string, offset int64) (io.ReadCloser, error) {
	f, size, err := i.depot.Open(id)
	if err != nil {
		return nil, err
	}
	if offset > size {
		return nil, errors.Join(api.Errorf(api.Invalid, "image", "the image ends before byte %d", offset), f.Close())
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OpenImage reads the content of an image from an offset, from whichever peer has it.
func (p *Peer) OpenImage(ctx context.Context, image api.Image, offset int64) (io.ReadCloser, error) {
	if p.images.depot.Has(image.ID) {
		return p.images.open(image.ID, offset)
	}
	err := error(api.Errorf(api.NotFound, "image", "no peer has a copy of image %q", image.Name))
	for _, peer := range p.machine.Read().ImagePeers(image.ID) {
		var body io.ReadCloser
		if body, err = p.images.source(peer, image.ID)(ctx, offset); err == nil {
			return body, nil
		}
	}
	return nil, err
}
