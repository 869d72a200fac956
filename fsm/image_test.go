package fsm

import (
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func (l *log) image(id string) api.Image {
	l.t.Helper()
	i, ok := l.m.Read().Image(id)
	if !ok {
		l.t.Fatalf("no image %s", id)
	}
	return i
}

func (l *log) copies(image string, want ...string) {
	l.t.Helper()
	r := l.m.Read()
	if got := r.ImagePeers(image); !slices.Equal(got, want) {
		l.t.Errorf("peers with a copy: %q, want %q", got, want)
	}
	for _, peer := range want {
		if !slices.Contains(slices.Collect(r.ImageCopiesOn(peer)), image) {
			l.t.Errorf("peer %s is not said to have image %s", peer, image)
		}
	}
}

// upload makes an image of account default that peer a brings in.
func (l *log) upload(name string) api.Image {
	l.t.Helper()
	return *l.must(operator, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: name, Format: "qcow2"}, Via: "a"}).Object.(*api.Image)
}

func contentOf(image string) api.ImageContent {
	return api.ImageContent{Image: image, SHA256: testSums[0], Bytes: 1000, VirtualBytes: 1 << 30}
}

func TestImageShapes(t *testing.T) {
	l := newLog(t, "a", "b")
	l.makeAccount("co-op")
	mine := boundTo("co-op", api.RoleOperator)
	sum := testSums[0]
	for name, c := range map[string]struct {
		actor  api.Actor
		create api.ImageCreate
		kind   api.Kind  // of the refusal; Internal: it is taken
		wrong  string    // pointer
		want   api.Image // Source, Account, Via, State, Format
	}{
		"upload":              {mine, api.ImageCreate{}, 0, "", api.Image{Source: "upload", Account: "co-op", Via: "a", State: "pending", Format: "raw"}},
		"url":                 {mine, api.ImageCreate{URL: "https://example.org/x", SHA256: sum, Format: "qcow2"}, 0, "", api.Image{Source: "url", Account: "co-op", Via: "a", State: "pending", Format: "qcow2"}},
		"url without a sum":   {mine, api.ImageCreate{URL: "https://example.org/x"}, api.Invalid, "/sha256", api.Image{}},
		"url not https":       {mine, api.ImageCreate{URL: "http://example.org/x", SHA256: sum}, api.Invalid, "/url", api.Image{}},
		"url and upload":      {mine, api.ImageCreate{Source: "upload", URL: "https://example.org/x"}, api.Invalid, "/url", api.Image{}},
		"half a sum":          {mine, api.ImageCreate{SHA256: sum[:32]}, api.Invalid, "/sha256", api.Image{}},
		"a sum of no digits":  {mine, api.ImageCreate{SHA256: strings.Repeat("G", 64)}, api.Invalid, "/sha256", api.Image{}},
		"path by an operator": {mine, api.ImageCreate{Path: "/x"}, api.Forbidden, "", api.Image{}},
		"path by its admin":   {boundTo("co-op", api.RoleAdmin), api.ImageCreate{Path: "/x"}, api.Forbidden, "", api.Image{}},
		"peer by an operator": {operator, api.ImageCreate{Source: "peer", Peer: "b", Path: "/x"}, api.Forbidden, "", api.Image{}},
		"kernel by operators": {operator, api.ImageCreate{Kind: "kernel", Kernel: "/k"}, api.Forbidden, "", api.Image{}},
		"another account":     {mine, api.ImageCreate{Account: "default"}, api.Forbidden, "", api.Image{}},
		"no account":          {admin, api.ImageCreate{Account: "nobody"}, api.Invalid, "/account", api.Image{}},
		"a viewer":            {viewer, api.ImageCreate{}, api.Forbidden, "", api.Image{}},
		"an operator of all":  {operator, api.ImageCreate{}, 0, "", api.Image{Source: "upload", Account: "default", Via: "a", State: "pending", Format: "raw"}},
		"everybody's":         {admin, api.ImageCreate{Source: "upload"}, 0, "", api.Image{Source: "upload", Via: "a", State: "pending", Format: "raw"}},
		"path":                {admin, api.ImageCreate{Path: "/x"}, 0, "", api.Image{Source: "path", State: "available", Format: "raw"}},
		"path of an account":  {admin, api.ImageCreate{Path: "/x", Account: "co-op"}, 0, "", api.Image{Source: "path", Account: "co-op", State: "available", Format: "raw"}},
		"path with a sum":     {admin, api.ImageCreate{Path: "/x", SHA256: sum}, api.Invalid, "/sha256", api.Image{}},
		"a loose path":        {admin, api.ImageCreate{Path: "/x/../y"}, api.Invalid, "/path", api.Image{}},
		"peer":                {admin, api.ImageCreate{Source: "peer", Peer: "b", Path: "/x"}, 0, "", api.Image{Source: "peer", Via: "b", State: "pending", Format: "raw"}},
		"peer unknown":        {admin, api.ImageCreate{Source: "peer", Peer: "z", Path: "/x"}, api.Invalid, "/peer", api.Image{}},
		"peer and path":       {admin, api.ImageCreate{Peer: "b", Path: "/x"}, api.Invalid, "/peer", api.Image{}},
		"a vm's":              {admin, api.ImageCreate{Source: "vm"}, api.Invalid, "/source", api.Image{}},
		"a format":            {mine, api.ImageCreate{Format: "vmdk"}, api.Invalid, "/format", api.Image{}},
		"kernel":              {admin, api.ImageCreate{Kind: "kernel", Kernel: "/k", Initrd: "/i", Cmdline: "quiet"}, 0, "", api.Image{State: "available"}},
		"kernel uploaded":     {admin, api.ImageCreate{Kind: "kernel", Kernel: "/k", Source: "upload"}, api.Invalid, "/source", api.Image{}},
		"kernel and path":     {admin, api.ImageCreate{Kind: "kernel", Kernel: "/k", Path: "/x"}, api.Invalid, "/path", api.Image{}},
		"a disk's kernel":     {admin, api.ImageCreate{Path: "/x", Kernel: "/k"}, api.Invalid, "/kernel", api.Image{}},
		"two lines":           {admin, api.ImageCreate{Kind: "kernel", Kernel: "/k", Cmdline: "a\nb"}, api.Invalid, "/cmdline", api.Image{}},
		"a kind":              {admin, api.ImageCreate{Kind: "floppy"}, api.Invalid, "/kind", api.Image{}},
	} {
		t.Run(name, func(t *testing.T) {
			l.t = t
			c.create.Name = "im"
			body := imageCreate{ImageCreate: c.create, Via: "a"}
			if c.kind != api.Internal {
				e := l.refused(c.kind, c.actor, createImage, body)
				if c.wrong != "" && (len(e.Fields) != 1 || e.Fields[0].Pointer != c.wrong) {
					t.Errorf("faults %+v, want one of %s", e.Fields, c.wrong)
				}
				return
			}
			i := *l.must(c.actor, createImage, body).Object.(*api.Image)
			got := api.Image{Source: i.Source, Account: i.Account, Via: i.Via, State: i.State, Format: i.Format}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if (i.Operation != "") != (i.State == api.ImagePending) {
				t.Errorf("state %s, operation %q", i.State, i.Operation)
			}
			l.must(admin, deleteImage, imageDelete{i.ID})
		})
	}
}

