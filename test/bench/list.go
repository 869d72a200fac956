package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/lab"
)

const (
	listedVMs = 10000
	lists     = 200 // at each peer
)

// measureLists prints how long a list of all takes: with every peer there, with a
// follower that nothing reaches, and with a leader that nothing reaches.
func measureLists(ctx context.Context, g *ground) error {
	if err := g.fill(ctx); err != nil {
		return err
	}
	var rows [][]string
	all, err := g.listRows(ctx, "none", g.Hosts(), time.Now())
	if err != nil {
		return err
	}
	rows = append(rows, all...)
	for _, who := range []string{"a follower", "the leader"} {
		leader, err := g.leader(ctx, g.Hosts()...)
		if err != nil {
			return err
		}
		gone := leader
		if who == "a follower" {
			gone = g.others(leader)[0]
		}
		g.Isolate(gone)
		some, err := g.listRows(ctx, who, g.others(gone), time.Now())
		if err != nil {
			return err
		}
		rows = append(rows, some...)
		g.Heal()
		if err := g.settled(ctx); err != nil {
			return err
		}
	}
	table([]string{"black-holed", "asked", "MB", "first answer after ms", "p50 ms", "p95 ms", "p99 ms", "max ms"}, rows)
	return nil
}

// fill makes the VMs, and waits until they run: so many at one owner take minutes.
func (g *ground) fill(ctx context.Context) error {
	if err := g.catalogue(ctx); err != nil {
		return err
	}
	if err := g.nominalImage(ctx); err != nil {
		return err
	}
	var making errgroup.Group
	making.SetLimit(20)
	for k := range listedVMs {
		making.Go(func() error {
			return g.make(ctx, g.Host(k%len(g.Hosts())), usual(fmt.Sprintf("vm-%d", k)))
		})
	}
	if err := making.Wait(); err != nil {
		return err
	}
	return g.settled(ctx)
}

// make makes a VM with a client that tries again.
func (g *ground) make(ctx context.Context, at *lab.Host, vm api.VMCreate) error {
	c, err := g.admin(at)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.CreateVM(ctx, vm)
	return err
}

// listRows asks those hosts in turn: a row for each.
func (g *ground) listRows(ctx context.Context, gone string, hosts []*lab.Host, since time.Time) ([][]string, error) {
	all, took, first, size := make([]*user, len(hosts)), make([]times, len(hosts)), make([]float64, len(hosts)), int64(0)
	defer func() { closeUsers(all) }()
	for i, h := range hosts {
		var err error
		if all[i], err = g.user(ctx, h); err != nil {
			return nil, err
		}
		if err := all[i].firstList(ctx); err != nil {
			return nil, err
		}
		first[i] = float64(time.Since(since).Milliseconds())
	}
	leader, err := g.leader(ctx, hosts...)
	if err != nil {
		return nil, err
	}
	for range lists {
		for i, u := range all {
			sent := time.Now()
			if size, err = u.list(ctx); err != nil {
				return nil, err
			}
			took[i].add(time.Since(sent))
		}
	}
	var rows [][]string
	for i, h := range hosts {
		role := "a follower"
		if h == leader {
			role = "the leader"
		}
		t := &took[i]
		rows = append(rows, []string{gone, role, fmt.Sprintf("%.1f", float64(size)/1e6), fmt.Sprintf("%.0f", first[i]), ms(t.at(0.5)), ms(t.at(0.95)), ms(t.at(0.99)), ms(t.max())})
	}
	return rows, nil
}

const listAll = "/v1/vms?limit=10000&consistency=linearizable"

// firstList asks until there is an answer, and looks whether all are in it.
func (u *user) firstList(ctx context.Context) error {
	var last error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		a, err := u.do(ctx, http.MethodGet, listAll, nil, http.StatusOK)
		if last = err; err != nil {
			continue
		}
		var page api.Page[api.VM]
		if err := json.Unmarshal(a.Body, &page); err != nil {
			return err
		}
		if len(page.Items) != listedVMs {
			return fmt.Errorf("%s lists %d VMs, not %d", u.at.Name, len(page.Items), listedVMs)
		}
		return nil
	}
	return last
}

// list reads the list and throws it away, so that the client costs little.
func (u *user) list(ctx context.Context) (size int64, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.at.URL()+listAll, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+u.token)
	answer, err := u.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("list at %s: %s", u.at.Name, answer.Status)
	}
	return io.Copy(io.Discard, answer.Body)
}
