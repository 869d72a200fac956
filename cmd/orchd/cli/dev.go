package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// devOptions are what `orchd dev` is asked for.
type devOptions struct {
	peers, basePort int
	driver          string
}

func (a *App) dev() *cobra.Command {
	var o devOptions
	cmd := a.verb(verb{
		use:   "dev",
		short: "Run a throw-away cluster on this machine, until Ctrl-C",
		long: "Run a throw-away cluster on this machine, until Ctrl-C. Peer k (0, 1, ...) listens on base port + 10k, +1 and +2. Kill one and see: the others go on. " +
			"No configuration file is read; ORCHD_VMM__*, ORCHD_AUTH__*, ORCHD_LOG__* and ORCHD_SYSTEM_SERVICES__* hold for all peers: " +
			"ORCHD_SYSTEM_SERVICES__ENABLE=all runs the packages in /etc/orchd/packages, too.",
		example: `
orchd dev
orchd dev --driver libvirt                # real guests; each peer has a libvirtd of its own
orchd dev --peers 5 --base-port 17700`,
		run: func(ctx context.Context, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return a.runDev(ctx, o)
		},
	})
	cmd.Flags().IntVar(&o.peers, "peers", 3, "how many peers, 1 to 9")
	cmd.Flags().StringVar(&o.driver, "driver", api.DriverSim, "sim: pretended guests; libvirt: real ones, as root; none")
	cmd.Flags().IntVar(&o.basePort, "base-port", 7700, "first port of the first peer")
	a.completeFlag(cmd, "driver", words([]string{api.DriverSim, api.DriverLibvirt, api.DriverNone}))
	return cmd
}

func (o devOptions) validate() error {
	switch {
	case o.peers < 1 || o.peers > 9:
		return usagef("--peers %d: want 1 to 9", o.peers)
	case o.basePort < 1 || o.port(o.peers-1)+2 > 65535:
		return usagef("--base-port %d: want a port with room for %d peers above it", o.basePort, o.peers)
	case o.driver != api.DriverSim && o.driver != api.DriverLibvirt && o.driver != api.DriverNone:
		return unknownWord("driver", o.driver, []string{api.DriverSim, api.DriverLibvirt, api.DriverNone})
	case o.driver == api.DriverLibvirt:
		return canRunLibvirt()
	}
	return nil
}

func (o devOptions) port(k int) int { return o.basePort + 10*k }

// runDev starts the peers as processes of this program, in a folder that goes
// away with them, and waits for Ctrl-C or for the end of the last of them.
func (a *App) runDev(ctx context.Context, o devOptions) (err error) {
	dir, err := os.MkdirTemp("", "orchd-dev-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { // QEMU's own user walks through it to the disks
		return err
	}
	alive, fail := context.WithCancelCause(ctx)
	d := &devCluster{app: a, options: o, dir: dir, fail: fail}
	defer d.stop()
	if err := d.start(alive); err != nil && alive.Err() == nil {
		return err
	}
	<-alive.Done()
	if ctx.Err() != nil {
		a.say("ending the cluster")
		return nil
	}
	return context.Cause(alive)
}

// devCluster is the processes of a throw-away cluster.
type devCluster struct {
	app     *App
	options devOptions
	dir     string
	fail    context.CancelCauseFunc // ends the cluster
	running []*exec.Cmd
	waiters sync.WaitGroup // one for each process

	living            atomic.Int32
	started, stopping atomic.Bool
}

func (d *devCluster) start(ctx context.Context) error {
	if err := d.run(ctx, 0, "init"); err != nil {
		return err
	}
	if d.options.peers > 1 {
		token, err := d.newToken(ctx, api.TokenCreate{Role: api.RolePeer, TTL: "1h", Uses: int64(d.options.peers - 1)})
		if err != nil {
			return err
		}
		for k := 1; k < d.options.peers; k++ {
			if err := d.run(ctx, k, "join", d.address(0), "--token-file", token); err != nil {
				return err
			}
		}
	}
	admin, err := d.newToken(ctx, api.TokenCreate{Role: api.RoleAdmin, TTL: "720h"})
	if err != nil {
		return err
	}
	d.started.Store(true)
	return d.explain(admin)
}

