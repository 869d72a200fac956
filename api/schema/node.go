package schema

import (
	"time"

	"github.com/orchd/orchd/api/inventory"
)

var computeNode = fields[inventory.ComputeNode]{
	{"id", readOnly | isUUID, "Given by the server", text(func(n *inventory.ComputeNode) *string { return &n.ID })},
	{"hostname", required | notEmpty, "Not unique", text(func(n *inventory.ComputeNode) *string { return &n.Hostname })},
	{"architecture", required | notEmpty, "x86_64, arm64, ...", text(func(n *inventory.ComputeNode) *string { return &n.Architecture })},
	{"xname", isNodeName, "Where it stands, as x1000c4s4b1n1; unique; chassis, slot, BMC and node number at most 255; the same as location_string",
		text(func(n *inventory.ComputeNode) *string { return &n.XName })},
	{"location_string", isNodeName, "The same as xname: give either; answers have both",
		text(func(n *inventory.ComputeNode) *string { return &n.LocationString })},
	{"boot_mac", isMAC, "MAC address that it boots from; belongs to one node", text(func(n *inventory.ComputeNode) *string { return &n.BootMAC })},
	{"boot_ipv4_address", isIPv4, "IPv4 address that it boots with", text(func(n *inventory.ComputeNode) *string { return &n.BootIPv4 })},
	{"boot_ipv6_address", isIPv6, "IPv6 address that it boots with", text(func(n *inventory.ComputeNode) *string { return &n.BootIPv6 })},
	{"network_interfaces", 0, "Its ports", ports(func(n *inventory.ComputeNode) *[]inventory.NetworkInterface { return &n.NetworkInterfaces })},
	{"bmc", 0, "Its management controller; one whose xname or MAC is known is that one; left out: the one that the xname implies",
		inner(func(n *inventory.ComputeNode) **inventory.BMC { return &n.BMC }, readBMC)},
	{"description", 0, "For people", text(func(n *inventory.ComputeNode) *string { return &n.Description })},
	{"boot_data", 0, "What it boots", inner(func(n *inventory.ComputeNode) **inventory.BootData { return &n.BootData }, bootData.into)},
	{"cloud_init_data", writeOnly, "What cloud-init reads at its first boot; left out it stays as it is, empty takes it away",
		inner(func(n *inventory.ComputeNode) **inventory.CloudInit { return &n.CloudInit }, cloudInit.into)},
	{"spec", 0, "What users want of it", inner(func(n *inventory.ComputeNode) **inventory.NodeSpec { return &n.Spec }, nodeSpec.into)},
	{"status", 0, "What controllers have seen of it; only they write it",
		inner(func(n *inventory.ComputeNode) **inventory.NodeStatus { return &n.Status }, nodeStatus.into)},
	{"version", readOnly, "Counts the changes of this object", count(func(n *inventory.ComputeNode) *uint64 { return &n.Version })},
	{"created_at", readOnly, "When it was made", moment(func(n *inventory.ComputeNode) *time.Time { return &n.CreatedAt })},
	{"updated_at", readOnly, "When it was changed last", moment(func(n *inventory.ComputeNode) *time.Time { return &n.UpdatedAt })},
}

var networkInterface = fields[inventory.NetworkInterface]{
	{"interface_name", required | notEmpty, "As the system names it: eth0, ib1, ...; not unique",
		text(func(i *inventory.NetworkInterface) *string { return &i.InterfaceName })},
	{"mac_address", required | notEmpty | isMAC, "Belongs to one node or one BMC", text(func(i *inventory.NetworkInterface) *string { return &i.MACAddress })},
	{"ipv4_address", isIPv4, "IPv4 address", other(func(i *inventory.NetworkInterface) *string { return &i.IPv4Address })},
	{"ip_address", isIPv4, "Another name of ipv4_address, which answers have", other(func(i *inventory.NetworkInterface) *string { return &i.IPv4Address })},
	{"ipv6_address", isIPv6, "IPv6 address", text(func(i *inventory.NetworkInterface) *string { return &i.IPv6Address })},
	{"description", 0, "For people", text(func(i *inventory.NetworkInterface) *string { return &i.Description })},
	{"serial", 0, "Serial number", text(func(i *inventory.NetworkInterface) *string { return &i.Serial })},
	{"model", 0, "Model", text(func(i *inventory.NetworkInterface) *string { return &i.Model })},
	{"manufacturer", 0, "Manufacturer", text(func(i *inventory.NetworkInterface) *string { return &i.Manufacturer })},
	{"firmware_version", 0, "Version of its firmware", text(func(i *inventory.NetworkInterface) *string { return &i.FirmwareVersion })},
	{"extended_data", 0, "Anything else; kept as it is", object(func(i *inventory.NetworkInterface) *inventory.Object { return &i.ExtendedData })},
}

