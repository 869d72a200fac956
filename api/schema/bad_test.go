package schema

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// faultsIn writes the kind of an error and its faults: "invalid /a: detail; /b: detail".
func faultsIn(err error) string {
	var e *api.Error
	if !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	var all []string
	for _, f := range e.Fields {
		all = append(all, f.Pointer+": "+f.Detail)
	}
	return e.Kind.Code() + " " + strings.Join(all, "; ")
}

const good = `"hostname":"a","architecture":"b"`

func TestBadNodes(t *testing.T) {
	port := `{"mac_address":"68dae64bb09a","interface_name":"a"}`
	many := strings.Repeat(port+",", maxPorts) + port
	deep := strings.Repeat(`{"a":`, 31) + "1" + strings.Repeat("}", 31)
	for body, want := range map[string]string{
		``:                                  "malformed : the body is not valid JSON",
		`{`:                                 "malformed : the body is not valid JSON",
		`{` + good + `} {}`:                 "malformed : the body is not valid JSON",
		`{` + good + `,}`:                   "malformed : the body is not valid JSON",
		"\ufeff{" + good + "}":              "malformed : the body is not valid JSON",
		`null`:                              "malformed : the body must be a JSON object",
		`"x"`:                               "malformed : the body must be a JSON object",
		`{}`:                                "invalid /architecture: is required; /hostname: is required",
		`{"hostname":"","a/b~":1}`:          "invalid /architecture: is required; /a~1b~0: there is no such field; /hostname: must not be empty",
		`{` + good + `,"xnam":"x"}`:         "invalid /xnam: there is no such field; did you mean xname?",
		`{` + good + `,"Xname":""}`:         "invalid /Xname: there is no such field; did you mean xname?",
		`{` + good + `,"hostname":"b"}`:     "invalid /hostname: this key is there twice",
		`{` + good + `,"description":null}`: "invalid /description: expected string, not null",
		`{` + good + `,"bmc":null}`:         "invalid /bmc: expected object, not null",
		`{` + good + `,"version":-1}`:       "invalid /version: expected a number from 0 to 9007199254740991",
		`{` + good + `,"version":1.5}`:      "invalid /version: expected integer, not number",
		`{` + good + `,"version":1e999}`:    "invalid /version: this number is too large",
		`{` + good + `,"id":"1"}`:           "invalid /id: expected a UUID, as 0b9f2d1e-0000-4000-8000-000000000001",
		`{` + good + `,"created_at":"yesterday"}`:                                  "invalid /created_at: expected a time, as 2026-11-01T12:00:00Z",
		`{` + good + `,"boot_mac":"68:da:e6:4b:b0"}`:                               "invalid /boot_mac: expected a MAC address, as 68:da:e6:4b:b0:9a",
		`{` + good + `,"boot_ipv4_address":"10.1.0.07"}`:                           "invalid /boot_ipv4_address: expected an IPv4 address, as 10.1.0.7",
		`{` + good + `,"boot_ipv6_address":"fe80::1%eth0"}`:                        "invalid /boot_ipv6_address: expected an IPv6 address, as fd00:1::7",
		`{` + good + `,"boot_ipv6_address":"10.1.0.7"}`:                            "invalid /boot_ipv6_address: expected an IPv6 address, as fd00:1::7",
		`{` + good + `,"xname":"x1c0s0b0n0"}`:                                      "invalid /xname: XName does not match regex",
		`{` + good + `,"xname":"X1000c0s0b0n0"}`:                                   "invalid /xname: XName does not match regex",
		`{` + good + `,"location_string":"x1000c256s0b0n0"}`:                       "invalid /location_string: chassis number 256 exceeds the maximum allowed value of 255",
		`{` + good + `,"xname":"x1000c0s0b0n0","location_string":"x1000c0s0b0n1"}`: "invalid /location_string: differs from xname, which is the same field",
		`{` + good + `,"bmc":{"xname":"x1000c0s0b0n0"}}`:                           "invalid /bmc/xname: XName does not match regex",
		`{` + good + `,"bmc":{"password":"p"}}`:                                    "invalid /bmc/username: is required with password",
		`{` + good + `,"bmc":{"ip_address":"10.0.0.1","ipv4_address":"10.0.0.2"}}`: "invalid /bmc/ip_address: differs from ipv4_address, which is the same field",
		`{` + good + `,"network_interfaces":[{"mac_address":"68dae64bb09a","interface_name":"a"},{"mac_adress":""}]}`: "invalid /network_interfaces/1/interface_name: is required; " +
			"/network_interfaces/1/mac_address: is required; /network_interfaces/1/mac_adress: there is no such field; did you mean mac_address?",
		`{` + good + `,"network_interfaces":[{"mac_address":"","interface_name":"a"}]}`: "invalid /network_interfaces/0/mac_address: must not be empty",
		`{` + good + `,"spec":{"network_interfaces":[{"mac_address":"68dae64bb09a","interface_name":"a","ip_address":"10.0.0.1","ipv4_address":"10.0.0.2"}]}}`: "invalid " +
			"/spec/network_interfaces/0/ip_address: differs from ipv4_address, which is the same field",
		`{` + good + `,"spec":{"network_interfaces":[` + many + `]}}`: "invalid /spec/network_interfaces: expected at most 1024 items",
		`{` + good + `,"network_interfaces":{}}`:                      "invalid /network_interfaces: expected array, not object",
		`{` + good + `,"cloud_init_data":{"userdata":[]}}`:            "invalid /cloud_init_data/userdata: expected a text or an object",
		`{` + good + `,"status":{"power_state":{"on":"y"}}}`:          "invalid /status/power_state/on: expected boolean, not string",
		`{` + good + `,"status":{"extended_data":[]}}`:                "invalid /status/extended_data: expected object, not array",
		`{` + good + `,"description":"a\u0000"}`:                      "invalid /description: control characters are not allowed",
		`{` + good + `,"description":"\ud800"}`:                       "invalid /description: expected valid UTF-8",
		`{` + good + `,"description":"` + "\xff" + `"}`:               "invalid /description: expected valid UTF-8",
		`{` + good + `,"` + "\xff" + `":1}`:                           "invalid /\ufffd: expected valid UTF-8",
		`{` + good + `,"status":{"extended_data":{"a":1,"a":2}}}`:     "invalid /status/extended_data/a: this key is there twice",
		`{` + good + `,"status":{"extended_data":` + deep + `}}`:      "malformed : the body nests too deep",
	} {
		if _, err := DecodeNode([]byte(body)); faultsIn(err) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", body, faultsIn(err), want)
		}
	}
}

