package server

import (
	"bytes"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
)

const bootMAC = "02:00:00:00:00:01" // of nodeID

// startBoot is a fleet whose first node can boot, and a way to ask the boot listener from an address.
func startBoot(t *testing.T) (*fakeStates, *Server, asker, func(from, path string) *http.Response) {
	t.Helper()
	f, s, ask := startFake(t)
	st := newFakeStates(f)
	n := st.nodes[nodeID]
	n.BootIPv4, n.BootIPv6 = "10.1.0.1", "fd00::1"
	n.NetworkInterfaces = []inventory.NetworkInterface{{InterfaceName: "eth1", MACAddress: "02:00:00:00:00:02", IPv4Address: "10.2.0.1"}}
	n.BootData = &inventory.BootData{KernelURL: "http://files/vmlinuz", KernelCommandLine: "console=ttyS0 root=${net0/root}", ImageURL: "http://files/initrd"}
	n.CloudInit = &inventory.CloudInit{UserData: `{"hostname":"yes","users":[{"name":"a","uid":1000}]}`, VendorData: `"#!/bin/sh\necho ` + fleetSecret + `\n"`,
		MetaData: `{"region":"north","big":12345678901234567890}`}
	st.nodes[nodeID] = n
	st.collections["c1"] = inventory.NodeCollection{ID: "c1", Name: "Partition 1", Nodes: []string{nodeXName}, CloudInit: map[string]string{"ntp": "10.9.0.1"}}
	st.components[nodeXName] = smd.Component{ID: nodeXName, NID: new(int64(7))}
	st.interfaces["020000000002"] = smd.EthernetInterface{ID: "020000000002", ComponentID: nodeXName}
	boot := s.bootHandler()
	return st, s, ask, func(from, path string) *http.Response {
		t.Helper()
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		boot.ServeHTTP(w, r)
		return w.Result()
	}
}

func TestBootScript(t *testing.T) {
	_, _, ask, _ := startBoot(t)
	for query, key := range map[string]string{
		"mac=" + bootMAC:           "mac=020000000001",
		"mac=02-00-00-00-00-01":    "mac=020000000001",
		"mac=02:00:00:00:00:02":    "mac=020000000002", // another interface of the node
		"name=" + nodeXName:        "name=" + nodeXName,
		"name=X1000c0s0b0n0":       "name=X1000c0s0b0n0",
		"nid=7":                    "nid=7",
		"nid=0007&retry=1&arch=x6": "nid=7",
	} {
		res := ask("GET", "/boot/v1/bootscript?"+query, "")
		want := "#!ipxe\n" +
			"kernel --name kernel http://files/vmlinuz initrd=initrd console=ttyS0 root=${net0/root} || goto retry\n" +
			"initrd --name initrd http://files/initrd || goto retry\n" +
			"boot || goto retry\n:retry\nsleep 30\nchain --replace bootscript?" + key + "\n"
		if got := read(t, res); got != want || res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: got %d %s\n%s\nwant\n%s", query, res.StatusCode, res.Header.Get("Content-Type"), got, want)
		}
	}
}

