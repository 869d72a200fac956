package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Settings of packages come from the file and the environment: those of packages that
// come with orchd by their keys, those of others as they stand.
func TestSettingsOfPackages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orchd.toml")
	text := enough + `
[system_services]
enable = ["registry", "hello"]
[system_services.registry]
renew_period_sec = 60
[system_services.hello]
greeting = "Hi"
often = true
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Load(Sources{File: file, Environ: []string{"ORCHD_SYSTEM_SERVICES__HELLO__TIMES=3", "ORCHD_SYSTEM_SERVICES__DECIDER__DECIDER_PERIOD_SEC=60",
		"ORCHD_SYSTEM_SERVICES__ENABLE=registry,decider", "ORCHD_SYSTEM_SERVICES__HELLO__GREETING=Hello"}})
	if err != nil {
		t.Fatal(err)
	}
	s := l.SystemServices
	if want := []string{"registry", "decider"}; !reflect.DeepEqual(s.Enable, want) {
		t.Errorf("enable is %q, want %q", s.Enable, want)
	}
	want := map[string]map[string]any{
		"hello":    {"greeting": "Hello", "often": true, "times": int64(3)},
		"registry": {"renew_period_sec": int64(60)},
		"decider":  {"decider_period_sec": int64(60)},
	}
	if !reflect.DeepEqual(s.Settings, want) {
		t.Errorf("settings are %v, want %v", s.Settings, want)
	}
	if s.Registry.Renew != 60 || s.Decider.Period != 60 || s.Decider.WorkerPeriod != 900 {
		t.Errorf("registry %+v, decider %+v", s.Registry, s.Decider)
	}
	origin := ""
	for _, e := range l.Entries() {
		if e.Key == "system_services.hello.often" {
			origin = e.Origin
		}
	}
	if !strings.HasPrefix(origin, file+":") {
		t.Errorf("origin of hello's setting is %q, want a line of %s", origin, file)
	}
}

// Variables of the system that the packages come from are pointed out, with what to set instead.
func TestForeignVariables(t *testing.T) {
	got := ForeignVariables([]string{"HOME=/root", "FLUENCE_ENV_CONNECTOR_API_ENDPOINT=x", "FLUENCE_SYSTEM_SERVICES__ENABLE=y", "FLUENCE_MAX_SPELL_PARTICLE_TTL=9s"})
	want := []string{
		"FLUENCE_ENV_CONNECTOR_API_ENDPOINT is set, and orchd does not read it; set ORCHD_SYSTEM_SERVICES__DECIDER__NETWORK_API_ENDPOINT instead",
		"FLUENCE_SYSTEM_SERVICES__ENABLE is set, and orchd does not read it; set ORCHD_SYSTEM_SERVICES__ENABLE instead",
		"FLUENCE_MAX_SPELL_PARTICLE_TTL is set, and orchd does not read it, nor anything in its place",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
