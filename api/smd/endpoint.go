package smd

import (
	"time"

	"github.com/orchd/orchd/api/inventory"
)

// RedfishEndpoint is a BMC that speaks Redfish.
type RedfishEndpoint struct {
	ID                 string         `json:"ID"`
	Type               string         `json:"Type"`
	Name               string         `json:"Name,omitempty"`
	Hostname           string         `json:"Hostname"`
	Domain             string         `json:"Domain"`
	FQDN               string         `json:"FQDN"`
	Enabled            *bool          `json:"Enabled,omitempty"` // in answers always there
	UUID               string         `json:"UUID,omitempty"`
	URI                string         `json:"URI,omitempty"`
	User               string         `json:"User"`
	Password           string         `json:"Password"` // taken in, never given out: always empty in answers
	UseSSDP            bool           `json:"UseSSDP,omitempty"`
	MACRequired        bool           `json:"MACRequired,omitempty"`
	MACAddr            string         `json:"MACAddr,omitempty"`
	IPAddress          string         `json:"IPAddress,omitempty"`
	RediscoverOnUpdate bool           `json:"RediscoverOnUpdate"`
	TemplateID         string         `json:"TemplateID,omitempty"`
	DiscoveryInfo      *DiscoveryInfo `json:"DiscoveryInfo,omitempty"`
}

// DiscoveryInfo is how the last look at an endpoint went.
type DiscoveryInfo struct {
	LastAttempt    time.Time `json:"LastAttempt,omitzero"`
	LastStatus     string    `json:"LastDiscoveryStatus"`
	RedfishVersion string    `json:"RedfishVersion,omitempty"`
}

// DiscoveryStatuses are the words of DiscoveryInfo.LastStatus.
var DiscoveryStatuses = []string{
	"EndpointInvalid", "EPResponseFailedDecode", "HTTPsGetFailed", "NotYetQueried", "VerificationFailed", "ChildVerificationFailed", "DiscoverOK",
}

// ComponentEndpoint is what a Redfish endpoint said of one component.
type ComponentEndpoint struct {
	ID                  string             `json:"ID"`
	Type                string             `json:"Type"`
	RedfishType         string             `json:"RedfishType"`
	RedfishSubtype      string             `json:"RedfishSubtype"`
	UUID                string             `json:"UUID,omitempty"`
	OdataID             string             `json:"OdataID"`
	RedfishEndpointID   string             `json:"RedfishEndpointID"`
	Enabled             *bool              `json:"Enabled,omitempty"`
	RedfishEndpointFQDN string             `json:"RedfishEndpointFQDN"`
	RedfishURL          string             `json:"RedfishURL"`
	EndpointType        string             `json:"ComponentEndpointType"`
	SystemInfo          *RedfishSystemInfo `json:"RedfishSystemInfo,omitempty"`
}

// RedfishSystemInfo is what Redfish tells of a computer system.
type RedfishSystemInfo struct {
	Name            string            `json:"Name"`
	Actions         JSON              `json:"Actions,omitempty"`
	EthernetNICInfo []EthernetNICInfo `json:"EthernetNICInfo,omitempty"`
}

// EthernetNICInfo is what Redfish tells of a port.
type EthernetNICInfo struct {
	RedfishID        string `json:"RedfishId"`
	OdataID          string `json:"@odata.id"`
	Description      string `json:"Description"`
	InterfaceEnabled *bool  `json:"InterfaceEnabled,omitempty"`
	MACAddress       string `json:"MACAddress"`
}

// JSON is a piece of JSON that is kept and not looked into.
type JSON = inventory.Object
