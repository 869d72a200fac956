package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/orchd/orchd/api/inventory"
)

// fleetNode is the i-th node of a made-up fleet, of the size of the nodes in
// node-orchestrator's sample file: 720 bytes of JSON, two or three interfaces, a
// posted BMC in three of eight.
func fleetNode(i int) inventory.ComputeNode {
	mac := func(kind, at int) string {
		return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", 2+4*kind, at, i>>24&255, i>>16&255, i>>8&255, i&255)
	}
	n := inventory.ComputeNode{
		Hostname: fmt.Sprintf("lt-%07d", i), Architecture: "x86_64", XName: fleetXName(i), BootMAC: mac(0, 0),
		Description: fmt.Sprintf("Growth long firm official who against middle office %d.", i),
	}
	for at := range 2 + i&1 {
		n.NetworkInterfaces = append(n.NetworkInterfaces, inventory.NetworkInterface{
			InterfaceName: fmt.Sprintf("eth%d", at), MACAddress: mac(1, at), IPv4Address: fmt.Sprintf("%d.%d.%d.%d", 10+at, i>>16&255, i>>8&255, i&255),
			IPv6Address: fmt.Sprintf("ee09:659e:2500:ef30:%x:%x:6190:%x", i>>16, i&0xffff, at+1), Description: "Past ago politics level much.",
		})
	}
	if i&7 < 3 {
		password := "admin"
		n.BMC = &inventory.BMC{Username: "admin", Password: &password, MACAddress: mac(2, 0), IPv4Address: fmt.Sprintf("18.%d.%d.%d", i>>16&255, i>>8&255, i&255)}
	}
	return n
}

func fleetXName(i int) string {
	return fmt.Sprintf("x%dc%ds%db%dn0", 1000+i>>18, i>>12&63, i>>6&63, i&63)
}

// fleetBench measures the inventory on fresh peers: posts one by one into an empty
// and into a full inventory, the bulk load, the list of all, lookups, memory.
func fleetBench(ctx context.Context, o options, dir string) error {
	p, err := startPeers(ctx, o.orchd, filepath.Join(dir, "fleet"))
	if err != nil {
		return fmt.Errorf("three peers: %w", err)
	}
	defer p.stop()
	f := &fleetRun{peers: p, options: o}
	f.posted.Store(firstPosted)
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"posts, empty", f.posts}, {"bulk load", f.bulk}, {"memory behind the load", f.memory}, {"writes beside a snapshot", f.besideSnapshot}, {"posts, loaded", f.posts},
		{"list", f.list}, {"lookup", f.lookups}, {"snapshot", f.snapshot}, {"memory", f.memory},
		{"a peer that starts again", f.restart}, {"a newcomer", f.newcomer},
	}
	for _, step := range steps {
		if !o.wants(step.name) && step.name != "bulk load" {
			continue
		}
		fmt.Printf("-- %s\n", step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// firstPosted is the number of the first node that is posted, beyond the loaded ones.
const firstPosted = 1 << 26

type fleetRun struct {
	*peers
	options
	posted atomic.Int64
}

// posts stores nodes one by one: over kept connections, and over a new one each time.
func (f *fleetRun) posts(ctx context.Context) error {
	for _, c := range []struct {
		clients int
		fresh   bool
	}{{1, false}, {16, false}, {1, true}, {16, true}} {
		var all []figures
		for range f.rounds {
			round, err := f.postRound(ctx, c.clients, c.fresh)
			if err != nil {
				return err
			}
			all = append(all, round)
		}
		m := median(all)
		kept := "kept connections"
		if c.fresh {
			kept = "a new TLS connection each"
		}
		fmt.Printf("POST /ComputeNode, %2d clients, %s: %.0f/s, p50 %.2f ms, p99 %.2f ms\n", c.clients, kept, m.PerSecond, m.P50, m.P99)
	}
	return nil
}

func (f *fleetRun) postRound(ctx context.Context, clients int, fresh bool) (figures, error) {
	each := make([]*http.Client, clients)
	for i := range each {
		transport := f.transport()
		transport.DisableKeepAlives = fresh
		defer transport.CloseIdleConnections()
		each[i] = &http.Client{Transport: transport}
		if err := f.warm(ctx, each[i], i); err != nil {
			return figures{}, err
		}
	}
	return load(ctx, clients, f.round, func(ctx context.Context, i int) error {
		return f.post(ctx, each[i], f.all[i%3])
	})
}

// bulk loads the fleet from a file, with orchd's own client at one peer.
func (f *fleetRun) bulk(ctx context.Context) error {
	path := filepath.Join(filepath.Dir(f.all[0].dir), "nodes.ndjson")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	lines := json.NewEncoder(out)
	for i := range f.fleet {
		if err := lines.Encode(fleetNode(i)); err != nil {
			return err
		}
	}
	if err := errors.Join(out.Flush(), file.Close()); err != nil {
		return err
	}
	began := time.Now()
	if _, err := f.cli(ctx, f.all[1], "create", "ComputeNode", "--file", path); err != nil {
		return err
	}
	took := time.Since(began)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fmt.Printf("orchd create ComputeNode --file nodes.ndjson (%d nodes, %d bytes each): %.1f s, %.0f nodes/s\n",
		f.fleet, int(info.Size())/f.fleet, took.Seconds(), float64(f.fleet)/took.Seconds())
	return os.Remove(path)
}

// list reads all nodes from each peer in turn.
func (f *fleetRun) list(ctx context.Context) error {
	for _, h := range f.all {
		before := residentMiB(h.cmd.Process.Pid, "VmRSS")
		client := &http.Client{Transport: f.transport()}
		if err := f.warm(ctx, client, 0); err != nil {
			return err
		}
		began := time.Now()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url("/ComputeNode"), nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+f.token)
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		size, err := io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return err
		}
		fmt.Printf("GET /ComputeNode at %s: %.2f s, %d MB, resident %d MiB before and %d after\n",
			h.name, time.Since(began).Seconds(), size/1e6, before, residentMiB(h.cmd.Process.Pid, "VmRSS"))
		client.CloseIdleConnections()
	}
	return nil
}

