package cli

import (
	"testing"

	"github.com/orchd/orchd/api"
)

func TestLevelsOnTheScreen(t *testing.T) {
	for want, s := range map[string]api.Status{
		"2 in force":                  {Level: 2},
		"1 in force, 2 in a moment":   {Level: 1, NextLevel: 2},
		"1 in force, 2 awaits h2, h3": {Level: 1, NextLevel: 2, NextLevelAwaits: []string{"h2", "h3"}},
	} {
		if got := levels(s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
