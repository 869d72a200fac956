package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/orchd/orchd/api"
)

const (
	sizeID       = "e0000000-0000-4000-8000-000000000001"
	keyID        = "e1000000-0000-4000-8000-000000000001"
	otherKeyID   = "e1000000-0000-4000-8000-000000000002"
	snapshotID   = "e2000000-0000-4000-8000-000000000001"
	otherSnapID  = "e2000000-0000-4000-8000-000000000002"
	uploadID     = "44444444-4444-4444-8444-444444444445"
	otherImageID = "44444444-4444-4444-8444-444444444446"

	imageContent = "The content of an image: 0123456789."
)

// fakeGuests is the part of a Backend that concerns what virtual machines are made
// of, who has them, and what is done on their hosts.
type fakeGuests struct {
	fake *fake
	tables

	mu       sync.Mutex
	made     int
	content  map[string][]byte // of images, by id
	console  func(vm api.VM) (io.ReadWriteCloser, error)
	foreign  []api.ForeignDomain
	findings []api.Finding
	seeds    map[netip.Addr]map[string]string
}

// tables are what a view shows of it.
type tables struct {
	sizes     map[string]api.Size
	keys      map[string]api.SSHKey
	accounts  map[string]api.AccountView
	usages    map[string]api.Usage
	leases    map[string]api.Lease
	whys      map[string]api.Why
	snapshots map[string]api.DiskSnapshot
	copies    map[string][]string // names of peers, by image
}

func (t tables) clone() tables {
	return tables{maps.Clone(t.sizes), maps.Clone(t.keys), maps.Clone(t.accounts), maps.Clone(t.usages), maps.Clone(t.leases),
		maps.Clone(t.whys), maps.Clone(t.snapshots), maps.Clone(t.copies)}
}

// fillGuests puts back what stands there at first.
func (g *fakeGuests) fillGuests() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.made = 0
	g.tables = tables{
		sizes: map[string]api.Size{sizeID: {ID: sizeID, Name: "f1-s", VCPUs: 1, MemoryMiB: 1024, DiskGiB: 10, Version: 2}},
		keys: map[string]api.SSHKey{
			keyID:      {ID: keyID, Name: "anna", Account: "default", Type: "ssh-ed25519", PublicKey: "ssh-ed25519 AAAA", Fingerprint: "SHA256:x", Version: 1},
			otherKeyID: {ID: otherKeyID, Name: "bert", Account: "other", Type: "ssh-ed25519", PublicKey: "ssh-ed25519 BBBB", Fingerprint: "SHA256:y", Version: 1},
		},
		accounts: map[string]api.AccountView{
			"default": {Account: api.Account{Name: "default", Quota: api.Quota{VMs: 10, VCPUs: 20}, Version: 4}, Used: api.Quota{VMs: 1, VCPUs: 1}},
			"other":   {Account: api.Account{Name: "other", Version: 1}},
		},
		usages: map[string]api.Usage{
			"default/2026-01": {Account: "default", Month: "2026-01", VMSeconds: 60},
			"default/2026-02": {Account: "default", Month: "2026-02", VMSeconds: 61},
			"other/2026-01":   {Account: "other", Month: "2026-01", VMSeconds: 62},
		},
		leases: map[string]api.Lease{"10.1.0.2": {IP: "10.1.0.2", MAC: "52:54:00:00:00:01", Network: networkID, VM: vmID, Account: "default"}},
		whys: map[string]api.Why{
			vmID:    {VM: vmID, Account: "default", Epoch: 1, Owner: "h1", Candidates: []api.Candidate{{Peer: "h1", Status: api.Assigned, Rank: 1}}},
			otherID: {VM: otherID, Account: "other", Epoch: 1, Owner: "h1", Candidates: []api.Candidate{}},
		},
		snapshots: map[string]api.DiskSnapshot{
			snapshotID:  {ID: snapshotID, Name: "before", VM: vmID, Account: "default", State: api.DiskSnapshotReady, Version: 2},
			otherSnapID: {ID: otherSnapID, Name: "theirs", VM: otherID, Account: "other", State: api.DiskSnapshotReady, Version: 2},
		},
		copies: map[string][]string{imageID: {"h1"}},
	}
	g.content = map[string][]byte{imageID: []byte(imageContent), otherImageID: []byte("theirs")}
	g.console, g.seeds = nil, nil
	g.foreign = []api.ForeignDomain{{Peer: "h1", UUID: vmID, Name: "old", State: api.VMRunning, VCPUs: 1, MemoryMiB: 64}}
	g.findings = []api.Finding{{Code: "host-silent", Peer: "h2", Detail: "it is silent", Action: "look at it"}}
}

