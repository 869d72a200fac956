package server

import (
	"os"
	"strings"
	"testing"
)

// TestExamplesOfServices sends every request that docs/reference/services.md shows.
func TestExamplesOfServices(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/services.md")
	if err != nil {
		t.Fatal(err)
	}
	f, _, ask := startFake(t)
	tried := 0
	for _, command := range strings.Split(string(text), "\ncurl ")[1:] {
		command, _, _ = strings.Cut("curl "+command, "\n```")
		f.fill()
		method, path, body, headers := requestOf(t, command)
		if res := ask(method, path, body, headers...); res.StatusCode >= 300 {
			t.Errorf("%s\ngot %d %s", command, res.StatusCode, read(t, res))
		}
		tried++
	}
	if tried < 20 {
		t.Errorf("only %d examples were found", tried)
	}
}

// TestEveryServiceRouteIsDocumented: the page has a line for each route that it is about.
func TestEveryServiceRouteIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/services.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range routes {
		switch rt.tag() {
		case "services", "packages", "spells", "deals":
			if !strings.Contains(string(text), "| `"+rt.method+" "+rt.path+"` |") {
				t.Errorf("%s %s is not there", rt.method, rt.path)
			}
		}
	}
}