func TestBootScriptWithoutImage(t *testing.T) {
	st, _, ask, _ := startBoot(t)
	n := st.nodes[nodeID]
	n.BootData = &inventory.BootData{KernelURL: "http://files/vmlinuz"}
	st.nodes[nodeID] = n
	want := "#!ipxe\nkernel --name kernel http://files/vmlinuz || goto retry\nboot || goto retry\n"
	if got := read(t, ask("GET", "/boot/v1/bootscript?nid=7", "")); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBootScriptRefusals(t *testing.T) {
	_, _, ask, _ := startBoot(t)
	for query, status := range map[string]int{
		"": 400, "mac=": 400, "mac=hello": 400, "mac=00:00:00:00:00:00": 400, "nid=-1": 400, "nid=x": 400, "name=x%0Areboot": 400, "name=": 400,
		"mac=" + bootMAC + "&nid=7": 400, "nid=7&nid=8": 400, "%zz": 400,
		"mac=02:00:00:00:00:99": 404, "nid=8": 404, "name=x9c0s0b0n0": 404, "name=" + bareID: 404, // known, and without boot data
	} {
		res := ask("GET", "/boot/v1/bootscript?"+query, "")
		if body := read(t, res); res.StatusCode != status || strings.Contains(body, "#!ipxe") {
			t.Errorf("%q: got %d %s, want %d and no script", query, res.StatusCode, body, status)
		}
	}
}

// TestBootScriptHasNoCommandsOfOthers puts into each field what would be another command.
func TestBootScriptHasNoCommandsOfOthers(t *testing.T) {
	st, _, ask, _ := startBoot(t)
	for field, put := range map[string]func(*inventory.BootData, string){
		"kernel_url":          func(b *inventory.BootData, v string) { b.KernelURL = v },
		"image_url":           func(b *inventory.BootData, v string) { b.ImageURL = v },
		"kernel_command_line": func(b *inventory.BootData, v string) { b.KernelCommandLine = v },
	} {
		bad := []string{"a\nreboot", "a\r\nreboot", "a\x00", "a\u0085reboot", "a\u2028reboot", "a || shell", "|| shell", "a && shell", "a ; shell", "#", "a #b"}
		if field != "kernel_command_line" {
			bad = append(bad, "http://files/a b", "--timeout", "http://files/\tx")
		}
		for _, value := range bad {
			n := st.nodes[nodeID]
			b := *n.BootData
			put(&b, value)
			n.BootData = &b
			saved := st.nodes[nodeID]
			st.nodes[nodeID] = n
			res := ask("GET", "/boot/v1/bootscript?nid=7", "")
			p := problemIn(t, res)
			if p.Status != 409 || !strings.Contains(p.Detail, field) || strings.Contains(p.Detail, "shell") {
				t.Errorf("%s = %q: got %+v, want 409 that names the field and not its value", field, value, p)
			}
			st.nodes[nodeID] = saved
		}
	}
	n := st.nodes[nodeID]
	b := *n.BootData
	b.KernelCommandLine = `a=b;c x|y q="r s" http://h/#frag dyndbg=+p`
	n.BootData = &b
	st.nodes[nodeID] = n
	if got := read(t, ask("GET", "/boot/v1/bootscript?nid=7", "")); !strings.Contains(got, " initrd=initrd "+b.KernelCommandLine+" || goto retry\n") {
		t.Errorf("an ordinary command line: got\n%s", got)
	}
}

func TestCloudInitData(t *testing.T) {
	_, _, ask, _ := startBoot(t)
	for _, prefix := range []string{"", "/inventory"} {
		for _, ref := range []string{nodeID, nodeXName} {
			path := prefix + "/ComputeNode/" + ref + "/cloud-init/"
			res := ask("GET", path+"user-data", "")
			want := "#cloud-config\n\"hostname\": \"yes\"\n\"users\":\n    - \"name\": \"a\"\n      \"uid\": 1000\n"
			if got := read(t, res); got != want || res.StatusCode != 200 || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%suser-data: got %d %v\n%s\nwant\n%s", path, res.StatusCode, res.Header, got, want)
			}
			if got, want := read(t, ask("GET", path+"vendor-data", "")), "#!/bin/sh\necho "+fleetSecret+"\n"; got != want {
				t.Errorf("%svendor-data: got %q, want %q", path, got, want)
			}
			text := read(t, ask("GET", path+"meta-data", ""))
			var meta map[string]any
			if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
				t.Fatalf("%smeta-data is no YAML: %v\n%s", path, err, text)
			}
			group, _ := meta["group_Partition 1"].(map[string]any)
			if meta["instance-id"] != nodeID || meta["local-hostname"] != "nid1" || meta["xname"] != nodeXName || meta["region"] != "north" || group["ntp"] != "10.9.0.1" {
				t.Errorf("%smeta-data: got %v", path, meta)
			}
			if !strings.Contains(text, "12345678901234567890\n") {
				t.Errorf("%smeta-data: a large number lost digits:\n%s", path, text)
			}
		}
	}
	res := ask("GET", "/ComputeNode/"+bareID+"/cloud-init/user-data", "") // cloud-init wants an answer where there is no data, too
	if body := read(t, res); res.StatusCode != 200 || body != "" {
		t.Errorf("without data: got %d %q, want 200 and nothing", res.StatusCode, body)
	}
	if res := ask("GET", "/ComputeNode/x9c0s0b0n0/cloud-init/user-data", ""); res.StatusCode != 404 {
		t.Errorf("unknown node: got %d, want 404", res.StatusCode)
	}
}

