package fsm

import (
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestSSHKeys(t *testing.T) {
	l := newLog(t, "a")
	l.makeAccount("other")
	w := NewWriter(atOnce{l}, nil, marking{})
	mine, theirs := as1(boundTo(api.DefaultAccount, api.RoleOperator)), as1(boundTo("other", api.RoleOperator))
	done, err := w.CreateSSHKey(mine, api.SSHKeyCreate{Name: "laptop", PublicKey: "ssh-ed25519 " + testKeys[0] + " anna@laptop\n"})
	if err != nil {
		t.Fatal(err)
	}
	want := api.SSHKey{ID: done.Object.ID, Name: "laptop", Account: api.DefaultAccount, Type: "ssh-ed25519", PublicKey: "ssh-ed25519 " + testKeys[0],
		Fingerprint: "SHA256:T/G85ozUkByIiLcTg34JwKRHy3BQvwigMBKyrPqXjFE", Comment: "anna@laptop", Version: 1, CreatedAt: l.at}
	if done.Object != want {
		t.Errorf("made:\n got %+v\nwant %+v", done.Object, want)
	}
	for _, ref := range []string{want.ID, "laptop"} {
		if got, ok := l.m.Read().SSHKey(api.DefaultAccount, ref); !ok || got != want {
			t.Errorf("by %s: %+v", ref, got)
		}
	}
	if _, ok := l.m.Read().SSHKey("other", "laptop"); ok {
		t.Error("the name is found in another account")
	}
	for _, c := range []struct {
		create api.SSHKeyCreate
		kind   api.Kind
		says   string
	}{
		{api.SSHKeyCreate{Name: "again", PublicKey: "ssh-ed25519 " + testKeys[0]}, api.Conflict, `as "laptop"`},
		{api.SSHKeyCreate{Name: "laptop", PublicKey: "ssh-ed25519 " + testKeys[1]}, api.Conflict, want.Fingerprint},
		{api.SSHKeyCreate{Name: "Laptop", PublicKey: "ssh-ed25519 " + testKeys[1]}, api.Invalid, "not valid"},
		{api.SSHKeyCreate{Name: "x", PublicKey: "restrict ssh-ed25519 " + testKeys[1]}, api.Invalid, "options"},
		{api.SSHKeyCreate{Name: "x", PublicKey: "ssh-ed25519 AAAA"}, api.Invalid, "public_key"},
		{api.SSHKeyCreate{Name: "x", Account: "other", PublicKey: "ssh-ed25519 " + testKeys[1]}, api.Forbidden, "ssh-key"},
	} {
		if _, err := w.CreateSSHKey(mine, c.create); !api.IsKind(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: got %v, want %s that says %q", c.create, err, c.kind.Code(), c.says)
		}
	}
	if _, err := w.CreateSSHKey(as1(admin), api.SSHKeyCreate{Name: "x", Account: "nobody", PublicKey: "ssh-ed25519 " + testKeys[1]}); !api.IsKind(err, api.Invalid) {
		t.Errorf("in no account: %v", err)
	}
	if _, err := w.CreateSSHKey(theirs, api.SSHKeyCreate{Name: "laptop", PublicKey: "ssh-ed25519 " + testKeys[0]}); err != nil {
		t.Errorf("the same key and name in another account: %v", err)
	}
	if err := w.DeleteSSHKey(theirs, want.ID); !api.IsKind(err, api.NotFound) {
		t.Errorf("deleted by another account: %v", err)
	}
	if err := w.DeleteSSHKey(as1(viewer), want.ID); !api.IsKind(err, api.Forbidden) {
		t.Errorf("deleted by a viewer: %v", err)
	}
	if err := w.DeleteSSHKey(mine, want.ID); err != nil {
		t.Errorf("deleted by its own: %v", err)
	}
	if left := slices.Collect(l.m.Read().SSHKeys("")); len(left) != 1 || left[0].Account != "other" {
		t.Errorf("left: %+v", left)
	}
}

// TestSSHKeyShape: what a Writer would not send, apply does not take.
func TestSSHKeyShape(t *testing.T) {
	l := newLog(t, "a")
	for name, c := range map[string]sshKeyCreate{
		"an unknown type":    {Name: "k", Type: "ssh-dss", Key: testKeys[0]},
		"another type":       {Name: "k", Type: "ssh-rsa", Key: testKeys[0]},
		"no base64":          {Name: "k", Type: "ssh-ed25519", Key: testKeys[0] + "\n"},
		"an order":           {Name: "k", Type: "ssh-ed25519", Key: testKeys[0], Comment: "a\nssh-ed25519 x"},
		"a long comment":     {Name: "k", Type: "ssh-ed25519", Key: testKeys[0], Comment: strings.Repeat("c", 257)},
		"a name that is one": {Name: "6f2c8a9e-0000-4000-8000-000000000000", Type: "ssh-ed25519", Key: testKeys[0]},
	} {
		t.Run(name, func(t *testing.T) { l.refused(api.Invalid, admin, createSSHKey, c) })
	}
}