// TestImageURLs: what the Writer refuses of URLs beside what apply does.
func TestImageURLs(t *testing.T) {
	for text, taken := range map[string]bool{
		"": true, "https://example.org/x.qcow2?a=b": true, "https://[2001:db8::1]:8443/x": true,
		"http://example.org/x": false, "https://": false, "https:///x": false, "https:example.org": false, "ftp://example.org/x": false, "/x": false,
		"https://user:secret@example.org/x": false, "https://user@example.org/x": false, "https://example.org/x#y": false, "https://exa mple.org/": false, "https://a\x00b/": false,
	} {
		if err := urlFault(text); (err == nil) != taken {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestImageComesIn: pending, on its way, available, and copied by another peer.
func TestImageComesIn(t *testing.T) {
	l := newLog(t, "a", "b", "c")
	i := l.upload("im")
	if o := l.op(i.Operation); o.Kind != "fetch" || o.Target != (api.OpTarget{Kind: "image", ID: i.ID, Name: "im"}) || o.State != api.OpPending || o.Account != api.DefaultAccount ||
		len(o.Hosts) != 1 || o.Hosts[0] != (api.HostPart{Peer: "a", Status: api.Assigned}) {
		t.Errorf("operation: %+v", o)
	}
	a, b, c := ActorOfPeer("a"), ActorOfPeer("b"), ActorOfPeer("c")
	l.refused(api.Forbidden, admin, storedImage, contentOf(i.ID))
	l.refused(api.Forbidden, operator, progressImage, imageProgress{i.ID, 1, 2})
	l.refused(api.Conflict, b, storedImage, contentOf(i.ID))
	l.refused(api.Conflict, b, progressImage, imageProgress{i.ID, 1, 2})
	l.must(a, progressImage, imageProgress{i.ID, 100, 1000})
	l.must(a, progressImage, imageProgress{i.ID, 200, 1000})
	o := l.op(i.Operation)
	if o.State != api.OpRunning || len(o.Steps) != 1 || o.Steps[0].Name != "content" || o.Steps[0].Done != 200 || o.Steps[0].Total != 1000 {
		t.Errorf("on its way: %+v", o)
	}
	l.refused(api.Invalid, a, storedImage, api.ImageContent{Image: i.ID, SHA256: "short", Bytes: 1, VirtualBytes: 1})
	l.refused(api.Invalid, a, storedImage, api.ImageContent{Image: i.ID, SHA256: testSums[0], VirtualBytes: 1})
	l.copies(i.ID)
	l.must(a, storedImage, contentOf(i.ID))
	if got := l.image(i.ID); got.State != api.ImageAvailable || got.SHA256 != testSums[0] || got.Bytes != 1000 || got.VirtualBytes != 1<<30 || got.Version != 2 {
		t.Errorf("available: %+v", got)
	}
	if o := l.op(i.Operation); o.State != api.OpSucceeded {
		t.Errorf("operation: %+v", o)
	}
	l.refused(api.Conflict, a, progressImage, imageProgress{i.ID, 1, 2})
	l.must(a, storedImage, contentOf(i.ID)) // said again
	l.must(b, storedImage, contentOf(i.ID))
	l.copies(i.ID, "a", "b")
	for what, other := range map[string]api.ImageContent{
		"sum":          {Image: i.ID, SHA256: testSums[1], Bytes: 1000, VirtualBytes: 1 << 30},
		"size":         {Image: i.ID, SHA256: testSums[0], Bytes: 1001, VirtualBytes: 1 << 30},
		"virtual size": {Image: i.ID, SHA256: testSums[0], Bytes: 1000, VirtualBytes: 1},
	} {
		if e := l.refused(api.Conflict, c, storedImage, other); e == nil {
			t.Errorf("another %s was taken", what)
		}
	}
	l.must(c, storedImage, api.ImageContent{Image: i.ID, Error: "disk full"}) // which is no word on the image
	l.must(a, storedImage, api.ImageContent{Image: i.ID, Gone: true})
	l.must(c, storedImage, api.ImageContent{Image: i.ID, Gone: true}) // it had none
	l.copies(i.ID, "b")
	if got := l.image(i.ID); got.State != api.ImageAvailable || got.Version != 2 {
		t.Errorf("copies come and go, the row says %+v", got)
	}
	l.must(operator, deleteImage, imageDelete{i.ID})
	l.copies(i.ID)
	l.refused(api.NotFound, a, storedImage, contentOf(i.ID))
	l.must(a, storedImage, api.ImageContent{Image: i.ID, Gone: true})
}

// TestImageWithAWantedSum: other content is refused, and the image goes on waiting.
func TestImageWithAWantedSum(t *testing.T) {
	l := newLog(t, "a")
	i := *l.must(operator, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "im", URL: "https://example.org/x", SHA256: testSums[1]}, Via: "a"}).Object.(*api.Image)
	l.refused(api.Conflict, ActorOfPeer("a"), storedImage, contentOf(i.ID))
	if got := l.image(i.ID); got.State != api.ImagePending {
		t.Errorf("state %s", got.State)
	}
	right := contentOf(i.ID)
	right.SHA256 = testSums[1]
	l.must(ActorOfPeer("a"), storedImage, right)
	l.copies(i.ID, "a")
}

func TestImageThatFails(t *testing.T) {
	l := newLog(t, "a", "b")
	failed := func(i api.Image, how api.OpState, says string) {
		t.Helper()
		got, o := l.image(i.ID), l.op(i.Operation)
		if got.State != api.ImageFailed || !strings.Contains(got.Reason, says) || o.State != how || !strings.Contains(o.Error, says) {
			t.Errorf("image %s %q, operation %s %q; want %s that says %q", got.State, got.Reason, o.State, o.Error, how, says)
		}
		l.refused(api.Conflict, ActorOfPeer("a"), storedImage, contentOf(i.ID))
	}
	one := l.upload("one")
	l.must(ActorOfPeer("b"), storedImage, api.ImageContent{Image: one.ID, Error: "not mine"})
	if got := l.image(one.ID); got.State != api.ImagePending {
		t.Errorf("failed by another peer: %+v", got)
	}
	l.must(ActorOfPeer("a"), storedImage, api.ImageContent{Image: one.ID, Error: "it has a backing file"})
	failed(one, api.OpFailed, "backing file")

	two := l.upload("two")
	l.must(operator, cancelOperation, operationCancel{two.Operation})
	failed(two, api.OpCancelled, "cancelled")

	three := l.upload("three")
	l.must(operator, deleteImage, imageDelete{three.ID})
	if o := l.op(three.Operation); o.State != api.OpCancelled {
		t.Errorf("deleted while pending: %+v", o)
	}
}

// TestImageNamesAreTaken: without saying by whom, to whom that is not told.
func TestImageNamesAreTaken(t *testing.T) {
	l := newLog(t, "a")
	l.makeAccount("co-op")
	i := l.upload("im")
	create := imageCreate{ImageCreate: api.ImageCreate{Name: "im"}, Via: "a"}
	if e := l.refused(api.Conflict, boundTo("co-op", api.RoleOperator), createImage, create); !strings.Contains(e.Msg, "taken") {
		t.Errorf("another account is told: %q", e.Msg)
	}
	if e := l.refused(api.Conflict, operator, createImage, create); !strings.Contains(e.Msg, "exists already") {
		t.Errorf("its own account is told: %q", e.Msg)
	}
	l.refused(api.NotFound, boundTo("co-op", api.RoleAdmin), deleteImage, imageDelete{i.ID})
	l.refused(api.Forbidden, viewer, deleteImage, imageDelete{i.ID})
	everybodys := *l.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "all", Path: "/x"}}).Object.(*api.Image)
	l.refused(api.Forbidden, boundTo("co-op", api.RoleAdmin), deleteImage, imageDelete{everybodys.ID})
	l.refused(api.Forbidden, operator, deleteImage, imageDelete{everybodys.ID})
	r := l.m.Read()
	for _, c := range []struct {
		account, ref string
		want         bool
	}{{"default", "im", true}, {"default", i.ID, true}, {"co-op", "im", false}, {"co-op", i.ID, false}, {"co-op", "all", true}, {"co-op", "none", false}} {
		if _, ok := imageFor(r, c.account, c.ref); ok != c.want {
			t.Errorf("image %s for account %s: %v", c.ref, c.account, ok)
		}
	}
}

