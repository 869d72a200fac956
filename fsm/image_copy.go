package fsm

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// This file is where the content of images lies. Only peers say it, each for itself.

// imageCopy is a whole, checked copy of an image's content.
type imageCopy struct {
	Image string    `json:"image"` // id
	Peer  string    `json:"peer"`  // id
	At    time.Time `json:"at"`
}

var imageCopies = &table[imageCopy]{
	name:        "image_copies",
	bookkeeping: true,
	key:         func(c *imageCopy) string { return c.Image + "/" + c.Peer },
	by: map[string]func(*imageCopy) string{
		"image": func(c *imageCopy) string { return c.Image },
		"peer":  func(c *imageCopy) string { return c.Peer },
	},
}

// applyStoredImage is a peer's word on the content of an image.
func applyStoredImage(tx *Txn, c api.ImageContent) (object, error) {
	const op = "image.stored"
	peer, err := tx.asPeer(op)
	if err != nil {
		return nothing, err
	}
	i, ok := images.one(tx.Reader, c.Image)
	switch {
	case !ok && c.Gone, !ok && c.Error != "":
		return nothing, nil
	case !ok:
		return nothing, api.Errorf(api.NotFound, op, "no image %s; its content is not wanted any more", c.Image)
	case !i.Kept():
		return nothing, api.Errorf(api.Invalid, op, "image %s is not one whose content is kept", i.Name)
	case c.Gone:
		imageCopies.remove(tx, i.ID+"/"+peer.ID)
		return object{table: images, key: i.ID}, nil
	case c.Error != "":
		return notBrought(tx, i, peer, c.Error), nil
	}
	return stored(tx, op, i, peer, c)
}

// notBrought fails an image when the peer that was to bring it in could not. For
// all others it was one more copy, which they may try again.
func notBrought(tx *Txn, i api.Image, peer api.Peer, why string) object {
	if i.State != api.ImagePending || i.Via != peer.ID {
		return object{table: images, key: i.ID}
	}
	return failImage(tx, i, api.OpFailed, clipped(why))
}

// stored notes a copy. The first, by the peer that was to bring the content in, makes
// the image available; from then on no other content is taken for it.
func stored(tx *Txn, op string, i api.Image, peer api.Peer, c api.ImageContent) (object, error) {
	if !isSHA256(c.SHA256) || c.Bytes < 1 || c.VirtualBytes < 1 {
		return nothing, api.Errorf(api.Invalid, op, "what was stored of image %s has no sum, or no size", i.Name)
	}
	switch {
	case i.State == api.ImageFailed:
		return nothing, api.Errorf(api.Conflict, op, "image %s has failed: %s", i.Name, i.Reason)
	case i.State == api.ImagePending && i.Via != peer.ID:
		return nothing, api.Errorf(api.Conflict, op, "the content of image %s is awaited from another peer", i.Name)
	case i.SHA256 != "" && i.SHA256 != c.SHA256:
		return nothing, api.Errorf(api.Conflict, op, "image %s has the SHA-256 %s; what was stored has %s", i.Name, i.SHA256, c.SHA256)
	case i.State == api.ImageAvailable && (i.Bytes != c.Bytes || i.VirtualBytes != c.VirtualBytes):
		return nothing, api.Errorf(api.Conflict, op, "image %s has %d bytes, a disk of %d; what was stored has %d, a disk of %d", i.Name, i.Bytes, i.VirtualBytes, c.Bytes, c.VirtualBytes)
	}
	if _, has := imageCopies.one(tx.Reader, i.ID+"/"+peer.ID); !has {
		imageCopies.put(tx, imageCopy{i.ID, peer.ID, tx.Now})
	}
	if i.State == api.ImageAvailable {
		return object{table: images, key: i.ID}, nil
	}
	i.SHA256, i.Bytes, i.VirtualBytes, i.State = c.SHA256, c.Bytes, c.VirtualBytes, api.ImageAvailable
	if o, ok := operations.one(tx.Reader, i.Operation); ok {
		finishOperation(tx, o, api.OpSucceeded, "")
	}
	return putImage(tx, i), nil
}

// forgetCopies drops what a peer had that is no more, and fails what it was to bring in.
func forgetCopies(tx *Txn, peer api.Peer) {
	for _, c := range slices.Collect(imageCopies.all(tx.Reader, "peer", peer.ID)) {
		imageCopies.remove(tx, imageCopies.key(&c))
	}
	for _, i := range slices.Collect(images.all(tx.Reader, "via", peer.ID)) {
		failImage(tx, i, api.OpFailed, "peer "+peer.Name+", which was to bring the content in, belongs to the cluster no more")
	}
}

// onlyCopy finds an image that no peer has but that one.
func onlyCopy(r Reader, peer string) (api.Image, bool) {
	for c := range imageCopies.all(r, "peer", peer) {
		if len(r.ImagePeers(c.Image)) == 1 {
			return images.one(r, c.Image)
		}
	}
	return api.Image{}, false
}

// ImagePeers are the ids of the peers that have a copy of an image, sorted.
func (r Reader) ImagePeers(image string) (ids []string) {
	for c := range imageCopies.all(r, "image", image) {
		ids = append(ids, c.Peer)
	}
	return ids
}

// ImageCopiesOn lists the ids of the images that a peer has said it has a copy of.
func (r Reader) ImageCopiesOn(peer string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for c := range imageCopies.all(r, "peer", peer) {
			if !yield(c.Image) {
				return
			}
		}
	}
}

// StoredImage tells the cluster what the peer that asks has of an image: a checked
// copy, none any more, or why it could not be brought in. Conflict when the content
// is not that of the image: the peer must not keep it.
func (w *Writer) StoredImage(ctx context.Context, c api.ImageContent) error {
	_, err := propose[api.Image](ctx, w, storedImage, c)
	return err
}