func TestMetadataThatIsAText(t *testing.T) {
	for text, want := range map[string]map[string]any{
		`"a: b"`:       {"a": "b"},
		`"just words"`: {"metadata": "just words"},
		`"- a"`:        {"metadata": "- a"}, // YAML, and no keys
		`""`:           {"metadata": ""},
	} {
		got, err := metadataOf(inventory.Object(text))
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
}

// TestCloudConfigIsTheSameForOldReaders has what YAML 1.1 takes for something else than text.
func TestCloudConfigIsTheSameForOldReaders(t *testing.T) {
	text, _, err := cloudConfig(`{"on":"off","n":"012","time":"1:30","face":"\ud83d\ude00","path":"a\/b","lines":"a\n  b\n","nothing":null,"empty":{},"list":[[1,2.50],[]]}`)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for key, want := range map[string]any{"on": "off", "n": "012", "time": "1:30", "face": "😀", "path": "a/b", "lines": "a\n  b\n", "nothing": nil} {
		if got[key] != want {
			t.Errorf("%s: got %#v, want %#v", key, got[key], want)
		}
	}
	for _, line := range []string{"\"on\": \"off\"\n", "\"n\": \"012\"\n", "2.50\n"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("want %q in\n%s", line, text)
		}
	}
}

func TestWhoMayReadBootData(t *testing.T) {
	_, _, ask, _ := startBoot(t)
	for _, c := range []struct {
		path string
		want map[string]int // by role
	}{
		{"/ComputeNode/" + nodeID + "/cloud-init/user-data", map[string]int{"": 401, "viewer": 403, "controller": 403, "operator": 403, "admin": 200, "admin@default": 403, "peer": 403}},
		{"/inventory/ComputeNode/" + nodeID + "/cloud-init/meta-data", map[string]int{"": 401, "viewer": 403, "operator": 403, "admin": 200}},
		{"/boot/v1/bootscript?nid=7", map[string]int{"": 401, "viewer": 200, "controller": 200, "admin": 200, "viewer@default": 403, "peer": 403}},
		{"/cloud-init/user-data", map[string]int{"": 404, "admin": 404}}, // only where addresses say who asks
	} {
		for role, want := range c.want {
			credential := "Bearer " + role
			if role == "" {
				credential = ""
			}
			res := ask("GET", c.path, "", "Authorization", credential)
			if body := read(t, res); res.StatusCode != want || want != 200 && strings.Contains(body, fleetSecret) {
				t.Errorf("%s as %q: got %d, want %d", c.path, role, res.StatusCode, want)
			}
		}
	}
}

