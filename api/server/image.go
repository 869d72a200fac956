package server

import (
	"context"
	"net/http"
	"path"

	"github.com/orchd/orchd/api"
)

// ImageRef names an image.
type ImageRef struct {
	Name string `path:"name" doc:"Name or id"`
}

func (s *Server) listImages(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Image]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, v.Images(in.after), func(i api.Image) string { return i.ID },
		func(api.Image) bool { return true })
	return &Reply[api.Page[api.Image]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

type showImageInput struct {
	ImageRef
	Freshness
}

func (s *Server) showImage(ctx context.Context, in *showImageInput) (*Reply[api.Image], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	image, err := findImage(v, in.Name)
	if err != nil {
		return nil, err
	}
	out := &Reply[api.Image]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: image}
	out.ETag = etag(image.Version)
	return out, nil
}

func findImage(v View, ref string) (api.Image, error) {
	if !findable(ref) {
		return api.Image{}, notFound("image")
	}
	return v.Image(ref)
}

type createImageInput struct {
	Keyed
	Body api.ImageCreate
}

func (s *Server) createImage(ctx context.Context, in *createImageInput) (*Reply[Stored[api.Image]], error) {
	if err := invalid("image.create", imageErrors(in.Body)); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateImage(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	out := written(http.StatusCreated, done, done.Object.ID)
	out.Location = "/v1/images/" + done.Object.ID
	if !done.Gone {
		out.ETag = etag(done.Object.Version)
	}
	return out, nil
}

// imageErrors is what the schema cannot say of an image: which fields go with
// which kind, and that paths are whole.
func imageErrors(c api.ImageCreate) []api.FieldError {
	bad := nameErrors("/name", c.Name)
	disk := c.Kind == api.ImageDisk
	for _, f := range []struct {
		pointer, value string
		mine, needed   bool
	}{
		{"/path", c.Path, disk, disk},
		{"/kernel", c.Kernel, !disk, !disk},
		{"/initrd", c.Initrd, !disk, false},
	} {
		if detail := pathError(f.value, f.mine, f.needed); detail != "" {
			bad = append(bad, api.FieldError{Pointer: f.pointer, Detail: detail})
		}
	}
	if c.Format != "" && !disk {
		bad = append(bad, api.FieldError{Pointer: "/format", Detail: "only an image of kind disk has this"})
	}
	if c.Cmdline != "" && disk {
		bad = append(bad, api.FieldError{Pointer: "/cmdline", Detail: "only an image of kind kernel has this"})
	}
	if !showable(c.Cmdline, len(c.Cmdline)) {
		bad = append(bad, api.FieldError{Pointer: "/cmdline", Detail: "expected one line of printable characters"})
	}
	return bad
}

// pathError says what is wrong with a path that belongs to this kind of image, or does not.
func pathError(p string, mine, needed bool) string {
	switch {
	case p == "" && needed:
		return "is required for an image of this kind"
	case p != "" && !mine:
		return "an image of this kind does not have this"
	case p != "" && (!path.IsAbs(p) || path.Clean(p) != p || !showable(p, len(p))):
		return "expected an absolute path without . or .. or doubled slashes"
	}
	return ""
}

type deleteImageInput struct {
	ImageRef
	Keyed
}

func (s *Server) deleteImage(ctx context.Context, in *deleteImageInput) (*Nothing, error) {
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return nil, err
	}
	image, err := findImage(v, in.Name)
	if mayBeRetry(ctx, err) && findable(in.Name) {
		image.ID, err = in.Name, nil
	}
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.DeleteImage(ctx, image.ID)
}
