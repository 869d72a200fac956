package api

import "testing"

func TestAllowed(t *testing.T) {
	vm, other, peer, token, snapshot := Object{"vm", "a"}, Object{"vm", "b"}, Object{Kind: "peer"}, Object{Kind: "token"}, Object{Kind: "snapshot"}
	for _, c := range []struct {
		actor Actor
		verb  Verb
		on    Object
		want  bool
	}{
		{Actor{Role: RoleAdmin}, Delete, vm, true},
		{Actor{Role: RoleAdmin}, Create, token, true},
		{Actor{Role: RoleAdmin, Account: "a"}, Delete, vm, true},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, other, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, peer, true},
		{Actor{Role: RoleAdmin, Account: "a"}, Update, peer, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, snapshot, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, token, false},
		{Actor{Role: RoleOperator}, Create, vm, true},
		{Actor{Role: RoleOperator}, Read, snapshot, true},
		{Actor{Role: RoleOperator}, Create, snapshot, false},
		{Actor{Role: RoleOperator}, Update, peer, false},
		{Actor{Role: RoleOperator, Account: "a"}, Update, other, false},
		{Actor{Role: RoleOperator, Account: "a"}, Update, vm, true},
		{Actor{Role: RoleViewer}, Read, vm, true},
		{Actor{Role: RoleViewer}, Delete, vm, false},
		{Actor{Role: RoleViewer}, Read, token, false},
		{Actor{Role: RoleViewer, Account: "a"}, Read, snapshot, false},
		{Actor{Role: RoleController}, Read, vm, true},
		{Actor{Role: RoleController}, Create, vm, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, Object{"account", "a"}, true},
		{Actor{Role: RoleAdmin, Account: "a"}, Update, Object{"account", "a"}, false},
		{Actor{Role: RoleAdmin}, Update, Object{"account", "a"}, true},
		{Actor{Role: RoleOperator, Account: "a"}, Update, Object{"account", "a"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, Object{Kind: "domain"}, false},
		{Actor{Role: RoleAdmin}, Read, Object{Kind: "domain"}, true},
		{Actor{Role: RoleViewer}, Read, Object{Kind: "lease"}, false},
		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{Kind: "network"}, true},
		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{Kind: "size"}, true},
		{Actor{Role: RoleOperator}, Create, Object{Kind: "size"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Create, Object{Kind: "size"}, false},
		{Actor{Role: RoleOperator, Account: "a"}, Create, Object{"image", "a"}, true},
		{Actor{Role: RoleOperator, Account: "a"}, Create, Object{"image", "b"}, false},
		{Actor{Role: RoleOperator}, Create, Object{Kind: "image"}, false},
		{Actor{Role: RoleOperator, Account: "a"}, Delete, Object{Kind: "image"}, false},
		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{Kind: "image"}, true},
		{Actor{Role: RoleOperator, Account: "a"}, Create, Object{"ssh-key", "a"}, true},
		{Actor{Role: RoleOperator, Account: "a"}, Update, Object{"operation", "a"}, true},
		{Actor{Role: RoleOperator, Account: "a"}, Update, Object{"operation", "b"}, false},
		{Actor{Role: RoleOperator, Account: "a"}, Update, Object{Kind: "operation"}, false},
		{Actor{Role: RoleOperator}, Update, Object{Kind: "operation"}, false},
		{Actor{Role: RoleAdmin}, Update, Object{Kind: "operation"}, true},
		{Actor{Role: RoleViewer}, Read, Object{Kind: "metrics"}, true},
		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{Kind: "metrics"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, Object{Kind: "metrics"}, false},
		{Actor{Role: RolePeer}, Read, vm, false},
		{Actor{Role: RolePeer}, Create, vm, false},
		{Actor{}, Read, vm, false},

		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{Kind: "size"}, true},
		{Actor{Role: RoleOperator}, Create, Object{Kind: "size"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Create, Object{Kind: "size"}, false},
		{Actor{Role: RoleAdmin}, Create, Object{Kind: "size"}, true},

		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{Kind: "network"}, true},
		{Actor{Role: RoleOperator}, Create, Object{Kind: "network"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Delete, Object{Kind: "network"}, false},
		{Actor{Role: RoleAdmin}, Delete, Object{Kind: "network"}, true},

		{Actor{Role: RoleOperator, Account: "a"}, Create, Object{"ssh-key", "a"}, true},
		{Actor{Role: RoleOperator, Account: "a"}, Read, Object{"ssh-key", "b"}, false},
		{Actor{Role: RoleViewer, Account: "a"}, Delete, Object{"ssh-key", "a"}, false},
		{Actor{Role: RoleController}, Create, Object{"ssh-key", "a"}, false},

		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{Kind: "image"}, true},
		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{"image", "b"}, false},
		{Actor{Role: RoleOperator, Account: "a"}, Create, Object{"image", "a"}, true},
		{Actor{Role: RoleOperator, Account: "a"}, Delete, Object{Kind: "image"}, false},
		{Actor{Role: RoleOperator}, Delete, Object{Kind: "image"}, false},
		{Actor{Role: RoleOperator}, Delete, Object{"image", "a"}, true},
		{Actor{Role: RoleAdmin, Account: "a"}, Delete, Object{Kind: "image"}, false},
		{Actor{Role: RoleAdmin}, Delete, Object{Kind: "image"}, true},

		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{"account", "a"}, true},
		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{"account", "b"}, false},
		{Actor{Role: RoleViewer}, Read, Object{"account", "b"}, true},
		{Actor{Role: RoleOperator}, Update, Object{"account", "a"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Update, Object{"account", "a"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Create, Object{Kind: "account"}, false},
		{Actor{Role: RoleAdmin}, Update, Object{"account", "a"}, true},

		{Actor{Role: RoleOperator, Account: "a"}, Create, Object{"disk-snapshot", "a"}, true},
		{Actor{Role: RoleOperator, Account: "a"}, Delete, Object{"disk-snapshot", "b"}, false},
		{Actor{Role: RoleViewer}, Create, Object{"disk-snapshot", "a"}, false},

		{Actor{Role: RoleViewer, Account: "a"}, Read, Object{"usage", "a"}, true},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, Object{"usage", "b"}, false},

		{Actor{Role: RoleOperator}, Read, Object{Kind: "lease"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, Object{Kind: "lease"}, false},
		{Actor{Role: RoleAdmin}, Read, Object{Kind: "lease"}, true},
		{Actor{Role: RoleViewer}, Read, Object{Kind: "domain"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Read, Object{Kind: "domain"}, false},
		{Actor{Role: RoleAdmin, Account: "a"}, Create, Object{Kind: "domain"}, false},
		{Actor{Role: RoleAdmin}, Create, Object{Kind: "domain"}, true},
		{Actor{Role: RoleOperator}, Read, Object{Kind: "finding"}, false},
		{Actor{Role: RoleAdmin}, Read, Object{Kind: "finding"}, true},
	} {
		if got := Allowed(c.actor, c.verb, c.on); got != c.want {
			t.Errorf("%s of account %q may %s %v: got %v, want %v", c.actor.Role, c.actor.Account, c.verb, c.on, got, c.want)
		}
	}
}
