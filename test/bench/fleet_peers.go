package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/orchd/orchd/api"
)

// This file is what the peers of a large inventory do beside answering: snapshots, starts, joins.

const (
	pacedClients = 4
	pacedEvery   = 20 * time.Millisecond // each: so few that a processor is free for the snapshot
)

// paced posts nodes at a steady pace until done is closed, and gives how long each took from
// when it was due: a write that another holds up counts for both.
func (f *fleetRun) paced(ctx context.Context, done <-chan struct{}) (figures, error) {
	var all sync.WaitGroup
	took, failed := make([][]time.Duration, pacedClients), make([]error, pacedClients)
	began := time.Now()
	for i := range pacedClients {
		transport := f.transport()
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		if err := f.warm(ctx, client, i); err != nil {
			return figures{}, err
		}
		all.Go(func() {
			tick := time.NewTicker(pacedEvery)
			defer tick.Stop()
			for {
				select {
				case <-done:
					return
				case due := <-tick.C:
					if failed[i] = f.post(ctx, client, f.all[i%3]); failed[i] != nil {
						return
					}
					took[i] = append(took[i], time.Since(due))
				}
			}
		})
	}
	all.Wait()
	return summary(slices.Concat(took...), time.Since(began)), errors.Join(failed...)
}

// during is paced for as long as do takes.
func (f *fleetRun) during(ctx context.Context, do func() error) (m figures, took time.Duration, err error) {
	done, did := make(chan struct{}), error(nil)
	began := time.Now()
	go func() {
		defer close(done)
		did = do()
		took = time.Since(began)
	}()
	m, err = f.paced(ctx, done)
	<-done
	return m, took, errors.Join(err, did)
}

// besideSnapshot posts at a pace, with nothing beside it and while the first snapshot of
// the loaded fleet is written, until all three peers have it.
func (f *fleetRun) besideSnapshot(ctx context.Context) error {
	awaitCalm(ctx)
	alone, _, err := f.during(ctx, func() error { time.Sleep(2 * f.round); return nil })
	if err != nil {
		return err
	}
	var asked time.Duration
	beside, took, err := f.during(ctx, func() error {
		began := time.Now()
		out, err := f.cli(ctx, f.all[0], "snapshot", "take", "-o", "json")
		if err != nil {
			return err
		}
		asked = time.Since(began)
		return f.writtenByAll(ctx, out)
	})
	if err != nil {
		return err
	}
	for _, m := range []struct {
		when string
		figures
	}{{"with nothing beside it", alone}, {fmt.Sprintf("while a snapshot is written, %.1f s by the peer that was asked and %.1f s until all have it", asked.Seconds(), took.Seconds()), beside}} {
		fmt.Printf("POST /ComputeNode, %.0f/s, %s: p50 %.2f ms, p99 %.2f ms, at most %.0f ms\n", m.PerSecond, m.when, m.P50, m.P99, m.Max)
	}
	return nil
}

// writtenByAll waits until every peer has the snapshot, without asking one for it: that peer
// would write it at once.
func (f *fleetRun) writtenByAll(ctx context.Context, taken string) error {
	var s api.Snapshot
	if err := json.Unmarshal([]byte(taken), &s); err != nil {
		return fmt.Errorf("snapshot take: %w in %q", err, taken)
	}
	for _, h := range f.all {
		for {
			out, err := f.cli(ctx, h, "snapshot", "list", "-o", "json")
			if err != nil {
				return err
			}
			if strings.Contains(out, strconv.Quote(s.ID)) {
				break
			}
			time.Sleep(250 * time.Millisecond) // each look is a process
		}
	}
	return nil
}

// restart stops a follower, which writes raft's snapshot, and starts it from that.
func (f *fleetRun) restart(ctx context.Context) error {
	h, err := f.follower(ctx)
	if err != nil {
		return err
	}
	awaitCalm(ctx)
	before, began := residentMiB(h.cmd.Process.Pid, "VmRSS"), time.Now()
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-h.ended
	stopped := time.Since(began)
	began = time.Now()
	if err := f.start(h, "serve"); err != nil {
		return err
	}
	if err := f.ready(ctx, h); err != nil {
		return err
	}
	took, peak := time.Since(began), residentMiB(h.cmd.Process.Pid, "VmHWM")
	awaitCalm(ctx)
	fmt.Printf("%s stopped in %.1f s, started to ready in %.1f s: resident %d MiB before, at most %d MiB until ready, %d MiB later\n", h.name,
		stopped.Seconds(), took.Seconds(), before, peak, residentMiB(h.cmd.Process.Pid, "VmRSS"))
	return nil
}

// newcomer joins a fourth peer while nodes are posted at a pace, until it answers for the
// newest of them by itself.
func (f *fleetRun) newcomer(ctx context.Context) error {
	line, err := f.cli(ctx, f.all[0], "token", "create", "--role", "peer")
	if err != nil {
		return err
	}
	first := f.all[0]
	h := &peerProcess{name: "h4", dir: filepath.Join(filepath.Dir(first.dir), "h4"), port: first.port + 10*len(f.all)}
	defer h.kill()
	var ready time.Duration
	m, took, err := f.during(ctx, func() error {
		began := time.Now()
		if err := f.start(h, strings.Fields(line)[1:]...); err != nil {
			return err
		}
		if err := f.ready(ctx, h); err != nil {
			return err
		}
		ready = time.Since(began)
		return f.knowsNewest(ctx, h)
	})
	if err != nil {
		return err
	}
	fmt.Printf("h4 joined: ready after %.1f s, with the newest node after %.1f s, resident at most %d MiB\n", ready.Seconds(), took.Seconds(), residentMiB(h.cmd.Process.Pid, "VmHWM"))
	fmt.Printf("POST /ComputeNode meanwhile, %.0f/s: p50 %.2f ms, p99 %.2f ms, at most %.0f ms\n", m.PerSecond, m.P50, m.P99, m.Max)
	return nil
}

// knowsNewest waits until h has, in its own state, a node that is posted now.
func (f *fleetRun) knowsNewest(ctx context.Context, h *peerProcess) error {
	transport := f.transport()
	defer transport.CloseIdleConnections()
	client, k := &http.Client{Transport: transport}, int(f.posted.Add(1))
	if err := f.postNode(ctx, client, f.all[0], k); err != nil {
		return err
	}
	var last error
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if last = f.send(ctx, client, http.MethodGet, h.url("/ComputeNode/"+fleetXName(k)+"?consistency=local"), nil, http.StatusOK); last == nil {
			return nil
		}
	}
	return errors.Join(ctx.Err(), last)
}

// follower is a peer that does not lead.
func (f *fleetRun) follower(ctx context.Context) (*peerProcess, error) {
	leader, err := f.leader(ctx)
	if err != nil {
		return nil, err
	}
	return f.all[(slices.Index(f.all, leader)+1)%len(f.all)], nil
}

// post stores the next node at a peer.
func (f *fleetRun) post(ctx context.Context, c *http.Client, at *peerProcess) error {
	return f.postNode(ctx, c, at, int(f.posted.Add(1)))
}

func (f *fleetRun) postNode(ctx context.Context, c *http.Client, at *peerProcess, k int) error {
	body, err := json.Marshal(fleetNode(k))
	if err != nil {
		return err
	}
	return f.send(ctx, c, http.MethodPost, at.url("/ComputeNode"), body, http.StatusCreated)
}
