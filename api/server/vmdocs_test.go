package server

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// requestOf reads a curl command as the documentation has them.
func requestOf(t *testing.T, command string) (method, path, body string, headers []string) {
	t.Helper()
	method = "GET"
	words := shellWords(command)
	for i := 1; i < len(words); i++ {
		next := func() string { i++; return words[i] }
		switch w := words[i]; {
		case w == "-X":
			method = next()
		case w == "-d":
			if body = next(); method == "GET" {
				method = "POST"
			}
		case w == "-T":
			method, body = "PUT", "content of "+next()
		case w == "-H":
			name, value, _ := strings.Cut(next(), ": ")
			headers = append(headers, name, value)
		case w == "-o":
			next()
		case strings.HasPrefix(w, "$PEER/"):
			path = strings.TrimPrefix(w, "$PEER")
		default:
			t.Fatalf("%s: what is %q?", command, w)
		}
	}
	return method, path, body, headers
}

var shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)

func shellWords(command string) []string {
	words := shellWord.FindAllString(command, -1)
	for i, w := range words {
		words[i] = strings.Trim(w, `'"`)
	}
	return words
}

// TestExamplesOfTheDocumentation sends every request that docs/reference/vms.md shows.
func TestExamplesOfTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/vms.md")
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
	if tried < 30 {
		t.Errorf("only %d examples were found", tried)
	}
}

// TestEveryGuestRouteIsDocumented: docs/reference/vms.md names the routes that it is about.
func TestEveryGuestRouteIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/vms.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range routes {
		switch rt.tag() {
		case "vms", "sizes", "images", "ssh-keys", "networks", "accounts", "usage", "domains", "findings", "leases", "operations":
			last := rt.path[strings.LastIndex(rt.path, "/")+1:]
			if !strings.Contains(string(text), rt.path) && !strings.Contains(string(text), "`"+last+"`") {
				t.Errorf("%s %s is not there", rt.method, rt.path)
			}
		}
	}
}
