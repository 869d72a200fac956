package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// DeclaredKV is how the values that a spell begins with are kept: a JSON string as its
// text, anything else as compact JSON. The error names the key of what is no JSON.
func DeclaredKV(kv map[string]json.RawMessage) (map[string]string, error) {
	kept := make(map[string]string, len(kv))
	for _, key := range slices.Sorted(maps.Keys(kv)) {
		var text string
		if json.Unmarshal(kv[key], &text) != nil || string(bytes.TrimSpace(kv[key])) == "null" {
			var compact bytes.Buffer
			if err := json.Compact(&compact, kv[key]); err != nil {
				return nil, fmt.Errorf("the value of %q is no JSON: %w", key, err)
			}
			text = compact.String()
		}
		kept[key] = text
	}
	return kept, nil
}

// KVDigest is the digest of values as DeclaredKV gives them, which Spell.KVDigest has:
// SHA-256 in hex, empty for no values.
func KVDigest(kept map[string]string) string {
	if len(kept) == 0 {
		return ""
	}
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		fmt.Fprintf(h, "%d %d %s%s", len(key), len(kept[key]), key, kept[key])
	}
	return hex.EncodeToString(h.Sum(nil))
}
