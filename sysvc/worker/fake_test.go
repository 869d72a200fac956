package worker

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// silence never ends. A child in which nothing at all could happen any more would be
// ended by Go's own runtime.
func silence() {
	for {
		time.Sleep(time.Hour)
	}
}

// fakes are children that do not keep to the protocol, each from when it has been asked.
var fakes = map[string]func(c *child, said toChild){
	"silent":  func(*child, toChild) { silence() },
	"gone":    func(*child, toChild) { os.Exit(7) },
	"garbage": func(*child, toChild) { flood([]byte("\x00\x00\x00\x10this is no frame")) },
	"huge":    func(*child, toChild) { flood([]byte("\xff\xff\xff\xffxxxx")) },
	"half":    func(*child, toChild) { os.Stdout.Write([]byte{0, 0, 1}); os.Exit(0) },
	"deep":    func(*child, toChild) { flood(append([]byte{0, 0, 0xff, 0xff}, strings.Repeat("\x81", 0xffff)...)) },
	"long":    func(*child, toChild) { flood([]byte("\x00\x00\x00\x09\x9b\x7f\xff\xff\xff\xff\xff\xff\xff")) },
	"nothing": func(c *child, _ toChild) { c.say(fromChild{}); silence() },
	"left":    func(c *child, _ toChild) { c.say(fromChild{Left: true}); silence() },
	"no json": func(c *child, _ toChild) { c.say(fromChild{Done: &done{Result: json.RawMessage("{")}}); silence() },
	"inside": func(c *child, _ toChild) {
		c.enter("svc", "f")
		c.say(fromChild{Done: &done{Result: json.RawMessage("1")}})
		silence()
	},
	"args": func(c *child, _ toChild) { c.host("kv.get", json.RawMessage("not json")); silence() },
	"two results": func(c *child, _ toChild) {
		c.say(fromChild{Done: &done{Result: json.RawMessage(`"first"`)}})
		c.say(fromChild{Done: &done{Result: json.RawMessage(`"second"`)}})
		c.hear()
		silence()
	},
}

func flood(text []byte) {
	for {
		if _, err := os.Stdout.Write(text); err != nil {
			os.Exit(1)
		}
	}
}

func fakeMain(kind string) int {
	c := &child{}
	if confinedFake(kind) {
		if _, err := confine(defaultMemory); err != nil {
			c.say(fromChild{Ready: &ready{Error: err.Error()}})
			return 1
		}
	}
	if err := c.say(fromChild{Ready: &ready{}}); err != nil {
		return 1
	}
	said, err := c.hear()
	if err != nil {
		return 1
	}
	fakes[kind](c, said)
	return 0
}

// fakeProgram is something to call for who does not look at it.
var fakeProgram = Program{Modules: []Module{{Name: "x", Kind: "starlark"}}}

func fakePool(t *testing.T, kind string) bench {
	return newPool(t, func(c *Config) { c.Command = []string{"/proc/self/exe", "fake", kind} })
}

// The child is not trusted: whatever it says, only its own call fails.
func TestFramesThatNoWorkerSends(t *testing.T) {
	for kind := range fakes {
		if strings.HasSuffix(kind, "flood") || confinedFake(kind) {
			continue // confine_test.go
		}
		t.Run(kind, func(t *testing.T) {
			b := fakePool(t, kind)
			h := &host{services: map[string]Program{"svc": fakeProgram}}
			before := heap()
			limit := 20 * time.Second
			if kind == "silent" {
				limit = 100 * time.Millisecond
			}
			got, err := b.callWithin(t, limit, fakeProgram, "f", "", h)
			switch kind {
			case "two results":
				if err != nil || got != `"first"` {
					t.Errorf("got %s, %v, want the first", got, err)
				}
			case "silent":
				if !errors.Is(err, ErrDeadline) {
					t.Errorf("got %v, want ErrDeadline", err)
				}
			default:
				if !errors.Is(err, ErrCrashed) {
					t.Errorf("got %q, %v, want ErrCrashed", got, err)
				}
			}
			if grown := heap() - before; grown > 4<<20 {
				t.Errorf("this process grew by %d bytes", grown)
			}
			b.Pool.mu.Lock()
			defer b.Pool.mu.Unlock()
			if left := len(b.all); kind != "two results" && left != 0 {
				t.Errorf("got %d workers that are left, want none", left)
			}
		})
	}
}
