package inventory

import "testing"

func TestIsText(t *testing.T) {
	for s, want := range map[string]bool{"": true, "Partition 1": true, "ä\t\r\n": true, "a\x00": false, "\x1b[31m": false, "\u0085": false, "\xff": false, "\ufffd": false} {
		if got := IsText(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}
