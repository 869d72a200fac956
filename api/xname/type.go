package xname

import (
	"slices"
	"strings"
)

// Type says what kind of place or part a name stands for. Its text is what
// the inventory APIs write in a component's Type.
type Type string

// The types that a name can have. Each shows the form of its names, where a
// capital letter stands for a number.
const (
	All                      Type = "All"                      // all: every component and service
	AllComp                  Type = "AllComp"                  // all_comp: every component
	AllSvc                   Type = "AllSvc"                   // all_svc: every service
	CDU                      Type = "CDU"                      // dD, a cooling distribution unit
	CDUMgmtSwitch            Type = "CDUMgmtSwitch"            // dDwW
	CEC                      Type = "CEC"                      // xXeE, a cabinet environmental controller
	CMMFpga                  Type = "CMMFpga"                  // xXcCfF, of a chassis management module
	CMMRectifier             Type = "CMMRectifier"             // xXcCtT
	Cabinet                  Type = "Cabinet"                  // xX
	CabinetBMC               Type = "CabinetBMC"               // xXbB
	CabinetCDU               Type = "CabinetCDU"               // xXdD
	CabinetPDU               Type = "CabinetPDU"               // xXmMpP, a power distribution unit
	CabinetPDUController     Type = "CabinetPDUController"     // xXmM
	CabinetPDUNic            Type = "CabinetPDUNic"            // xXmMiI
	CabinetPDUOutlet         Type = "CabinetPDUOutlet"         // xXmMpPjJ, the older form of a power connector
	CabinetPDUPowerConnector Type = "CabinetPDUPowerConnector" // xXmMpPvV
	Chassis                  Type = "Chassis"                  // xXcC
	ChassisBMC               Type = "ChassisBMC"               // xXcCbB
	ChassisBMCNic            Type = "ChassisBMCNic"            // xXcCbBiI
	ComputeModule            Type = "ComputeModule"            // xXcCsS, a slot or blade
	Drive                    Type = "Drive"                    // xXcCsSbBnNgGkK
	HSNAsic                  Type = "HSNAsic"                  // xXcCrRaA, of the high-speed network
	HSNBoard                 Type = "HSNBoard"                 // xXcCrReE
	HSNConnector             Type = "HSNConnector"             // xXcCrRjJ
	HSNConnectorPort         Type = "HSNConnectorPort"         // xXcCrRjJpP
	HSNLink                  Type = "HSNLink"                  // xXcCrRaAlL
	Invalid                  Type = "INVALID"                  // no name at all
	Memory                   Type = "Memory"                   // xXcCsSbBnNdD
	MgmtHLSwitch             Type = "MgmtHLSwitch"             // xXcChHsS, a high-level management switch
	MgmtHLSwitchEnclosure    Type = "MgmtHLSwitchEnclosure"    // xXcChH
	MgmtSwitch               Type = "MgmtSwitch"               // xXcCwW
	MgmtSwitchConnector      Type = "MgmtSwitchConnector"      // xXcCwWjJ
	Node                     Type = "Node"                     // xXcCsSbBnN
	NodeAccel                Type = "NodeAccel"                // xXcCsSbBnNaA
	NodeAccelRiser           Type = "NodeAccelRiser"           // xXcCsSbBnNrR
	NodeBMC                  Type = "NodeBMC"                  // xXcCsSbB
	NodeBMCNic               Type = "NodeBMCNic"               // xXcCsSbBiI
	NodeEnclosure            Type = "NodeEnclosure"            // xXcCsSeE
	NodeEnclosurePowerSupply Type = "NodeEnclosurePowerSupply" // xXcCsSeEtT
	NodeFpga                 Type = "NodeFpga"                 // xXcCsSbBfF
	NodeHsnNic               Type = "NodeHsnNic"               // xXcCsSbBnNhH
	NodeNic                  Type = "NodeNic"                  // xXcCsSbBnNiI
	NodePowerConnector       Type = "NodePowerConnector"       // xXcCsSvV, formerly xXcCsSjJ
	Partition                Type = "Partition"                // pH, or pH.S for a soft partition of a hard one
	Processor                Type = "Processor"                // xXcCsSbBnNpP
	RouterBMC                Type = "RouterBMC"                // xXcCrRbB
	RouterBMCNic             Type = "RouterBMCNic"             // xXcCrRbBiI
	RouterFpga               Type = "RouterFpga"               // xXcCrRfF
	RouterModule             Type = "RouterModule"             // xXcCrR
	RouterPowerConnector     Type = "RouterPowerConnector"     // xXcCrRvV
	RouterTOR                Type = "RouterTOR"                // xXcCrRtT, top of rack
	RouterTORFpga            Type = "RouterTORFpga"            // xXcCrRtTfF
	SMSBox                   Type = "SMSBox"                   // smsN, a system management server
	StorageGroup             Type = "StorageGroup"             // xXcCsSbBnNgG
	System                   Type = "System"                   // s0, the whole machine
	VirtualNode              Type = "VirtualNode"              // xXcCsSbBnNvV, on the node that is its hypervisor
)