func TestBootListenerGivesANodeItsOwn(t *testing.T) {
	st, _, _, boot := startBoot(t)
	script, data := "/boot/v1/bootscript?mac="+bootMAC, "/ComputeNode/"+nodeXName+"/cloud-init/user-data"
	for _, c := range []struct {
		from, path string
		status     int
	}{
		{"10.1.0.1:1234", script, 200},
		{"[::ffff:10.1.0.1]:1234", script, 200},
		{"[fd00::1]:1234", script, 200},
		{"10.2.0.1:1234", script, 200}, // an address of one of its interfaces
		{"10.1.0.1:1234", data, 200},
		{"10.1.0.1:1234", "/inventory" + data, 200},
		{"10.1.0.1:1234", "/cloud-init/user-data", 200},
		{"10.1.0.1:1234", "/cloud-init/meta-data", 200},
		{"[fd00::1%eth0]:1234", "/cloud-init/vendor-data", 200},
		{"10.1.0.2:1234", script, 403},
		{"10.1.0.9:1234", data, 403}, // of another node
		{"10.1.0.1:1234", "/ComputeNode/" + bareID + "/cloud-init/user-data", 403},
		{"10.1.0.1:1234", "/ComputeNode/x9c0s0b0n0/cloud-init/user-data", 403}, // not even whether there is one
		{"10.1.0.1:1234", "/boot/v1/bootscript?mac=02:00:00:00:00:99", 403},
		{"10.1.0.2:1234", "/cloud-init/user-data", 404},
		{"10.1.0.1:1234", "/cloud-init/network-config", 404}, // a node has none
		{"@", script, 403},
		{"10.1.0.1:1234", "/ComputeNode/" + nodeID, 404},
		{"10.1.0.1:1234", "/hsm/v2/State/Components", 404},
		{"10.1.0.1:1234", "/v1/vms", 404},
		{"10.1.0.1:1234", "/healthz", 404},
		{"10.1.0.1:1234", "/cloud-init/", 404},
	} {
		res := boot(c.from, c.path)
		if body := read(t, res); res.StatusCode != c.status || c.status != 200 && strings.Contains(body, "vmlinuz") {
			t.Errorf("%s from %s: got %d %s, want %d", c.path, c.from, res.StatusCode, body, c.status)
		}
	}
	if text := read(t, boot("10.1.0.9:1", "/cloud-init/meta-data")); !strings.Contains(text, bareID) || strings.Contains(text, nodeID) {
		t.Errorf("the other node's own: got\n%s", text)
	}

	other := st.nodes[bareID]
	other.BootIPv4 = "10.1.0.1" // somebody made a mistake: nobody can tell who asks
	st.nodes[bareID] = other
	res := boot("10.1.0.1:1234", "/cloud-init/user-data")
	if body := read(t, res); res.StatusCode != 409 || strings.Contains(body, "cloud-config") {
		t.Errorf("an address of two nodes: got %d %s, want 409", res.StatusCode, body)
	}
}

// TestBootListenerBelievesNoHeader sends what proxies and browsers send.
func TestBootListenerBelievesNoHeader(t *testing.T) {
	_, s, _, _ := startBoot(t)
	r := httptest.NewRequest("GET", "/cloud-init/user-data", nil)
	r.RemoteAddr = "10.1.0.7:1"
	for _, h := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "True-Client-Ip"} {
		r.Header.Set(h, "10.1.0.1")
	}
	r.Header.Set("Authorization", "Bearer admin")
	w := httptest.NewRecorder()
	s.bootHandler().ServeHTTP(w, r)
	if w.Code != 404 {
		t.Errorf("got %d %s, want 404", w.Code, w.Body)
	}
}

// TestBootListenerGivesAVMItsOwn: nodes come first, then virtual machines, each by the
// address that asks and by nothing else.
func TestBootListenerGivesAVMItsOwn(t *testing.T) {
	f, s, _, boot := startBoot(t)
	seed := map[string]string{"user-data": "#cloud-config\n", "meta-data": "instance-id: x\n", "vendor-data": "", "network-config": "version: 2\n"}
	f.seeds = map[netip.Addr]map[string]string{netip.MustParseAddr("10.1.0.77"): seed, netip.MustParseAddr("10.1.0.1"): seed, netip.MustParseAddr("fd00::77"): seed}
	for file, want := range seed {
		for _, from := range []string{"10.1.0.77:9", "[::ffff:10.1.0.77]:9", "[fd00::77%eth0]:9"} {
			res := boot(from, "/cloud-init/"+file)
			if got := read(t, res); res.StatusCode != 200 || got != want || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s from %s: got %d %q, want %q", file, from, res.StatusCode, got, want)
			}
		}
		if got := boot("10.1.0.78:9", "/cloud-init/"+file).StatusCode; got != 404 {
			t.Errorf("%s from an address that nobody has: got %d, want 404", file, got)
		}
	}
	if text := read(t, boot("10.1.0.1:9", "/cloud-init/meta-data")); !strings.Contains(text, nodeID) {
		t.Errorf("an address of a node and of a virtual machine: got\n%s\nwant the node's", text)
	}
	if got := boot("10.1.0.77:9", "/boot/v1/bootscript?mac="+bootMAC).StatusCode; got != 403 {
		t.Errorf("boot script of a node from a virtual machine: got %d, want 403", got)
	}
	for _, h := range []http.Handler{s.Handler(), s.plainHandler()} {
		if got := askOf(h)("GET", "/cloud-init/user-data", "").StatusCode; got != 404 {
			t.Errorf("elsewhere than on the boot listener: got %d, want 404", got)
		}
	}
}

