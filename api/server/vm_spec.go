package server

import (
	"fmt"

	"github.com/orchd/orchd/api"
)

// maxUserData is how many bytes of user-data a virtual machine may be given. Its
// schema counts characters.
const maxUserData = 256 << 10

// createErrors is what the schema cannot say of a create.
func createErrors(c api.VMCreate) []api.FieldError {
	bad := append(nameErrors("/name", c.Name), nameErrors("/account", c.Account)...)
	bad = append(bad, labelErrors("/labels", c.Labels)...)
	bad = append(bad, amountErrors(c.Spec)...)
	bad = append(bad, refErrors("/spec/size", "size", c.Spec.Size)...)
	bad = append(bad, refErrors("/spec/image", "image", c.Spec.Image)...)
	bad = append(bad, refErrors("/spec/network", "network", c.Spec.Network)...)
	bad = append(bad, loginErrors(c.Spec)...)
	return append(bad, placementErrors(c.Spec.Placement)...)
}

// amountErrors: a size, or the amounts. Only the disk may be larger than the size says.
func amountErrors(s api.VMSpec) (bad []api.FieldError) {
	for _, f := range []struct {
		pointer string
		value   int64
	}{{"/spec/vcpus", s.VCPUs}, {"/spec/memory_mib", s.MemoryMiB}} {
		switch {
		case s.Size != "" && f.value != 0:
			bad = append(bad, api.FieldError{Pointer: f.pointer, Detail: "the size says this: leave out one of them"})
		case s.Size == "" && f.value == 0:
			bad = append(bad, api.FieldError{Pointer: f.pointer, Detail: "is required, or a size that says it"})
		}
	}
	return bad
}

// refErrors checks what refers to an object by name or id, if it does.
func refErrors(at, noun, ref string) []api.FieldError {
	if ref == "" || api.ValidName(ref) || api.IsUUID(ref) {
		return nil
	}
	return []api.FieldError{{Pointer: at, Detail: "expected the name or id of one " + noun}}
}

// loginErrors checks who may log in, and what the guest is told.
func loginErrors(s api.VMSpec) (bad []api.FieldError) {
	seen := map[string]bool{}
	for i, key := range s.SSHKeys {
		at := fmt.Sprintf("/spec/ssh_keys/%d", i)
		switch {
		case !api.ValidName(key) && !api.IsUUID(key):
			bad = append(bad, api.FieldError{Pointer: at, Detail: "expected the name or id of an SSH key"})
		case seen[key]:
			bad = append(bad, api.FieldError{Pointer: at, Detail: "this key is there twice"})
		}
		seen[key] = true
	}
	if len(s.UserData) > maxUserData {
		bad = append(bad, api.FieldError{Pointer: "/spec/user_data", Detail: "at most 256 KiB"})
	}
	return bad
}

// placementErrors: what is spread has a group, and words that are names.
func placementErrors(p api.Placement) []api.FieldError {
	const at = "/spec/placement"
	bad := labelErrors(at+"/labels", p.Labels)
	bad = append(bad, refErrors(at+"/peer", "peer", p.Peer)...)
	for _, f := range []struct {
		pointer string
		wrong   bool
		detail  string
	}{
		{"/group", p.Group == "" && p.Spread != "", "is required where VMs are spread: it says which belong together"},
		{"/spread_label", p.Spread == api.SpreadLabel && p.SpreadLabel == "", "is required with spread label"},
		{"/spread_label", p.Spread != api.SpreadLabel && p.SpreadLabel != "", "only spread label takes this"},
		{"/spread_label", p.SpreadLabel != "" && !labelKey.MatchString(p.SpreadLabel), "a label's key is 1 to 63 of A-Z a-z 0-9 . _ / -"},
		{"/with", p.With != "" && !api.ValidName(p.With), "expected the name of a group"},
		{"/apart_from", p.ApartFrom != "" && !api.ValidName(p.ApartFrom), "expected the name of a group"},
		{"/apart_from", p.ApartFrom != "" && p.ApartFrom == p.With, "with and apart_from name the same group"},
	} {
		if f.wrong {
			bad = append(bad, api.FieldError{Pointer: at + f.pointer, Detail: f.detail})
		}
	}
	return bad
}