// images are the images of the fake at first: one that lies under a path, one that
// is kept, one that waits for its content, and one of another account.
func imagesAtFirst() map[string]api.Image {
	sum := sha256.Sum256([]byte(imageContent))
	return map[string]api.Image{
		imageID: {ID: imageID, Name: "debian", Kind: api.ImageDisk, Source: api.SourceUpload, Format: "raw", State: api.ImageAvailable,
			SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(imageContent)), Version: 1},
		uploadID:     {ID: uploadID, Name: "upload", Account: "default", Kind: api.ImageDisk, Source: api.SourceUpload, Format: "raw", State: api.ImagePending, Version: 1},
		otherImageID: {ID: otherImageID, Name: "theirs", Account: "other", Kind: api.ImageDisk, Source: api.SourceUpload, Format: "raw", State: api.ImageAvailable, SHA256: strings.Repeat("a", 64), Bytes: 6, Version: 1},
	}
}

// madeID is a new id.
func (g *fakeGuests) madeID() string {
	g.made++
	return fmt.Sprintf("ef000000-0000-4000-9000-%012d", g.made)
}

// stored runs a write, or answers it as before when its key has been seen.
func stored[T any](g *fakeGuests, ctx context.Context, what string, table func() map[string]T, do func() (string, T, error)) (Done[T], error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	id, again, err := g.fake.fleet.begin(ctx, what)
	if err != nil {
		return Done[T]{}, err
	}
	if again {
		object, there := table()[id]
		return Done[T]{Object: object, Replayed: true, Gone: !there, Index: g.fake.index}, nil
	}
	id, object, err := do()
	if err != nil {
		return Done[T]{}, err
	}
	g.fake.fleet.done(ctx, id)
	return Done[T]{Object: object, Index: g.fake.index}, nil
}

func (g *fakeGuests) CreateSize(ctx context.Context, c api.SizeCreate) (Done[api.Size], error) {
	return stored(g, ctx, "size.create "+c.Name, func() map[string]api.Size { return g.sizes }, func() (string, api.Size, error) {
		s := api.Size{ID: g.madeID(), Name: c.Name, VCPUs: c.VCPUs, MemoryMiB: c.MemoryMiB, DiskGiB: c.DiskGiB, Version: 1}
		g.sizes[s.ID] = s
		return s.ID, s, nil
	})
}

func (g *fakeGuests) UpdateSize(ctx context.Context, id string, ifVersion uint64, u api.SizeUpdate) (Done[api.Size], error) {
	return stored(g, ctx, fmt.Sprintf("size.update %s %d %v", id, ifVersion, u.Deprecated), func() map[string]api.Size { return g.sizes }, func() (string, api.Size, error) {
		s, there := g.sizes[id]
		if !there {
			return "", s, notFound("size")
		}
		if err := freshAt(s.Version, ifVersion); err != nil {
			return "", s, err
		}
		s.Deprecated, s.Version = u.Deprecated, s.Version+1
		g.sizes[id] = s
		return id, s, nil
	})
}

func (g *fakeGuests) DeleteSize(ctx context.Context, id string) error {
	return forgotten(g, ctx, "size", id, g.sizes)
}

// forgotten deletes a row; again with the same key is no error.
func forgotten[T any](g *fakeGuests, ctx context.Context, kind, id string, table map[string]T) error {
	_, err := stored(g, ctx, kind+".delete "+id, func() map[string]T { return table }, func() (string, T, error) {
		old, there := table[id]
		if !there {
			return "", old, notFound(kind)
		}
		delete(table, id)
		return id, old, nil
	})
	return err
}

func (g *fakeGuests) CreateSSHKey(ctx context.Context, c api.SSHKeyCreate) (Done[api.SSHKey], error) {
	return stored(g, ctx, "ssh-key.create "+c.Account+"/"+c.Name, func() map[string]api.SSHKey { return g.keys }, func() (string, api.SSHKey, error) {
		k := api.SSHKey{ID: g.madeID(), Name: c.Name, Account: c.Account, Type: "ssh-ed25519", PublicKey: c.PublicKey, Fingerprint: "SHA256:z", Version: 1}
		g.keys[k.ID] = k
		return k.ID, k, nil
	})
}

