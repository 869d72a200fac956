package fsm

import (
	"context"
	"iter"
	"reflect"
	"regexp"

	"github.com/orchd/orchd/api"
)

// deals are asked for by users, and kept by the decider, which makes their workers.
var deals = &table[api.Deal]{
	name:    "deals",
	key:     func(d *api.Deal) string { return d.ID },
	account: func(d *api.Deal) string { return d.Account },
	by: map[string]func(*api.Deal) string{
		"account": func(d *api.Deal) string { return d.Account },
	},
	unique: map[string]func(*api.Deal) []string{
		"name": func(d *api.Deal) []string { return []string{d.Account + "/" + d.Name} },
	},
}

func putDeal(tx *Txn, d api.Deal) object {
	d.Version++
	d.UpdatedAt = tx.Now
	deals.put(tx, d)
	wakeServices(tx)
	return object{table: deals, key: d.ID}
}

// dealName leaves room for the number of a worker behind it.
var dealName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,50}$`)

// maxDealCount bounds the workers of a deal.
const maxDealCount = 1000

func (f *faults) deal(s api.DealSpec) {
	f.wrong(s.Count < 0 || s.Count > maxDealCount, "/spec/count", "must be from 0 to 1000")
	sized := s.VCPUs != 0 || s.MemoryMiB != 0
	f.wrong((s.Size != "") == sized, "/spec/size", "name a size, or say vcpus and memory_mib in place of it")
	if sized {
		f.amounts("/spec", api.VMSpec{VCPUs: s.VCPUs, MemoryMiB: s.MemoryMiB, DiskGiB: s.DiskGiB})
	}
	f.wrong(s.DiskGiB < 0 || s.DiskGiB > maxDiskGiB, "/spec/disk_gib", "must be from 0 to 1048576")
	f.grantNames("/spec/ssh_keys", s.SSHKeys)
	f.wrong(len(s.Size)+len(s.Image)+len(s.Network)+len(s.Spread) > 1<<10, "/spec", "has names that are too long")
}

func applyCreateDeal(tx *Txn, c api.DealCreate) (object, error) {
	const op = "deal.create"
	if c.Account == "" {
		c.Account = defaultAccount(tx.Actor)
	}
	if err := tx.may(api.Create, op, api.Object{Kind: "deal", Account: c.Account}); err != nil {
		return nothing, err
	}
	if err := accountOpen(tx.Reader, op, c.Account); err != nil {
		return nothing, err
	}
	var bad faults
	bad.wrong(!dealName.MatchString(c.Name) || api.IsUUID(c.Name), "/name", "must be 1 to 51 of a-z, 0-9 and -, and no UUID")
	bad.wrong(len(c.Source) > 1<<10, "/source", "must be at most 1 KiB")
	bad.deal(c.Spec)
	if err := bad.refusal(op, "the deal is not valid"); err != nil {
		return nothing, err
	}
	if _, taken := deals.holder(tx.Reader, "name", c.Account+"/"+c.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "account %q has a deal named %q already", c.Account, c.Name)
	}
	d := api.Deal{ID: tx.newID(), Name: c.Name, Account: c.Account, Spec: c.Spec, State: api.DealActive, Source: c.Source, CreatedAt: tx.Now}
	if c.Inactive {
		d.State = api.DealInactive
	}
	return putDeal(tx, d), nil
}

type dealUpdate struct {
	ID        string         `cbor:"1,keyasint"`
	IfVersion uint64         `cbor:"2,keyasint,omitempty"`
	Update    api.DealUpdate `cbor:"3,keyasint"`
}

func applyUpdateDeal(tx *Txn, c dealUpdate) (object, error) {
	const op = "deal.update"
	was, there := deals.one(tx.Reader, c.ID)
	if err := tx.reach(api.Update, op, api.Object{Kind: "deal", Account: was.Account}, clipped(c.ID), there); err != nil {
		return nothing, err
	}
	if err := otherVersion(op, "deal "+was.Name, was.Version, c.IfVersion); err != nil {
		return nothing, err
	}
	if was.State == api.DealEnding {
		return nothing, api.Errorf(api.Conflict, op, "deal %s is being deleted", was.Name)
	}
	d := was
	d.Spec = c.Update.Spec
	if c.Update.State != "" {
		d.State = c.Update.State
	}
	var bad faults
	bad.deal(d.Spec)
	bad.wrong(d.State != api.DealActive && d.State != api.DealInactive, "/state", "must be active or inactive")
	if err := bad.refusal(op, "the deal is not valid"); err != nil {
		return nothing, err
	}
	canonicalize(&d)
	if reflect.DeepEqual(d, was) {
		return object{table: deals, key: d.ID}, nil
	}
	return putDeal(tx, d), nil
}

type dealDelete struct {
	ID string `cbor:"1,keyasint"`
}

// applyDeleteDeal ends a deal. The row goes when no worker is left.
func applyDeleteDeal(tx *Txn, c dealDelete) (object, error) {
	const op = "deal.delete"
	d, there := deals.one(tx.Reader, c.ID)
	if err := tx.reach(api.Delete, op, api.Object{Kind: "deal", Account: d.Account}, clipped(c.ID), there); err != nil {
		return nothing, err
	}
	switch {
	case len(d.Workers) == 0:
		deals.remove(tx, d.ID)
		wakeServices(tx)
		return object{table: deals, key: d.ID}, nil
	case d.State == api.DealEnding:
		return object{table: deals, key: d.ID}, nil
	}
	d.State = api.DealEnding
	return putDeal(tx, d), nil
}

// applyReportDeal keeps what the decider says of a deal. The same again changes nothing.
func applyReportDeal(tx *Txn, c api.DealReport) (object, error) {
	const op = "deal.report"
	if _, err := tx.asPeer(op); err != nil {
		return nothing, err
	}
	was, there := deals.one(tx.Reader, c.ID)
	if !there {
		return nothing, api.Errorf(api.NotFound, op, "no deal %s", clipped(c.ID))
	}
	var bad faults
	bad.wrong(len(c.Workers) > 2*maxDealCount, "/workers", "must be at most 2000")
	for _, worker := range c.Workers {
		bad.wrong(!api.ValidName(worker.Name), "/workers", "must each have the name of a VM")
		bad.wrong(len(worker.VM)+len(worker.State) > maxGrantName, "/workers", "must each have an id and a state of at most 253 bytes")
	}
	if err := bad.refusal(op, "the report is not valid"); err != nil {
		return nothing, err
	}
	if was.State == api.DealEnding && len(c.Workers) == 0 {
		deals.remove(tx, was.ID)
		wakeServices(tx)
		return nothing, nil
	}
	d := was
	d.Reason, d.Workers = clipped(c.Reason), c.Workers
	canonicalize(&d)
	if reflect.DeepEqual(d, was) {
		return object{table: deals, key: d.ID}, nil
	}
	return putDeal(tx, d), nil
}

// Deals lists the deals of all accounts by id.
func (r Reader) Deals(after string) iter.Seq[api.Deal] { return deals.each(r, after) }

// DealByID finds a deal by id.
func (r Reader) DealByID(id string) (api.Deal, bool) { return deals.one(r, id) }

// Deal finds a deal by id, or by its name in an account.
func (r Reader) Deal(account, ref string) (api.Deal, bool) {
	if d, ok := deals.one(r, ref); ok {
		return d, true
	}
	d, ok := deals.holder(r, "name", account+"/"+ref)
	if !ok {
		return api.Deal{}, false
	}
	return *d, true
}

// CreateDeal asks for a number of alike VMs.
func (w *Writer) CreateDeal(ctx context.Context, c api.DealCreate) (Done[api.Deal], error) {
	done, err := propose[api.Deal](ctx, w, createDeal, c)
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}

// UpdateDeal changes what a deal asks for; ifVersion 0 means any version.
func (w *Writer) UpdateDeal(ctx context.Context, id string, ifVersion uint64, u api.DealUpdate) (Done[api.Deal], error) {
	return propose[api.Deal](ctx, w, updateDeal, dealUpdate{id, ifVersion, u})
}

// DeleteDeal ends a deal. It is Gone at once when it has no workers, and else when a
// report says that none is left.
func (w *Writer) DeleteDeal(ctx context.Context, id string) (Done[api.Deal], error) {
	return propose[api.Deal](ctx, w, deleteDeal, dealDelete{id})
}

// ReportDeal tells the cluster what the decider knows of a deal.
func (w *Writer) ReportDeal(ctx context.Context, r api.DealReport) error {
	_, err := propose[api.Deal](ctx, w, reportDeal, r)
	return err
}