// TestLastCopyKeepsItsPeer: and a peer that goes takes its copies with it, and
// what it was to bring in.
func TestLastCopyKeepsItsPeer(t *testing.T) {
	l := newLog(t, "a", "b")
	i, pending := l.upload("im"), l.upload("pending")
	l.must(ActorOfPeer("a"), storedImage, contentOf(i.ID))
	if e := l.refused(api.Conflict, admin, removePeer, peerRemove{"a"}); !strings.Contains(e.Msg, `"im"`) {
		t.Errorf("refused with %q", e.Msg)
	}
	l.refused(api.Conflict, ActorOfPeer("a"), removePeer, peerRemove{"a"})
	l.must(ActorOfPeer("b"), storedImage, contentOf(i.ID))
	l.must(admin, removePeer, peerRemove{"a"})
	l.copies(i.ID, "b")
	if got := l.image(pending.ID); got.State != api.ImageFailed || l.op(pending.Operation).State != api.OpFailed {
		t.Errorf("what it was to bring in: %+v", got)
	}
	l.refused(api.Forbidden, ActorOfPeer("a"), storedImage, contentOf(i.ID))
	for copied := range imageCopies.each(l.m.Read(), "") {
		if copied.Peer == "a" {
			t.Errorf("a copy is left: %+v", copied)
		}
	}
}

