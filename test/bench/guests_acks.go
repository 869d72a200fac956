package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// paces are how creates come: so many clients, each that many in a round.
var paces = []struct {
	clients, creates int
	every            time.Duration // between two of a client; 0: as soon as the last is answered
}{
	{1, 100, 100 * time.Millisecond},
	{4, 100, 100 * time.Millisecond},
	{1, 500, 0},
	{4, 250, 0},
}

// ackRounds: in each the clients begin with another peer.
const ackRounds = 3

// measureAcks prints how long a client waits for its create to be acknowledged.
func measureAcks(ctx context.Context, g *ground) error {
	if err := g.catalogue(ctx); err != nil {
		return err
	}
	if err := g.nominalImage(ctx); err != nil {
		return err
	}
	var rows [][]string
	a := &acks{ground: g}
	for _, p := range paces {
		var took times
		for round := range ackRounds {
			if err := a.round(ctx, &took, round, p.clients, p.creates, p.every); err != nil {
				return err
			}
		}
		how := "one after the other"
		if p.every > 0 {
			how = "one every " + p.every.String()
		}
		rows = append(rows, []string{fmt.Sprintf("%d, %s", p.clients, how), fmt.Sprint(len(took.took)),
			ms(took.at(0.5)), ms(took.at(0.95)), ms(took.at(0.99)), ms(took.max())})
	}
	table([]string{"clients", "creates", "p50 ms", "p95 ms", "p99 ms", "max ms"}, rows)
	return nil
}

type acks struct {
	*ground
	serial atomic.Int64
}

// round measures one round of creates, and waits until what they made runs.
func (a *acks) round(ctx context.Context, took *times, first, clients, creates int, every time.Duration) error {
	all, err := a.users(ctx, clients, first)
	if err != nil {
		return err
	}
	defer closeUsers(all)
	var working errgroup.Group
	began := time.Now()
	for i, u := range all {
		shift := every * time.Duration(i) / time.Duration(clients) // clients do not keep step
		working.Go(func() error {
			for k := range creates {
				time.Sleep(time.Until(began.Add(shift + every*time.Duration(k))))
				if err := a.create(ctx, took, u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := working.Wait(); err != nil {
		return err
	}
	return a.settled(ctx)
}

func (a *acks) create(ctx context.Context, took *times, u *user) error {
	c := usual(fmt.Sprintf("vm-%d", a.serial.Add(1)))
	sent := time.Now()
	_, err := u.do(ctx, http.MethodPost, "/v1/vms", c, http.StatusCreated, "Idempotency-Key: "+uuid.NewString())
	took.add(time.Since(sent))
	return err
}
