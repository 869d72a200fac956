package jwt

import (
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwa"
)

// BenchmarkVerify is what a token costs each request.
func BenchmarkVerify(b *testing.B) {
	v := verifier(b, nil)
	for name, token := range map[string]string{
		"HS256": sign(b, jwa.HS256(), secret, good(), nil),
		"RS256": sign(b, jwa.RS256(), rsaKey, good(), map[string]any{"kid": "r"}),
		"ES256": sign(b, jwa.ES256(), ecKey, good(), map[string]any{"kid": "e"}),
		"EdDSA": sign(b, jwa.EdDSA(), edKey, good(), map[string]any{"kid": "d"}),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
