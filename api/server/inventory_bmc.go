package server

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/schema"
	"github.com/orchd/orchd/api/xname"
)

var bmcKind = inventoryKind[inventory.BMC]{
	kind: "bmc", noun: "BMC", named: namesBMC,
	made:   http.StatusOK, // its clients know nothing else
	taken:  http.StatusConflict,
	decode: schema.DecodeBMC,
	find:   InventoryView.BMC,
	rows: func(v InventoryView, _ url.Values, after string) (iter.Seq[inventory.BMC], error) {
		return v.BMCs(after), nil
	},
	create:  InventoryWrites.CreateBMC,
	replace: InventoryWrites.ReplaceBMC,
	remove: func(w InventoryWrites, ctx context.Context, id string, ifVersion uint64) (Done[inventory.DeletedNode], error) {
		return deletedPlain(w.DeleteBMC(ctx, id, ifVersion))
	},
	reveal: InventoryWrites.RevealBMC,
	shown:  shownBMC,
	head:   func(b *inventory.BMC) (*string, uint64) { return &b.ID, b.Version },
}

// namesBMC tells whether ref is an xname that a BMC can have.
func namesBMC(ref string) bool {
	_, err := xname.ParseBMC(ref)
	return err == nil
}

// shownBMC is a BMC as answers have it: both names of its place, no password.
func shownBMC(b inventory.BMC) inventory.BMC {
	b.LocationString = b.XName
	b.Password = nil
	return b
}
