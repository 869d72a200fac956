// Command puts writes keys into an etcd cluster, from many clients at once: what
// orchd's writes are measured beside. `make bench-compare` runs it.
//
// It lies in a module of its own, with the etcd server that it is built beside, so that
// orchd never sees what either of them needs. It reads orders from its input, one JSON
// object each, and answers each with how long every put took.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// order is one round: how many clients, for how long.
type order struct {
	Clients int
	Round   time.Duration
}

// answer is how long each put of a round took that was taken, how many were not, and how
// long the round took; nanoseconds.
type answer struct {
	Took   []time.Duration
	Failed int
	In     time.Duration
}

// putter has what every client of the run shares.
type putter struct {
	endpoints []string
	trust     *tls.Config
	value     string
	serial    atomic.Int64
}

func main() {
	endpoints := flag.String("endpoints", "", "URLs of the members, with commas between them")
	roots := flag.String("cacert", "", "file with the CA's certificate")
	size := flag.Int("bytes", 712, "bytes of each value")
	flag.Parse()
	if err := run(*endpoints, *roots, *size); err != nil {
		fmt.Fprintln(os.Stderr, "puts:", err)
		os.Exit(1)
	}
}

func run(endpoints, roots string, size int) error {
	text, err := os.ReadFile(roots)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s holds no certificate", roots)
	}
	p := &putter{endpoints: strings.Split(endpoints, ","), trust: &tls.Config{RootCAs: pool}, value: strings.Repeat("x", size)}
	orders, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			return nil // whoever gave the orders is gone
		}
		a, err := p.round(o)
		if err != nil {
			return err
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

// round lets each client put one key after the other. Each has a connection of its
// own, to one member; they are spread over all of them.
func (p *putter) round(o order) (answer, error) {
	clients := make([]*clientv3.Client, o.Clients)
	for i := range clients {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{p.endpoints[i%len(p.endpoints)]}, TLS: p.trust, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return answer{}, err
		}
		defer c.Close()
		if err := warm(c); err != nil {
			return answer{}, fmt.Errorf("%s does not answer: %w", p.endpoints[i%len(p.endpoints)], err)
		}
		clients[i] = c
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Round)
	defer cancel()
	var all sync.WaitGroup
	took, failed := make([][]time.Duration, o.Clients), make([]error, o.Clients)
	var refused atomic.Int64
	began := time.Now()
	for i, c := range clients {
		all.Go(func() { took[i], failed[i] = p.puts(ctx, c, &refused) })
	}
	all.Wait()
	return answer{slices.Concat(took...), int(refused.Load()), time.Since(began)}, errors.Join(failed...)
}

// warm puts until a put is taken, for up to 30 s: no handshake is measured, nor the
// election of a cluster that has just started.
func warm(c *clientv3.Client) (err error) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err = c.Put(ctx, "warm", "")
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

// failuresInRow is how many puts of a client may fail one after the other: a server that
// leaves its place as the leader gives up some.
const failuresInRow = 10

func (p *putter) puts(ctx context.Context, c *clientv3.Client, failed *atomic.Int64) (took []time.Duration, err error) {
	for inRow := 0; ; {
		at := time.Now()
		_, err := c.Put(ctx, fmt.Sprintf("/nodes/%09d", p.serial.Add(1)), p.value)
		switch {
		case err == nil:
			took, inRow = append(took, time.Since(at)), 0
		case ctx.Err() != nil:
			return took, nil
		default:
			failed.Add(1)
			if inRow++; inRow == failuresInRow {
				return took, fmt.Errorf("%d puts in a row: %w", inRow, err)
			}
		}
	}
}