// lookups ask for one node, by xname and by MAC address.
func (f *fleetRun) lookups(ctx context.Context) error {
	for _, by := range []struct {
		name string
		path func(i int) string
	}{
		{"xname", func(i int) string { return "/ComputeNode/" + fleetXName(i) }},
		{"MAC", func(i int) string { return "/ComputeNode?boot_mac=" + fleetNode(i).BootMAC }},
	} {
		for _, consistency := range []string{"linearizable", "local"} {
			client := &http.Client{Transport: f.transport()}
			if err := f.warm(ctx, client, 1); err != nil {
				return err
			}
			m, err := load(ctx, 1, f.round, func(ctx context.Context, _ int) error {
				path := by.path(rand.IntN(f.fleet))
				path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "consistency=" + consistency
				return f.send(ctx, client, http.MethodGet, f.all[1].url(path), nil, http.StatusOK)
			})
			if err != nil {
				return err
			}
			fmt.Printf("lookup by %s, %s: %.0f/s, p50 %.2f ms, p99 %.2f ms\n", by.name, consistency, m.PerSecond, m.P50, m.P99)
			client.CloseIdleConnections()
		}
	}
	return nil
}

// snapshot takes one.
func (f *fleetRun) snapshot(ctx context.Context) error {
	began := time.Now()
	if _, err := f.cli(ctx, f.all[0], "snapshot", "take"); err != nil {
		return err
	}
	fmt.Printf("orchd snapshot take: %.1f s\n", time.Since(began).Seconds())
	return nil
}

// memory tells what the peers take now, and took at most: all that were posted by then are
// in it, and not the fleet alone.
func (f *fleetRun) memory(context.Context) error {
	fmt.Printf("with %d nodes\n", int64(f.fleet)+f.posted.Load()-firstPosted)
	for _, h := range f.all {
		pid := h.cmd.Process.Pid
		fmt.Printf("%s: resident %d MiB (of it files %d), at most %d MiB\n", h.name,
			residentMiB(pid, "VmRSS"), residentMiB(pid, "RssFile"), residentMiB(pid, "VmHWM"))
	}
	return nil
}

// residentMiB reads one line of proc(5)'s status file.
func residentMiB(pid int, name string) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kib, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return kib >> 10
		}
	}
	return 0
}
