package fsm

import (
	"context"
	"iter"

	"github.com/orchd/orchd/api"
)

var sizes = &table[api.Size]{
	name: "sizes",
	key:  func(s *api.Size) string { return s.ID },
	unique: map[string]func(*api.Size) []string{
		"name": func(s *api.Size) []string { return []string{s.Name} },
	},
}

// firstSizes are the sizes of a new cluster.
var firstSizes = []api.SizeCreate{
	{Name: "f1-xs", VCPUs: 1, MemoryMiB: 512, DiskGiB: 10},
	{Name: "f1-s", VCPUs: 1, MemoryMiB: 1 << 10, DiskGiB: 25},
	{Name: "f1-m", VCPUs: 1, MemoryMiB: 2 << 10, DiskGiB: 40},
	{Name: "f1-l", VCPUs: 2, MemoryMiB: 4 << 10, DiskGiB: 80},
	{Name: "f1-xl", VCPUs: 4, MemoryMiB: 8 << 10, DiskGiB: 160},
	{Name: "f1-xx", VCPUs: 8, MemoryMiB: 16 << 10, DiskGiB: 320},
}

func applyCreateSize(tx *Txn, c api.SizeCreate) (object, error) {
	const op = "size.create"
	if err := tx.may(api.Create, op, api.Object{Kind: "size"}); err != nil {
		return nothing, err
	}
	if faults := sizeFaults(c); len(faults) > 0 {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the size is not valid", Fields: faults}
	}
	if _, taken := sizes.holder(tx.Reader, "name", c.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "size %q exists already; its amounts never change: deprecate it and make one of another name", c.Name)
	}
	return object{table: sizes, key: addSize(tx, c).ID}, nil
}

func addSize(tx *Txn, c api.SizeCreate) api.Size {
	return sizes.put(tx, api.Size{ID: tx.newID(), Name: c.Name, VCPUs: c.VCPUs, MemoryMiB: c.MemoryMiB, DiskGiB: c.DiskGiB,
		Version: 1, CreatedAt: tx.Now, UpdatedAt: tx.Now})
}

// sizeFaults names the fields that no VM could have.
func sizeFaults(c api.SizeCreate) (faults []api.FieldError) {
	wrong := func(bad bool, pointer, detail string) {
		if bad {
			faults = append(faults, api.FieldError{Pointer: pointer, Detail: detail})
		}
	}
	wrong(!api.ValidName(c.Name), "/name", "must be 1 to 63 of a-z, 0-9 and -, and no UUID")
	wrong(c.VCPUs < 1 || c.VCPUs > 1024, "/vcpus", "must be from 1 to 1024")
	wrong(c.MemoryMiB < 16 || c.MemoryMiB > 64<<20, "/memory_mib", "must be from 16 to 67108864")
	wrong(c.DiskGiB < 0 || c.DiskGiB > 1<<20, "/disk_gib", "must be from 0 to 1048576")
	return faults
}

type sizeUpdate struct {
	ID        string         `cbor:"1,keyasint"`
	IfVersion uint64         `cbor:"2,keyasint,omitempty"`
	Update    api.SizeUpdate `cbor:"3,keyasint"`
}

// applyUpdateSize deprecates a size, or takes that back.
func applyUpdateSize(tx *Txn, c sizeUpdate) (object, error) {
	const op = "size.update"
	s, there := sizes.one(tx.Reader, c.ID)
	if err := tx.reach(api.Update, op, api.Object{Kind: "size"}, c.ID, there); err != nil {
		return nothing, err
	}
	if err := otherVersion(op, "size "+s.Name, s.Version, c.IfVersion); err != nil {
		return nothing, err
	}
	if s.Deprecated != c.Update.Deprecated {
		s.Deprecated = c.Update.Deprecated
		s.Version++
		s.UpdatedAt = tx.Now
		sizes.put(tx, s)
	}
	return object{table: sizes, key: s.ID}, nil
}

type sizeDelete struct {
	ID string `cbor:"1,keyasint"`
}

func applyDeleteSize(tx *Txn, c sizeDelete) (object, error) {
	_, there := sizes.one(tx.Reader, c.ID)
	if err := tx.reach(api.Delete, "size.delete", api.Object{Kind: "size"}, c.ID, there); err != nil {
		return nothing, err
	}
	sizes.remove(tx, c.ID)
	return nothing, nil
}

// Size finds a size by id or name.
func (r Reader) Size(ref string) (api.Size, bool) {
	if s, ok := sizes.one(r, ref); ok {
		return s, true
	}
	s, ok := sizes.holder(r, "name", ref)
	if !ok {
		return api.Size{}, false
	}
	return *s, true
}

// Sizes lists the sizes by id.
func (r Reader) Sizes(after string) iter.Seq[api.Size] { return sizes.each(r, after) }

// CreateSize names an amount of resources.
func (w *Writer) CreateSize(ctx context.Context, c api.SizeCreate) (Done[api.Size], error) {
	done, err := propose[api.Size](ctx, w, createSize, c)
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}

// UpdateSize deprecates a size, or takes that back; ifVersion 0 means any version.
func (w *Writer) UpdateSize(ctx context.Context, id string, ifVersion uint64, u api.SizeUpdate) (Done[api.Size], error) {
	return propose[api.Size](ctx, w, updateSize, sizeUpdate{id, ifVersion, u})
}

// DeleteSize forgets a size; VMs keep the amounts that they got from it.
func (w *Writer) DeleteSize(ctx context.Context, id string) error {
	_, err := propose[struct{}](ctx, w, deleteSize, sizeDelete{id})
	return err
}
