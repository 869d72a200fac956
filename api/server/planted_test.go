//go:build planted

package server

import (
	"strings"
	"testing"

	"github.com/orchd/orchd/api/planted"
)

func TestPlantedHookEventTwice(t *testing.T) {
	t.Cleanup(func() { planted.Plant("") })
	_, _, ask := startFake(t)
	for bug, want := range map[planted.Bug]string{"": "7.3 9.1", planted.EventTwice: "7.1 7.2 7.3 9.1"} {
		planted.Plant(bug)
		res := ask("GET", "/v1/events?follow=false", "", "Last-Event-ID", "7.2")
		if got := strings.Join(idsOf(t, res), " "); got != want {
			t.Errorf("behind 7.2, with the bug %q: got %s, want %s", bug, got, want)
		}
	}
}
