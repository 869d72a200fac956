package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/orchd/orchd/api"
)

// peers is a cluster of three orchd processes on loopback.
type peers struct {
	orchd  string
	all    []*peerProcess
	token  string
	roots  *x509.CertPool
	serial atomic.Int64
}

type peerProcess struct {
	name, dir string
	port      int // of the API; raft and gossip follow
	cmd       *exec.Cmd
	ended     chan struct{}
}

// basePort is where the first peer listens; the k-th is 10 further.
const basePort = 27700

// startPeers makes a cluster whose hosts have room for everything that is asked of them.
func startPeers(ctx context.Context, orchd, dir string) (*peers, error) {
	return startPeersAt(ctx, orchd, dir, basePort)
}

// startPeersAt is startPeers beside another cluster: the first peer listens at that port.
func startPeersAt(ctx context.Context, orchd, dir string, basePort int) (*peers, error) {
	p := &peers{orchd: orchd}
	for i := range 3 {
		name := fmt.Sprintf("h%d", i+1)
		p.all = append(p.all, &peerProcess{name: name, dir: filepath.Join(dir, name), port: basePort + 10*i})
	}
	first := p.all[0]
	if err := p.start(first, "init"); err != nil {
		return p, err
	}
	if err := p.ready(ctx, first); err != nil {
		return p, errors.Join(err, p.stop())
	}
	for _, next := range p.all[1:] {
		line, err := p.cli(ctx, first, "token", "create", "--role", "peer")
		if err != nil {
			return p, errors.Join(err, p.stop())
		}
		words := strings.Fields(line) // orchd join ADDR --token T
		if err := p.start(next, words[1:]...); err != nil {
			return p, errors.Join(err, p.stop())
		}
		if err := p.ready(ctx, next); err != nil {
			return p, errors.Join(err, p.stop())
		}
	}
	return p, errors.Join(p.trust(ctx))
}

// trust gets a token, and the CA's certificate.
func (p *peers) trust(ctx context.Context) error {
	text, err := p.cli(ctx, p.all[0], "token", "create", "--role", "operator", "--ttl", "24h", "-o", "json")
	if err != nil {
		return err
	}
	var t api.NewToken
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	p.token = t.Token
	ca, err := os.ReadFile(filepath.Join(p.all[0].dir, "tls", "ca.pem"))
	if err != nil {
		return err
	}
	p.roots = x509.NewCertPool()
	p.roots.AppendCertsFromPEM(ca)
	return nil
}

// start runs one peer: with a verb that makes it one, or with serve.
func (p *peers) start(h *peerProcess, verb ...string) error {
	listen := func(k int) string { return fmt.Sprintf("127.0.0.1:%d", h.port+k) }
	args := append(verb, "--data-dir", h.dir, "--name", h.name, "--advertise", "127.0.0.1", "--driver", "sim",
		"--api-listen", listen(0), "--raft-listen", listen(1), "--gossip-listen", listen(2))
	h.cmd = exec.Command(p.orchd, args...)
	h.cmd.Env = p.environ("ORCHD_VMM__CAPACITY__VCPUS=1000000", "ORCHD_VMM__CAPACITY__MEMORY=100000GiB")
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(h.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(h.dir), 0o700); err == nil {
			log, err = os.Create(h.dir + ".log")
		}
	}
	if err != nil {
		return err
	}
	defer log.Close()
	h.cmd.Stdout, h.cmd.Stderr = log, log
	if err := h.cmd.Start(); err != nil {
		return err
	}
	h.ended = make(chan struct{})
	go func() {
		h.cmd.Wait()
		close(h.ended)
	}()
	return nil
}

// environ is what every orchd here is told: nothing of this process's own, for
// orchd refuses variables that it does not know.
func (p *peers) environ(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(p.all[0].dir), "ORCHD_CONFIG=" + os.DevNull}, more...)
}

// readyTime is how long a peer may take until it can serve: a newcomer fetches all there is.
const readyTime = 5 * time.Minute

// ready waits until a peer can serve.
func (p *peers) ready(ctx context.Context, h *peerProcess) error {
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{"unix://" + filepath.Join(h.dir, "orchd.sock")}, Timeout: time.Second})
	if err != nil {
		return err
	}
	defer c.Close()
	var last error
	for deadline := time.Now().Add(readyTime); time.Now().Before(deadline); {
		if last = c.Ready(ctx); last == nil {
			return nil
		}
		select {
		case <-h.ended:
			text, _ := os.ReadFile(h.dir + ".log")
			return fmt.Errorf("%s ended:\n%s", h.name, text)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not ready: %w", h.name, last)
}

// cli runs one orchd command against one peer.
func (p *peers) cli(ctx context.Context, h *peerProcess, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, p.orchd, append(args, "--addr", "unix://"+filepath.Join(h.dir, "orchd.sock"))...)
	cmd.Env = p.environ()
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("orchd %s: %w: %s", strings.Join(args, " "), err, problem.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// kill ends a peer at once.
func (h *peerProcess) kill() {
	if h.cmd == nil || h.cmd.Process == nil {
		return
	}
	h.cmd.Process.Kill()
	<-h.ended
}

func (p *peers) stop() error {
	for _, h := range p.all {
		h.kill()
	}
	return nil
}

// load creates VMs from that many clients, each with a connection of its own
// that it keeps, spread over the three peers.
func (p *peers) load(ctx context.Context, clients int, round time.Duration) (figures, error) {
	each := make([]*http.Client, clients)
	for i := range each {
		transport := p.transport()
		defer transport.CloseIdleConnections()
		each[i] = &http.Client{Transport: transport}
		if err := p.warm(ctx, each[i], i); err != nil {
			return figures{}, err
		}
	}
	return load(ctx, clients, round, func(ctx context.Context, i int) error {
		return p.create(ctx, each[i], p.all[i%len(p.all)])
	})
}

func (p *peers) transport() *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.roots}, MaxIdleConnsPerHost: 1}
}

// warm opens a client's connection, so that no handshake is measured.
func (p *peers) warm(ctx context.Context, c *http.Client, i int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.all[i%len(p.all)].url("/healthz"), nil)
	if err != nil {
		return err
	}
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	io.Copy(io.Discard, answer.Body)
	return answer.Body.Close()
}

func (h *peerProcess) url(path string) string {
	return fmt.Sprintf("https://127.0.0.1:%d%s", h.port, path)
}

// create asks one peer for one small VM; only an acknowledged create is no error.
func (p *peers) create(ctx context.Context, c *http.Client, h *peerProcess) error {
	body := fmt.Sprintf(`{"name":"vm-%d","spec":{"vcpus":1,"memory_mib":16}}`, p.serial.Add(1))
	return p.send(ctx, c, http.MethodPost, h.url("/v1/vms"), []byte(body), http.StatusCreated)
}

// send sends one request and reads its answer whole.
func (p *peers) send(ctx context.Context, c *http.Client, method, url string, body []byte, want int) error {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != want {
		err = fmt.Errorf("%s %s: %d %.300s", method, url, answer.StatusCode, text)
	}
	return err
}
