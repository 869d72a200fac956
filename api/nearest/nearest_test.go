package nearest

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"list", "show", "start", "stop", "force-stop", "memory"}
	for word, want := range map[string]string{"lsit": "list", "strat": "start", "memry": "memory", "xyzzy": "", "forcestop": "force-stop", "": ""} {
		if got := Of(word, names); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
