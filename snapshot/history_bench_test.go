package snapshot

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/orchd/orchd/api"
)

// largeChanges are n changes of about 1 KiB, 100 an entry, of which half does not compress.
func largeChanges(n int) [][]Change {
	rng := rand.New(rand.NewPCG(1, 2))
	var out [][]Change
	for index := uint64(1); len(out)*100 < n; index++ {
		entry := changesOf(index, 100)
		for i := range entry {
			text := ""
			for range 32 {
				text += fmt.Sprintf("%016x", rng.Uint64())
			}
			entry[i].Value, _ = json.Marshal(map[string]any{"id": text, "state": "on", "spaces": fmt.Sprintf("%400d", i)})
		}
		out = append(out, entry)
	}
	return out
}

// BenchmarkHistory appends and flushes 250,000 changes of 1 KiB, merges included, and reads them.
func BenchmarkHistory(b *testing.B) {
	entries := largeChanges(250_000)
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h := openTestHistory(b, b.TempDir())
			for i, entry := range entries {
				if err := h.Append(uint64(i+1), entry); err != nil {
					b.Fatal(err)
				}
			}
			if err := h.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		h := openTestHistory(b, b.TempDir())
		for i, entry := range entries {
			if err := h.Append(uint64(i+1), entry); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for _, err := range h.Changes(api.Position{}, h.End()) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 250_000 {
				b.Fatalf("got %d changes", n)
			}
		}
	})
}
