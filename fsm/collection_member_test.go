package fsm

import (
	"fmt"
	"slices"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

func TestMembers(t *testing.T) {
	f := newFleet(t)
	made := func(name string, typ inventory.CollectionType) string {
		d, err := f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: name, Type: typ})
		if err != nil {
			t.Fatal(err)
		}
		return d.ID
	}
	p, q, job := made("p", inventory.Partition), made("q", inventory.Partition), made("job", inventory.Job)
	for _, node := range []string{"x1c0s0b0n0", "x1c0s0b0n1"} {
		must2(t)(f.AddMember(asAdmin(), p, node))
		must2(t)(f.AddMember(asAdmin(), job, node)) // one of each is fine
	}
	f.refuses(api.Conflict, "is a member already", func() error { _, err := f.AddMember(asAdmin(), p, "X01c0s0b0n0"); return err })
	f.refuses(api.Conflict, "already assigned to another collection: \"p\"", func() error { _, err := f.AddMember(asAdmin(), q, "x1c0s0b0n0"); return err })
	f.refuses(api.Invalid, "not valid", func() error { _, err := f.AddMember(asAdmin(), p, "node"); return err })
	f.refuses(api.NotFound, "no member", func() error { _, err := f.RemoveMember(asAdmin(), q, "x1c0s0b0n0"); return err })
	f.refuses(api.NotFound, "not found", func() error { _, err := f.AddMember(asAdmin(), "none", "x1c0s0b0n0"); return err })
	f.refuses(api.Forbidden, "", func() error {
		_, err := f.AddMember(as1(api.Actor{ID: "jwt:v", Role: api.RoleViewer}), p, "x1c0s0b0n2")
		return err
	})

	must2(t)(f.RemoveMember(asAdmin(), p, "X01c0s0b0n0")) // it is free again
	must2(t)(f.AddMember(asAdmin(), q, "x1c0s0b0n0"))
	for name, want := range map[string]inventory.NodeCollection{
		"p":   {Version: 4, Nodes: []string{"x1c0s0b0n1"}},
		"q":   {Version: 2, Nodes: []string{"x1c0s0b0n0"}},
		"job": {Version: 3, Nodes: []string{"x1c0s0b0n0", "x1c0s0b0n1"}},
	} {
		if got, _ := f.read().Collection(name); got.Version != want.Version || !slices.Equal(got.Nodes, want.Nodes) {
			t.Errorf("%s is %+v, want %+v", name, got, want)
		}
	}
	if err := f.d.m.Verify(); err != nil {
		t.Error(err)
	}
}

func TestMembersOfTenants(t *testing.T) {
	f := newFleet(t)
	ids := map[string]string{}
	for name, node := range map[string]string{"ours": "x1c0s0b0n0", "others": "x1c0s0b0n1"} {
		d, err := f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: name, Type: inventory.Tenant, Nodes: []string{node}})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = d.ID
	}
	ours := as1(api.Actor{ID: "jwt:t", Role: api.RoleOperator, Tenant: "ours"})
	must2(t)(f.AddMember(ours, ids["ours"], "x1c0s0b0n2"))
	f.refuses(api.Forbidden, "belongs to tenant \"others\"", func() error { _, err := f.AddMember(ours, ids["ours"], "x1c0s0b0n1"); return err })
	f.refuses(api.Forbidden, "bound to another", func() error { _, err := f.RemoveMember(ours, ids["others"], "x1c0s0b0n1"); return err })
}

// BenchmarkAddMember puts a node into a group of so many, and takes it out again. It tells
// what one of the two takes.
func BenchmarkAddMember(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := &direct{m: New()}
			w := NewWriter(d, nil, unsealed{})
			c := inventory.NodeCollection{Name: "g", Type: inventory.AdHoc}
			for i := range n {
				c.Nodes = append(c.Nodes, fmt.Sprintf("x%dc%ds%db0n0", i/1000, i/100%10, i%100))
			}
			made, err := w.CreateCollection(asAdmin(), c)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := w.AddMember(asAdmin(), made.ID, "x9999c0s0b0n0"); err != nil {
					b.Fatal(err)
				}
				if _, err := w.RemoveMember(asAdmin(), made.ID, "x9999c0s0b0n0"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(2*b.N), "us/change")
		})
	}
}
