package jwt

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/orchd/orchd/api"
)

var (
	secret = []byte("a secret that is longer than 32 bytes")
	now    = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

	rsaKey      = must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey       = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, edKey, _ = ed25519.GenerateKey(rand.Reader)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// good are claims of the shape that node-orchestrator's own client sends.
func good() map[string]any {
	return map[string]any{
		"sub": "alex@example.org", "iss": "https://issuer", "aud": "https://fleet", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix() + 600,
		"tenant_id": "f8b3b3b7-4b1b-4b7b-8b3b-7b4b1b4b1b4b", "tenant_name": "testtenant", "tenant_roles": []string{"user"},
		"partition_id": "a8b3b3b7-4b1b-4b7b-8b3b-7b4b1b4b1b4b", "partition_roles": []string{"admin"},
	}
}

// with is good claims with some others; nil takes one away.
func with(changes map[string]any) map[string]any {
	c := good()
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token; headers are added to its own.
func sign(t testing.TB, alg jwa.SignatureAlgorithm, key any, claims any, headers map[string]any) string {
	t.Helper()
	h := jws.NewHeaders()
	for name, value := range headers {
		if err := h.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	payload, ok := claims.([]byte)
	if !ok {
		payload = must(json.Marshal(claims))
	}
	token, err := jws.Sign(payload, jws.WithKey(alg, key, jws.WithProtectedHeaders(h)))
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

// setOf is a JWK set of public keys by kid.
func setOf(t testing.TB, public map[string]any) []byte {
	t.Helper()
	set := jwk.NewSet()
	for kid, p := range public {
		k, err := jwk.Import(p)
		if err != nil {
			t.Fatal(err)
		}
		if kid != "" {
			must(0, k.Set(jwk.KeyIDKey, kid))
		}
		must(0, set.AddKey(k))
	}
	return must(json.Marshal(set))
}

func public(t testing.TB) []byte {
	return setOf(t, map[string]any{"r": rsaKey.Public(), "e": ecKey.Public(), "d": edKey.Public()})
}

func verifier(t testing.TB, change func(*Config)) *Verifier {
	t.Helper()
	cfg := Config{Secrets: [][]byte{secret}, JWKS: public(t), Role: api.RoleAdmin, Now: func() time.Time { return now }}
	if change != nil {
		change(&cfg)
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// raw is a token out of texts, signed by nobody.
func raw(header, payload string, signature []byte) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(payload)) + "." + e.EncodeToString(signature)
}

func TestTheClientsToken(t *testing.T) {
	got, err := verifier(t, nil).Verify(t.Context(), sign(t, jwa.HS256(), secret, good(), map[string]any{"typ": "JWT"}))
	want := api.Actor{ID: "jwt:alex@example.org", Role: api.RoleAdmin, Tenant: "f8b3b3b7-4b1b-4b7b-8b3b-7b4b1b4b1b4b", Partition: "a8b3b3b7-4b1b-4b7b-8b3b-7b4b1b4b1b4b"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestClaims(t *testing.T) {
	configured := func(c *Config) { c.Issuer, c.Audience, c.Role = "https://issuer", "https://fleet", api.RoleViewer }
	long := strings.Repeat("x", 201)
	for name, c := range map[string]struct {
		claims map[string]any
		want   *api.Error
		role   api.Role
	}{
		"good":                       {good(), nil, api.RoleViewer},
		"no sub":                     {with(map[string]any{"sub": nil}), ErrMissing, ""},
		"no iss":                     {with(map[string]any{"iss": nil}), ErrMissing, ""},
		"no aud":                     {with(map[string]any{"aud": nil}), ErrMissing, ""},
		"empty sub":                  {with(map[string]any{"sub": ""}), ErrMissing, ""},
		"sub null":                   {with(map[string]any{"sub": json.RawMessage("null")}), ErrMissing, ""},
		"empty aud":                  {with(map[string]any{"aud": []string{}}), ErrMissing, ""},
		"names are exact":            {with(map[string]any{"sub": nil, "SUB": "root"}), ErrMissing, ""},
		"sub a number":               {with(map[string]any{"sub": 7}), ErrUnauthorized, ""},
		"long sub":                   {with(map[string]any{"sub": long}), ErrUnauthorized, ""},
		"sub of two lines":           {with(map[string]any{"sub": "a\nlevel=ERROR"}), ErrUnauthorized, ""},
		"long sub that is all right": {with(map[string]any{"sub": long[1:]}), nil, api.RoleViewer},
		"other issuer":               {with(map[string]any{"iss": "https://issuer/"}), ErrUnauthorized, ""},
		"other audience":             {with(map[string]any{"aud": "https://fle"}), ErrUnauthorized, ""},
		"one of several audiences":   {with(map[string]any{"aud": []string{"a", "https://fleet"}}), nil, api.RoleViewer},
		"none of several audiences":  {with(map[string]any{"aud": []string{"a", "b"}}), ErrUnauthorized, ""},
		"audience of numbers":        {with(map[string]any{"aud": []int{1}}), ErrUnauthorized, ""},
		"no exp":                     {with(map[string]any{"exp": nil}), nil, api.RoleViewer},
		"exp a text":                 {with(map[string]any{"exp": "tomorrow"}), ErrUnauthorized, ""},
		"exp null":                   {with(map[string]any{"exp": json.RawMessage("null")}), ErrUnauthorized, ""},
		"exp beyond all dates":       {with(map[string]any{"exp": 1e300}), ErrUnauthorized, ""},
		"exp with a fraction":        {with(map[string]any{"exp": float64(now.Unix()) + 0.5}), nil, api.RoleViewer},
		"expired":                    {with(map[string]any{"exp": now.Unix() - 31}), ErrExpired, ""},
		"expired at the skew":        {with(map[string]any{"exp": now.Unix() - 30}), ErrExpired, ""},
		"expired within the skew":    {with(map[string]any{"exp": now.Unix() - 29}), nil, api.RoleViewer},
		"expired, and no sub":        {with(map[string]any{"exp": now.Unix() - 31, "sub": nil}), ErrExpired, ""},
		"not yet":                    {with(map[string]any{"nbf": now.Unix() + 31}), ErrUnauthorized, ""},
		"not yet, within the skew":   {with(map[string]any{"nbf": now.Unix() + 30}), nil, api.RoleViewer},
		"nbf a text":                 {with(map[string]any{"nbf": "now"}), ErrUnauthorized, ""},
		"role":                       {with(map[string]any{"orchd_role": "operator"}), nil, api.RoleOperator},
		"role controller":            {with(map[string]any{"orchd_role": "controller"}), nil, api.RoleController},
		"role admin":                 {with(map[string]any{"orchd_role": "admin"}), nil, api.RoleAdmin},
		"a peer's role":              {with(map[string]any{"orchd_role": "peer"}), ErrUnauthorized, ""},
		"role in capitals":           {with(map[string]any{"orchd_role": "Admin"}), ErrUnauthorized, ""},
		"empty role":                 {with(map[string]any{"orchd_role": ""}), ErrUnauthorized, ""},
		"role null":                  {with(map[string]any{"orchd_role": json.RawMessage("null")}), ErrUnauthorized, ""},
		"role a list":                {with(map[string]any{"orchd_role": []string{"admin"}}), ErrUnauthorized, ""},
		"tenant a number":            {with(map[string]any{"tenant_id": 7}), ErrUnauthorized, ""},
		"long partition":             {with(map[string]any{"partition_id": long}), ErrUnauthorized, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verifier(t, configured).Verify(t.Context(), sign(t, jwa.HS256(), secret, c.claims, nil))
			check(t, got, err, c.want)
			if got.Role != c.role {
				t.Errorf("role: got %q, want %q", got.Role, c.role)
			}
		})
	}
}

// check compares an outcome with the refusal that it should be; nil: none.
func check(t *testing.T, got api.Actor, err error, want *api.Error) {
	t.Helper()
	var e *api.Error
	switch {
	case want == nil && err != nil:
		t.Errorf("refused: %v (%v)", err, errors.Unwrap(err))
	case want != nil && (!errors.As(err, &e) || e.Msg != want.Msg || e.Kind != api.Unauthenticated):
		t.Errorf("got %+v, %v; want %q", got, err, want.Msg)
	case want != nil && got != (api.Actor{}):
		t.Errorf("refused, and yet there is an actor: %+v", got)
	}
}

func TestSignatures(t *testing.T) {
	otherRSA := must(rsa.GenerateKey(rand.Reader, 2048))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(rsaKey.Public()))})
	hs := sign(t, jwa.HS256(), secret, good(), nil)
	parts := strings.Split(hs, ".")
	claims := string(must(json.Marshal(good())))
	kid := func(k string) map[string]any { return map[string]any{"kid": k} }
	for name, c := range map[string]struct {
		token string
		want  *api.Error
	}{
		"HS256":                       {hs, nil},
		"RS256":                       {sign(t, jwa.RS256(), rsaKey, good(), kid("r")), nil},
		"ES256":                       {sign(t, jwa.ES256(), ecKey, good(), kid("e")), nil},
		"EdDSA":                       {sign(t, jwa.EdDSA(), edKey, good(), kid("d")), nil},
		"RS256 without kid":           {sign(t, jwa.RS256(), rsaKey, good(), nil), nil},
		"nothing":                     {"", ErrNoToken},
		"no token at all":             {"hello", ErrUnauthorized},
		"four parts":                  {hs + ".x", ErrUnauthorized},
		"none":                        {raw(`{"alg":"none"}`, claims, nil), ErrUnauthorized},
		"None":                        {raw(`{"alg":"None"}`, claims, nil), ErrUnauthorized},
		"none, with a signature":      {raw(`{"alg":"none"}`, claims, []byte("x")), ErrUnauthorized},
		"no algorithm":                {raw(`{"typ":"JWT"}`, claims, nil), ErrUnauthorized},
		"algorithm in other case":     {raw(`{"ALG":"HS256"}`, claims, nil), ErrUnauthorized},
		"no signature":                {parts[0] + "." + parts[1] + ".", ErrUnauthorized},
		"other secret":                {sign(t, jwa.HS256(), []byte("another secret, of 32 bytes or more"), good(), nil), ErrUnauthorized},
		"other payload":               {parts[0] + "." + strings.Split(raw("", strings.Replace(claims, "alex", "root", 1), nil), ".")[1] + "." + parts[2], ErrUnauthorized},
		"HS384":                       {sign(t, jwa.HS384(), secret, good(), nil), ErrUnauthorized},
		"RS384":                       {sign(t, jwa.RS384(), rsaKey, good(), kid("r")), ErrUnauthorized},
		"PS256":                       {sign(t, jwa.PS256(), rsaKey, good(), kid("r")), ErrUnauthorized},
		"ES384":                       {sign(t, jwa.ES384(), p384, good(), nil), ErrUnauthorized},
		"other RSA key":               {sign(t, jwa.RS256(), otherRSA, good(), kid("r")), ErrUnauthorized},
		"another's kid":               {sign(t, jwa.ES256(), ecKey, good(), kid("r")), ErrUnauthorized},
		"unknown kid":                 {sign(t, jwa.RS256(), rsaKey, good(), kid("x")), ErrUnauthorized},
		"public key as secret, PEM":   {sign(t, jwa.HS256(), publicPEM, good(), nil), ErrUnauthorized},
		"public key as secret, DER":   {sign(t, jwa.HS256(), x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), good(), kid("r")), ErrUnauthorized},
		"public key as secret, JWKS":  {sign(t, jwa.HS256(), public(t), good(), kid("r")), ErrUnauthorized},
		"secret named by its kid":     {sign(t, jwa.HS256(), secret, good(), kid("r")), nil},
		"key brought along":           {sign(t, jwa.RS256(), otherRSA, good(), map[string]any{"jwk": must(jwk.Import(otherRSA.Public()))}), ErrUnauthorized},
		"critical extension":          {sign(t, jwa.HS256(), secret, good(), map[string]any{"crit": []string{"exp"}, "exp": 1}), ErrUnauthorized},
		"payload that is no object":   {sign(t, jwa.HS256(), secret, []byte(`["sub"]`), nil), ErrUnauthorized},
		"payload that is null":        {sign(t, jwa.HS256(), secret, []byte(`null`), nil), ErrUnauthorized},
		"payload that is no JSON":     {sign(t, jwa.HS256(), secret, []byte(`{"sub":`), nil), ErrUnauthorized},
		"padded base64":               {parts[0] + "=." + parts[1] + "." + parts[2], ErrUnauthorized},
		"signature with spare bits":   {hs[:len(hs)-1] + spareBits(hs[len(hs)-1]), ErrUnauthorized},
		"another algorithm in header": {raw(`{"alg":"RS256"}`, claims, must(base64.RawURLEncoding.DecodeString(parts[2]))), ErrUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verifier(t, nil).Verify(t.Context(), c.token)
			check(t, got, err, c.want)
		})
	}
}