// maxPorts is how many network interfaces a node may have, and its spec and status each.
const maxPorts = 1024

// ports reads the network interfaces of a node, or of a part of it.
func ports[T any](at func(*T) *[]inventory.NetworkInterface) func(*scanner, trait, *T) bool {
	read := list(at, networkInterface.into)
	return func(s *scanner, is trait, v *T) bool { return read(s, is, v) && len(*at(v)) <= maxPorts }
}

var bootData = fields[inventory.BootData]{
	{"id", isUUID, "Its own UUID", text(func(b *inventory.BootData) *string { return &b.ID })},
	{"kernel_url", 0, "Where the kernel is", text(func(b *inventory.BootData) *string { return &b.KernelURL })},
	{"kernel_command_line", 0, "Arguments of the kernel", text(func(b *inventory.BootData) *string { return &b.KernelCommandLine })},
	{"image_url", 0, "Where the image, or initial ramdisk, is", text(func(b *inventory.BootData) *string { return &b.ImageURL })},
}

var cloudInit = fields[inventory.CloudInit]{
	{"id", isUUID, "Its own UUID", text(func(c *inventory.CloudInit) *string { return &c.ID })},
	{"userdata", 0, "A text or an object", textOrObject(func(c *inventory.CloudInit) *inventory.Object { return &c.UserData })},
	{"metadata", 0, "A text or an object", textOrObject(func(c *inventory.CloudInit) *inventory.Object { return &c.MetaData })},
	{"vendordata", 0, "A text or an object", textOrObject(func(c *inventory.CloudInit) *inventory.Object { return &c.VendorData })},
}

var nodeSpec = fields[inventory.NodeSpec]{
	{"hostname", 0, "Name that it should have", text(func(n *inventory.NodeSpec) *string { return &n.Hostname })},
	{"boot_mac", isMAC, "MAC address that it should boot from", text(func(n *inventory.NodeSpec) *string { return &n.BootMAC })},
	{"boot_ipv4_address", isIPv4, "IPv4 address that it should boot with", text(func(n *inventory.NodeSpec) *string { return &n.BootIPv4 })},
	{"boot_ipv6_address", isIPv6, "IPv6 address that it should boot with", text(func(n *inventory.NodeSpec) *string { return &n.BootIPv6 })},
	{"bmc_endpoint", 0, "Where its BMC is reached", text(func(n *inventory.NodeSpec) *string { return &n.BMCEndpoint })},
	{"bmc_username", 0, "Name to log in to its BMC with", text(func(n *inventory.NodeSpec) *string { return &n.BMCUsername })},
	{"bmc_password", writeOnly, "Left out it stays as it is, empty takes it away", secret(func(n *inventory.NodeSpec) **string { return &n.BMCPassword })},
	{"network_interfaces", 0, "Ports that it should have", ports(func(n *inventory.NodeSpec) *[]inventory.NetworkInterface { return &n.NetworkInterfaces })},
	{"boot_configuration", 0, "Name of the boot configuration that it should have", text(func(n *inventory.NodeSpec) *string { return &n.BootConfiguration })},
}

var nodeStatus = fields[inventory.NodeStatus]{
	{"power_state", 0, "Whether it is on", inner(func(n *inventory.NodeStatus) **inventory.PowerState { return &n.PowerState }, powerState.into)},
	{"boot_configuration", 0, "What it booted last", inner(func(n *inventory.NodeStatus) **inventory.BootStatus { return &n.BootConfiguration }, bootStatus.into)},
	{"network_interfaces", 0, "Ports that were seen", ports(func(n *inventory.NodeStatus) *[]inventory.NetworkInterface { return &n.NetworkInterfaces })},
	{"extended_data", 0, "Anything else; kept as it is", object(func(n *inventory.NodeStatus) *inventory.Object { return &n.ExtendedData })},
}

var powerState = fields[inventory.PowerState]{
	{"on", 0, "Whether it is on", truth(func(p *inventory.PowerState) *bool { return &p.On })},
	{"last_updated", 0, "When this was seen", moment(func(p *inventory.PowerState) *time.Time { return &p.LastUpdated })},
}

var bootStatus = fields[inventory.BootStatus]{
	{"boot_data", 0, "What it booted", inner(func(b *inventory.BootStatus) **inventory.BootData { return &b.BootData }, bootData.into)},
	{"last_updated", 0, "When this was seen", moment(func(b *inventory.BootStatus) *time.Time { return &b.LastUpdated })},
}

// readNode reads a whole node and settles its two names.
func readNode(s *scanner, n *inventory.ComputeNode) bool {
	return computeNode.into(s, n) && oneName(&n.XName, &n.LocationString)
}