func (g *fakeGuests) DeleteSSHKey(ctx context.Context, id string) error {
	return forgotten(g, ctx, "ssh-key", id, g.keys)
}

func (g *fakeGuests) rows() map[string]api.Account {
	all := map[string]api.Account{}
	for name, a := range g.accounts {
		all[name] = a.Account
	}
	return all
}

func (g *fakeGuests) CreateAccount(ctx context.Context, c api.AccountCreate) (Done[api.Account], error) {
	return stored(g, ctx, "account.create "+c.Name, g.rows, func() (string, api.Account, error) {
		if _, there := g.accounts[c.Name]; there {
			return "", api.Account{}, &api.Error{Kind: api.Conflict, Msg: "there is such an account"}
		}
		a := api.Account{Name: c.Name, Quota: c.Quota, Version: 1}
		g.accounts[a.Name] = api.AccountView{Account: a}
		return a.Name, a, nil
	})
}

func (g *fakeGuests) UpdateAccount(ctx context.Context, name string, ifVersion uint64, u api.AccountUpdate) (Done[api.Account], error) {
	return stored(g, ctx, fmt.Sprintf("account.update %s %d %v", name, ifVersion, u), g.rows, func() (string, api.Account, error) {
		a, there := g.accounts[name]
		if !there {
			return "", api.Account{}, notFound("account")
		}
		if err := freshAt(a.Version, ifVersion); err != nil {
			return "", api.Account{}, err
		}
		a.Quota, a.Suspended, a.Reason, a.Version = u.Quota, u.Suspended, u.Reason, a.Version+1
		g.accounts[name] = a
		return name, a.Account, nil
	})
}

func (g *fakeGuests) DeleteAccount(ctx context.Context, name string) error {
	return forgotten(g, ctx, "account", name, g.accounts)
}

// operated is stored for what gives an operation.
func (g *fakeGuests) operated(ctx context.Context, what, kind, vm string, do func() error) (Done[api.Operation], error) {
	return stored(g, ctx, what, func() map[string]api.Operation { return g.fake.operations }, func() (string, api.Operation, error) {
		if err := do(); err != nil {
			return "", api.Operation{}, err
		}
		g.fake.mu.Lock()
		defer g.fake.mu.Unlock()
		op := g.fake.newOperation(kind, vm)
		return op.ID, op, nil
	})
}

func (g *fakeGuests) ActOnVM(ctx context.Context, id string, ifVersion uint64, act api.VMAct) (Done[api.Operation], error) {
	what := "vm." + act.Verb + " " + id
	if act.StopSeconds != 0 {
		what += fmt.Sprintf(" %ds", act.StopSeconds)
	}
	if act.Resize != (api.VMResize{}) {
		what += fmt.Sprintf(" %v", act.Resize)
	}
	return g.operated(ctx, what, act.Verb, id, func() error {
		vm, there := g.fake.vms[id]
		if !there {
			return notFound("vm")
		}
		return freshAt(vm.Version, ifVersion)
	})
}

func (g *fakeGuests) ExportVM(ctx context.Context, vm string, e api.VMExport) (Done[api.Image], error) {
	return stored(g, ctx, "vm.export "+vm+" "+e.Image, func() map[string]api.Image { return g.fake.images }, func() (string, api.Image, error) {
		g.fake.mu.Lock()
		defer g.fake.mu.Unlock()
		i := api.Image{ID: g.madeID(), Name: e.Image, Account: g.fake.vms[vm].Account, Kind: api.ImageDisk, Source: api.SourceVM, VM: vm, Format: "qcow2", State: api.ImagePending, Version: 1}
		i.Operation = g.fake.newOperation("export", vm).ID
		g.fake.images[i.ID] = i
		return i.ID, i, nil
	})
}

func (g *fakeGuests) CreateDiskSnapshot(ctx context.Context, vm string, c api.DiskSnapshotCreate) (Done[api.DiskSnapshot], error) {
	return stored(g, ctx, "disk-snapshot.create "+vm+" "+c.Name, func() map[string]api.DiskSnapshot { return g.snapshots }, func() (string, api.DiskSnapshot, error) {
		g.fake.mu.Lock()
		defer g.fake.mu.Unlock()
		s := api.DiskSnapshot{ID: g.madeID(), Name: c.Name, VM: vm, Account: g.fake.vms[vm].Account, State: api.DiskSnapshotCreating, Version: 1}
		s.Operation = g.fake.newOperation("snapshot", vm).ID
		after := s
		if !g.fake.hold {
			after.State = api.DiskSnapshotReady
		}
		g.snapshots[s.ID] = after
		return s.ID, s, nil
	})
}

