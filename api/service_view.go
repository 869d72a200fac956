package api

import "slices"

// ServiceView is a service and what of it can be called.
type ServiceView struct {
	Service
	Functions []ServiceFunction `json:"functions" doc:"What can be called"`
	Reason    string            `json:"reason,omitempty" doc:"Why its functions cannot be told, such as that its peer is silent"`
}

// ServiceFunction is a function of a service and who may call it.
type ServiceFunction struct {
	Name string `json:"name"`
	Role Role   `json:"role" enum:"viewer,operator,admin" doc:"The least role that may call it; an admin must be bound to no account"`
}

// RoleFor is the least role that may call a function; empty for one that nobody calls
// from outside. Admin means one that is bound to no account.
func (a Access) RoleFor(function string) Role {
	switch {
	case function == "" || function[0] == '_':
		return ""
	case slices.Contains(a.Admin, function):
		return RoleAdmin
	case slices.Contains(a.Viewer, function):
		return RoleViewer
	}
	return RoleOperator
}

// KVPut is the body of PUT /v1/spells/{alias}/kv/{key}: one of its members.
type KVPut struct {
	Text *string  `json:"text,omitempty" maxLength:"65536"`
	U32  *int64   `json:"u32,omitempty" minimum:"0" maximum:"4294967295"`
	List []string `json:"list,omitempty" minItems:"1" maxItems:"999" doc:"Takes the place of the whole list"`
}
