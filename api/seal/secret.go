package seal

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// hidden is what a Secret shows of itself.
const hidden = "***"

// Secret is plaintext that must not be shown. However it is printed, logged or
// encoded as JSON it gives ***; Reveal is the one way out. It reads from JSON
// like a string, so that a request body may hold one.
type Secret struct{ plaintext string }

// NewSecret hides s.
func NewSecret(s string) Secret { return Secret{s} }

// Reveal is the plaintext; use it where it is consumed and nowhere else.
func (s Secret) Reveal() string { return s.plaintext }

// IsZero tells whether nothing is hidden.
func (s Secret) IsZero() bool { return s.plaintext == "" }

// String gives ***.
func (Secret) String() string { return hidden }

// Format gives *** for every verb and flag, %#v included.
func (Secret) Format(f fmt.State, _ rune) { f.Write([]byte(hidden)) }

// LogValue gives ***.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText gives ***.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalBinary gives ***: a Secret enters no log and no file.
func (Secret) MarshalBinary() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON gives "***".
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(hidden) }

// UnmarshalJSON takes a JSON string.
func (s *Secret) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &s.plaintext); err != nil {
		return fmt.Errorf("a secret is a JSON string") // the cause would quote it
	}
	return nil
}
