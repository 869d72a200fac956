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

// NetworkInterface is a port of a node. Its MAC belongs to one node or one BMC.
type NetworkInterface struct {
	InterfaceName   string `json:"interface_name"`
	MACAddress      string `json:"mac_address"`
	IPv4Address     string `json:"ipv4_address,omitempty"`
	IPv6Address     string `json:"ipv6_address,omitempty"`
	Description     string `json:"description,omitempty"`
	Serial          string `json:"serial,omitempty"`
	Model           string `json:"model,omitempty"`
	Manufacturer    string `json:"manufacturer,omitempty"`
	FirmwareVersion string `json:"firmware_version,omitempty"`
	ExtendedData    Object `json:"extended_data,omitempty"`
}

// BootData is what a node boots.
type BootData struct {
	ID                string `json:"id,omitempty"`
	KernelURL         string `json:"kernel_url,omitempty"`
	KernelCommandLine string `json:"kernel_command_line,omitempty"`
	ImageURL          string `json:"image_url,omitempty"`
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
	PowerState        *PowerState        `json:"power_state,omitempty"`
	BootConfiguration *BootStatus        `json:"boot_configuration,omitempty"`
	NetworkInterfaces []NetworkInterface `json:"network_interfaces,omitempty"`
	ExtendedData      Object             `json:"extended_data,omitempty"`
}

// PowerState is whether a node is on.
type PowerState struct {
	On          bool      `json:"on"`
	LastUpdated time.Time `json:"last_updated,omitzero"`
}

// BootStatus is what a node booted last.
type BootStatus struct {
	BootData    *BootData `json:"boot_data,omitempty"`
	LastUpdated time.Time `json:"last_updated,omitzero"`
}
