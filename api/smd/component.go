package smd

// Component is what is known of an xname: its place, state, role and flags. ID
// is as it was given; names are compared in xname.Canonical form.
type Component struct {
	ID                  string `json:"ID"`
	Type                string `json:"Type"`
	Subtype             string `json:"Subtype,omitempty"`
	Role                string `json:"Role,omitempty"`
	SubRole             string `json:"SubRole,omitempty"`
	NetType             string `json:"NetType,omitempty"`
	Arch                string `json:"Arch,omitempty"`
	Class               string `json:"Class,omitempty"`
	State               string `json:"State,omitempty"`
	Flag                string `json:"Flag,omitempty"`
	Enabled             *bool  `json:"Enabled,omitempty"` // in answers always there
	SoftwareStatus      string `json:"SoftwareStatus,omitempty"`
	NID                 *int64 `json:"NID,omitempty"`
	ReservationDisabled bool   `json:"ReservationDisabled,omitempty"`
	Locked              bool   `json:"Locked,omitempty"`
}

// Values are the words that a component's fields may have, as service/values shows them.
var (
	Archs    = []string{"X86", "ARM", "UNKNOWN", "Other"}
	Classes  = []string{"River", "Mountain", "Hill", "Other"}
	Flags    = []string{"Unknown", "OK", "Warning", "Alert", "Locked"}
	NetTypes = []string{"None", "Sling", "Infiniband", "Ethernet", "OEM"}
	Roles    = []string{"Compute", "Service", "System", "Application", "Storage", "Management"}
	SubRoles = []string{"Master", "Worker", "Storage"}
	States   = []string{"Unknown", "Empty", "Populated", "Off", "On", "Standby", "Halt", "Ready"}
)

// ComponentPatch is a change of some fields of components; nil leaves a field as it is.
type ComponentPatch struct {
	Type, Subtype, Role, SubRole, NetType, Arch, Class *string
	State, Flag, SoftwareStatus                        *string
	Enabled, ReservationDisabled, Locked               *bool
	NID                                                *int64
}
