package worker

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"
)

// median runs calls one after the other and reports what the middle one takes.
func median(b *testing.B, call func() error) {
	if err := call(); err != nil { // compiles
		b.Fatal(err)
	}
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		began := time.Now()
		if err := call(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

const beat = `
def run():
    n = kv.add_u32("beats", 1)
    if n % 10 == 0:
        log("beat", n)
`

// counting is a host as a spell has it, without a cluster behind it.
type counting struct {
	mu sync.Mutex
	n  int
}

func (c *counting) Do(_ context.Context, name string, _ json.RawMessage) (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return json.Marshal(c.n)
}

func (c *counting) Enter(context.Context, string) (Program, Context, Host, error) {
	return Program{}, Context{}, nil, errNoHost
}

// A spell that counts, with one or two host calls.
func BenchmarkStarlarkCall(b *testing.B) {
	pool := newPool(b)
	c := Call{Program: Program{Spell: true, Modules: []Module{pool.star("beat", beat)}}, Host: &counting{}}
	median(b, func() error { _, err := pool.Call(b.Context(), c); return err })
}

// As many spells at once as there are workers, each with a script of its own out of 1,000.
func BenchmarkStarlarkCallParallel(b *testing.B) {
	pool := newPool(b, func(c *Config) { c.Workers = 0 })
	var mu sync.Mutex
	var took []time.Duration
	next := 0
	spells := make([]Program, 1000)
	for i := range spells {
		spells[i] = Program{Spell: true, Modules: []Module{pool.star("beat", beat+"# "+time.Duration(i).String())}}
	}
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			mu.Lock()
			next++
			program := spells[next%len(spells)]
			mu.Unlock()
			began := time.Now()
			if _, err := pool.Call(b.Context(), Call{Program: program, Host: &counting{}}); err != nil {
				b.Error(err)
			}
			mu.Lock()
			took = append(took, time.Since(began))
			mu.Unlock()
		}
	})
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "calls/s")
}

// The example module, which is written in Go.
func BenchmarkWASMCall(b *testing.B) {
	pool := newPool(b)
	c := Call{Program: pool.wasm(b, exampleFolder), Function: "count", Host: &counting{}}
	median(b, func() error { _, err := pool.Call(b.Context(), c); return err })
}

// From nothing to the answer of the first call, without compiling much.
func BenchmarkWorkerStart(b *testing.B) {
	median(b, func() error {
		pool := newPool(b)
		defer pool.Close()
		_, err := pool.Call(b.Context(), Call{Program: pool.service("def f():\n    pass"), Function: "f", Host: &counting{}})
		return err
	})
}