// spareBits is another last character of an unpadded base64 text that decodes
// to the same bytes: 32 bytes leave two bits of the last character unused.
func spareBits(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, last)|1])
}

func TestNothingConfiguredVerifiesNothing(t *testing.T) {
	v := verifier(t, func(c *Config) { c.Secrets, c.JWKS = nil, nil })
	for _, token := range []string{sign(t, jwa.HS256(), secret, good(), nil), sign(t, jwa.RS256(), rsaKey, good(), nil), raw(`{"alg":"HS256"}`, "{}", nil)} {
		got, err := v.Verify(t.Context(), token)
		check(t, got, err, ErrUnauthorized)
	}
}

func TestSecretsRotate(t *testing.T) {
	next := []byte("the secret after that, also long enough")
	file := append(append(append([]byte("\n"), secret...), "\r\n\n"...), next...)
	v := verifier(t, func(c *Config) { c.Secrets = Secrets(file) })
	for _, s := range [][]byte{secret, next} {
		if _, err := v.Verify(t.Context(), sign(t, jwa.HS256(), s, good(), nil)); err != nil {
			t.Errorf("signed with %q: %v", s, err)
		}
	}
	if n := len(Secrets(file)); n != 2 {
		t.Errorf("secrets in the file: got %d, want 2", n)
	}
}

