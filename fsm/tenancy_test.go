package fsm

import (
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// What belongs to another tenant is not to be changed by way of what does not.
func TestTenantsReachEachOtherByNoDetour(t *testing.T) {
	f := newFleet(t)
	mine, theirs := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0"}), f.node(inventory.ComputeNode{XName: "x1000c0s1b0n0"})
	for name, x := range map[string]string{"ours": mine.XName, "others": theirs.XName} {
		must2(t)(f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: name, Type: inventory.Tenant, Nodes: []string{x}}))
	}
	must2(t)(f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: "all", Type: inventory.AdHoc, Nodes: []string{mine.XName, theirs.XName}}))
	all, _ := f.read().Collection("all")
	tenant := as1(api.Actor{ID: "jwt:t", Role: api.RoleAdmin, Tenant: "ours"})
	login := inventory.BMC{XName: theirs.BMC.XName, Username: "root", Password: text("pw")}
	byID := inventory.BMC{ID: theirs.BMC.ID, Username: "root", Password: text("pw")}
	for what, do := range map[string]func() error{
		"post the BMC that their node implies": func() error { _, err := f.CreateBMC(tenant, login); return err },
		"post a node with their BMC": func() error {
			_, err := f.CreateNodes(tenant, []inventory.ComputeNode{{Hostname: "h", Architecture: "x86_64", BMC: &login}}, false)
			return err
		},
		"give a node of ours their BMC, changed": func() error {
			n := mine
			n.BMC = &byID
			_, err := f.ReplaceNode(tenant, n.ID, 0, n)
			return err
		},
		"give their node boot data by a group": func() error {
			_, err := f.CreateCollection(tenant, inventory.NodeCollection{Name: "mixed", Type: inventory.AdHoc, Nodes: []string{theirs.XName},
				CloudInit: map[string]string{"k": "v"}})
			return err
		},
		"change a group that their node is in": func() error {
			_, err := f.ReplaceCollection(tenant, all.ID, 0, inventory.NodeCollection{Name: "all", Type: inventory.AdHoc, Nodes: []string{mine.XName}})
			return err
		},
		"delete a group that their node is in": func() error { _, err := f.DeleteCollection(tenant, all.ID, 0); return err },
	} {
		t.Run(what, func(t *testing.T) { f.refuses(api.Forbidden, "belongs to tenant", do) })
	}
	if b, _ := f.read().BMC(theirs.BMC.ID); b.Username != "" {
		t.Errorf("their BMC is %+v", b)
	}

	// The neighbour of a node of theirs is free, and shares its board.
	must2(t)(f.CreateNodes(tenant, []inventory.ComputeNode{{Hostname: "h", Architecture: "x86_64", XName: "x1000c0s1b0n1"}}, false))
	must2(t)(f.CreateCollection(tenant, inventory.NodeCollection{Name: "own group", Type: inventory.AdHoc, Nodes: []string{mine.XName, "x1000c0s1b0n1"}}))
	must2(t)(f.CreateBMC(tenant, inventory.BMC{XName: "x1000c0s0b0", Username: "root", Password: text("pw")}))
}

// TestSecretsOfAnotherTenant are not shown, nor the password of a board that is shared.
func TestSecretsOfAnotherTenant(t *testing.T) {
	f := newFleet(t)
	mine, shared := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0"}), f.node(inventory.ComputeNode{XName: "x1000c0s1b0n0"})
	theirs, free := f.node(inventory.ComputeNode{XName: "x1000c0s1b0n1"}), f.node(inventory.ComputeNode{XName: "x1000c0s2b0n0"})
	for name, xnames := range map[string][]string{"ours": {mine.XName, shared.XName}, "others": {theirs.XName}} {
		must2(t)(f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: name, Type: inventory.Tenant, Nodes: xnames}))
	}
	tenant, anybody := api.Actor{ID: "jwt:t", Role: api.RoleAdmin, Tenant: "ours"}, admin
	for _, c := range []struct {
		what      string
		of        inventory.ComputeNode
		node, bmc bool // may be seen by the tenant
	}{{"our own", mine, true, true}, {"ours on a board of both", shared, true, false}, {"theirs", theirs, false, false}, {"nobody's", free, true, true}} {
		r := f.read()
		if node, bmc := r.MaySeeNode(tenant, "x", c.of.ID) == nil, r.MaySeeBMC(tenant, "x", c.of.BMC.ID) == nil; node != c.node || bmc != c.bmc {
			t.Errorf("%s: a tenant may see the secrets of the node: %v, of the BMC: %v; want %v, %v", c.what, node, bmc, c.node, c.bmc)
		}
		if err := r.MaySeeNode(tenant, "x", c.of.XName); (err == nil) != c.node || err != nil && !api.IsKind(err, api.Forbidden) {
			t.Errorf("%s, by xname: %v", c.what, err)
		}
		if r.MaySeeNode(anybody, "x", c.of.ID) != nil || r.MaySeeBMC(anybody, "x", c.of.BMC.ID) != nil {
			t.Errorf("%s: kept from who is bound to no tenant", c.what)
		}
	}
}

func TestDeletedBMCOfAnotherTenant(t *testing.T) {
	f := newFleet(t)
	must2(t)(f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: "others", Type: inventory.Tenant, Nodes: []string{"x1000c0s1b0n0"}}))
	b, err := f.CreateBMC(asAdmin(), inventory.BMC{XName: "x1000c0s1b0", Username: "root", Password: text("pw")})
	if err != nil {
		t.Fatal(err)
	}
	tenant := as1(api.Actor{ID: "jwt:t", Role: api.RoleAdmin, Tenant: "ours"})
	f.refuses(api.Forbidden, "belongs to tenant", func() error { _, err := f.DeleteBMC(tenant, b.Object.ID, 0); return err })
}

// Only a tenant is in the group that tenants exclude each other by.
func TestCollectionThatIsNoTenantAnyMore(t *testing.T) {
	f := newFleet(t)
	made, err := f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: "t", Type: inventory.Tenant, Nodes: []string{"x1000c0s1b0n0"}})
	if err != nil || made.Object.ExclusiveGroup != TenantGroup {
		t.Fatalf("made %+v, %v", made.Object, err)
	}
	made.Object.Type = inventory.AdHoc
	now, err := f.ReplaceCollection(asAdmin(), made.ID, 0, made.Object)
	if err != nil || now.Object.ExclusiveGroup != "" {
		t.Errorf("as an ad-hoc collection it is %+v, %v", now.Object, err)
	}
	must2(t)(f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: "next", Type: inventory.Tenant, Nodes: []string{"x1000c0s1b0n0"}}))
}
