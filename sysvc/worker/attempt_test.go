package worker

import (
	"strings"
	"testing"
)

func TestAttemptOfAFunction(t *testing.T) {
	b := newPool(t)
	p := b.service(`
def half(n, by = 2):
    return n // by

def fine():
    return attempt(half, 10, by = 5)

def failing():
    return attempt(half, 10, by = 0)

def refused():
    return attempt(kv.set, "k", text = "v")

`)
	for function, want := range map[string]string{
		"fine":    `{"success":true,"error":"","result":2}`,
		"failing": `{"success":false,"error":"floored division by zero","result":null}`,
		"refused": `{"success":false,"error":"not granted: kv.set needs kv = true under [grants] of package.toml","result":null}`,
	} {
		if got, err := b.call(t, p, function, "{}", &host{}); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", function, got, err, want)
		}
	}
	few := newPool(t, func(c *Config) { c.Steps = 100_000 })
	got, err := few.call(t, few.service("def f():\n    attempt(g)\n    return 'went on'\ndef g():\n    while True:\n        pass"), "f", "{}", &host{})
	if err == nil || strings.Contains(got, "went on") {
		t.Errorf("a script that never ends: got %s, %v, want it stopped", got, err)
	}
}