func (d *devCluster) name(k int) string    { return "dev" + strconv.Itoa(k) }
func (d *devCluster) dataDir(k int) string { return filepath.Join(d.dir, d.name(k)) }
func (d *devCluster) address(k int) string { return d.local(d.options.port(k)) }
func (d *devCluster) local(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// run starts the k-th peer with a verb and waits until it is ready.
func (d *devCluster) run(ctx context.Context, k int, verb ...string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(d.dir, d.name(k)+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	line := append([]string{program}, append(verb, d.flags(k)...)...)
	if d.options.driver == api.DriverLibvirt {
		line = withLibvirt(filepath.Join(d.dir, d.name(k)+"-libvirt"), line)
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = d.environ()
	cmd.Stdout, cmd.Stderr = log, log
	// In a group of its own, so that Ctrl-C reaches this process alone, which
	// then ends the peers; and not left behind when this one is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.running = append(d.running, cmd)
	d.living.Add(1)
	d.waiters.Go(func() { d.ended(k, cmd.Wait()) })
	if err := d.app.untilReady(ctx, d.dataDir(k)); err != nil {
		return err
	}
	d.app.say("%s is ready on %s", d.name(k), d.address(k))
	return nil
}

// flags are the flags of the k-th peer.
func (d *devCluster) flags(k int) []string {
	port := d.options.port(k)
	return []string{"--data-dir", d.dataDir(k), "--name", d.name(k), "--driver", d.options.driver, "--advertise", "127.0.0.1",
		"--api-listen", d.local(port), "--raft-listen", d.local(port + 1), "--gossip-listen", d.local(port + 2)}
}

// environ is this process's without what would configure the peers alike where
// they must differ, and without a home, in which init would leave a profile of a
// cluster that goes away.
func (d *devCluster) environ() []string {
	env := []string{"ORCHD_LOG__FORMAT=text", "ORCHD_RAFT__BALLAST_MIB=0"}
	for _, pair := range d.app.Environ {
		name, _, _ := strings.Cut(pair, "=")
		alike := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		ours := strings.HasPrefix(name, "ORCHD_") && !slices.ContainsFunc(alikeForAll, alike)
		if !ours && name != "HOME" && name != "XDG_CONFIG_HOME" && name != "NOTIFY_SOCKET" {
			env = append(env, pair)
		}
	}
	return append(env, "ORCHD_CONFIG="+os.DevNull)
}

// alikeForAll are the beginnings of variables that all peers of the cluster get.
var alikeForAll = []string{"ORCHD_VMM__", "ORCHD_AUTH__", "ORCHD_LOG__", "ORCHD_SYSTEM_SERVICES__"}

// ended takes note of a peer's end. While the cluster starts it is the end of
// all; later the others go on, as those of any cluster do.
func (d *devCluster) ended(k int, err error) {
	left := d.living.Add(-1)
	switch {
	case d.stopping.Load():
	case !d.started.Load() || left == 0:
		d.fail(d.epitaph(k, err))
	default:
		d.app.say("%s ended (%v); the other %d go on", d.name(k), err, left)
	}
}

// epitaph says how a peer ended, with the last line of its log.
func (d *devCluster) epitaph(k int, err error) error {
	text, readErr := os.ReadFile(filepath.Join(d.dir, d.name(k)+".log"))
	if readErr != nil {
		return fmt.Errorf("%s ended: %w", d.name(k), errors.Join(err, readErr))
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("%s ended (%v): %s", d.name(k), err, lines[len(lines)-1])
}

// newToken asks the first peer for a token and gives the path of a file that holds it.
func (d *devCluster) newToken(ctx context.Context, want api.TokenCreate) (string, error) {
	c, err := d.app.connect(d.app.socketIn(d.dataDir(0), "dev"))
	if err != nil {
		return "", err
	}
	var made api.NewToken
	if err := c.do(ctx, call{method: "POST", path: "/v1/tokens", in: want, out: &made}); err != nil {
		return "", err
	}
	path := filepath.Join(d.dir, string(want.Role)+".token")
	return path, os.WriteFile(path, []byte(made.Token+"\n"), 0o600)
}

// explain prints how to talk to the cluster.
func (d *devCluster) explain(admin string) error {
	var addresses []string
	for k := range d.options.peers {
		addresses = append(addresses, d.address(k))
	}
	env := fmt.Sprintf("export ORCHD_ADDR=%s\nexport ORCHD_CACERT=%s\nexport ORCHD_TOKEN_FILE=%s\n",
		strings.Join(addresses, ","), filepath.Join(d.dataDir(0), "tls", "ca.pem"), admin)
	path := filepath.Join(d.dir, "env")
	if err := os.WriteFile(path, []byte(env), 0o600); err != nil {
		return err
	}
	_, err := fmt.Fprintf(d.app.Stdout, `
In another terminal:
  source %[1]s
  orchd status
  orchd vm create web1 --memory 64MiB
  curl --cacert "$ORCHD_CACERT" -H "Authorization: Bearer $(cat "$ORCHD_TOKEN_FILE")" https://%[2]s/v1/vms

Ctrl-C ends it and removes %[3]s
`, path, addresses[0], d.dir)
	return err
}

// stopTime is how long a peer may take to end before it is killed.
const stopTime = 10 * time.Second

// stop ends the peers, all at once: none is worth handing anything over to.
func (d *devCluster) stop() {
	d.stopping.Store(true)
	d.fail(nil)
	d.signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopTime, func() { d.signal(syscall.SIGKILL) })
	defer kill.Stop()
	d.waiters.Wait()
}

func (d *devCluster) signal(s syscall.Signal) {
	for _, cmd := range d.running {
		// The whole group: with libvirt the peer is not the first process of it.
		if err := syscall.Kill(-cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			d.app.say("process %d: %v", cmd.Process.Pid, err)
		}
	}
}
