package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/orchd/orchd/api"
)

// failover kills the leader again and again, and measures how long a client
// that asks the other two in turn waits for its next acknowledged create.
func failover(ctx context.Context, o options, p *peers) error {
	var took []time.Duration
	for range o.kills {
		leader, err := p.leader(ctx)
		if err != nil {
			return err
		}
		leader.kill()
		at := time.Now()
		if err := p.createAnywhere(ctx, leader); err != nil {
			return err
		}
		took = append(took, time.Since(at))
		if err := p.start(leader, "serve"); err != nil {
			return err
		}
		if err := p.ready(ctx, leader); err != nil {
			return err
		}
	}
	f := summary(took, time.Second)
	fmt.Printf("\nleader killed (SIGKILL) to next acknowledged create, %d times: p50 %.0f ms, p99 %.0f ms, max %.0f ms\n", len(took), f.P50, f.P99, f.Max)
	return nil
}

// leader is the peer that leads.
func (p *peers) leader(ctx context.Context) (*peerProcess, error) {
	var st api.Status
	for range 200 {
		text, err := p.cli(ctx, p.all[0], "api", "GET", "/v1/status")
		if err == nil {
			err = json.Unmarshal([]byte(text), &st)
		}
		if err != nil {
			return nil, err
		}
		for _, h := range p.all {
			if h.name == st.Leader {
				return h, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, fmt.Errorf("no leader in sight")
}

// createAnywhere tries the peers that are left, each for a short time, until one acknowledges.
func (p *peers) createAnywhere(ctx context.Context, dead *peerProcess) error {
	transport := p.transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var last error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		for _, h := range p.all {
			if h == dead {
				continue
			}
			if last = p.create(ctx, client, h); last == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("no create was acknowledged: %w", last)
}
