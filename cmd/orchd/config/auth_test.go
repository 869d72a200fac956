package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const publicKey = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"d","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}` // RFC 8037, appendix A.2

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAuthFiles(t *testing.T) {
	secret := strings.Repeat("s", 32)
	gone := filepath.Join(t.TempDir(), "gone")
	for name, c := range map[string]struct {
		auth         Auth
		err, warning string
	}{
		"none":               {Auth{}, "", ""},
		"good":               {Auth{JWTSecretFile: written(t, secret+"\n"), JWKSFile: written(t, publicKey)}, "", ""},
		"secret not there":   {Auth{JWTSecretFile: gone}, "auth.jwt_secret_file: open " + gone + ": no such file", ""},
		"keys not there":     {Auth{JWKSFile: gone}, "auth.jwks_file: open " + gone + ": no such file", ""},
		"both not there":     {Auth{JWTSecretFile: gone, JWKSFile: gone}, "no such file or directory\nauth.jwks_file: open", ""},
		"empty secret":       {Auth{JWTSecretFile: written(t, "\n\n")}, "holds no secret; make one with", ""},
		"short secret":       {Auth{JWTSecretFile: written(t, secret+"\nshort\n")}, "", "secret 2 of"},
		"large secret":       {Auth{JWTSecretFile: written(t, strings.Repeat("s", maxAuthFile+1))}, "is larger than 64 KiB", ""},
		"keys that are none": {Auth{JWKSFile: written(t, "-----BEGIN PUBLIC KEY-----")}, "auth.jwks_file: this is no JWK set", ""},
		"no keys":            {Auth{JWKSFile: written(t, "")}, "is empty; it must hold a JWK set", ""},
		"secret keys":        {Auth{JWKSFile: written(t, `{"keys":[{"kty":"oct","k":"AAAA"}]}`)}, "holds a secret key", ""},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := c.auth.Read()
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			warnings := strings.Join(files.Warnings, "\n")
			if c.warning == "" && warnings != "" || !strings.Contains(warnings, c.warning) {
				t.Errorf("warnings: got %q, want %q", warnings, c.warning)
			}
			if err != nil && strings.Contains(err.Error(), "sss") || strings.Contains(warnings, "short\n") {
				t.Error("a secret is told")
			}
		})
	}
}

func TestSecretFileThatOthersCanRead(t *testing.T) {
	path := written(t, strings.Repeat("s", 32))
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := Auth{JWTSecretFile: path}.Read()
	if err != nil || len(files.Warnings) != 1 || !strings.Contains(files.Warnings[0], "chmod 600 "+path) {
		t.Errorf("got %q, %v; want a warning", files.Warnings, err)
	}
}

func TestAuthFileErrorsSayWhereTheFileIsNamed(t *testing.T) {
	path := file(t, enough+"[auth]\njwt_secret_file = \"/nowhere/secret\"\n")
	l, err := Load(Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AuthFiles(); err == nil || !strings.HasPrefix(err.Error(), path+":4: auth.jwt_secret_file: open /nowhere/secret") {
		t.Errorf("got %v", err)
	}
}

func TestGivenAndOrigins(t *testing.T) {
	path := file(t, enough+"[auth]\nissuer = \"https://issuer\"\nsmd_anonymous = true\n")
	l, err := Load(Sources{File: path, Environ: []string{"ORCHD_AUTH__ANONYMOUS_READ=true", "ORCHD_AUTH__JWT_ROLE=viewer"}})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]struct {
		value  any
		origin string
	}{
		"auth.issuer":          {"https://issuer", path + ":4"},
		"auth.smd_anonymous":   {true, path + ":5"},
		"auth.anonymous_read":  {true, "ORCHD_AUTH__ANONYMOUS_READ"},
		"auth.jwt_role":        {"viewer", "ORCHD_AUTH__JWT_ROLE"},
		"auth.audience":        {"", "default"},
		"auth.jwt_secret_file": {"", "default"},
		"api.plain_listen":     {"", "default"},
		"boot.listen":          {"", "default"},
	} {
		if got := entry(t, l, key); got.Value != want.value || got.Origin != want.origin {
			t.Errorf("%s: got %v from %s, want %v from %s", key, got.Value, got.Origin, want.value, want.origin)
		}
		if given := want.origin != "default"; l.Given[key] != given {
			t.Errorf("%s: given: got %v, want %v", key, l.Given[key], given)
		}
	}
}