func TestBootReadsAreOnRecord(t *testing.T) {
	f := newFake()
	f.fleet.nodes[nodeID] = inventory.ComputeNode{ID: nodeID, XName: nodeXName, BootIPv4: "10.1.0.1", CloudInit: &inventory.CloudInit{UserData: `"` + fleetSecret + `"`}}
	var log bytes.Buffer
	s := New(Config{}, f, slog.New(slog.NewTextHandler(&log, nil)))
	r := httptest.NewRequest("GET", "/cloud-init/user-data", nil)
	r.RemoteAddr = "10.1.0.1:99"
	w := httptest.NewRecorder()
	s.bootHandler().ServeHTTP(w, r)
	if w.Body.String() != fleetSecret {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	for _, want := range []string{`level=INFO msg="boot data read" node=` + nodeID, "xname=" + nodeXName, "path=/cloud-init/user-data", "actor=address:10.1.0.1", "remote=10.1.0.1:99"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), fleetSecret) {
		t.Errorf("the content is in the log:\n%s", log.String())
	}
}

func TestPlainListenerServesItsRoutesOnly(t *testing.T) {
	_, s, _, _ := startBoot(t)
	plain := s.plainHandler()
	for path, want := range map[string]int{
		"GET /ComputeNode": 200, "GET /inventory/ComputeNode": 200, "GET /bmc": 200, "GET /hsm/v2/State/Components": 200, "GET /smd/hsm/v2/State/Components": 200,
		"GET /schemas/ComputeNode.json": 200, "GET /healthz": 200, "GET /boot/v1/bootscript?nid=7": 200, "HEAD /ComputeNode": 200, "GET //ComputeNode/": 200,
		"GET /v1/vms": 404, "POST /v1/tokens": 404, "GET /v1/status": 404, "GET /metrics": 404, "GET /readyz": 404, "POST /v1/join": 404, "GET /docs": 404,
		"GET /openapi.json": 404, "GET /v1/networks": 404, "GET /": 404, "GET /cloud-init/user-data": 404, "PUT /ComputeNode": 405, "POST /healthz": 405,
	} {
		method, target, _ := strings.Cut(path, " ")
		r := httptest.NewRequest(method, "http://127.0.0.1"+target, nil)
		r.Header.Set("Authorization", "Bearer admin")
		w := httptest.NewRecorder()
		plain.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: got %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
	r := httptest.NewRequest("GET", "/ComputeNode", nil)
	w := httptest.NewRecorder()
	if plain.ServeHTTP(w, r); w.Code != 401 || !strings.Contains(w.Body.String(), "no token found") {
		t.Errorf("without a token: got %d %s, want 401", w.Code, w.Body)
	}
}

// TestNarrowListenersServe asks both over real connections, and ends them.
func TestNarrowListenersServe(t *testing.T) {
	_, s, _, _ := startBoot(t)
	s.cfg.MaxConns = 16
	for name, c := range map[string]struct {
		serve  func(l net.Listener) error
		path   string
		status int
	}{
		"plain": {func(l net.Listener) error { return s.ServePlain(t.Context(), l) }, "/healthz", 200},
		"boot":  {func(l net.Listener) error { return s.ServeBoot(t.Context(), l) }, "/cloud-init/user-data", 404},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.serve(l) }()
		t.Cleanup(func() { // t.Context has ended by now
			if err := <-ended; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		res, err := http.Get("http://" + l.Addr().String() + c.path)
		if err != nil {
			t.Fatal(err)
		}
		if body := read(t, res); res.StatusCode != c.status {
			t.Errorf("%s: got %d %s, want %d", name, res.StatusCode, body, c.status)
		}
		res.Body.Close()
	}
}