// types is what SMD's service/values lists, in its order.
var types = []Type{
	All, AllComp, AllSvc, CDU, CDUMgmtSwitch, CEC, CMMFpga, CMMRectifier,
	Cabinet, CabinetBMC, CabinetCDU, CabinetPDU, CabinetPDUController,
	CabinetPDUNic, CabinetPDUOutlet, CabinetPDUPowerConnector, Chassis,
	ChassisBMC, ChassisBMCNic, ComputeModule, Drive, HSNAsic, HSNBoard,
	HSNConnector, HSNConnectorPort, HSNLink, Invalid, Memory, MgmtHLSwitch,
	MgmtHLSwitchEnclosure, MgmtSwitch, MgmtSwitchConnector, Node, NodeAccel,
	NodeAccelRiser, NodeBMC, NodeBMCNic, NodeEnclosure,
	NodeEnclosurePowerSupply, NodeFpga, NodeHsnNic, NodeNic,
	NodePowerConnector, Partition, Processor, RouterBMC, RouterBMCNic,
	RouterFpga, RouterModule, RouterPowerConnector, RouterTOR, RouterTORFpga,
	SMSBox, StorageGroup, System, VirtualNode,
}

// Types lists every type, Invalid too, in the order of SMD's service/values
// (ASCII order). The slice is the caller's own.
func Types() []Type { return slices.Clone(types) }

// shapes gives the type for the letters of a name, where each letter has one number.
var shapes = map[string]Type{
	"d":  CDU,
	"dw": CDUMgmtSwitch,

	"x":    Cabinet,
	"xb":   CabinetBMC,
	"xd":   CabinetCDU,
	"xe":   CEC,
	"xm":   CabinetPDUController,
	"xmi":  CabinetPDUNic,
	"xmp":  CabinetPDU,
	"xmpj": CabinetPDUOutlet,
	"xmpv": CabinetPDUPowerConnector,

	"xc":   Chassis,
	"xcb":  ChassisBMC,
	"xcbi": ChassisBMCNic,
	"xcf":  CMMFpga,
	"xct":  CMMRectifier,
	"xch":  MgmtHLSwitchEnclosure,
	"xchs": MgmtHLSwitch,
	"xcw":  MgmtSwitch,
	"xcwj": MgmtSwitchConnector,

	"xcs":     ComputeModule,
	"xcse":    NodeEnclosure,
	"xcset":   NodeEnclosurePowerSupply,
	"xcsj":    NodePowerConnector,
	"xcsv":    NodePowerConnector,
	"xcsb":    NodeBMC,
	"xcsbf":   NodeFpga,
	"xcsbi":   NodeBMCNic,
	"xcsbn":   Node,
	"xcsbna":  NodeAccel,
	"xcsbnd":  Memory,
	"xcsbng":  StorageGroup,
	"xcsbngk": Drive,
	"xcsbnh":  NodeHsnNic,
	"xcsbni":  NodeNic,
	"xcsbnp":  Processor,
	"xcsbnr":  NodeAccelRiser,
	"xcsbnv":  VirtualNode,

	"xcr":   RouterModule,
	"xcra":  HSNAsic,
	"xcral": HSNLink,
	"xcrb":  RouterBMC,
	"xcrbi": RouterBMCNic,
	"xcre":  HSNBoard,
	"xcrf":  RouterFpga,
	"xcrj":  HSNConnector,
	"xcrjp": HSNConnectorPort,
	"xcrt":  RouterTOR,
	"xcrtf": RouterTORFpga,
	"xcrv":  RouterPowerConnector,
}

const (
	longestShape = len("xcsbngk")
	maxDigits    = 5 // of a number in a name, without leading zeros
)

// TypeOf recognises a name, in any case and with any leading zeros, by its
// letters. What is no name is Invalid. Numbers may have five digits; the
// system is s0 and no other s. For a canonical name it does not allocate.
func TypeOf(s string) Type { return typeOfCanonical(Canonical(s)) }

// ValidComponent reports whether s may be the ID of a component on the SMD
// routes: whether it has a type. That includes all that ParseNode and ParseBMC take.
func ValidComponent(s string) bool { return TypeOf(s) != Invalid }

func typeOfCanonical(c string) Type {
	if strings.HasPrefix(c, "x") || strings.HasPrefix(c, "d") {
		return typeOfPlace(c)
	}
	switch c {
	case "all":
		return All
	case "all_comp":
		return AllComp
	case "all_svc":
		return AllSvc
	case "s0":
		return System
	}
	if n, ok := strings.CutPrefix(c, "sms"); ok && isNumber(n) {
		return SMSBox
	}
	if n, ok := strings.CutPrefix(c, "p"); ok {
		hard, soft, both := strings.Cut(n, ".")
		if isNumber(hard) && (!both || isNumber(soft)) {
			return Partition
		}
	}
	return Invalid
}

// typeOfPlace recognises what is made of pairs of one letter and one number.
func typeOfPlace(c string) Type {
	var letters [longestShape]byte
	n := 0
	for rest := c; rest != ""; n++ {
		if n == len(letters) {
			return Invalid
		}
		letters[n] = rest[0]
		count := digits(rest[1:])
		if count == 0 || count > maxDigits {
			return Invalid
		}
		rest = rest[1+count:]
	}
	// The compiler looks the bytes up without making a string of them.
	if t, known := shapes[string(letters[:n])]; known {
		return t
	}
	return Invalid
}

// isNumber reports whether all of s is one number of a name.
func isNumber(s string) bool {
	return s != "" && len(s) <= maxDigits && digits(s) == len(s)
}
