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
		{Actor{Role: RolePeer}, Read, vm, false},
		{Actor{Role: RolePeer}, Create, vm, false},
		{Actor{}, Read, vm, false},
	} {
		if got := Allowed(c.actor, c.verb, c.on); got != c.want {
			t.Errorf("%s of account %q may %s %v: got %v, want %v", c.actor.Role, c.actor.Account, c.verb, c.on, got, c.want)
		}
	}
}
