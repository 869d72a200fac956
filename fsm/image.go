package fsm

import (
	"context"
	"iter"

	"github.com/orchd/orchd/api"
)

var images = &table[api.Image]{
	name:    "images",
	key:     func(i *api.Image) string { return i.ID },
	account: func(i *api.Image) string { return i.Account },
	by: map[string]func(*api.Image) string{
		"name":    func(i *api.Image) string { return i.Name },
		"account": func(i *api.Image) string { return i.Account },
		// via and export are of those whose content is awaited.
		"via": func(i *api.Image) string {
			if i.State != api.ImagePending {
				return ""
			}
			return i.Via
		},
		"export": func(i *api.Image) string {
			if i.State != api.ImagePending {
				return ""
			}
			return i.VM
		},
	},
}

// imageCreate is an image and the peer that brings its content in.
type imageCreate struct {
	api.ImageCreate
	Via string `json:"via,omitempty"` // id
}

func applyCreateImage(tx *Txn, c imageCreate) (object, error) {
	const op = "image.create"
	everybodys := api.Object{Kind: "image"}
	trusted := api.Allowed(tx.Actor, api.Create, everybodys)
	if c.Account == "" && !trusted {
		c.Account = defaultAccount(tx.Actor)
	}
	if err := tx.may(api.Create, op, api.Object{Kind: "image", Account: c.Account}); err != nil {
		return nothing, err
	}
	c.ImageCreate = withDefaults(c.ImageCreate)
	if faults := imageFaults(tx.Reader, c); len(faults) > 0 {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the image is not valid", Fields: faults}
	}
	if !trusted && namesHosts(c.ImageCreate) {
		return nothing, api.Errorf(api.Forbidden, op, "only an admin that is bound to no account makes images of files on hosts; you can upload one, or name the URL of one")
	}
	if err := imageNameFree(tx, op, c.Account, c.Name); err != nil {
		return nothing, err
	}
	i := api.Image{
		ID: tx.newID(), Name: c.Name, Account: c.Account, Kind: c.Kind, Source: c.Source, Path: c.Path, URL: c.URL, Format: c.Format, SHA256: c.SHA256,
		Kernel: c.Kernel, Initrd: c.Initrd, Cmdline: c.Cmdline, State: api.ImageAvailable,
	}
	if i.Kept() {
		via, _ := tx.Peer(c.broughtBy())
		await(tx, "fetch", &i, via, api.OpTarget{Kind: "image", ID: i.ID, Name: i.Name})
	}
	return putImage(tx, i), nil
}

// broughtBy names the peer that brings the content in.
func (c imageCreate) broughtBy() string {
	if c.Source == api.SourcePeer {
		return c.Peer
	}
	return c.Via
}

// imageNameFree refuses a name that another image has, and an account that makes
// nothing new. Whose account cannot see the other learns no more than that.
func imageNameFree(tx *Txn, op, account, name string) error {
	if account != "" {
		if err := accountOpen(tx.Reader, op, account); err != nil {
			return err
		}
	}
	other, taken := images.with(tx.Reader, "name", name)
	switch {
	case !taken:
		return nil
	case api.Allowed(tx.Actor, api.Read, api.Object{Kind: "image", Account: other.Account}):
		return api.Errorf(api.Conflict, op, "image %q exists already", name)
	}
	return api.Errorf(api.Conflict, op, "the name %q is taken; names of images are unique in the cluster, so choose another", name)
}

// putImage stores a row that is new or changed.
func putImage(tx *Txn, i api.Image) object {
	if i.Version++; i.Version == 1 {
		i.CreatedAt = tx.Now
	}
	i.UpdatedAt = tx.Now
	images.put(tx, i)
	return object{table: images, key: i.ID}
}

type imageDelete struct {
	ID string `cbor:"1,keyasint"`
}

// applyDeleteImage forgets an image. Its copies are no longer of anything, which
// the peers that have them see.
func applyDeleteImage(tx *Txn, c imageDelete) (object, error) {
	const op = "image.delete"
	i, there := images.one(tx.Reader, c.ID)
	if err := tx.reach(api.Delete, op, api.Object{Kind: "image", Account: i.Account}, c.ID, there); err != nil {
		return nothing, err
	}
	for vm := range vms.all(tx.Reader, "image", i.Name) {
		if !api.Allowed(tx.Actor, api.Read, api.Object{Kind: "vm", Account: vm.Account}) {
			return nothing, api.Errorf(api.Conflict, op, "image %q is used by a VM of another account", i.Name)
		}
		return nothing, api.Errorf(api.Conflict, op, "image %q is used by VM %s/%s; delete that first", i.Name, vm.Account, vm.Name)
	}
	if i.State == api.ImagePending && i.Source == api.SourceVM {
		return nothing, api.Errorf(api.Conflict, op, "image %q is still being made: wait for operation %s, or cancel it", i.Name, i.Operation)
	}
	if o, ok := operations.one(tx.Reader, i.Operation); ok {
		finishOperation(tx, o, api.OpCancelled, "the image was deleted")
	}
	for _, peer := range tx.ImagePeers(i.ID) {
		imageCopies.remove(tx, i.ID+"/"+peer)
	}
	images.remove(tx, i.ID)
	return nothing, nil
}

// imageFor finds an image that VMs of an account may boot. Of what belongs to
// another account nothing is said.
func imageFor(r Reader, account, ref string) (api.Image, bool) {
	i, ok := r.Image(ref)
	if !ok || i.Account != "" && i.Account != account {
		return api.Image{}, false
	}
	return i, true
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

// ImagesChanged is closed when an image changes.
func (r Reader) ImagesChanged() <-chan struct{} { return r.state.trees[images.pos].changed() }

// CreateImage makes an image known. Its content, if orchd is to keep it, is brought in
// by the peer via; for source peer by the peer that has the file.
func (w *Writer) CreateImage(ctx context.Context, via string, c api.ImageCreate) (Done[api.Image], error) {
	if err := urlFault(c.URL); err != nil {
		return Done[api.Image]{}, err
	}
	done, err := propose[api.Image](ctx, w, createImage, imageCreate{c, via})
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}

// DeleteImage forgets an image that no VM uses. Peers remove the copies that orchd
// keeps; files that lie under a path stay.
func (w *Writer) DeleteImage(ctx context.Context, id string) error {
	_, err := propose[struct{}](ctx, w, deleteImage, imageDelete{id})
	return err
}
