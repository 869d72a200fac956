package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/cluster/ca"
)

// etcdCluster is three etcd servers on this machine, TLS and fsync on as they are by
// default, and the program that puts keys into them.
type etcdCluster struct {
	processes []*exec.Cmd
	orders    io.WriteCloser
	answers   *json.Decoder
}

// etcdPort is where the first server listens for clients; peers speak one further.
const etcdPort = 28700

// startEtcd makes certificates for three servers and starts them and their load.
func startEtcd(ctx context.Context, o options, dir string) (*etcdCluster, error) {
	c := &etcdCluster{}
	id := uuid.NewString()
	authority, err := ca.New(id, time.Now())
	if err != nil {
		return nil, err
	}
	var members, endpoints []string
	for i := range 3 {
		members = append(members, fmt.Sprintf("e%d=%s", i, etcdURL(i, 1)))
		endpoints = append(endpoints, etcdURL(i, 0))
	}
	for i := range 3 {
		if err := c.server(ctx, o, authority, id, filepath.Join(dir, fmt.Sprintf("e%d", i)), i, strings.Join(members, ",")); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	puts := exec.CommandContext(ctx, o.puts, "-endpoints", strings.Join(endpoints, ","), "-cacert", filepath.Join(dir, "e0", "ca.pem"))
	puts.Stderr = os.Stderr
	out, err := puts.StdoutPipe()
	if err == nil {
		c.orders, err = puts.StdinPipe()
	}
	if err == nil {
		c.answers, err = json.NewDecoder(out), c.start(puts)
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func etcdURL(i, k int) string { return fmt.Sprintf("https://127.0.0.1:%d", etcdPort+10*i+k) }

// server starts one of the three.
func (c *etcdCluster) server(ctx context.Context, o options, authority *ca.Authority, cluster, dir string, i int, members string) error {
	one, err := makeIdentity(authority, cluster, fmt.Sprint(i))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string][]byte{"ca.pem": one.CA, "cert.pem": one.Certificate, "key.pem": one.Key} {
		if err := os.WriteFile(at(name), content, 0o600); err != nil {
			return err
		}
	}
	log, err := os.Create(dir + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, o.etcd, "--name", fmt.Sprintf("e%d", i), "--data-dir", at("data"), "--log-level", "warn",
		"--listen-client-urls", etcdURL(i, 0), "--advertise-client-urls", etcdURL(i, 0),
		"--listen-peer-urls", etcdURL(i, 1), "--initial-advertise-peer-urls", etcdURL(i, 1),
		"--initial-cluster", members, "--initial-cluster-token", cluster,
		"--cert-file", at("cert.pem"), "--key-file", at("key.pem"), // and no CA: as with orchd, a client needs no certificate
		"--peer-cert-file", at("cert.pem"), "--peer-key-file", at("key.pem"), "--peer-trusted-ca-file", at("ca.pem"), "--peer-client-cert-auth")
	cmd.Stdout, cmd.Stderr = log, log
	return c.start(cmd)
}

func (c *etcdCluster) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.processes = append(c.processes, cmd)
	return nil
}

// load lets that many clients, spread over the three servers, put keys of the size of a
// small node, one after the other.
func (c *etcdCluster) load(clients int, round time.Duration) (figures, error) {
	if err := json.NewEncoder(c.orders).Encode(order{clients, round}); err != nil {
		return figures{}, err
	}
	var a struct {
		Took   []time.Duration
		Failed int
		In     time.Duration
	}
	if err := c.answers.Decode(&a); err != nil {
		return figures{}, fmt.Errorf("the puts ended: %w", err)
	}
	f := summary(a.Took, a.In)
	f.Failed = a.Failed
	return f, nil
}

func (c *etcdCluster) stop() error {
	for _, p := range c.processes {
		p.Process.Kill()
		p.Wait()
	}
	c.processes = nil
	return nil
}