// TestSecretsStayAsTheyStand keeps the spaces of a secret: whoever signs has them too.
func TestSecretsStayAsTheyStand(t *testing.T) {
	got := Secrets([]byte(" a secret with spaces \n"))
	if len(got) != 1 || string(got[0]) != " a secret with spaces " {
		t.Errorf("got %q", got)
	}
}

func TestNoDefaultRole(t *testing.T) {
	v := verifier(t, func(c *Config) { c.Role = "" })
	got, err := v.Verify(t.Context(), sign(t, jwa.HS256(), secret, good(), nil))
	check(t, got, err, ErrUnauthorized)
}

func TestRefusalsTellTheClientNothingMore(t *testing.T) {
	_, err := verifier(t, nil).Verify(t.Context(), sign(t, jwa.HS256(), secret, with(map[string]any{"iss": nil}), nil))
	var e *api.Error
	if !errors.As(err, &e) || e.Msg != "missing required claim" || !strings.HasSuffix(e.Error(), ": iss") {
		t.Errorf("got %v; want the known text for the client and the claim for the log", err)
	}
	if ErrMissing.Err != nil {
		t.Error("a cause stuck to the refusal that all share")
	}
}

func TestLooks(t *testing.T) {
	for token, want := range map[string]bool{
		sign(t, jwa.HS256(), secret, good(), nil): true,
		raw(`{}`, "x", nil):                       true,
		"k3j4k3j4.s3cr3t":                         false, // a token of orchd's own
		"k3j4k3j4.s3cr3t.f00ba4":                  false, // one for joining
		"a.b":                                     false, "": false, "..": false, raw(`[]`, "", nil): false, raw(`null`, "", nil): false,
	} {
		if got := Looks(token); got != want {
			t.Errorf("%q: got %v, want %v", token, got, want)
		}
	}
}

