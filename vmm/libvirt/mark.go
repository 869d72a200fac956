package libvirt

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// orchd's element in a domain's metadata.
const (
	namespace   = "https://github.com/orchd/orchd/domain/1"
	markElement = "vm"
	markKey     = "orchd" // the prefix that libvirt writes it with
)

// markXML is a vmm.Mark inside a domain, with the VM's record.
type markXML struct {
	XMLName xml.Name // in our namespace when written; libvirt gives it back without
	Cluster string   `xml:"cluster,attr"`
	VM      string   `xml:"id,attr"`
	Epoch   uint64   `xml:"epoch,attr"`
	Spec    string   `xml:"spec,attr"`
	Adopted bool     `xml:"adopted,attr,omitempty"` // orchd did not make the domain: it changes in it only what it must
	Filter  string   `xml:"filter,attr,omitempty"`  // what its interface is to be filtered by, whether this host could or not
	Record  string   `xml:"record,omitempty"`       // api.VM in JSON of plain ASCII
}

// marked is all that orchd's element says.
type marked struct {
	mark    vmm.Mark
	adopted bool
	filter  string // a filter's name and the addresses that it lets through
	record  string
}

// markText is the element, as it is put into a domain.
func markText(m marked) (string, error) {
	text, err := xml.Marshal(markXML{xml.Name{Space: namespace, Local: markElement},
		m.mark.Cluster, m.mark.VM, m.mark.Epoch, m.mark.Spec, m.adopted, m.filter, m.record})
	return string(text), err
}

// parseMark reads the element that libvirt gives for our namespace.
func parseMark(element string) (marked, error) {
	var m markXML
	if err := xml.Unmarshal([]byte(element), &m); err != nil {
		return marked{}, err
	}
	if m.XMLName.Local != markElement || m.VM == "" {
		return marked{}, errors.New("libvirt: the metadata is no mark of orchd's")
	}
	return marked{vmm.Mark{Cluster: m.Cluster, VM: m.VM, Epoch: m.Epoch, Spec: m.Spec}, m.Adopted, m.Filter, m.Record}, nil
}

// recordText is a VM as its domain keeps it: without secrets, and in ASCII, which
// XML holds whatever a user has written.
func recordText(vm api.VM) (string, error) {
	if vm.ID == "" {
		return "", nil
	}
	vm.Spec.UserData = ""
	text, err := json.Marshal(vm)
	if err != nil {
		return "", api.Errorf(api.Invalid, "libvirt.mark", "the VM's record cannot be written: %w", err)
	}
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default: // a surrogate pair
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return b.String(), nil
}

// recordOf reads that again; nil if there is none that reads.
func recordOf(text string) *api.VM {
	var vm api.VM
	if text == "" || json.Unmarshal([]byte(text), &vm) != nil || vm.ID == "" {
		return nil
	}
	return &vm
}