// TestExport: the disk of a stopped VM becomes an image of its account.
func TestExport(t *testing.T) {
	l := newLog(t, "a")
	l.makeAccount("co-op")
	vm := func(name, account string, disk int64) api.VM {
		return *l.must(admin, createVM, vmCreate{VM: api.VMCreate{Name: name, Account: account, Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 100, DiskGiB: disk}}, Candidates: []string{"a"}}).Object.(*api.VM)
	}
	one, bare, theirs := vm("one", "default", 1), vm("bare", "default", 0), vm("theirs", "co-op", 1)
	a := ActorOfPeer("a")
	stopped := func(v api.VM) {
		l.must(admin, actOnVM, vmAction{ID: v.ID, Verb: api.ActStop})
		l.must(a, beginVM, vmEpoch{v.ID, 1})
		l.must(a, reportVM, api.VMReport{VM: v.ID, Epoch: 1, State: api.VMStopped})
	}
	if e := l.refused(api.Conflict, operator, exportVM, vmExport{one.ID, "ex"}); !strings.Contains(e.Msg, "stop it first") {
		t.Errorf("not stopped: %q", e.Msg)
	}
	for _, v := range []api.VM{one, bare, theirs} {
		stopped(v)
	}
	mine := boundTo("default", api.RoleOperator)
	l.refused(api.NotFound, mine, exportVM, vmExport{theirs.ID, "ex"})
	l.refused(api.Forbidden, viewer, exportVM, vmExport{one.ID, "ex"})
	l.refused(api.Invalid, mine, exportVM, vmExport{one.ID, "Ex"})
	if e := l.refused(api.Conflict, mine, exportVM, vmExport{bare.ID, "ex"}); !strings.Contains(e.Msg, "no disk") {
		t.Errorf("without a disk: %q", e.Msg)
	}
	i := *l.must(mine, exportVM, vmExport{one.ID, "ex"}).Object.(*api.Image)
	if i.Source != api.SourceVM || i.VM != one.ID || i.Via != "a" || i.State != api.ImagePending || i.Account != "default" || i.Format != "qcow2" || !i.Kept() {
		t.Errorf("image: %+v", i)
	}
	if o := l.op(i.Operation); o.Kind != "export" || o.Target != (api.OpTarget{Kind: "vm", ID: one.ID, Name: "one"}) {
		t.Errorf("operation: %+v", o)
	}
	for typ, body := range map[Type]any{exportVM: vmExport{one.ID, "ex2"}, actOnVM: vmAction{ID: one.ID, Verb: api.ActStart}, deleteImage: imageDelete{i.ID},
		createDiskSnapshot: diskSnapshotCreate{one.ID, api.DiskSnapshotCreate{Name: "s"}}} {
		if e := l.refused(api.Conflict, mine, typ, body); !strings.Contains(e.Msg, i.Operation) {
			t.Errorf("command %d while the disk is exported is refused with %q, which does not name the operation", typ, e.Msg)
		}
	}
	l.must(a, storedImage, contentOf(i.ID))
	l.copies(i.ID, "a")
	l.refused(api.Conflict, mine, exportVM, vmExport{one.ID, "ex"}) // the name is taken

	gone := *l.must(mine, exportVM, vmExport{one.ID, "gone"}).Object.(*api.Image)
	l.must(mine, actOnVM, vmAction{ID: one.ID, Verb: kindDelete})
	l.must(a, buryVM, vmEpoch{one.ID, 1})
	if got := l.image(gone.ID); got.State != api.ImageFailed || !l.op(gone.Operation).State.Done() {
		t.Errorf("of a VM that is gone: %+v, %+v", got, l.op(gone.Operation))
	}
	l.must(mine, deleteImage, imageDelete{i.ID})

	boots := vmCreate{VM: api.VMCreate{Name: "next", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 100, Image: "ex3"}}, Candidates: []string{"a"}}
	kept := l.upload("ex3")
	l.must(a, storedImage, contentOf(kept.ID))
	l.must(mine, createVM, boots)
	if e := l.refused(api.Conflict, mine, deleteImage, imageDelete{kept.ID}); !strings.Contains(e.Msg, "default/next") {
		t.Errorf("used by a VM: %q", e.Msg)
	}
}