func (g *fakeGuests) RestoreDiskSnapshot(ctx context.Context, vm, snapshot string) (Done[api.Operation], error) {
	return g.operated(ctx, "disk-snapshot.restore "+vm+" "+snapshot, "restore-snapshot", vm, func() error { return nil })
}

func (g *fakeGuests) DeleteDiskSnapshot(ctx context.Context, vm, snapshot string) (Done[api.Operation], error) {
	return g.operated(ctx, "disk-snapshot.delete "+vm+" "+snapshot, "delete-snapshot", vm, func() error {
		if _, there := g.snapshots[snapshot]; !there {
			return notFound("disk-snapshot")
		}
		delete(g.snapshots, snapshot)
		return nil
	})
}

func (g *fakeGuests) CancelOperation(ctx context.Context, id string) (Done[api.Operation], error) {
	return stored(g, ctx, "operation.cancel "+id, func() map[string]api.Operation { return g.fake.operations }, func() (string, api.Operation, error) {
		g.fake.mu.Lock()
		defer g.fake.mu.Unlock()
		op, there := g.fake.operations[id]
		switch {
		case !there:
			return "", op, notFound("operation")
		case op.State.Done():
			return "", op, &api.Error{Kind: api.Conflict, Msg: "the operation is over"}
		case !g.fake.hold:
			g.fake.finishLocked(id, api.OpCancelled)
		}
		return id, g.fake.operations[id], nil
	})
}

func (g *fakeGuests) CreateImage(ctx context.Context, c api.ImageCreate) (Done[api.Image], error) {
	return stored(g, ctx, "image.create "+c.Account+"/"+c.Name+" "+c.Source, func() map[string]api.Image { return g.fake.images }, func() (string, api.Image, error) {
		g.fake.mu.Lock()
		defer g.fake.mu.Unlock()
		i := api.Image{ID: g.madeID(), Name: c.Name, Account: c.Account, Kind: c.Kind, Source: c.Source, Path: c.Path, URL: c.URL, Format: c.Format, State: api.ImageAvailable, Version: 1}
		if i.Kept() {
			i.State, i.Operation = api.ImagePending, g.fake.newOperation("fetch", i.ID).ID
		}
		g.fake.images[i.ID] = i
		return i.ID, i, nil
	})
}

func (g *fakeGuests) DeleteImage(ctx context.Context, id string) error {
	return forgotten(g, ctx, "image", id, g.fake.images)
}

func (g *fakeGuests) AdoptVM(ctx context.Context, a api.VMAdopt) (Done[api.VM], error) {
	return stored(g, ctx, "vm.adopt "+a.Peer+" "+a.Domain+" "+a.Account, func() map[string]api.VM { return g.fake.vms }, func() (string, api.VM, error) {
		g.fake.mu.Lock()
		defer g.fake.mu.Unlock()
		vm := api.VM{ID: g.madeID(), Name: cmp.Or(a.Name, a.Domain), Account: a.Account, Labels: a.Labels, Version: 1, Status: running()}
		g.fake.vms[vm.ID] = vm
		return vm.ID, vm, nil
	})
}

func (g *fakeGuests) LosePeer(ctx context.Context, id string, l api.PeerLost) (Done[api.Peer], error) {
	none := func() map[string]api.Peer { return nil }
	return stored(g, ctx, "peer.lose "+id+" "+l.Name, none, func() (string, api.Peer, error) {
		p := g.fake.peers[id].Peer
		p.State = api.PeerGone
		return id, p, nil
	})
}

// Console is an echo, or what a test wants it to be.
func (g *fakeGuests) Console(_ context.Context, vm api.VM) (io.ReadWriteCloser, error) {
	if g.console != nil {
		return g.console(vm)
	}
	r, w := io.Pipe()
	return struct {
		io.Reader
		io.WriteCloser
	}{r, w}, nil
}

func (g *fakeGuests) ConsoleLog(_ context.Context, _ api.VM, max int64) (io.ReadCloser, error) {
	log := "boot\nlogin: "
	return io.NopCloser(strings.NewReader(log[len(log)-min(len(log), int(max)):])), nil
}

