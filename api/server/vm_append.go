package server

import (
	"io"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// The JSON of a virtual machine, written by hand: a page may have ten thousand of
// them, and encoding/json takes several times as long. As appendNode, it is the same
// JSON, byte by byte, and a test compares.

// vmPage is an api.Page of virtual machines that is made while it is sent: to collect ten
// thousand first leaves megabytes behind with each answer, and the collector, when it comes,
// doubles the time of the one that is under way.
type vmPage struct {
	paging Paging
	rows   iter.Seq[api.VM] // those behind the cursor
	keep   func(api.VM) bool
}

// Schema is that of what is sent.
func (vmPage) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[api.Page[api.VM]](), true, "")
}

// sendVMs writes a page while it is made.
func sendVMs(w io.Writer, page vmPage) error {
	buf := append(make([]byte, 0, sendAt+sendAt/8), `{"items":[`...)
	n, last, next := 0, "", ""
	for vm := range page.rows {
		if !page.keep(vm) {
			continue
		}
		if n == page.paging.Limit {
			next = cursorBehind(last)
			break
		}
		if n > 0 {
			buf = append(buf, ',')
		}
		n, last = n+1, vm.ID
		if buf = appendVM(buf, &vm); len(buf) < sendAt {
			continue
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		buf = buf[:0]
	}
	buf = appendText(append(buf, `],"next":`...), next)
	_, err := w.Write(append(buf, "}\n"...))
	return err
}

// appendVM appends the JSON of a virtual machine.
func appendVM(to []byte, vm *api.VM) []byte {
	o := jsonObject{append(to, '{')}
	o.mustText(`"id":`, vm.ID)
	o.mustText(`"name":`, vm.Name)
	o.mustText(`"account":`, vm.Account)
	o.words(`"labels":`, vm.Labels)
	o.yes(`"protected":`, vm.Protected)
	o.name(`"spec":`)
	o.vmSpec(&vm.Spec)
	o.name(`"status":`)
	o.vmStatus(&vm.Status)
	o.mustNumber(`"version":`, vm.Version)
	o.mustTime(`"created_at":`, vm.CreatedAt)
	o.mustTime(`"updated_at":`, vm.UpdatedAt)
	return append(o.to, '}')
}

func (o *jsonObject) vmSpec(s *api.VMSpec) {
	o.to = append(o.to, '{')
	o.text(`"size":`, s.Size)
	o.amount(`"vcpus":`, s.VCPUs)
	o.amount(`"memory_mib":`, s.MemoryMiB)
	o.amount(`"disk_gib":`, s.DiskGiB)
	o.text(`"image":`, s.Image)
	o.text(`"network":`, s.Network)
	o.texts(`"ssh_keys":`, s.SSHKeys)
	o.text(`"user_data":`, s.UserData)
	o.placement(`"placement":`, &s.Placement)
	o.text(`"restart":`, string(s.Restart))
	o.to = append(o.to, '}')
}

func (o *jsonObject) vmStatus(s *api.VMStatus) {
	o.to = append(o.to, '{')
	o.mustText(`"owner":`, s.Owner)
	o.mustText(`"owner_id":`, s.OwnerID)
	o.mustNumber(`"epoch":`, s.Epoch)
	o.yes(`"begun":`, s.Begun)
	o.mustText(`"state":`, string(s.State))
	o.mustText(`"desired":`, string(s.Desired))
	o.yes(`"force":`, s.Force)
	o.text(`"reason":`, s.Reason)
	o.text(`"operation":`, s.Operation)
	list(o, `"addresses":`, s.Addresses, (*jsonObject).address)
	list(o, `"ssh_host_keys":`, s.SSHHostKeys, (*jsonObject).hostKey)
	o.yes(`"restarting":`, s.Restarting)
	o.amount(`"stop_seconds":`, s.StopSeconds)
	o.yes(`"suspended":`, s.Suspended)
	o.yes(`"has_user_data":`, s.HasUserData)
	o.texts(`"flags":`, s.Flags)
	o.texts(`"doubles":`, s.Doubles)
	o.to = append(o.to, '}')
}

func (o *jsonObject) placement(name string, p *api.Placement) {
	if p.IsZero() {
		return
	}
	o.name(name)
	o.to = append(o.to, '{')
	o.text(`"peer":`, p.Peer)
	o.words(`"labels":`, p.Labels)
	o.text(`"group":`, p.Group)
	o.text(`"spread":`, p.Spread)
	o.text(`"spread_label":`, p.SpreadLabel)
	o.text(`"with":`, p.With)
	o.text(`"apart_from":`, p.ApartFrom)
	o.to = append(o.to, '}')
}

func (o *jsonObject) address(a *api.VMAddress) {
	o.mustText(`"ip":`, a.IP)
	o.mustText(`"mac":`, a.MAC)
	o.mustText(`"network":`, a.Network)
	o.time(`"seen_at":`, a.SeenAt)
}

func (o *jsonObject) hostKey(k *api.HostKey) {
	o.mustText(`"type":`, k.Type)
	o.mustText(`"key":`, k.Key)
	o.mustText(`"fingerprint":`, k.Fingerprint)
}

// list adds a list of objects that is not empty.
func list[T any](o *jsonObject, name string, all []T, members func(*jsonObject, *T)) {
	if len(all) == 0 {
		return
	}
	o.name(name)
	between := byte('[')
	for k := range all {
		o.to = append(o.to, between, '{')
		members(o, &all[k])
		o.to = append(o.to, '}')
		between = ','
	}
	o.to = append(o.to, ']')
}

// words adds a map of texts that is not empty, in the order of its keys.
func (o *jsonObject) words(name string, all map[string]string) {
	if len(all) == 0 {
		return
	}
	o.name(name)
	o.to = append(o.to, '{')
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if o.to[len(o.to)-1] != '{' {
			o.to = append(o.to, ',')
		}
		o.to = appendText(append(appendText(o.to, key), ':'), all[key])
	}
	o.to = append(o.to, '}')
}

// texts adds a list of texts that is not empty.
func (o *jsonObject) texts(name string, all []string) {
	if len(all) == 0 {
		return
	}
	o.name(name)
	between := byte('[')
	for _, s := range all {
		o.to = appendText(append(o.to, between), s)
		between = ','
	}
	o.to = append(o.to, ']')
}

// yes adds what is true.
func (o *jsonObject) yes(name string, v bool) {
	if v {
		o.name(name)
		o.to = append(o.to, "true"...)
	}
}

// amount adds a number that is not 0.
func (o *jsonObject) amount(name string, v int64) {
	if v != 0 {
		o.name(name)
		o.to = strconv.AppendInt(o.to, v, 10)
	}
}

// mustNumber adds a number.
func (o *jsonObject) mustNumber(name string, v uint64) {
	o.name(name)
	o.to = strconv.AppendUint(o.to, v, 10)
}