func TestBadArrays(t *testing.T) {
	many := strings.Repeat(`{`+good+`},`, MaxNodes)
	var hundred []string
	for i := range maxFaults {
		hundred = append(hundred, fmt.Sprintf("/%d: expected an object", i))
	}
	for name, c := range map[string]struct{ body, want string }{
		"two of three": {`[{"hostname":"a"},{` + good + `},{` + good + `,"xname":"x"}]`, "invalid /0/architecture: is required; /2/xname: XName does not match regex"},
		"no objects":   {`[1,[],null]`, "invalid /0: expected an object; /1: expected an object; /2: expected an object"},
		"torn":         {`[{` + good + `}`, "malformed : the body is not valid JSON"},
		"torn item":    {`[{` + good, "malformed : the body is not valid JSON"},
		"then torn":    {`[1,`, "malformed : the body is not valid JSON"},
		"two arrays":   {`[][]`, "malformed : the body is not valid JSON"},
		"no comma":     {`[{` + good + `}{` + good + `}]`, "malformed : the body is not valid JSON"},
		"too many":     {`[` + many + `{` + good + `}]`, "invalid : there are more than 10000 items; send them in several requests"},
		"faults":       {`[` + strings.Repeat("1,", 200) + `1]`, "invalid " + strings.Join(hundred, "; ")},
		"one, wrong":   {` 7`, "malformed : the body must be a JSON object"},
	} {
		if _, _, err := DecodeNodes([]byte(c.body)); faultsIn(err) != c.want {
			t.Errorf("%s:\ngot  %.300s\nwant %.300s", name, faultsIn(err), c.want)
		}
	}
	for body, want := range map[string]int{`[]`: 0, " [ ] \n": 0, `[` + many[:len(many)-1] + `]`: MaxNodes, ` {` + good + `}`: 1} {
		if nodes, array, err := DecodeNodes([]byte(body)); err != nil || len(nodes) != want || array != (want != 1) || nodes == nil {
			t.Errorf("%.40s: got %d nodes, array %t, %v; want %d", body, len(nodes), array, err, want)
		}
	}
}

