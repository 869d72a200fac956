package inventory

import "time"

// ComputeNode is a machine of the fleet. Users write it, but for Status, which
// controllers write.
type ComputeNode struct {
	ID                string             `json:"id,omitempty"`              // UUID, given by the server
	Hostname          string             `json:"hostname"`                  // not unique
	Architecture      string             `json:"architecture"`              // x86_64, arm64, ...
	XName             string             `json:"xname,omitempty"`           // where it stands; unique
	LocationString    string             `json:"location_string,omitempty"` // the same as XName, in answers always
	BootMAC           string             `json:"boot_mac,omitempty"`
	BootIPv4          string             `json:"boot_ipv4_address,omitempty"`
	BootIPv6          string             `json:"boot_ipv6_address,omitempty"`
	NetworkInterfaces []NetworkInterface `json:"network_interfaces,omitempty"`
	BMC               *BMC               `json:"bmc,omitempty"`
	Description       string             `json:"description,omitempty"`
	BootData          *BootData          `json:"boot_data,omitempty"`
	CloudInit         *CloudInit         `json:"cloud_init_data,omitempty"` // write-only
	Spec              *NodeSpec          `json:"spec,omitempty"`
	Status            *NodeStatus        `json:"status,omitempty"`
	Version           uint64             `json:"version,omitempty"` // counts the changes of this object
	CreatedAt         time.Time          `json:"created_at,omitzero"`
	UpdatedAt         time.Time          `json:"updated_at,omitzero"`
}

// The CBOR keys are those of the replicated log and never change their meaning.

// NetworkInterface is a port of a node. Its MAC belongs to one node or one BMC.
type NetworkInterface struct {
	InterfaceName   string `json:"interface_name" cbor:"1,keyasint"`
	MACAddress      string `json:"mac_address" cbor:"2,keyasint"`
	IPv4Address     string `json:"ipv4_address,omitempty" cbor:"3,keyasint,omitempty"`
	IPv6Address     string `json:"ipv6_address,omitempty" cbor:"4,keyasint,omitempty"`
	Description     string `json:"description,omitempty" cbor:"5,keyasint,omitempty"`
	Serial          string `json:"serial,omitempty" cbor:"6,keyasint,omitempty"`
	Model           string `json:"model,omitempty" cbor:"7,keyasint,omitempty"`
	Manufacturer    string `json:"manufacturer,omitempty" cbor:"8,keyasint,omitempty"`
	FirmwareVersion string `json:"firmware_version,omitempty" cbor:"9,keyasint,omitempty"`
	ExtendedData    Object `json:"extended_data,omitempty" cbor:"10,keyasint,omitempty"`
}

// BootData is what a node boots.
type BootData struct {
	ID                string `json:"id,omitempty" cbor:"1,keyasint,omitempty"`
	KernelURL         string `json:"kernel_url,omitempty" cbor:"2,keyasint,omitempty"`
	KernelCommandLine string `json:"kernel_command_line,omitempty" cbor:"3,keyasint,omitempty"`
	ImageURL          string `json:"image_url,omitempty" cbor:"4,keyasint,omitempty"`
}

// CloudInit is what cloud-init reads at a node's first boot. Each part is a text
// or an object.
type CloudInit struct {
	ID         string `json:"id,omitempty"`
	UserData   Object `json:"userdata,omitempty"`
	MetaData   Object `json:"metadata,omitempty"`
	VendorData Object `json:"vendordata,omitempty"`
}

// NodeSpec is what users want of a node.
type NodeSpec struct {
	Hostname          string             `json:"hostname,omitempty"`
	BootMAC           string             `json:"boot_mac,omitempty"`
	BootIPv4          string             `json:"boot_ipv4_address,omitempty"`
	BootIPv6          string             `json:"boot_ipv6_address,omitempty"`
	BMCEndpoint       string             `json:"bmc_endpoint,omitempty"`
	BMCUsername       string             `json:"bmc_username,omitempty"`
	BMCPassword       *string            `json:"bmc_password,omitempty"` // write-only
	NetworkInterfaces []NetworkInterface `json:"network_interfaces,omitempty"`
	BootConfiguration string             `json:"boot_configuration,omitempty"`
}

// NodeStatus is what controllers have seen of a node.
type NodeStatus struct {
	PowerState        *PowerState        `json:"power_state,omitempty" cbor:"1,keyasint,omitempty"`
	BootConfiguration *BootStatus        `json:"boot_configuration,omitempty" cbor:"2,keyasint,omitempty"`
	NetworkInterfaces []NetworkInterface `json:"network_interfaces,omitempty" cbor:"3,keyasint,omitempty"`
	ExtendedData      Object             `json:"extended_data,omitempty" cbor:"4,keyasint,omitempty"`
}

// PowerState is whether a node is on.
type PowerState struct {
	On          bool      `json:"on" cbor:"1,keyasint"`
	LastUpdated time.Time `json:"last_updated,omitzero" cbor:"2,keyasint,omitzero"`
}

// BootStatus is what a node booted last.
type BootStatus struct {
	BootData    *BootData `json:"boot_data,omitempty" cbor:"1,keyasint,omitempty"`
	LastUpdated time.Time `json:"last_updated,omitzero" cbor:"2,keyasint,omitzero"`
}
