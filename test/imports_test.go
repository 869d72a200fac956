// Package test has the one test that looks at the house as a whole: which room
// may import which.
package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/orchd/orchd"

// rooms are the folders of the house, and which other rooms each may import. An
// inner package obeys its parent's row, and may import its own room.
var rooms = map[string][]string{
	"api":        {},
	"api/server": {"api"},
	"snapshot":   {"api"},
	"fsm":        {"api", "snapshot"},
	"cluster":    {"api"},
	"vmm":        {"api"},
	"sysvc":      {"api"},
	"cmd/orchd":  {"api", "api/server", "snapshot", "fsm", "cluster", "vmm", "sysvc"},
	"test":       {"api", "api/server", "snapshot", "fsm", "cluster", "vmm", "sysvc", "cmd/orchd"},
}

// roomOf is the room that a package (a path below the module) belongs to: the
// longest one that it lies in. Empty: the package stands in no room.
func roomOf(pkg string) string {
	for p := pkg; p != "."; p = path.Dir(p) {
		if _, is := rooms[p]; is {
			return p
		}
	}
	return ""
}

// wrongArrows says what is not allowed in imports (package to what it imports,
// all as paths below the module), in order.
func wrongArrows(imports map[string][]string) (wrong []string) {
	for _, from := range slices.Sorted(maps.Keys(imports)) {
		room := roomOf(from)
		if room == "" {
			wrong = append(wrong, from+" stands in no room")
			continue
		}
		for _, to := range slices.Sorted(slices.Values(imports[from])) {
			if target := roomOf(to); target != room && !slices.Contains(rooms[room], target) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s: %s may import %v", from, to, room, rooms[room]))
			}
		}
	}
	return wrong
}

func TestWrongArrows(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		ok       bool
	}{
		"up the table":          {"fsm", "snapshot", true},
		"down the table":        {"snapshot", "fsm", false},
		"api is alone":          {"api", "fsm", false},
		"api has inner rooms":   {"api/seal", "api", true},
		"all may seal":          {"cluster", "api/seal", true},
		"all may be planted in": {"snapshot", "api/planted", true},
		"server is a room":      {"api", "api/server", false},
		"no other serves":       {"vmm", "api/server", false},
		"server does not agree": {"api/server", "cluster", false},
		"inner obeys its row":   {"vmm/libvirt", "cluster", false},
		"inner to parent":       {"vmm/libvirt", "vmm", true},
		"inner of another":      {"fsm", "cluster/ca", false},
		"cluster knows no fsm":  {"cluster", "fsm", false},
		"peer joins all":        {"cmd/orchd/peer", "cluster/ca", true},
		"nobody needs cmd":      {"vmm", "cmd/orchd/config", false},
		"test sees all":         {"test/lab", "cmd/orchd/peer", true},
		"nobody needs test":     {"fsm", "test/lab", false},
		"a room not in the map": {"util", "api", false},
	} {
		t.Run(name, func(t *testing.T) {
			wrong := wrongArrows(map[string][]string{c.from: {c.to}})
			if ok := len(wrong) == 0; ok != c.ok {
				t.Errorf("%s -> %s: got allowed %v (%v), want %v", c.from, c.to, ok, wrong, c.ok)
			}
		})
	}
}

// TestImports walks the real house. Test files may import what they like.
func TestImports(t *testing.T) {
	list := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	list.Dir = ".."
	out, err := list.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := list.Start(); err != nil {
		t.Fatal(err)
	}
	imports, err := readImports(out)
	if err := errors.Join(err, list.Wait()); err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(imports) < len(rooms)/2 {
		t.Fatalf("go list found only %d packages", len(imports))
	}
	for _, wrong := range wrongArrows(imports) {
		t.Error(wrong)
	}
}

// readImports reads what go list prints, and keeps what is of this module.
func readImports(r io.Reader) (map[string][]string, error) {
	imports := map[string][]string{}
	for d := json.NewDecoder(r); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return imports, nil
		} else if err != nil {
			return nil, err
		}
		var own []string
		for _, i := range p.Imports {
			if below, is := strings.CutPrefix(i, module+"/"); is {
				own = append(own, below)
			}
		}
		imports[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")] = own
	}
}
