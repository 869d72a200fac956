// Command attacks is a module that does what no module should.
package main

import (
	"strings"

	"github.com/orchd/orchd/sysvc/guest"
)

func main() {}

var kept [][]byte

func init() {
	guest.Handle("loop", func(guest.Args) (any, error) {
		for {
		}
	})
	guest.Handle("grow", func(guest.Args) (any, error) {
		for {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			kept = append(kept, block)
		}
	})
	guest.Handle("recurse", func(guest.Args) (any, error) { return recurse(1), nil })
	guest.Handle("huge", func(guest.Args) (any, error) { return strings.Repeat("x", 10<<20), nil })
	guest.Handle("panic", func(guest.Args) (any, error) { panic("at the disco") })
	guest.Handle("flood", func(guest.Args) (any, error) {
		for {
			if err := guest.Log(strings.Repeat("x", 1000)); err != nil {
				return nil, err
			}
		}
	})
	guest.Handle("ungranted", func(guest.Args) (any, error) { return nil, guest.KV.Set("a", "b") })
	guest.Handle("fine", func(guest.Args) (any, error) { return "fine", nil })
}

func recurse(n int) int {
	var pad [256]int
	pad[n%256] = n
	return recurse(n+1) + pad[(n+1)%256]
}
