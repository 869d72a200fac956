package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// figures are what one round gave. Times are in milliseconds.
type figures struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	Max       float64 `json:"max"`
	Failed    int     `json:"failed"` // of etcd's puts; where orchd or raft fails, the run ends
}

// load lets each of clients do one thing after the other for that long.
func load(ctx context.Context, clients int, round time.Duration, do func(ctx context.Context, client int) error) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, round)
	defer cancel()
	var all sync.WaitGroup
	took, failed := make([][]time.Duration, clients), make([]error, clients)
	began := time.Now()
	for i := range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				at := time.Now()
				if err := do(ctx, i); err != nil {
					if ctx.Err() == nil {
						failed[i] = err
					}
					return
				}
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	all.Wait()
	return summary(slices.Concat(took...), time.Since(began)), errors.Join(failed...)
}

// summary orders the times and picks from them.
func summary(took []time.Duration, in time.Duration) figures {
	if len(took) == 0 {
		return figures{}
	}
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[min(int(share*float64(len(took))), len(took)-1)].Microseconds()) / 1000
	}
	return figures{PerSecond: float64(len(took)) / in.Seconds(), P50: at(0.50), P99: at(0.99), Max: at(1)}
}

// median is the round in the middle, by what was done per second.
func median(rounds []figures) figures {
	slices.SortFunc(rounds, func(a, b figures) int { return cmp.Compare(a.PerSecond, b.PerSecond) })
	return rounds[len(rounds)/2]
}
