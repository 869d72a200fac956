package smd

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// TestCheckedTellsEveryFault looks for all that is wrong with a component at once.
func TestCheckedTellsEveryFault(t *testing.T) {
	_, err := ComponentPost{Component: Component{ID: "x1c0s0b0n0", State: "Happy", Role: "compute", Arch: "6502", SoftwareStatus: strings.Repeat("s", maxText+1)}}.Checked("/Components/3")
	e, ok := err.(*api.Error)
	if !ok || e.Kind != api.Invalid {
		t.Fatalf("got %v, want Invalid", err)
	}
	var pointers []string
	for _, f := range e.Fields {
		pointers = append(pointers, f.Pointer)
	}
	if got, want := strings.Join(pointers, " "), "/Components/3/State /Components/3/Arch /Components/3/SoftwareStatus"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUsualMAC(t *testing.T) {
	for mac, want := range map[string]string{
		"02:00:00:00:00:0a": "02:00:00:00:00:0a", "02:00:00:00:00:0A": "02:00:00:00:00:0a", "02-00-00-00-00-0A": "02:00:00:00:00:0a",
		"02000000000A": "02:00:00:00:00:0a", "0200.0000.000a": "02:00:00:00:00:0a", "": "", "eth0": "eth0", "00:00:00:00:00:00": "00:00:00:00:00:00",
	} {
		if got := UsualMAC(mac); got != want {
			t.Errorf("%q: got %q, want %q", mac, got, want)
		}
	}
}

// FuzzComponentBody: a component is refused as the client's fault, or what is made
// of it is taken again and stays as it is.
func FuzzComponentBody(f *testing.F) {
	for _, seed := range []string{`{}`, `{"ID":"x1c0s0b0n0","State":"on","NID":"7","Role":"COMPUTE"}`, `{"id":"X01","Enabled":null,"NID":0}`, `{"ID":"s0","Class":"Other","Locked":true}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var post ComponentPost
		err := Decode(body, &post)
		if err != nil {
			if !api.IsKind(err, api.Malformed) {
				t.Fatal(err)
			}
			return
		}
		c, err := post.Checked("")
		if err != nil {
			if !api.IsKind(err, api.Invalid) {
				t.Fatal(err)
			}
			return
		}
		shown, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again ComponentPost
		if err := Decode(shown, &again); err != nil {
			t.Fatalf("%s: %v", shown, err)
		}
		same, err := again.Checked("")
		if err != nil || !reflect.DeepEqual(same, c) {
			t.Fatalf("%s: got %+v, %v; want %+v", shown, same, err, c)
		}
	})
}

func TestTooManyAddresses(t *testing.T) {
	i := EthernetInterface{MACAddress: "02:00:00:00:00:01", IPAddresses: make([]IPAddress, maxAddresses+1)}
	_, posted := i.Checked()
	_, patched := InterfacePatch{IPAddresses: &i.IPAddresses}.Checked()
	for _, err := range []error{posted, patched} {
		if e, ok := err.(*api.Error); !ok || e.Kind != api.Invalid || e.Fields[0].Pointer != "/IPAddresses" {
			t.Errorf("got %v, want Invalid at /IPAddresses", err)
		}
	}
}

// TestTextsAreWhatOtherViewsShow refuses what the inventory's routes would not take back.
func TestTextsAreWhatOtherViewsShow(t *testing.T) {
	const bad = "a\x1b[31m"
	long := strings.Repeat("d", maxText+1)
	mac := "02:00:00:00:00:01"
	_, label := Group{Label: bad}.Checked()
	_, exclusive := Group{Label: "a", ExclusiveGroup: bad}.Checked()
	_, tag := Group{Label: "a", Tags: []string{"t", bad}}.Checked()
	_, name := PartitionOf{Name: bad}.Checked()
	_, about := PartitionOf{Name: "a", Description: long}.Checked()
	_, patched := GroupPatch{Description: new(bad)}.Checked()
	_, patchedTag := GroupPatch{Tags: &[]string{"\xff"}}.Checked()
	_, posted := EthernetInterface{MACAddress: mac, Description: bad}.Checked()
	_, changed := InterfacePatch{Description: new(bad)}.Checked()
	for pointer, errs := range map[string][]error{"/label": {label}, "/exclusiveGroup": {exclusive}, "/tags/1": {tag}, "/name": {name},
		"/description": {about, patched}, "/tags/0": {patchedTag}, "/Description": {posted, changed}} {
		for _, err := range errs {
			if e, ok := err.(*api.Error); !ok || e.Kind != api.Invalid || e.Fields[0].Pointer != pointer {
				t.Errorf("got %v, want Invalid at %s", err, pointer)
			}
		}
	}
	if _, err := (GroupPatch{Description: new("two\nlines"), Tags: &[]string{}}).Checked(); err != nil {
		t.Error(err)
	}
}
