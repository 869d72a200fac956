package fsm

import (
	"reflect"
	"testing"

	"github.com/orchd/orchd/api"
)

// TestRollbackOfCatalogues: sizes, keys and networks come back, and what came
// since goes; what VMs are on, what is of an account that is gone, and images whose
// content peers keep stay as they are.
func TestRollbackOfCatalogues(t *testing.T) {
	network := func(name string) api.NetworkCreate {
		return api.NetworkCreate{Name: name, NetworkShape: api.NetworkShape{CIDR: "10.0.0.0/24", Bridge: "br0"}}
	}
	size := func(name string) api.SizeCreate { return api.SizeCreate{Name: name, VCPUs: 1, MemoryMiB: 64} }
	key := func(account, name string, k int) sshKeyCreate {
		return sshKeyCreate{Name: name, Account: account, Type: "ssh-ed25519", Key: testKeys[k]}
	}
	kept := func(name string) imageCreate {
		return imageCreate{ImageCreate: api.ImageCreate{Name: name, Source: api.SourceUpload}, Via: "a"}
	}
	ids := map[string]string{}
	p := newPast(t, func(p *past) {
		p.makeAccount("gone")
		ids["small"] = p.must(admin, createSize, size("small")).Key
		ids["dropped"] = p.must(admin, createSize, size("dropped")).Key
		ids["key"] = p.must(admin, createSSHKey, key("default", "key", 0)).Key
		ids["orphan"] = p.must(admin, createSSHKey, key("gone", "orphan", 0)).Key
		ids["lan"] = p.must(admin, createNetwork, network("lan")).Key
		ids["wan"] = p.must(admin, createNetwork, network("wan")).Key
		ids["lost"] = p.must(admin, createImage, kept("lost")).Key
		ids["path"] = p.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "path", Path: "/x"}}).Key
		ids["shadowed"] = p.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "shadowed", Path: "/x"}}).Key
	})
	p.must(admin, updateSize, sizeUpdate{ID: ids["small"], Update: api.SizeUpdate{Deprecated: true}})
	p.must(admin, deleteSize, sizeDelete{ids["dropped"]})
	p.must(admin, createSize, size("new"))
	p.must(admin, deleteSSHKey, sshKeyDelete{ids["key"]})
	p.must(admin, deleteSSHKey, sshKeyDelete{ids["orphan"]})
	p.must(admin, deleteAccount, accountDelete{"gone"})
	p.must(admin, createSSHKey, key("default", "other", 0)) // the same key under another name
	p.must(admin, deleteNetwork, networkDelete{ids["lan"]})
	p.must(admin, deleteNetwork, networkDelete{ids["wan"]})
	lan := p.must(admin, createNetwork, network("lan")).Key
	vm := vmCreate{VM: small("web"), Candidates: []string{"a"}}
	vm.VM.Spec.Network = "lan"
	p.must(operator, createVM, vm)
	for _, name := range []string{"lost", "path", "shadowed"} {
		p.must(admin, deleteImage, imageDelete{ids[name]})
	}
	shadow := p.must(admin, createImage, kept("shadowed")).Key
	export := p.must(admin, createImage, kept("export")).Key
	p.must(ActorOfPeer("a"), storedImage, contentOf(export))

	d := p.difference()
	want := []api.TableDifference{{Table: "sizes", Create: 1, Update: 1, Delete: 1}, {Table: "ssh_keys", Create: 1, Delete: 1}, {Table: "images", Create: 1}, {Table: "networks", Create: 1}}
	if !reflect.DeepEqual(d.Tables, want) {
		t.Errorf("the difference is %+v, want %+v", d.Tables, want)
	}
	if _, err := p.w.RestoreState(asAdmin(), d); err != nil {
		t.Fatal(err)
	}
	r := p.m.Read()
	if s, _ := r.Size("small"); s.Deprecated || s.Version != 3 {
		t.Errorf("size: %+v", s)
	}
	if _, there := r.Size("new"); there {
		t.Error("a size that was new is left")
	}
	if k, _ := r.SSHKey("default", "key"); k.ID != ids["key"] {
		t.Errorf("key: %+v", k)
	}
	if _, there := r.SSHKey("gone", "orphan"); there {
		t.Error("a key has come back and its account has not")
	}
	if n, _ := r.Network("lan"); n.ID != lan {
		t.Errorf("the network of a VM: %+v", n)
	}
	if n, _ := r.Network("wan"); n.ID != ids["wan"] {
		t.Errorf("network: %+v", n)
	}
	for name, id := range map[string]string{"lost": "", "path": ids["path"], "shadowed": shadow, "export": export} {
		if i, _ := r.Image(name); i.ID != id {
			t.Errorf("image %s is %+v, want that of id %q", name, i, id)
		}
	}
	p.copies(export, "a")
	if again := p.difference(); !again.Empty() {
		t.Errorf("still to do is %v", again.Tables)
	}
	catalogueHolds(t, 0, r)
}

// TestCatalogueRollbackMeetsChanges: what a catalogue's row needs, or needs it, is looked at in apply.
func TestCatalogueRollbackMeetsChanges(t *testing.T) {
	t.Run("an account goes", func(t *testing.T) {
		var id string
		p := newPast(t, func(p *past) {
			p.makeAccount("co-op")
			id = p.must(admin, createSSHKey, sshKeyCreate{Name: "k", Account: "co-op", Type: "ssh-ed25519", Key: testKeys[0]}).Key
		})
		p.must(admin, deleteSSHKey, sshKeyDelete{id})
		p.refusedAfter(func() { p.must(admin, deleteAccount, accountDelete{"co-op"}) }, `its account "co-op" is not there`)
	})
	t.Run("an image's account goes", func(t *testing.T) {
		var id string
		p := newPast(t, func(p *past) {
			p.makeAccount("co-op")
			id = p.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "im", Path: "/x", Account: "co-op"}}).Key
		})
		p.must(admin, deleteImage, imageDelete{id})
		p.refusedAfter(func() { p.must(admin, deleteAccount, accountDelete{"co-op"}) }, `its account "co-op" is not there`)
	})
	t.Run("a VM is put on a network that goes", func(t *testing.T) {
		p := newPast(t, func(*past) {})
		p.must(admin, createNetwork, api.NetworkCreate{Name: "lan", NetworkShape: api.NetworkShape{CIDR: "10.0.0.0/24", Bridge: "br0"}})
		p.refusedAfter(func() {
			vm := vmCreate{VM: small("web"), Candidates: []string{"a"}}
			vm.VM.Spec.Network = "lan"
			p.must(operator, createVM, vm)
		}, "VMs are on it")
	})
	t.Run("a key is made again", func(t *testing.T) {
		var id string
		again := sshKeyCreate{Name: "k", Account: "default", Type: "ssh-ed25519", Key: testKeys[0]}
		p := newPast(t, func(p *past) { id = p.must(admin, createSSHKey, again).Key })
		p.must(admin, deleteSSHKey, sshKeyDelete{id})
		again.Name = "k2"
		p.refusedAfter(func() { p.must(admin, createSSHKey, again) }, "is that of")
	})
	t.Run("an image of the name is uploaded", func(t *testing.T) {
		var id string
		p := newPast(t, func(p *past) {
			id = p.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "im", Path: "/x"}}).Key
		})
		p.must(admin, deleteImage, imageDelete{id})
		p.refusedAfter(func() {
			p.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "im"}, Via: "a"})
		}, `has the name "im" too`)
	})
}
