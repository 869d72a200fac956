package fsm

import (
	"context"

	"github.com/orchd/orchd/api"
)

type vmCreate struct {
	VM         api.VMCreate   `cbor:"1,keyasint"`           // without user-data
	Candidates []string       `cbor:"2,keyasint,omitempty"` // peer ids, best first; gossip's opinion, apply decides
	Others     []api.HostPart `cbor:"3,keyasint,omitempty"` // why others are no candidates
	UserData   secretWrite    `cbor:"4,keyasint,omitempty"`
}

func applyCreateVM(tx *Txn, c vmCreate) (object, error) {
	const op = "vm.create"
	if c.VM.Account == "" {
		c.VM.Account = defaultAccount(tx.Actor)
	}
	account := c.VM.Account
	if err := tx.may(api.Create, op, api.Object{Kind: "vm", Account: account}); err != nil {
		return nothing, err
	}
	if err := accountOpen(tx.Reader, op, account); err != nil {
		return nothing, err
	}
	d := drafted(tx.Reader, c.VM, c.UserData.Sealed)
	if err := d.faults.refusal(op, "the virtual machine is not valid"); err != nil {
		return nothing, err
	}
	if _, taken := vms.with(tx.Reader, "name", account+"/"+d.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "account %q has a VM named %q already", account, d.Name)
	}
	if err := d.bootable(op); err != nil {
		return nothing, err
	}
	if err := overQuota(tx.Reader, account, d.holds()); err != nil {
		return nothing, err
	}
	p, err := tx.placed(op, d, c.Candidates, c.Others)
	if err != nil {
		return nothing, err
	}
	countUsage(tx, account)
	vm := api.VM{
		ID: tx.newID(), Name: d.Name, Account: account, Labels: d.Labels, Protected: d.Protected, Spec: d.Spec,
		Status:  api.VMStatus{Owner: p.owner.Name, OwnerID: p.owner.ID, Epoch: 1, State: api.VMAssigned, Desired: api.WantRunning},
		Version: 1, CreatedAt: tx.Now, UpdatedAt: tx.Now,
	}
	vm.Status.HasUserData = len(c.UserData.Sealed) > 0
	plug(tx, &vm, p.nic)
	startOperation(tx, kindCreate, &vm, p.hosts)
	explain(tx, vm, p.why)
	if vm.Status.HasUserData || len(d.keys) > 0 {
		seeds.put(tx, Seed{VM: vm.ID, Account: account, Keys: d.keys, UserData: c.UserData.Sealed})
	}
	vms.put(tx, vm)
	return object{table: vms, key: vm.ID}, nil
}

// placed finds the host of a new VM, and what it gets of its network there.
func (tx *Txn) placed(op string, d draft, candidates []string, others []api.HostPart) (placement, error) {
	asked := ask{account: d.Account, spec: d.Spec, network: d.network}
	if d.network != nil {
		mac, free := tx.newMAC()
		if !free {
			return placement{}, api.Errorf(api.NoCapacity, op, "no MAC address is free; nothing was stored")
		}
		asked.mac = mac
	}
	p := place(tx.Reader, asked, candidates, others)
	if !p.found {
		return p, &api.Error{Kind: api.NoCapacity, Op: op, Msg: "no host can take this VM; nothing was stored", Hosts: p.hosts}
	}
	return p, nil
}

func defaultAccount(a api.Actor) string {
	if a.Account != "" {
		return a.Account
	}
	return api.DefaultAccount
}

type vmUpdate struct {
	ID        string       `cbor:"1,keyasint"`
	IfVersion uint64       `cbor:"2,keyasint,omitempty"`
	Update    api.VMUpdate `cbor:"3,keyasint"`
}

// applyUpdateVM replaces what a user may set. Operations keep the name that the VM
// had when they were asked for.
func applyUpdateVM(tx *Txn, c vmUpdate) (object, error) {
	const op = "vm.update"
	vm, err := userVM(tx, op, api.Update, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	u, bad := c.Update, labelFaults("/labels", c.Update.Labels)
	bad.wrong(u.Name != "" && u.Name != vm.Name && !api.ValidName(u.Name), "/name", badName)
	bad.restart("/restart", u.Restart)
	if err := bad.refusal(op, "the change is not valid"); err != nil {
		return nothing, err
	}
	if u.Name != "" && u.Name != vm.Name {
		if err := tx.mayRename(op, vm, u.Name); err != nil {
			return nothing, err
		}
		vm.Name = u.Name
	}
	if u.Restart == "" {
		u.Restart = api.RestartOnFailure
	}
	vm.Labels, vm.Protected, vm.Spec.Restart = u.Labels, u.Protected, u.Restart
	return putVM(tx, vm), nil
}

// mayRename refuses a name that is another's, and any for what is on its way out.
func (tx *Txn) mayRename(op string, vm api.VM, name string) error {
	if vm.Status.Desired == api.WantDeleted {
		return api.Errorf(api.Conflict, op, "VM %s is being deleted", vm.Name)
	}
	if _, taken := vms.with(tx.Reader, "name", vm.Account+"/"+name); taken {
		return api.Errorf(api.Conflict, op, "account %q has a VM named %q already", vm.Account, name)
	}
	return nil
}

// CreateVM places a virtual machine and asks for it. It is wanted once a majority
// has it. Its user-data is sealed here.
func (w *Writer) CreateVM(ctx context.Context, c api.VMCreate) (Done[api.VM], error) {
	userData, err := w.sealedUserData(&c.Spec)
	if err != nil {
		return Done[api.VM]{}, err
	}
	candidates, others := w.ranker.Rank(c.Spec.Resources(), c.Spec.Image)
	done, err := propose[api.VM](ctx, w, createVM, vmCreate{c, candidates, others, userData})
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}

// UpdateVM replaces what a user may set of a VM; ifVersion 0 means any version.
func (w *Writer) UpdateVM(ctx context.Context, id string, ifVersion uint64, u api.VMUpdate) (Done[api.VM], error) {
	return propose[api.VM](ctx, w, updateVM, vmUpdate{id, ifVersion, u})
}
