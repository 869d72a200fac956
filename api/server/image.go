package server

import (
	"cmp"
	"context"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
)

// ImageRef names an image.
type ImageRef struct {
	Name string `path:"name" doc:"Name or id"`
}

// finder looks for the image with the eyes of the caller.
func (r ImageRef) finder(ctx context.Context) func(View) (api.Image, error) {
	return func(v View) (api.Image, error) {
		i, err := r.view(ctx, v)
		return i.Image, err
	}
}

// view finds an image that the caller may see, and who has a copy of it.
func (r ImageRef) view(ctx context.Context, v View) (api.ImageView, error) {
	if !findable(r.Name) {
		return api.ImageView{}, notFound("image")
	}
	i, err := v.ImageView(r.Name)
	if err == nil && !maySee(ctx, "image", i.Account) {
		err = notFound("image")
	}
	return i, err
}

func keyOfImage(i api.Image) string { return i.ID }

// listImages lists everybody's images and those of the caller's account.
func (s *Server) listImages(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Image]], error) {
	return listing(ctx, s, *in, View.Images, keyOfImage, func(i api.Image) bool { return maySee(ctx, "image", i.Account) })
}

type showImageInput struct {
	ImageRef
	Freshness
}

func (s *Server) showImage(ctx context.Context, in *showImageInput) (*Reply[api.ImageView], error) {
	find := func(v View) (api.ImageView, error) { return in.view(ctx, v) }
	return showing(ctx, s, in.Consistency, find, func(i api.ImageView) uint64 { return i.Version })
}

type createImageInput struct {
	Keyed
	Waiting
	Body api.ImageCreate
}

func (s *Server) createImage(ctx context.Context, in *createImageInput) (*Reply[Stored[api.Image]], error) {
	c := withSource(in.Body)
	c.Account = cmp.Or(c.Account, actorOf(ctx).Account)
	if err := invalid("image.create", imageErrors(c)); err != nil {
		return nil, err
	}
	if err := mayMakeImage(actorOf(ctx), c); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateImage(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.imageMade(ctx, done, in.or(0)), nil
}

// withSource fills in what is usual: a disk, and where its content comes from.
func withSource(c api.ImageCreate) api.ImageCreate {
	c.Kind = cmp.Or(c.Kind, api.ImageDisk)
	switch {
	case c.Kind != api.ImageDisk || c.Source != "":
	case c.Path != "":
		c.Source = api.SourcePath
	case c.URL != "":
		c.Source = api.SourceURL
	default:
		c.Source = api.SourceUpload
	}
	return c
}

// mayMakeImage: what lies on peers is for who runs them, and so are everybody's images.
func mayMakeImage(a api.Actor, c api.ImageCreate) error {
	object := api.Object{Kind: "image", Account: c.Account}
	onHosts := c.Kind == api.ImageKernel || c.Source == api.SourcePath || c.Source == api.SourcePeer
	switch {
	case onHosts && !api.Allowed(a, api.Create, api.Object{Kind: "image"}):
		return &api.Error{Kind: api.Forbidden, Op: "image.create", Msg: "kernels, and disks that are files of peers, are for admins of the whole cluster; upload the content, or name a URL of it"}
	case c.Account == "" && !api.Allowed(a, api.Create, object):
		return &api.Error{Kind: api.Forbidden, Op: "image.create", Msg: "only an admin of the whole cluster makes images of everybody; name an account"}
	}
	return permit(a, api.Create, object)
}

// imageMade answers with a new image. After some waiting it shows what came of its content.
func (s *Server) imageMade(ctx context.Context, done Done[api.Image], wait time.Duration) *Reply[Stored[api.Image]] {
	op := done.Object.Operation
	if v := s.afterwards(ctx, op, wait); v != nil && !done.Gone {
		if now, err := v.Image(done.Object.ID); err == nil {
			done.Object, done.Index = now, v.Index()
		}
	}
	out := made(done, "/v1/images", done.Object.ID, done.Object.Version)
	if op != "" {
		out.OperationLocation = operationLocation(op)
	}
	return out
}

// imageErrors is what the schema cannot say of an image: which fields go with which
// kind and source, and what they hold.
func imageErrors(c api.ImageCreate) []api.FieldError {
	bad := nameErrors("/name", c.Name)
	if c.Account != "" {
		bad = append(bad, nameErrors("/account", c.Account)...)
	}
	bad = append(bad, belongingErrors(c)...)
	bad = append(bad, refErrors("/peer", "peer", c.Peer)...)
	for pointer, value := range map[string]string{"/path": c.Path, "/kernel": c.Kernel, "/initrd": c.Initrd} {
		if value != "" && !wholePath(value) {
			bad = append(bad, api.FieldError{Pointer: pointer, Detail: "expected an absolute path without . or .. or doubled slashes"})
		}
	}
	if _, content := api.IPFSContent(c.URL); c.URL != "" && !content && !fetchable(c.URL) {
		bad = append(bad, api.FieldError{Pointer: "/url", Detail: "expected https://HOST/PATH without a user or a fragment, or ipfs://CID"})
	}
	if !showable(c.Cmdline, len(c.Cmdline)) {
		bad = append(bad, api.FieldError{Pointer: "/cmdline", Detail: "expected one line of printable characters"})
	}
	return bad
}

// belongingErrors: fields that an image of this kind and source must have, and those
// that it cannot have.
func belongingErrors(c api.ImageCreate) (bad []api.FieldError) {
	disk := c.Kind == api.ImageDisk
	file := c.Source == api.SourcePath || c.Source == api.SourcePeer
	for _, f := range []struct {
		pointer, value string
		mine, needed   bool
	}{
		{"/source", c.Source, disk, false},
		{"/path", c.Path, disk && file, disk && file},
		{"/peer", c.Peer, c.Source == api.SourcePeer, c.Source == api.SourcePeer},
		{"/url", c.URL, c.Source == api.SourceURL, c.Source == api.SourceURL},
		{"/sha256", c.SHA256, disk && c.Source != api.SourcePath, c.Source == api.SourceURL},
		{"/format", c.Format, disk, false},
		{"/kernel", c.Kernel, !disk, !disk},
		{"/initrd", c.Initrd, !disk, false},
		{"/cmdline", c.Cmdline, !disk, false},
	} {
		switch {
		case f.value == "" && f.needed:
			bad = append(bad, api.FieldError{Pointer: f.pointer, Detail: "is required for an image of this kind and source"})
		case f.value != "" && !f.mine:
			bad = append(bad, api.FieldError{Pointer: f.pointer, Detail: "an image of this kind and source does not have this"})
		}
	}
	return bad
}

func wholePath(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && showable(p, len(p))
}

// fetchable tells whether text is a URL that could be fetched; to where it leads is
// looked at when it is.
func fetchable(text string) bool {
	u, err := url.Parse(text)
	return err == nil && showable(text, len(text)) && !strings.ContainsAny(text, " \\") && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.Opaque == "" && !strings.Contains(text, "#")
}

type deleteImageInput struct {
	ImageRef
	Keyed
}

func (s *Server) deleteImage(ctx context.Context, in *deleteImageInput) (*Nothing, error) {
	find := func(v View) (api.Image, error) {
		i, err := in.finder(ctx)(v)
		if err == nil {
			err = permit(actorOf(ctx), api.Delete, api.Object{Kind: "image", Account: i.Account})
		}
		return i, err
	}
	id, err := target(ctx, s, in.Name, find, keyOfImage)
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.DeleteImage(ctx, id)
}