func TestBadBMCsAndCollections(t *testing.T) {
	bmc := func(b []byte) error { _, err := DecodeBMC(b); return err }
	collection := func(b []byte) error { _, err := DecodeCollection(b); return err }
	for _, c := range []struct {
		decode     func([]byte) error
		body, want string
	}{
		{bmc, `{"xname":"x1000c0s0b256"}`, "invalid /xname: bmc number 256 exceeds the maximum allowed value of 255"},
		{bmc, `{"usename":"a","mac_address":"1"}`, "invalid /mac_address: expected a MAC address, as 68:da:e6:4b:b0:9a; /usename: there is no such field; did you mean username?"},
		{bmc, `[]`, "malformed : the body must be a JSON object"},
		{bmc, `{"password":"p","username":""}`, "<nil>"},
		{bmc, `{"password":"p"}`, "invalid /username: is required with password"},
		{bmc, `{"password":""}`, "<nil>"},
		{bmc, `{"xname":"x1000c0s0b0","location_string":"x01000c0s0b0"}`, "<nil>"},
		{collection, `{"name":"a","type":"job","nodes":["x1000c0s0b0n0","x0c0s0b0n0"],"cloud_init_data":{"a":"b"},"tags":[]}`, "<nil>"},
		{collection, `{"name":"","type":"Job"}`, "invalid /name: must not be empty; /nodes: is required; /type: expected one of ad-hoc, tenant, job, partition"},
		{collection, `{"name":"a","type":"job","nodes":null}`, "invalid /nodes: expected array, not null"},
		{collection, `{"name":"a","type":"job","nodes":["x1000c0s0b0n0","nid1"]}`, "invalid /nodes/1: XName does not match regex"},
		{collection, `{"name":"a","type":"job","nodes":[],"cloud_init_data":{"a":1}}`, "invalid /cloud_init_data/a: expected string, not number"},
		{collection, `{"name":"a","type":"job","nodes":[],"members":[]}`, "invalid /members: there is no such field"},
	} {
		if err := c.decode([]byte(c.body)); faultsIn(err) != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.body, faultsIn(err), c.want)
		}
	}
}

// What is wrong a million times over is not told a million times.
func TestFloodOfFaults(t *testing.T) {
	_, err := DecodeCollection([]byte(`{"name":"a","type":"job","nodes":[` + strings.Repeat("0,", maxValues) + `0]}`))
	if faultsIn(err) != "malformed : the body holds too many values" {
		t.Errorf("values: got %.200s", faultsIn(err))
	}
	var body strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&body, `,"xname%d":1`, i)
	}
	var e *api.Error
	if _, err := DecodeBMC([]byte("{" + body.String()[1:] + "}")); !errors.As(err, &e) || e.Kind != api.Invalid || len(e.Fields) != maxFaults {
		t.Errorf("keys: got %.200s", faultsIn(err))
	}
}

// No message repeats a value: it may be a password.
func TestFaultsHideValues(t *testing.T) {
	for _, body := range []string{`{"xname":"SECRET","username":7,"password":["SECRET"],"ipv4_address":"SECRET","id":"SECRET"}`} {
		_, err := DecodeBMC([]byte(body))
		if got := faultsIn(err); err == nil || strings.Contains(got+err.Error(), "SECRET") {
			t.Errorf("got %s, %v", got, err)
		}
	}
}
