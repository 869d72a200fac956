package worker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTime is how long a worker may take until it is ready. It takes a moment; a machine
// that is out of breath may take longer.
const startTime = 30 * time.Second

// process is one worker as the pool has it.
type process struct {
	pid  int
	in   *os.File // requests, which the child reads
	out  *os.File // what it says
	read *bufio.Reader
	note string        // what of its confinement this kernel does not have
	gone chan struct{} // closed when the process has ended and was waited for
	end  string        // how; to be read once it is gone

	stderr *bounded
	once   sync.Once
	cmd    *exec.Cmd
	has    map[string]bool // digests of modules that it was given
	rest   *time.Timer     // ends it when it has rested for long; nil: it has not rested yet
}

// start starts a worker and waits until it has given up its rights. adopt is told of the
// process as soon as there is one.
func start(ctx context.Context, cfg Config, adopt func(*process) bool) (*process, error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, childIn.Close(), in.Close())
	}
	w := &process{in: in, out: out, read: bufio.NewReaderSize(out, 16<<10), gone: make(chan struct{}), stderr: &bounded{}, has: map[string]bool{}}
	w.cmd = command(cfg, childIn, childOut, w.stderr)
	started := make(chan error)
	go w.live(started, childIn, childOut)
	if err := <-started; err != nil {
		return nil, err
	}
	if !adopt(w) {
		return w, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	stop := context.AfterFunc(ctx, w.kill)
	defer stop()
	var first fromChild
	if err := readFrame(w.read, maxFromChild, &first); err != nil {
		return w, fmt.Errorf("it did not get ready: %w", err)
	}
	if first.Ready == nil {
		return w, fmt.Errorf("%w: the first is not the one that says that it is ready", errFrame)
	}
	if first.Ready.Error != "" {
		return w, errors.New(first.Ready.Error)
	}
	w.note = first.Ready.Note
	return w, nil
}

// command is a process with no environment, no folder and no files but its pipes, that
// ends with its parent.
func command(cfg Config, in, out *os.File, stderr *bounded) *exec.Cmd {
	args := append(cfg.Command[1:len(cfg.Command):len(cfg.Command)], strconv.FormatInt(cfg.Memory, 10))
	cmd := exec.Command(cfg.Command[0], args...)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	return cmd
}

// live starts the process and waits for its end.
//
// The kernel sends the parent-death signal when the *thread* ends that started the child,
// so that thread must stay as long as the child does.
func (w *process) live(started chan<- error, in, out *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := w.cmd.Start()
	if errors.Is(err, syscall.EPERM) && w.cmd.SysProcAttr.Cloneflags != 0 {
		// Root, but not allowed to make network namespaces, as in a container.
		again := exec.Command(w.cmd.Path, w.cmd.Args[1:]...)
		again.Env, again.Dir = w.cmd.Env, w.cmd.Dir
		again.Stdin, again.Stdout, again.Stderr = in, out, w.stderr
		again.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
		w.cmd = again
		err = again.Start()
	}
	err = errors.Join(err, in.Close(), out.Close())
	if err != nil {
		err = errors.Join(err, w.in.Close(), w.out.Close())
		started <- err
		return
	}
	w.pid = w.cmd.Process.Pid
	started <- nil
	w.end = "it ended by itself"
	if err := w.cmd.Wait(); err != nil {
		w.end = err.Error()
	}
	w.in.Close()
	w.out.Close()
	close(w.gone)
}

// kill ends the process at once. It can be called at any time.
func (w *process) kill() {
	w.once.Do(func() { w.cmd.Process.Kill() }) // an error: it is gone already
}

// isGone tells whether the process has ended.
func (w *process) isGone() bool {
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}

// knows tells whether the worker has all modules of a program.
func (w *process) knows(program Program) bool {
	for _, m := range program.Modules {
		if !w.has[m.Digest] {
			return false
		}
	}
	return true
}

// lastWords is what a worker died of, if it said so: what the Go runtime writes when it
// gives up. Where the garbage collector of Go 1.26 gets no memory for itself it does not
// say so, but falls over its own nil pointer (runtime/mgcmark_greenteagc.go): a SIGSEGV in
// the runtime, which unlike one in other code is no panic.
func (w *process) lastWords() error {
	text := w.stderr.String()
	switch {
	case strings.Contains(text, "out of memory"), strings.Contains(text, "cannot allocate memory"),
		strings.HasPrefix(text, "SIGSEGV: ") && strings.Contains(text, "\ngoroutine 0 "):
		return ErrMemory
	case strings.Contains(text, "stack overflow"), strings.Contains(text, "goroutine stack exceeds"):
		return fmt.Errorf("%w: it recursed too deeply", ErrCrashed)
	case strings.Contains(text, "panic: "), strings.Contains(text, "fatal error: "):
		line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
		return fmt.Errorf("%w: %s", ErrCrashed, line)
	}
	return nil
}

// firstWords is the first line that a worker wrote to its standard error, if any.
func (w *process) firstWords() []string {
	line, _, _ := strings.Cut(strings.TrimSpace(w.stderr.String()), "\n")
	if line == "" {
		return nil
	}
	return []string{line}
}

// maxStderr is how much of what a worker writes to its standard error is kept: the
// beginning, since a Go program says first why it ends.
const maxStderr = 4 << 10

// bounded keeps the beginning of what is written to it.
type bounded struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *bounded) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Write(text[:min(len(text), maxStderr-b.text.Len())])
	return len(text), nil
}

func (b *bounded) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
