package server

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// TestAppendedVMIsItsJSON compares with encoding/json, over VMs of which every field
// is filled, none is, and each alone is, down to the fields of fields.
func TestAppendedVMIsItsJSON(t *testing.T) {
	texts := []string{"a", "", "ü \u2028 <b> & \"q\" \\ \t \x7f", strings.Repeat("long ", 100)}
	page := api.Page[api.VM]{Items: []api.VM{{}}}
	for _, text := range texts {
		for _, fill := range fillings(reflect.TypeFor[api.VM]()) {
			var vm api.VM
			fill(t, reflect.ValueOf(&vm).Elem(), text)
			page.Items = append(page.Items, vm)
			want, err := json.Marshal(vm)
			if err != nil {
				t.Fatal(err)
			}
			if got := appendVM(nil, &vm); string(got) != string(want) {
				t.Errorf("text %q:\ngot  %s\nwant %s", text, got, want)
			}
		}
	}
	page.Next = cursorBehind(page.Items[len(page.Items)-1].ID)
	for _, p := range []api.Page[api.VM]{page, {Items: []api.VM{}}, {Items: make([]api.VM, 1000)}} {
		want, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := sendVMs(&got, madeOf(p)); err != nil || got.String() != string(want)+"\n" {
			t.Errorf("page of %d: %v\ngot  %.300s\nwant %.300s", len(p.Items), err, got.String(), want)
		}
	}
}

// madeOf is that page before it is made: of its rows, every second of many more, and of some
// behind it if it is not the last.
func madeOf(p api.Page[api.VM]) vmPage {
	all := slices.Clone(p.Items)
	if p.Next != "" {
		all = append(all, make([]api.VM, 3)...)
	}
	n := 0
	rows := func(yield func(api.VM) bool) {
		for _, vm := range all {
			for range 2 {
				if n++; !yield(vm) {
					return
				}
			}
		}
	}
	return vmPage{Paging{Limit: max(len(p.Items), 1)}, rows, func(api.VM) bool { return n%2 == 0 }}
}

// filling fills some fields of a value.
type filling func(t *testing.T, v reflect.Value, text string)

// fillings are: all fields, none, and each alone; those of structs each alone, too.
func fillings(of reflect.Type) []filling {
	all := []filling{fillValue, func(*testing.T, reflect.Value, string) {}}
	for i := range of.NumField() {
		alone := []filling{fillValue}
		if f := of.Field(i).Type; f.Kind() == reflect.Struct && f.PkgPath() == of.PkgPath() {
			alone = fillings(f)
		}
		for _, fill := range alone {
			all = append(all, func(t *testing.T, v reflect.Value, text string) { fill(t, v.Field(i), text) })
		}
	}
	return all
}

func BenchmarkSendVMs(b *testing.B) {
	page := api.Page[api.VM]{}
	for range 10000 {
		page.Items = append(page.Items, typicalVM())
	}
	b.Run("by hand", func(b *testing.B) {
		for b.Loop() {
			var n counted
			_ = sendVMs(&n, vmPage{Paging{Limit: 10000}, slices.Values(page.Items), func(api.VM) bool { return true }})
			b.SetBytes(int64(n))
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			var n counted
			_ = json.NewEncoder(&n).Encode(page)
			b.SetBytes(int64(n))
		}
	})
}

// counted counts.
type counted int

func (n *counted) Write(p []byte) (int, error) {
	*n += counted(len(p))
	return len(p), nil
}

func typicalVM() api.VM {
	return api.VM{ID: "8b9c6b55-5f6a-4d52-9a3f-0a5a4c6f5b11", Name: "vm-1234", Account: "default", Labels: map[string]string{"app": "shop", "tier": "web"},
		Spec: api.VMSpec{Size: "f1-xs", VCPUs: 1, MemoryMiB: 512, DiskGiB: 10, Image: "debian", Network: "lan", SSHKeys: []string{"anna"}, Restart: api.RestartOnFailure},
		Status: api.VMStatus{Owner: "h1", OwnerID: "8b9c6b55-5f6a-4d52-9a3f-0a5a4c6f5b11", Epoch: 1, Begun: true, State: api.VMRunning, Desired: api.WantRunning,
			Operation: "8b9c6b55-5f6a-4d52-9a3f-0a5a4c6f5b11", Addresses: []api.VMAddress{{IP: "10.88.0.10", MAC: "52:54:00:00:00:07", Network: "lan"}}},
		Version: 4}
}