func (g *fakeGuests) Screenshot(context.Context, api.VM) ([]byte, error) {
	return []byte("\x89PNG\r\n\x1a\n"), nil
}

// PutImage takes what is there until the body ends.
func (g *fakeGuests) PutImage(ctx context.Context, image api.Image, body io.Reader) (Done[api.Image], error) {
	if err := g.fake.write(ctx, "image.put "+image.ID); err != nil {
		return Done[api.Image]{}, err
	}
	sum, kept := sha256.New(), &bytes.Buffer{}
	n, err := io.Copy(io.MultiWriter(sum, io.Writer(&limited{to: kept, left: 1 << 20})), body)
	if err != nil {
		return Done[api.Image]{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fake.mu.Lock()
	defer g.fake.mu.Unlock()
	image.SHA256, image.Bytes, image.State, image.Version = hex.EncodeToString(sum.Sum(nil)), n, api.ImageAvailable, image.Version+1
	g.fake.images[image.ID], g.content[image.ID] = image, kept.Bytes()
	return Done[api.Image]{Object: image, Index: g.fake.index}, nil
}

// limited keeps the first bytes.
type limited struct {
	to   *bytes.Buffer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	l.to.Write(b[:n])
	return len(b), nil
}

func (g *fakeGuests) OpenImage(_ context.Context, image api.Image, offset int64) (io.ReadCloser, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	content, there := g.content[image.ID]
	if !there {
		return nil, &api.Error{Kind: api.Unavailable, Msg: "no peer that has it answers"}
	}
	return io.NopCloser(bytes.NewReader(content[offset:])), nil
}

func (g *fakeGuests) ForeignDomains(_ context.Context, peer string) ([]api.ForeignDomain, error) {
	return slices.DeleteFunc(slices.Clone(g.foreign), func(d api.ForeignDomain) bool { return peer != "" && d.Peer != peer }), nil
}

func (g *fakeGuests) Findings(context.Context) ([]api.Finding, error) { return g.findings, nil }

func (g *fakeGuests) VMSeed(_ context.Context, addr netip.Addr, file string) ([]byte, error) {
	if text, there := g.seeds[addr][file]; there {
		return []byte(text), nil
	}
	return nil, &api.Error{Kind: api.NotFound, Msg: "no virtual machine holds this address"}
}

func (t tables) Size(ref string) (api.Size, error) {
	for s := range t.Sizes("") {
		if s.ID == ref || s.Name == ref {
			return s, nil
		}
	}
	return api.Size{}, notFound("size")
}

func (t tables) Sizes(after string) iter.Seq[api.Size] { return rows(t.sizes, after) }

func (t tables) SSHKey(account, ref string) (api.SSHKey, error) {
	for k := range t.SSHKeys("") {
		if k.ID == ref || k.Name == ref && k.Account == account {
			return k, nil
		}
	}
	return api.SSHKey{}, notFound("ssh-key")
}

func (t tables) SSHKeys(after string) iter.Seq[api.SSHKey] { return rows(t.keys, after) }

func (t tables) Account(name string) (api.AccountView, error) {
	if a, there := t.accounts[name]; there {
		return a, nil
	}
	return api.AccountView{}, notFound("account")
}

func (t tables) Accounts(after string) iter.Seq[api.Account] {
	return mapped(rows(t.accounts, after), func(a api.AccountView) api.Account { return a.Account })
}

func (t tables) Usages(after string) iter.Seq[api.Usage] { return rows(t.usages, after) }
func (t tables) Leases(after string) iter.Seq[api.Lease] { return rows(t.leases, after) }

func (t tables) Why(vm string) (api.Why, error) {
	if w, there := t.whys[vm]; there {
		return w, nil
	}
	return api.Why{}, notFound("placement")
}

func (t tables) DiskSnapshots(vm string) iter.Seq[api.DiskSnapshot] {
	return func(yield func(api.DiskSnapshot) bool) {
		for s := range rows(t.snapshots, "") {
			if s.VM == vm && !yield(s) {
				return
			}
		}
	}
}

func (t tables) DiskSnapshot(vm, ref string) (api.DiskSnapshot, error) {
	for s := range t.DiskSnapshots(vm) {
		if s.ID == ref || s.Name == ref {
			return s, nil
		}
	}
	return api.DiskSnapshot{}, notFound("disk-snapshot")
}
