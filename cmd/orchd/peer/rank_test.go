package peer

import (
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// A peer that joined a moment ago has not been silent, though nobody has heard it yet.
func TestUnheard(t *testing.T) {
	now := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		created, heard time.Time
		silent         bool
	}{
		"newcomer":                 {created: now.Add(-time.Second)},
		"newcomer that stays away": {created: now.Add(-time.Minute), silent: true},
		"heard just now":           {created: now.Add(-time.Hour), heard: now.Add(-time.Second)},
		"heard long ago":           {created: now.Add(-time.Hour), heard: now.Add(-time.Minute), silent: true},
		"never heard":              {created: now.Add(-time.Hour), silent: true},
	} {
		if got := unheard(api.Peer{CreatedAt: c.created}, c.heard, now) > silentAfter; got != c.silent {
			t.Errorf("%s: silent %v, want %v", what, got, c.silent)
		}
	}
}
