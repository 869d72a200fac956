package peer

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/guard"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/vmm/depot"
)

// How this peer brings in what it was asked for, from outside or from this host.

// mine tells whether this peer has to bring in an image by itself; an upload is brought by a request.
func (i *images) mine(image api.Image) bool {
	return image.Via == i.identity.PeerID && image.State == api.ImagePending && image.Source != api.SourceUpload
}

// stopUnwanted ends the work on images that are no longer awaited.
func (i *images) stopUnwanted(r fsm.Reader) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id, stop := range i.work {
		if image, known := r.Image(id); !known || !i.mine(image) {
			stop()
		}
	}
}

// startWanted begins to bring in what this peer was asked for.
func (i *images) startWanted(ctx context.Context, r fsm.Reader, workers *sync.WaitGroup) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for image := range r.Images("") {
		if !i.mine(image) || i.work[image.ID] != nil || i.cfg.Now().Before(i.rest[image.ID]) {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		i.work[image.ID] = stop
		workers.Go(func() {
			defer stop()
			err := i.bring(ctx, image)
			i.mu.Lock()
			defer i.mu.Unlock()
			delete(i.work, image.ID)
			delete(i.rest, image.ID)
			if err != nil {
				i.rest[image.ID] = i.cfg.Now().Add(imagesRest)
				i.log.Warn("image not brought in", "image", image.Name, "err", err)
			}
		})
	}
}

// bring brings in an image and tells the cluster, of success and of what can never
// succeed. What may pass is tried again: then it gives the error.
func (i *images) bring(ctx context.Context, image api.Image) error {
	content, err := i.content(ctx, image, i.progress(ctx, image.ID))
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil
	case api.IsKind(err, api.Unavailable):
		return err
	default:
		content = api.ImageContent{Error: err.Error()}
	}
	content.Image = image.ID
	return i.writer.StoredImage(i.asPeer(ctx), content)
}

// content brings the content of an image into the depot.
func (i *images) content(ctx context.Context, image api.Image, progress depot.Progress) (api.ImageContent, error) {
	switch image.Source {
	case api.SourceURL:
		if _, is := api.IPFSContent(image.URL); is {
			return i.depot.FetchURL(ctx, asWanted(image), image.URL, i.fromIPFS(), i.cfg.ImageMax, progress)
		}
		return i.depot.FetchURL(ctx, asWanted(image), image.URL, i.client(), i.cfg.ImageMax, progress)
	case api.SourcePeer:
		return i.depot.Import(ctx, asWanted(image), image.Path, progress)
	case api.SourceVM:
		return i.export(ctx, image, progress)
	}
	return api.ImageContent{}, api.Errorf(api.Invalid, "image.fetch", "an image of source %q cannot be brought in by this release", image.Source)
}

// export makes an image of the disk of a VM that is off.
func (i *images) export(ctx context.Context, image api.Image, progress depot.Progress) (api.ImageContent, error) {
	if i.loop == nil {
		return api.ImageContent{}, api.Errorf(api.Conflict, "vm.export", "peer %s runs no virtual machines", i.identity.Name)
	}
	to, err := i.depot.Temp(image.ID)
	if err != nil {
		return api.ImageContent{}, err
	}
	if err := i.loop.Export(ctx, image.VM, to); err != nil {
		return api.ImageContent{}, err
	}
	return i.depot.Adopt(ctx, asWanted(image), progress)
}

// client fetches images from outside and from nowhere else: not from this host, its
// networks or the cluster's own peers, unless the configuration allows it.
func (i *images) client() *http.Client { return i.guard().Client(guard.Limits{Total: imagesFetch}) }

// guard is what keeps requests that others ask for from reaching inside.
func (i *images) guard() *guard.Guard {
	var own []netip.Prefix
	for host := range i.machine.Read().Members() {
		for _, at := range []string{host.Addresses.API, host.Addresses.Raft, host.Addresses.Gossip} {
			if addr, err := netip.ParseAddrPort(at); err == nil {
				own = append(own, netip.PrefixFrom(addr.Addr(), addr.Addr().BitLen()))
			}
		}
	}
	if mine, err := net.InterfaceAddrs(); err == nil {
		for _, at := range mine {
			if prefix, err := netip.ParsePrefix(at.String()); err == nil {
				own = append(own, netip.PrefixFrom(prefix.Addr(), prefix.Addr().BitLen()))
			}
		}
	}
	return &guard.Guard{Allow: i.cfg.ImageAllow, Refuse: own, Ports: i.cfg.ImagePorts, Roots: i.cfg.ImageRoots}
}

// progress tells the cluster how far an image is, not more often than matters.
func (i *images) progress(ctx context.Context, id string) depot.Progress {
	var last time.Time
	var telling atomic.Bool
	return func(done, total int64) {
		now := i.cfg.Now()
		if now.Sub(last) < progressGap || !telling.CompareAndSwap(false, true) {
			return
		}
		last = now
		go func() { // the log may take long, and the copying waits for nobody
			defer telling.Store(false)
			i.tried(ctx, "tell how far an image is", func() error { return i.writer.ImageProgress(i.asPeer(ctx), id, done, total) })
		}()
	}
}
