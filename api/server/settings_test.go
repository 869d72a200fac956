package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// TestSettingsHideSecrets: what may only be written is in no answer, whatever the backend says.
func TestSettingsHideSecrets(t *testing.T) {
	f, _, ask := startFake(t)
	f.settings.Auth.JWTSecret = new("hunter2")
	for _, res := range []*http.Response{ask("GET", "/v1/settings", ""), ask("PATCH", "/v1/settings", `{"auth":{"jwt_secret":"hunter3"}}`)} {
		if body := read(t, res); res.StatusCode != http.StatusOK || strings.Contains(body, "hunter") {
			t.Errorf("got %d %s", res.StatusCode, body)
		}
	}
}

// TestSettingsPatchArrivesAsItCame: null is not nothing.
func TestSettingsPatchArrivesAsItCame(t *testing.T) {
	f, _, ask := startFake(t)
	for _, body := range []string{
		`{}`,
		`{"voters":5}`,
		`{"voters":null,"snapshot":{"daily":null,"interval":"0s"},"history":{}}`,
		`{"trust":{"join_weight":100,"image_weight":null}}`,
		`{"auth":{"jwt_secret":"a\nb","jwks":"{\"keys\":[]}","anonymous_read":true,"jwt_role":"viewer"}}`,
	} {
		before := len(f.wroteSince(0))
		res := ask("PATCH", "/v1/settings", body)
		if got := strings.Join(f.wroteSince(before), ";"); res.StatusCode != http.StatusOK || got != "settings.patch "+body {
			t.Errorf("%s: got %d, the backend %q", body, res.StatusCode, got)
		}
	}
}

func TestSettingsPatchRefused(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct {
		body, pointer string
		status        int
	}{
		{`[]`, "", http.StatusBadRequest},
		{``, "", http.StatusBadRequest},
		{`{"voters":7}`, "/voters", http.StatusUnprocessableEntity},
		{`{"voters":"5"}`, "/voters", http.StatusUnprocessableEntity},
		{`{"snapshot":{"retain":0}}`, "/snapshot/retain", http.StatusUnprocessableEntity},
		{`{"snapshot":{"retian":3}}`, "/snapshot/retian", http.StatusUnprocessableEntity},
		{`{"trust":{"join_weight":-1}}`, "/trust/join_weight", http.StatusUnprocessableEntity},
		{`{"trust":{"image_weight":"100"}}`, "/trust/image_weight", http.StatusUnprocessableEntity},
		{`{"trust":{"weight":1}}`, "/trust/weight", http.StatusUnprocessableEntity},
		{`{"auth":{"jwt_role":"peer"}}`, "/auth/jwt_role", http.StatusUnprocessableEntity},
		{`{"auth":{"jwt_secret_set":true}}`, "/auth/jwt_secret_set", http.StatusUnprocessableEntity},
		{`{"colour":"red"}`, "/colour", http.StatusUnprocessableEntity},
	} {
		res := ask("PATCH", "/v1/settings", c.body)
		var p api.Problem
		if err := json.Unmarshal([]byte(read(t, res)), &p); err != nil || res.StatusCode != c.status {
			t.Errorf("%s: got %d %+v, want %d (%v)", c.body, res.StatusCode, p, c.status, err)
		}
		if c.pointer != "" && (len(p.Errors) == 0 || p.Errors[0].Pointer != c.pointer) {
			t.Errorf("%s: got %v, want an error at %s", c.body, p.Errors, c.pointer)
		}
	}
	if wrote := f.wroteSince(0); len(wrote) != 0 {
		t.Errorf("the backend was asked: %v", wrote)
	}
	if res := ask("PATCH", "/v1/settings", `{"voters":5}`, "Authorization", "Bearer admin@default"); res.StatusCode != http.StatusForbidden {
		t.Errorf("an admin of one account: got %d, want 403", res.StatusCode)
	}
}
