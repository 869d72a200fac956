package smd

// ComponentChange is a change of one component.
type ComponentChange struct {
	ID string
	ComponentPatch
}

// EndpointRecord is a Redfish endpoint with everything that is derived from what
// was posted about it; all of it takes effect together or not at all. A derived
// component fills in what is not there yet and overwrites no NID.
type EndpointRecord struct {
	Endpoint   RedfishEndpoint
	Components []Component
	Endpoints  []ComponentEndpoint
	Interfaces []EthernetInterface
}

// GroupPatch is a change of a group or partition; nil leaves a field as it is.
type GroupPatch struct {
	Description *string
	Tags        *[]string
}

// InterfacePatch is a change of an interface; nil leaves a field as it is.
type InterfacePatch struct {
	Description, ComponentID *string
	IPAddresses              *[]IPAddress
}
