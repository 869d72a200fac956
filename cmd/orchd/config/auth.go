package config

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/jwt"
)

// Auth says who may speak on the routes of the inventory. It seeds settings that
// are alike on all peers when a cluster is made; later it is only compared with them.
type Auth struct {
	JWTSecretFile string `koanf:"jwt_secret_file"` // HS256 secrets as they stand, one a line
	JWKSFile      string `koanf:"jwks_file"`       // public keys as a JWK set (RFC 7517)
	JWKSURL       string `koanf:"jwks_url"`        // where such a set is fetched
	Issuer        string `koanf:"issuer"`          // the iss that a token must have; empty: any
	Audience      string `koanf:"audience"`        // the aud that a token must hold; empty: any
	AnonymousRead bool   `koanf:"anonymous_read"`  // reads need no credential
	SMDAnonymous  bool   `koanf:"smd_anonymous"`   // nor what boot servers read of the State Manager API
	JWTRole       string `koanf:"jwt_role"`        // of a token without the claim orchd_role
}

// AuthFiles is what stands in the files that Auth names.
type AuthFiles struct {
	JWTSecret string
	JWKS      string
	Warnings  []string // what is allowed and unwise
}

// maxAuthFile bounds such a file in bytes: it becomes a setting.
const maxAuthFile = 64 << 10

func (a Auth) valid() error {
	var errs []error
	if a.JWKSFile != "" && a.JWKSURL != "" {
		errs = append(errs, errors.New("auth.jwks_url: auth.jwks_file is set too; keys come from one place, so take one of them out"))
	}
	if a.JWKSURL != "" {
		errs = append(errs, at("auth.jwks_url", jwt.ValidURL(a.JWKSURL)))
	}
	return errors.Join(append(errs, oneOf("auth.jwt_role", a.JWTRole,
		string(api.RoleViewer), string(api.RoleOperator), string(api.RoleController), string(api.RoleAdmin)))...)
}

// Read reads the files and reports everything that is wrong with them, one error
// a line and never what stands in them.
func (a Auth) Read() (files AuthFiles, err error) {
	files.JWTSecret, err = readAuthFile(a.JWTSecretFile)
	errs := []error{at("auth.jwt_secret_file", err)}
	if err == nil && a.JWTSecretFile != "" {
		errs = append(errs, at("auth.jwt_secret_file", files.lookAtSecrets(a.JWTSecretFile)))
	}
	files.JWKS, err = readAuthFile(a.JWKSFile)
	errs = append(errs, at("auth.jwks_file", err))
	if err == nil && a.JWKSFile != "" {
		errs = append(errs, at("auth.jwks_file", jwt.Config{JWKS: []byte(files.JWKS)}.Validate()))
		if files.JWKS == "" {
			errs = append(errs, fmt.Errorf("auth.jwks_file: %s is empty; it must hold a JWK set (RFC 7517)", a.JWKSFile))
		}
	}
	return files, errors.Join(errs...)
}

func readAuthFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxAuthFile+1))
	if err == nil && len(text) > maxAuthFile {
		err = fmt.Errorf("%s is larger than %d KiB", path, maxAuthFile>>10)
	}
	return string(text), err
}

// lookAtSecrets refuses a file without a secret, and warns of weak ones.
func (f *AuthFiles) lookAtSecrets(path string) error {
	secrets := jwt.Secrets([]byte(f.JWTSecret))
	if len(secrets) == 0 {
		return fmt.Errorf("%s holds no secret; make one with: openssl rand -base64 48 > %s", path, path)
	}
	for i, s := range secrets {
		if jwt.IsShort(s) {
			f.Warnings = append(f.Warnings, fmt.Sprintf("auth.jwt_secret_file: secret %d of %s has less than the 32 bytes that HS256 asks for; who has a token may find it by trying", i+1, path))
		}
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o044 != 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("auth.jwt_secret_file: others on this host can read %s; close it with: chmod 600 %s", path, path))
	}
	return nil
}

// AuthFiles is Auth.Read with the places where the files are named in front of its errors.
func (l Loaded) AuthFiles() (AuthFiles, error) {
	files, err := l.Auth.Read()
	return files, l.placed(err)
}
