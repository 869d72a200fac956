package fsm

import (
	"context"
	"iter"
	"path"

	"github.com/orchd/orchd/api"
)

var images = &table[api.Image]{
	name: "images",
	key:  func(i *api.Image) string { return i.ID },
	by: map[string]func(*api.Image) string{
		"name": func(i *api.Image) string { return i.Name },
	},
}

func applyCreateImage(tx *Txn, c api.ImageCreate) (object, error) {
	if err := tx.may(api.Create, "image.create", api.Object{Kind: "image"}); err != nil {
		return nothing, err
	}
	if fields := imageFaults(c); len(fields) > 0 {
		return nothing, &api.Error{Kind: api.Invalid, Op: "image.create", Msg: "the image is not valid", Fields: fields}
	}
	if _, taken := images.with(tx.Reader, "name", c.Name); taken {
		return nothing, api.Errorf(api.Conflict, "image.create", "image %q exists already", c.Name)
	}
	if c.Kind == api.ImageDisk && c.Format == "" {
		c.Format = "raw"
	}
	i := images.put(tx, api.Image{
		ID: tx.newID(), Name: c.Name, Kind: c.Kind, Path: c.Path, Format: c.Format,
		Kernel: c.Kernel, Initrd: c.Initrd, Cmdline: c.Cmdline,
		Version: 1, CreatedAt: tx.Now, UpdatedAt: tx.Now,
	})
	return object{table: images, key: i.ID}, nil
}

// imageFaults names the fields that do not go together.
func imageFaults(c api.ImageCreate) (faults []api.FieldError) {
	wrong := func(pointer, detail string) {
		faults = append(faults, api.FieldError{Pointer: pointer, Detail: detail})
	}
	if !api.ValidName(c.Name) {
		wrong("/name", "must be 1 to 63 of a-z, 0-9 and -, and no UUID")
	}
	wantPath := func(pointer, p string) {
		if !path.IsAbs(p) || path.Clean(p) != p {
			wrong(pointer, "must be a clean absolute path")
		}
	}
	forbid := func(pointer, value, kind string) {
		if value != "" {
			wrong(pointer, "an image of kind "+kind+" has none")
		}
	}
	switch c.Kind {
	case api.ImageDisk:
		wantPath("/path", c.Path)
		forbid("/kernel", c.Kernel, c.Kind)
		forbid("/initrd", c.Initrd, c.Kind)
		forbid("/cmdline", c.Cmdline, c.Kind)
	case api.ImageKernel:
		wantPath("/kernel", c.Kernel)
		if c.Initrd != "" {
			wantPath("/initrd", c.Initrd)
		}
		forbid("/path", c.Path, c.Kind)
		forbid("/format", c.Format, c.Kind)
	default:
		wrong("/kind", "must be disk or kernel")
	}
	return faults
}

type imageDelete struct {
	ID string `cbor:"1,keyasint"`
}

func applyDeleteImage(tx *Txn, c imageDelete) (object, error) {
	if err := tx.may(api.Delete, "image.delete", api.Object{Kind: "image"}); err != nil {
		return nothing, err
	}
	i, ok := images.one(tx.Reader, c.ID)
	if !ok {
		return nothing, api.Errorf(api.NotFound, "image.delete", "no image %s", c.ID)
	}
	for vm := range vms.all(tx.Reader, "image", i.Name) {
		return nothing, api.Errorf(api.Conflict, "image.delete", "image %q is used by VM %s/%s; delete that first", i.Name, vm.Account, vm.Name)
	}
	images.remove(tx, c.ID)
	return nothing, nil
}

// Image finds an image by id or name.
func (r Reader) Image(ref string) (api.Image, bool) {
	if i, ok := images.one(r, ref); ok {
		return i, true
	}
	return images.with(r, "name", ref)
}

// Images lists images by id.
func (r Reader) Images(after string) iter.Seq[api.Image] { return images.each(r, after) }

// CreateImage makes an image known.
func (w *Writer) CreateImage(ctx context.Context, c api.ImageCreate) (Done[api.Image], error) {
	done, err := propose[api.Image](ctx, w, createImage, c)
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}

// DeleteImage forgets an image that no VM uses; its files stay.
func (w *Writer) DeleteImage(ctx context.Context, id string) error {
	_, err := propose[struct{}](ctx, w, deleteImage, imageDelete{id})
	return err
}
