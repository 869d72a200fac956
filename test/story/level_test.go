//go:build planted

package story

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// oldRelease lies in the folder of a host whose orchd plays a release that knows the
// level in it, and no higher one.
const oldRelease = "knows"

func install(t *testing.T, on *lab.Host, release string) {
	t.Helper()
	file := filepath.Join(on.Dir(), oldRelease)
	err := os.Remove(file)
	if release == "old" {
		err = os.WriteFile(file, []byte("1"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLevels is an upgrade, host by host, with one that is away meanwhile and an old
// program that comes back: the level is raised once all know it, and not before.
func TestLevels(t *testing.T) {
	start := fmt.Sprintf(`if [ -e %s ]; then export %s=$(cat %s); fi; exec "$@"`, oldRelease, planted.LevelVariable, oldRelease)
	h := &house{Lab: lab.Start(t, 3, lab.Loopback, lab.Planted, lab.Under("sh", "-c", start, "sh")), t: t, clients: map[*lab.Host]*http.Client{}}
	for _, host := range h.Hosts() {
		install(t, host, "old")
	}
	h.Form()
	h.token = ask.Decode[api.NewToken](t, ask.Answer{Body: []byte(h.Host(0).CLI("token", "create", "--role", "admin", "--ttl", "24h", "-o", "json"))}).Token
	h.allVoters()
	h1, h2, h3 := h.Host(0), h.Host(1), h.Host(2)
	h.levelIs(1, 0, "")

	h3.Stop()
	for _, host := range []*lab.Host{h1, h2} {
		host.Stop()
		install(t, host, "new")
		host.Start()
		host.AwaitReady()
	}
	h.levelIs(1, 2, "h3", h1, h2)
	refused := h.do(h1, http.StatusConflict, "POST", "/v1/deals", api.DealCreate{Name: "early", Spec: api.DealSpec{VCPUs: 1, MemoryMiB: 64}, Inactive: true})
	if want := `this needs behaviour level 2, and the cluster is at 1: peer \"h3\" runs`; !strings.Contains(string(refused.Body), want) {
		t.Errorf("a command of level 2 at level 1: %s, want %q", refused.Body, want)
	}
	if out, _ := h1.Output("orchd", "status"); !strings.Contains(out, "1 in force, 2 awaits h3") { // it exits with 1: a peer is silent
		t.Errorf("orchd status says nothing of the level:\n%s", out)
	}

	install(t, h3, "new")
	h3.Start()
	h3.AwaitReady()
	h.levelIs(2, 0, "")
	h.raisedOnceAllKnew(h1)
	h.do(h1, http.StatusCreated, "POST", "/v1/deals", api.DealCreate{Name: "now", Spec: api.DealSpec{VCPUs: 1, MemoryMiB: 64}, Inactive: true})

	h.oldComesBack(h3)
	h.create(h1, "after") // nothing was harmed
	h3.Start()
	h3.AwaitReady()
	h.levelIs(2, 0, "")
	if _, there := h.vms(h3, "")["after"]; !there {
		t.Error("h3 came back and has not what was made meanwhile")
	}
}

// levelIs waits until these hosts, or all, say that a level is in force, and which one
// is next and waits for whom.
func (h *house) levelIs(level, next uint64, awaits string, hosts ...*lab.Host) {
	h.t.Helper()
	if len(hosts) == 0 {
		hosts = h.Hosts()
	}
	lab.Eventually(h.t, patience, func() error {
		for _, host := range hosts {
			if s := h.status(host); s.Level != level || s.NextLevel != next || strings.Join(s.NextLevelAwaits, " ") != awaits {
				return fmt.Errorf("%s: level %d, next %d awaits %v; want %d, %d awaits %q", host.Name, s.Level, s.NextLevel, s.NextLevelAwaits, level, next, awaits)
			}
		}
		return nil
	})
}

// raisedOnceAllKnew reads in the changes that the level was raised behind the word of
// each peer that it knows it.
func (h *house) raisedOnceAllKnew(at *lab.Host) {
	h.t.Helper()
	knew, raised := map[string]uint64{}, uint64(0)
	for line := range strings.Lines(string(h.do(at, http.StatusOK, "GET", "/v1/events?since=0&follow=false&table=peers,settings", nil).Body)) {
		data, is := strings.CutPrefix(line, "data: ")
		var e struct {
			Index uint64
			Table string
			Value struct { // the row
				Name, Value string
				Level       uint64
			}
		}
		if !is || json.Unmarshal([]byte(data), &e) != nil {
			continue
		}
		switch {
		case e.Table == "peers" && e.Value.Level == 2 && knew[e.Value.Name] == 0:
			knew[e.Value.Name] = e.Index
		case e.Table == "settings" && e.Value.Name == "level" && e.Value.Value == "2":
			raised = e.Index
		}
	}
	if len(knew) != 3 || raised <= max(knew["h1"], knew["h2"], knew["h3"]) {
		h.t.Errorf("the level was raised by entry %d, and the peers said that they know it in %v; want all three, and before", raised, knew)
	}
}

// oldComesBack starts the old program on a host that was stopped, and on one that was
// killed, with and without what it noted of the level: it ends each time, and says what
// to install.
func (h *house) oldComesBack(host *lab.Host) {
	h.t.Helper()
	for _, end := range []func(){host.Stop, host.Kill} {
		for _, noted := range []bool{true, false} {
			note := filepath.Join(host.DataDir(), "raft", "level.json")
			lab.Eventually(h.t, patience, func() error { _, err := os.Stat(note); return err })
			end()
			if !noted {
				if err := os.Remove(note); err != nil {
					h.t.Fatal(err)
				}
			}
			install(h.t, host, "old")
			before, _ := os.ReadFile(host.Log())
			host.Start()
			lab.Eventually(h.t, patience, func() error {
				if host.Running() {
					return fmt.Errorf("the old orchd runs on %s", host.Name)
				}
				return nil
			})
			said, err := os.ReadFile(host.Log())
			if err != nil {
				h.t.Fatal(err)
			}
			const want = "the cluster is at behaviour level 2, and this orchd knows level 1"
			if last := string(said[len(before):]); !strings.Contains(last, want) || strings.Contains(last, "goroutine ") {
				h.t.Errorf("with the level noted: %v, the old orchd says no %q:\n%s", noted, want, last)
			}
			install(h.t, host, "new")
			host.Start()
			host.AwaitReady()
			h.levelIs(2, 0, "")
		}
	}
	host.Stop()
}
