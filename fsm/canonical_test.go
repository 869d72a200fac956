package fsm

import (
	"reflect"
	"testing"
	"time"
)

// TestCanonicalIsNotWrittenTo: a row shares slices, maps and what pointers lead to with
// the row that it comes from, which others read while it is stored.
func TestCanonicalIsNotWrittenTo(t *testing.T) {
	type part struct {
		At     time.Time
		Labels map[string]string
		None   []string
	}
	type row struct {
		Name  string
		Parts []part
		Ended *time.Time
		Seen  map[string]time.Time
	}
	local := time.Date(2026, 11, 22, 1, 2, 3, 4567, time.FixedZone("CET", 3600))
	ended := local
	r := row{"a\xff", []part{{local, map[string]string{"k\xff": "v"}, []string{}}}, &ended, map[string]time.Time{"a": local}}
	if !canonicalValue(reflect.ValueOf(&r).Elem()) {
		t.Fatal("what is not canonical is said to be")
	}
	at := time.Date(2026, 11, 22, 0, 2, 3, 4000, time.UTC)
	if want := (row{"a\uFFFD", []part{{at, map[string]string{"k\uFFFD": "v"}, nil}}, &at, map[string]time.Time{"a": at}}); !reflect.DeepEqual(r, want) {
		t.Fatalf("got %+v, want %+v", r, want)
	}
	again := r
	maps := []uintptr{reflect.ValueOf(r.Seen).Pointer(), reflect.ValueOf(r.Parts[0].Labels).Pointer()}
	if canonicalValue(reflect.ValueOf(&again).Elem()) {
		t.Error("what is canonical was written to")
	}
	if got := []uintptr{reflect.ValueOf(again.Seen).Pointer(), reflect.ValueOf(again.Parts[0].Labels).Pointer()}; !reflect.DeepEqual(got, maps) {
		t.Error("maps that were canonical were put in place anew")
	}
}
