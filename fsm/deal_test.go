package fsm

import (
	"slices"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestDeals(t *testing.T) {
	l := newLog(t, "a")
	l.makeAccount("other")
	w := NewWriter(atOnce{l}, nil, marking{})
	mine, theirs := as1(boundTo(api.DefaultAccount, api.RoleOperator)), as1(boundTo("other", api.RoleOperator))
	spec := api.DealSpec{Count: 3, Size: "s", Image: "debian", Spread: api.SpreadPeer}
	done, err := w.CreateDeal(mine, api.DealCreate{Name: "web", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	d := done.Object
	if d.State != api.DealActive || d.Account != api.DefaultAccount || d.Version != 1 || d.Spec.Count != 3 {
		t.Errorf("made: %+v", d)
	}
	for _, ref := range []string{d.ID, "web"} {
		if got, ok := l.m.Read().Deal(api.DefaultAccount, ref); !ok || got.ID != d.ID {
			t.Errorf("by %s: %+v", ref, got)
		}
	}
	l.refused(api.Conflict, operator, createDeal, api.DealCreate{Name: "web", Spec: spec})
	l.refused(api.Forbidden, viewer, createDeal, api.DealCreate{Name: "db", Spec: spec})
	l.refused(api.Forbidden, boundTo("other", api.RoleOperator), createDeal, api.DealCreate{Name: "db", Account: api.DefaultAccount, Spec: spec})
	l.refused(api.Invalid, admin, createDeal, api.DealCreate{Name: "db", Account: "nobody", Spec: spec})
	for _, bad := range []api.DealSpec{{Count: 1001, Size: "s"}, {Count: -1, Size: "s"}, {Count: 1}, {Count: 1, Size: "s", VCPUs: 1, MemoryMiB: 512}, {Count: 1, VCPUs: 1}} {
		l.refused(api.Invalid, operator, createDeal, api.DealCreate{Name: "db", Spec: bad})
	}
	l.refused(api.Invalid, operator, createDeal, api.DealCreate{Name: "a23456789012345678901234567890123456789012345678901x", Spec: spec})
	inactive, err := w.CreateDeal(theirs, api.DealCreate{Name: "web", Spec: spec, Inactive: true})
	if err != nil || inactive.Object.State != api.DealInactive || inactive.Object.Account != "other" {
		t.Errorf("in another account, inactive: %+v, %v", inactive, err)
	}
	l.refused(api.Conflict, admin, deleteAccount, accountDelete{"other"})

	more := spec
	more.Count = 5
	if _, err := w.UpdateDeal(mine, d.ID, 7, api.DealUpdate{Spec: more}); !api.IsKind(err, api.Precondition) {
		t.Errorf("of another version: %v", err)
	}
	if _, err := w.UpdateDeal(theirs, d.ID, 0, api.DealUpdate{Spec: more}); !api.IsKind(err, api.NotFound) {
		t.Errorf("by another account: %v", err)
	}
	if done, err := w.UpdateDeal(mine, d.ID, 1, api.DealUpdate{Spec: more}); err != nil || done.Object.Spec.Count != 5 || done.Object.Version != 2 || done.Object.State != api.DealActive {
		t.Errorf("more of it: %+v, %v", done, err)
	}
	if done, err := w.UpdateDeal(mine, d.ID, 0, api.DealUpdate{Spec: more}); err != nil || done.Object.Version != 2 {
		t.Errorf("the same again: %+v, %v", done, err)
	}
	if _, err := w.UpdateDeal(mine, d.ID, 0, api.DealUpdate{Spec: more, State: api.DealEnding}); !api.IsKind(err, api.Invalid) {
		t.Errorf("ending by an update: %v", err)
	}

	a := as1(ActorOfPeer("a"))
	report := api.DealReport{ID: d.ID, Reason: "quota", Workers: []api.DealVM{{Name: "web-1", State: "running"}}}
	l.refused(api.Forbidden, admin, reportDeal, report)
	if err := w.ReportDeal(a, api.DealReport{ID: "gone"}); !api.IsKind(err, api.NotFound) {
		t.Errorf("of a deal that is gone: %v", err)
	}
	for range 2 {
		if err := w.ReportDeal(a, report); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := l.m.Read().DealByID(d.ID); got.Reason != "quota" || len(got.Workers) != 1 || got.Version != 3 {
		t.Errorf("reported twice: %+v", got)
	}
	for range 2 {
		if done, err := w.DeleteDeal(mine, d.ID); err != nil || done.Object.State != api.DealEnding || done.Gone {
			t.Errorf("with a worker: %+v, %v", done, err)
		}
	}
	if _, err := w.UpdateDeal(mine, d.ID, 0, api.DealUpdate{Spec: spec}); !api.IsKind(err, api.Conflict) {
		t.Errorf("changed on its way out: %v", err)
	}
	report.Workers = nil
	if err := w.ReportDeal(a, report); err != nil {
		t.Fatal(err)
	}
	if _, there := l.m.Read().DealByID(d.ID); there {
		t.Error("no worker is left, and the deal is")
	}
	if done, err := w.DeleteDeal(theirs, inactive.Object.ID); err != nil || !done.Gone || done.ID != inactive.Object.ID {
		t.Errorf("without workers: %+v, %v", done, err)
	}
	if left := slices.Collect(l.m.Read().Deals("")); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	l.must(admin, deleteAccount, accountDelete{"other"})
}
