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

// TestTroubledHosts: a host whose hypervisor has not worked for a while is as good as silent.
func TestTroubledHosts(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := &Peer{cfg: Config{Now: func() time.Time { return now }}}
	since := map[string]time.Time{}
	for _, c := range []struct {
		after   time.Duration
		problem string
		want    bool
	}{
		{0, "", false},
		{time.Hour, "libvirtd does not answer", false},
		{reassignAfter - 1, "libvirtd does not answer", false},
		{1, "libvirtd does not answer", true},
		{time.Second, "", false}, // it works again
		{time.Second, "libvirtd does not answer", false},
		{reassignAfter, "libvirtd does not answer", true},
	} {
		now = now.Add(c.after)
		if got := p.troubled(api.Peer{ID: "h1", Problem: c.problem}, since); got != c.want {
			t.Errorf("%v later, with %q: troubled %v, want %v", c.after, c.problem, got, c.want)
		}
	}
}
