package schema

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestSchemasAreAsPublished(t *testing.T) {
	for _, kind := range Kinds() {
		got, ok := Of(kind)
		if !ok {
			t.Fatalf("no schema of %s", kind)
		}
		path := filepath.Join("testdata", "schemas", kind+".json")
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs (go test -update writes it anew)\ngot:\n%s", path, got)
		}
	}
	if _, ok := Of("VM"); ok {
		t.Error("there is a schema of VM")
	}
}

// Each file holds for the metaschema, stands alone and is read by a validator that knows nothing of orchd.
func TestSchemasStandAlone(t *testing.T) {
	for _, kind := range Kinds() {
		text, _ := Of(kind)
		doc, err := validator.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := doc.(map[string]any)["$id"]; got != "/schemas/"+kind+".json" {
			t.Errorf("%s: $id is %v", kind, got)
		}
		meta, err := validator.NewCompiler().Compile("https://json-schema.org/draft/2020-12/schema")
		if err != nil {
			t.Fatal(err)
		}
		if err := meta.Validate(doc); err != nil {
			t.Errorf("%s is no schema: %v", kind, err)
		}
		c := validator.NewCompiler()
		c.UseLoader(noLoader{})
		if err := c.AddResource("http://elsewhere/"+kind, doc); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Compile("http://elsewhere/" + kind); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// A field that is added to a type is told of in its table.
func TestTablesTellOfEveryField(t *testing.T) {
	for _, k := range slices.Concat(kinds, innerKinds) {
		var told []string
		for _, f := range k.fields {
			told = append(told, f.name)
			if f.about == "" {
				t.Errorf("%s.%s has no description", k.name, f.name)
			}
		}
		for i := range reflect.TypeOf(k.sample).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(k.sample).Field(i).Tag.Get("json"), ",")
			if !slices.Contains(told, name) {
				t.Errorf("%s.%s is in no table", k.name, name)
			}
		}
	}
}

// What the server answers holds for the schema, with everything in it and with as little as possible.
func TestAnswersHold(t *testing.T) {
	whole, err := DecodeNode(sample(t, "full_node.json"))
	if err != nil {
		t.Fatal(err)
	}
	whole.LocationString, whole.CloudInit = whole.XName, nil
	whole.BMC.Password, whole.BMC.LocationString, whole.Spec.BMCPassword = nil, whole.BMC.XName, nil
	now := time.Date(2026, 11, 1, 12, 0, 0, 5000, time.UTC)
	for kind, answers := range map[string][]any{
		"ComputeNode": {whole, inventory.ComputeNode{Hostname: "a", Architecture: "b", BMC: &inventory.BMC{XName: "x100c0s0b0"}}},
		"BMC":         {inventory.BMC{}, inventory.BMC{Username: "admin", Version: 3, CreatedAt: now}},
		"NodeCollection": {inventory.NodeCollection{Name: "Partition 1", Type: inventory.Partition, Nodes: []string{}, CreatedAt: now},
			inventory.NodeCollection{Name: "g", Type: inventory.AdHoc, Nodes: []string{"x0c0s0b0n0", "x9000c1s0b0"}, Tags: []string{"t"}}},
		"NetworkInterface": {whole.NetworkInterfaces[0]},
		"BootData":         {inventory.BootData{}},
		"Component":        {smd.Component{ID: "x0c0s0b0n0", Type: "Node", State: "On", Flag: "OK", Role: "Compute", Arch: "X86", NID: new(int64(1)), Enabled: new(true)}},
		"RedfishEndpoint":  {smd.RedfishEndpoint{ID: "x0c0s0b0", DiscoveryInfo: &smd.DiscoveryInfo{LastStatus: "NotYetQueried"}}},
		"EthernetInterface": {smd.EthernetInterface{ID: "68dae64bb09a", MACAddress: "68:da:e6:4b:b0:9a", LastUpdate: now,
			IPAddresses: []smd.IPAddress{{IPAddress: "10.0.0.1"}}}},
	} {
		for _, a := range answers {
			text, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			if err := Validate(kind, text); err != nil {
				t.Errorf("%s: %v: %s", kind, faultsIn(err), text)
			}
		}
	}
	if err := Validate("Component", []byte(`{"ID":"x0","Type":"Cabinet","Other":1}`)); err != nil {
		t.Errorf("a component with a field that nobody knows: %v", err)
	}
	for kind, body := range map[string]string{"Component": `{"ID":"x0","Type":"Cabinet","State":"Odd"}`, "EthernetInterface": `{"ID":"1"}`} {
		if Validate(kind, []byte(body)) == nil {
			t.Errorf("%s holds for %s", body, kind)
		}
	}
}

// What comes out goes in again and is the same.
func TestWholeNode(t *testing.T) {
	n, err := DecodeNode(sample(t, "full_node.json"))
	if err != nil {
		t.Fatal(faultsIn(err))
	}
	if n.XName != "x1000c4s4b1n1" || n.LocationString != "" || n.BMC.XName != "x1000c4s4b1" || n.Version != 7 {
		t.Errorf("names: got %+v, %+v", n, n.BMC)
	}
	if got := n.NetworkInterfaces[0]; got.IPv4Address != "10.1.0.7" || got.Description != "café 😀\n" || got.ExtendedData != `{"a":[1,-2.5e3,null,true,{"b":"c"}]}` {
		t.Errorf("interface: got %+v", got)
	}
	if n.BMC.IPv4Address != "10.2.0.1" || *n.BMC.Password != "p" || *n.Spec.BMCPassword != "" || n.Spec.NetworkInterfaces != nil {
		t.Errorf("BMC and spec: got %+v, %+v", n.BMC, n.Spec)
	}
	if c := n.CloudInit; c.UserData != `"#cloud-config\n"` || c.MetaData != `{"k":"v"}` || c.VendorData != "{}" {
		t.Errorf("cloud-init: got %+v", c)
	}
	if n.CreatedAt.IsZero() || !n.Status.PowerState.On || n.Status.BootConfiguration.BootData.ImageURL != "i" {
		t.Errorf("status: got %+v", n.Status)
	}
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeNode(text)
	if err != nil || !reflect.DeepEqual(n, again) {
		t.Errorf("again: %v\ngot  %+v\nwant %+v", err, again, n)
	}
}
