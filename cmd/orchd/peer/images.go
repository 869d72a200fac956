package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/guard"
	"github.com/orchd/orchd/api/server"
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

// asWanted is an image in the depot's words.
func asWanted(i api.Image) depot.Wanted {
	return depot.Wanted{ID: i.ID, Format: i.Format, SHA256: i.SHA256, Bytes: i.Bytes}
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
