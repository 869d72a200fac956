package smd

import (
	"strings"

	"github.com/orchd/orchd/api/xname"
)

// Values is what service/values answers: the words that a component's fields may have.
type Values struct {
	Arch    []string `json:"Arch,omitempty"`
	Class   []string `json:"Class,omitempty"`
	Flag    []string `json:"Flag,omitempty"`
	NetType []string `json:"NetType,omitempty"`
	Role    []string `json:"Role,omitempty"`
	State   []string `json:"State,omitempty"`
	SubRole []string `json:"SubRole,omitempty"`
	Type    []string `json:"Type,omitempty"`
}

// AllValues are those of every field. The class Other is taken, and not told of.
func AllValues() Values {
	return Values{Arch: Archs, Class: Classes[:3], Flag: Flags, NetType: NetTypes, Role: Roles, State: States, SubRole: SubRoles, Type: types}
}

// ValuesOf are those of one field, named in lower case as in the path of a request.
func ValuesOf(field string) (Values, bool) {
	all := AllValues()
	switch field {
	case "arch":
		return Values{Arch: all.Arch}, true
	case "class":
		return Values{Class: all.Class}, true
	case "flag":
		return Values{Flag: all.Flag}, true
	case "nettype":
		return Values{NetType: all.NetType}, true
	case "role":
		return Values{Role: all.Role}, true
	case "state":
		return Values{State: all.State}, true
	case "subrole":
		return Values{SubRole: all.SubRole}, true
	case "type":
		return Values{Type: all.Type}, true
	}
	return Values{}, false
}

// types are the words of Component.Type.
var types = func() (words []string) {
	for _, t := range xname.Types() {
		words = append(words, string(t))
	}
	return words
}()

// Spelled finds a word whatever its case, as the list spells it.
func Spelled(word string, list []string) (string, bool) {
	for _, w := range list {
		if strings.EqualFold(w, word) {
			return w, true
		}
	}
	return "", false
}
