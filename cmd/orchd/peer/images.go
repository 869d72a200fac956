package peer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/vmm/depot"
)

// images is the images on this host: the depot has the files, the tables say
// which there should be. It brings in those that this peer was asked for, tells
// the cluster what it has, and gives copies to the other peers.
type images struct {
	*Peer
	depot *depot.Depot

	mu   sync.Mutex
	work map[string]context.CancelFunc // images that are brought in just now
	rest map[string]time.Time          // those that failed, and until when they are left alone

	swept time.Time // belongs to keep
}

const (
	imagesLook  = 15 * time.Second // look again without being woken
	imagesSweep = time.Hour        // between two sweeps that find nothing to begin with
	imagesRest  = 5 * time.Second  // after a failure that may pass
	imagesFetch = 24 * time.Hour   // for one try to fetch an image, which the next one goes on with
	progressGap = 2 * time.Second  // between two words about how far something is
)

func openImages(p *Peer) (*images, error) {
	d, err := depot.Open(depot.Config{Dir: p.cfg.imagesDir(), MaxVirtualBytes: min(p.cfg.ImageMax, 1<<50)}, p.log)
	if err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	return &images{Peer: p, depot: d, work: map[string]context.CancelFunc{}, rest: map[string]time.Time{}}, nil
}

// keep brings in, reports and sweeps until ctx ends.
func (i *images) keep(ctx context.Context) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	for {
		r := i.machine.Read()
		i.stopUnwanted(r)
		i.startWanted(ctx, r, &workers)
		i.tellCopies(ctx, r)
		i.sweep(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-r.ImagesChanged():
		case <-time.After(imagesLook):
		}
	}
}

// asWanted is an image in the depot's words.
func asWanted(i api.Image) depot.Wanted {
	return depot.Wanted{ID: i.ID, Format: i.Format, SHA256: i.SHA256, Bytes: i.Bytes}
}

// tellCopies tells the cluster of copies that it does not know of, and of those that
// it thinks are here and are not.
func (i *images) tellCopies(ctx context.Context, r fsm.Reader) {
	told := map[string]bool{}
	for id := range r.ImageCopiesOn(i.identity.PeerID) {
		told[id] = true
		if !i.depot.Has(id) {
			i.log.Error("this host's copy of an image is gone", "image", id)
			i.tell(ctx, api.ImageContent{Image: id, Gone: true})
		}
	}
	here, err := i.depot.List()
	if err != nil {
		i.log.Warn("images not listed", "err", err)
	}
	for _, id := range here {
		switch image, _ := r.Image(id); {
		case image.State == api.ImageAvailable && !told[id]:
			i.tell(ctx, contentOf(image))
		case image.State == api.ImagePending && image.Source == api.SourceUpload && image.Via == i.identity.PeerID:
			// It was whole when this peer ended, before it could say so.
			if content, err := i.depot.Check(ctx, asWanted(image)); err == nil {
				content.Image = id
				i.tell(ctx, content)
			}
		}
	}
}

// contentOf is what a checked copy of an image is.
func contentOf(image api.Image) api.ImageContent {
	return api.ImageContent{Image: image.ID, SHA256: image.SHA256, Bytes: image.Bytes, VirtualBytes: image.VirtualBytes}
}

func (i *images) tell(ctx context.Context, c api.ImageContent) bool {
	return i.tried(ctx, "tell of an image", func() error { return i.writer.StoredImage(i.asPeer(ctx), c) })
}

// sweep removes the files of images that are no more, and what nobody goes on with:
// never on doubt, so it asks the log first.
func (i *images) sweep(ctx context.Context) {
	r, now := i.machine.Read(), i.cfg.Now()
	unknown := func(id string) bool { _, known := r.Image(id); return !known }
	here, err := i.depot.List()
	if err != nil || now.Sub(i.swept) < imagesSweep && !slices.ContainsFunc(here, unknown) || i.node.ReadIndex(ctx) != nil {
		return
	}
	i.swept = now
	r = i.machine.Read()
	removed, err := i.depot.Sweep(ctx, func(id string) bool { return !unknown(id) })
	if len(removed) > 0 {
		i.log.Info("files of images removed", "files", removed)
	}
	if err != nil && ctx.Err() == nil {
		i.log.Warn("images not swept", "err", err)
	}
}

// findings are copies that no record knows of.
func (i *images) findings() (found []api.Finding) {
	r := i.machine.Read()
	for id := range r.ImageCopiesOn(i.identity.PeerID) {
		if image, _ := r.Image(id); !i.depot.Has(id) {
			found = append(found, api.Finding{Code: "copy-without-image", Peer: i.identity.Name, Name: image.Name,
				Detail: "this host said that it has a copy of the image, and has none",
				Action: "nothing to do: it is fetched from another peer when a VM needs it"})
		}
	}
	return found
}
