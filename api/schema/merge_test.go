package schema

import (
	"strings"
	"testing"

	"github.com/orchd/orchd/api/inventory"
)

func TestMerge(t *testing.T) {
	node := inventory.ComputeNode{Hostname: "a", Architecture: "b", XName: "x1000c0s0b0n0", LocationString: "x1000c0s0b0n0",
		BMC:    &inventory.BMC{XName: "x1000c0s0b0", LocationString: "x1000c0s0b0", Username: "u", IPv4Address: "10.0.0.1"},
		Status: &inventory.NodeStatus{ExtendedData: `{"big":12345678901234567890,"ip_address":"1","drop":1}`}, Version: 1 << 52}
	const b = `"bmc":{"ipv4_address":"10.0.0.1","location_string":"x1000c0s0b0","username":"u","xname":"x1000c0s0b0"}`
	const names = `"location_string":"x1000c0s0b0n0"`
	const rest = `"status":{"extended_data":{"big":12345678901234567890,"drop":1,"ip_address":"1"}},"version":4503599627370496`
	for patch, want := range map[string]string{
		`{}`:                       `{"architecture":"b",` + b + `,"hostname":"a",` + names + `,` + rest + `,"xname":"x1000c0s0b0n0"}`,
		`{"bmc":null}`:             `{"architecture":"b","hostname":"a",` + names + `,` + rest + `,"xname":"x1000c0s0b0n0"}`,
		`{"bmc":null,"spec":null}`: `{"architecture":"b","hostname":"a",` + names + `,"spec":{"bmc_password":""},` + rest + `,"xname":"x1000c0s0b0n0"}`,
		`{"hostname":"z"}`:         `{"architecture":"b",` + b + `,"hostname":"z",` + names + `,` + rest + `,"xname":"x1000c0s0b0n0"}`,
		`{"xname":"x100c0"}`:       `{"architecture":"b",` + b + `,"hostname":"a",` + rest + `,"xname":"x100c0"}`,
		`{"location_string":"x100c0","bmc":null}`: `{"architecture":"b","hostname":"a","location_string":"x100c0",` + rest + `}`,
		`{"xname":null,"bmc":null}`:               `{"architecture":"b","hostname":"a",` + rest + `}`,
		`{"bmc":{"password":null,"ip_address":"10.0.0.2","xname":null}}`: `{"architecture":"b","bmc":{"ip_address":"10.0.0.2","password":"","username":"u"},"hostname":"a",` + names + `,` + rest +
			`,"xname":"x1000c0s0b0n0"}`,
		`{"bmc":null,"cloud_init_data":null,"spec":{"bmc_password":null,"hostname":null}}`: `{"architecture":"b","cloud_init_data":{},"hostname":"a",` + names +
			`,"spec":{"bmc_password":""},` + rest + `,"xname":"x1000c0s0b0n0"}`,
		`{"bmc":null,"cloud_init_data":{"userdata":null,"metadata":{"a":null}}}`: `{"architecture":"b","cloud_init_data":{"metadata":{"a":null},"userdata":""},"hostname":"a",` + names + `,` +
			rest + `,"xname":"x1000c0s0b0n0"}`,
		`{"bmc":null,"status":{"extended_data":{"ipv4_address":"2","drop":null}},"version":2}`: `{"architecture":"b","hostname":"a",` + names +
			`,"status":{"extended_data":{"big":12345678901234567890,"ip_address":"1","ipv4_address":"2"}},"version":2,"xname":"x1000c0s0b0n0"}`,
	} {
		got, err := Merge(node, []byte(patch))
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", patch, err, got, want)
		}
	}
}

func TestMergeOfOtherKinds(t *testing.T) {
	bmc := inventory.BMC{XName: "x1000c0s0b0", LocationString: "x1000c0s0b0", IPv4Address: "10.0.0.1"}
	collection := inventory.NodeCollection{Name: "g", Type: inventory.AdHoc, Nodes: []string{"x1000c0s0b0n0"}}
	for _, c := range []struct {
		current     any
		patch, want string
	}{
		{bmc, `{"ip_address":"10.0.0.9","location_string":"x1000c0s0b1"}`, `{"ip_address":"10.0.0.9","location_string":"x1000c0s0b1"}`},
		{&bmc, `{"password":null,"xname":null,"ipv4_address":null}`, `{"password":""}`},
		{collection, `{"nodes":[],"cloud_init_data":null}`, `{"cloud_init_data":{},"name":"g","nodes":[],"type":"ad-hoc"}`},
		{collection, `{"cloud_init_data":{"a":"b","c":null}}`, `{"cloud_init_data":{"a":"b","c":null},"name":"g","nodes":["x1000c0s0b0n0"],"type":"ad-hoc"}`},
	} {
		got, err := Merge(c.current, []byte(c.patch))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", c.patch, err, got, c.want)
		}
	}
}

func TestBadPatches(t *testing.T) {
	for patch, want := range map[string]string{
		`[]`:             "malformed : a patch must be a JSON object (RFC 7396)",
		`null`:           "malformed : a patch must be a JSON object (RFC 7396)",
		`{"a":1`:         "malformed : the body is not valid JSON",
		`{} 1`:           "malformed : the body is not valid JSON",
		`{"a":1,"a":2}`:  "invalid /a: this key is there twice",
		`{"a":"\u0007"}`: "invalid /a: control characters are not allowed",
		strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33): "malformed : the body nests too deep",
	} {
		if _, err := Merge(inventory.BMC{}, []byte(patch)); faultsIn(err) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", patch, faultsIn(err), want)
		}
	}
}
