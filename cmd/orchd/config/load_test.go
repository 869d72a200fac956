package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// file writes a configuration file and gives its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "orchd.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const enough = "name = \"h1\"\nadvertise = \"10.0.0.1\"\n"

func TestLaterSourcesWin(t *testing.T) {
	path := file(t, enough+`
data_dir = "/srv/file"
labels = { rack = "r1", "example.com/row" = "2" }
[api]
listen = ":1000"
[raft]
listen = ":1001"
[snapshot]
interval = "15m"
`)
	l, err := Load(Sources{
		File:    path,
		Environ: []string{"ORCHD_API__LISTEN=:2000", "ORCHD_RAFT__LISTEN=:2001", "ORCHD_VMM__CAPACITY__MEMORY=4GiB", "ORCHD_ADDR=x", "HOME=/x"},
		Flags:   map[string]string{"api-listen": ":3000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, value, origin string }{
		{"api.listen", ":3000", "--api-listen"},
		{"raft.listen", ":2001", "ORCHD_RAFT__LISTEN"},
		{"data_dir", "/srv/file", path + ":4"},
		{"snapshot.interval", "15m0s", path + ":11"},
		{"vmm.capacity.memory", "4GiB", "ORCHD_VMM__CAPACITY__MEMORY"},
		{"gossip.listen", ":7702", "default"},
	} {
		e := entry(t, l, c.path)
		if e.Value != c.value || e.Origin != c.origin {
			t.Errorf("%s: got %v from %s, want %s from %s", c.path, e.Value, e.Origin, c.value, c.origin)
		}
	}
	if got := l.Labels["example.com/row"] + l.Labels["rack"]; got != "2r1" {
		t.Errorf("labels: got %v", l.Labels)
	}
}

func entry(t *testing.T, l Loaded, path string) Entry {
	t.Helper()
	for _, e := range l.Entries() {
		if e.Key == path {
			return e
		}
	}
	t.Fatalf("no entry %s", path)
	return Entry{}
}

func TestDefaultsAreValid(t *testing.T) {
	l, err := Load(Sources{Environ: []string{"ORCHD_NAME=h1", "ORCHD_ADVERTISE=::1"}, File: file(t, "")})
	if err != nil {
		t.Fatal(err)
	}
	if l.API.Listen != ":7700" || l.Snapshot.Interval != time.Hour || l.Voters != 3 || l.Clock.Rate != 1 {
		t.Errorf("got %+v", l.Config)
	}
}

func TestWrongFile(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"misspelt key", "[api]\nlissen = \":1\"\n", "FILE:2: unknown key api.lissen; did you mean api.listen?"},
		{"wrong case", "\nName = \"a\"\n", "FILE:2: unknown key Name; did you mean name?"},
		{"wrong table", "\n\n[ap]\nlisten = \":1\"\n", "FILE:3: unknown key ap; did you mean api?"},
		{"no table", "driver = \"sim\"\n", "FILE:1: unknown key driver; did you mean vmm.driver?"},
		{"later part", "[deals]\nenable = [\"x\"]\n", "FILE:1: unknown key deals; `orchd config show` lists all keys"},
		{"setting of a package", "[system_services.decider]\ndecider_period = 3\n", "FILE:2: unknown key system_services.decider.decider_period; did you mean system_services.decider.decider_period_sec?"},
		{"all and more", enough + "[system_services]\nenable = [\"all\", \"x\"]\n", `FILE:4: system_services.enable: "all" stands alone, or not at all`},
		{"no texts", "[system_services]\nenable = [1]\n", `FILE:2: system_services.enable: want texts in quotes, got 1`},
		{"on failure", enough + "[system_services]\non_failure = \"halt\"\n", `FILE:4: system_services.on_failure: "halt" is none of degrade, stop`},
		{"truth", "[auth]\nanonymous_read = \"yes\"\n", `FILE:2: auth.anonymous_read: want true or false, got "yes"`},
		{"role", enough + "[auth]\njwt_role = \"admn\"\n", `FILE:4: auth.jwt_role: "admn" is none of viewer, operator, controller, admin; did you mean admin?`},
		{"inline", "vmm = { driver = \"sim\", capacity = { vcpu = 3 } }\n", "FILE:1: unknown key vmm.capacity.vcpu; did you mean vmm.capacity.vcpus?"},
		{"dotted", "snapshot.retian = 3\n", "FILE:1: unknown key snapshot.retian; did you mean snapshot.retain?"},
		{"not a table", "api = \":7700\"\n", "FILE:1: api is a table; write [api] and its keys below"},
		{"duration", "[snapshot]\ninterval = \"1 hour\"\n", `FILE:2: snapshot.interval: want a duration such as 90s, 15m or 1h, got "1 hour"`},
		{"size", "[vmm.capacity]\nmemory = 4096\n", `FILE:2: vmm.capacity.memory: size "4096" has no unit; write 4096MiB or 4096GiB`},
		{"text", "name = 3\n", "FILE:1: name: want a text in quotes, got 3"},
		{"number", "voters = \"three\"\n", `FILE:1: voters: want a whole number, got "three"`},
		{"label", "labels = { rack = 1 }\n", "FILE:1: labels: label rack: want a text in quotes, got 1"},
		{"syntax", "name = \n", "FILE:1:8: unexpected character U+000A at start of value"},
		{"value", enough + "[vmm]\ndriver = \"libvrt\"\n", `FILE:4: vmm.driver: "libvrt" is none of auto, libvirt, sim, none; did you mean libvirt?`},
		{"two at once", "voters = \"x\"\nnam = \"x\"\n", "FILE:1: voters: want a whole number, got \"x\"\nFILE:2: unknown key nam; did you mean name?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := file(t, c.text)
			_, err := Load(Sources{File: path})
			if err == nil {
				t.Fatal("got no error")
			}
			if got := strings.ReplaceAll(err.Error(), path, "FILE"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestFileThatIsNotThere(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone.toml")
	if _, err := Load(Sources{Environ: []string{"ORCHD_CONFIG=" + gone}}); err == nil || !strings.Contains(err.Error(), gone) {
		t.Errorf("named file: got %v, want an error with its path", err)
	}
}

func TestWrongEnvironment(t *testing.T) {
	for _, c := range []struct{ pair, want string }{
		{"ORCHD_API__LISTN=:1", "environment: unknown variable ORCHD_API__LISTN; did you mean ORCHD_API__LISTEN?"},
		{"ORCHD_API_LISTEN=:1", "environment: unknown variable ORCHD_API_LISTEN; did you mean ORCHD_API__LISTEN?"},
		{"ORCHD_SOMETHING=1", "environment: unknown variable ORCHD_SOMETHING; unset it: names that begin with ORCHD_ are orchd's own"},
		{"ORCHD_VOTERS=2.5", `ORCHD_VOTERS: voters: want a whole number, got "2.5"`},
		{"ORCHD_VOTERS=4", `ORCHD_VOTERS: voters: "4" is none of 1, 3, 5`},
		{"ORCHD_LABELS=rack", `ORCHD_LABELS: labels: want labels as KEY=VALUE,KEY=VALUE, got "rack"`},
		{"ORCHD_TEST_CLOCK=soon", `ORCHD_TEST_CLOCK: want OFFSET,RATE such as 90s,1.01, got "soon"`},
		{"ORCHD_TEST_CLOCK=1s,0", `ORCHD_TEST_CLOCK: want OFFSET,RATE such as 90s,1.01, got "1s,0"`},
	} {
		_, err := Load(Sources{File: file(t, enough), Environ: []string{c.pair}})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.pair, err, c.want)
		}
	}
}

func TestClock(t *testing.T) {
	for value, want := range map[string]Clock{
		"":         {0, 1},
		"90s":      {90 * time.Second, 1},
		"-90,1.01": {-90 * time.Second, 1.01},
		"1h,0.5":   {time.Hour, 0.5},
	} {
		got, err := testClock([]string{"ORCHD_TEST_CLOCK=" + value})
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", value, got, err, want)
		}
	}
}

func TestLabelsFromTheEnvironmentJoinTheFiles(t *testing.T) {
	l, err := Load(Sources{File: file(t, enough+"[labels]\nrack = \"r1\"\n"), Environ: []string{"ORCHD_LABELS=a.b=c,row=2"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Labels) != 3 || l.Labels["a.b"] != "c" || l.Labels["rack"] != "r1" {
		t.Errorf("got %v", l.Labels)
	}
}

// TestKeysAndConfigAgree sets every key to a value that is not its default and
// looks for it in the Config, so that the table and the struct cannot drift apart.
func TestKeysAndConfigAgree(t *testing.T) {
	for _, k := range keys {
		var v any
		before := Default()
		for _, sample := range []string{"7", "7s", "7GiB", "a=7", "true", "false"} {
			if parsed, err := k.parse(sample); err == nil && show(parsed) != show(k.value(&before)) {
				v = parsed
				break
			}
		}
		over := newLayer()
		over.values[k.path] = v
		l, err := merge(over)
		if err != nil || show(k.value(&l.Config)) == show(k.value(&before)) {
			t.Errorf("%s: set to %v: got %v, %v", k.path, v, k.value(&l.Config), err)
		}
	}
}

func TestDataDir(t *testing.T) {
	if got := DataDir(Sources{File: file(t, "data_dir = \"/srv/o\"\n")}); got != "/srv/o" {
		t.Errorf("got %s", got)
	}
	if got := DataDir(Sources{File: file(t, "data_dir = 3\n")}); got != DefaultDataDir {
		t.Errorf("unusable file: got %s, want the default", got)
	}
}