func TestKeySets(t *testing.T) {
	smallRSA, _ := json.Marshal(map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, make([]byte, 127)...)), "e": "AQAB"})
	privateRSA := string(must(json.Marshal(must(jwk.Import(rsaKey)))))
	good := strings.TrimSuffix(strings.TrimPrefix(string(setOf(t, map[string]any{"r": rsaKey.Public()})), `{"keys":[`), `]}`)
	for name, c := range map[string]struct{ doc, want string }{
		"good":               {`{"keys":[` + good + `]}`, ""},
		"one key alone":      {good, "no JWK set"},
		"one good, one odd":  {`{"keys":[{"kty":"later"},` + good + `]}`, ""},
		"not JSON":           {`-----BEGIN PUBLIC KEY-----`, "no JWK set"},
		"empty":              {`{"keys":[]}`, "of 0 keys"},
		"no set":             {`{}`, "JWK set"},
		"secret":             {`{"keys":[{"kty":"oct","k":"AAAA"},` + good + `]}`, "holds a secret key (number 1"},
		"private":            {`{"keys":[` + good + `,` + privateRSA + `]}`, "holds a secret key (number 2"},
		"for encryption":     {`{"keys":[` + strings.Replace(good, `{`, `{"use":"enc",`, 1) + `]}`, "of 1 keys"},
		"for RS512":          {`{"keys":[` + strings.Replace(good, `{`, `{"alg":"RS512",`, 1) + `]}`, "of 1 keys"},
		"to sign with":       {`{"keys":[` + strings.Replace(good, `{`, `{"key_ops":["encrypt"],`, 1) + `]}`, "of 1 keys"},
		"RSA of 1024 bits":   {`{"keys":[` + string(smallRSA) + `]}`, "none verifies"},
		"too many":           {`{"keys":[` + strings.Repeat(good+",", maxKeys) + good + `]}`, "at most 64"},
		"for RS256, to sign": {`{"keys":[` + strings.Replace(good, `{`, `{"alg":"RS256","use":"sig","key_ops":["verify"],`, 1) + `]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := Config{JWKS: []byte(c.doc)}.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"nothing":        {Config{}, ""},
		"empty secret":   {Config{Secrets: [][]byte{{}}}, "a secret is empty"},
		"role":           {Config{Role: "root"}, `the role "root"`},
		"peer":           {Config{Role: api.RolePeer}, `the role "peer"`},
		"https":          {Config{JWKSURL: "https://issuer/keys"}, ""},
		"http":           {Config{JWKSURL: "http://issuer/keys"}, "unprotected"},
		"http, loopback": {Config{JWKSURL: "http://127.0.0.1:8080/keys"}, ""},
		"http, ::1":      {Config{JWKSURL: "http://[::1]:8080/keys"}, ""},
		"http, name":     {Config{JWKSURL: "http://localhost.example/keys"}, "unprotected"},
		"file":           {Config{JWKSURL: "file:///etc/keys"}, "not of the form"},
		"ftp":            {Config{JWKSURL: "ftp://h/keys"}, "neither https nor http"},
		"user":           {Config{JWKSURL: "https://u:p@h/keys"}, "not of the form"},
	} {
		err := c.cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if !IsShort(secret[:31]) || IsShort(secret[:32]) {
		t.Error("a secret is short below 32 bytes")
	}
}

// FuzzVerify looks for a token that nobody signed and that is taken all the same.
func FuzzVerify(f *testing.F) {
	hs := sign(f, jwa.HS256(), secret, good(), nil)
	f.Add(hs)
	f.Add(sign(f, jwa.RS256(), rsaKey, good(), map[string]any{"kid": "r"}))
	f.Add(sign(f, jwa.ES256(), ecKey, good(), map[string]any{"kid": "e"}))
	f.Add(raw(`{"alg":"none"}`, `{"sub":"a","iss":"b","aud":"c"}`, nil))
	f.Add(raw(`{"alg":"HS256","crit":["b64"],"b64":false}`, `{}`, make([]byte, 32)))
	f.Add("a.b.c")
	v := verifier(f, nil)
	payload := strings.Split(hs, ".")[1]
	f.Fuzz(func(t *testing.T, token string) {
		actor, err := v.Verify(context.Background(), token)
		if err != nil {
			if actor != (api.Actor{}) || !api.IsKind(err, api.Unauthenticated) {
				t.Fatalf("refused with %v and the actor %+v", err, actor)
			}
			return
		}
		if parts := strings.Split(token, "."); len(parts) != 3 || parts[1] != payload {
			t.Fatalf("taken, and signed by nobody: %q", token)
		}
	})
}
