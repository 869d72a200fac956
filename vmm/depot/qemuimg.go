package depot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Bounds of one run of qemu-img, which reads what a stranger has made.
const (
	toolLimit    = 30 * time.Second
	maxChecked   = 4 << 30 // larger files are not checked cluster by cluster
	maxSaid      = 1 << 20
	nobody       = 65534
	insideOfTool = "/proc/self/fd/3" // the image, whatever it is called and wherever it lies
)

// findTool makes the command that bounds and runs qemu-img; nil if the host lacks
// either part. The image has been read by then: it is only the second opinion.
func findTool(name string, log *slog.Logger) []string {
	if name == "" {
		name = "qemu-img"
	}
	img, err := exec.LookPath(name)
	prlimit, err2 := exec.LookPath("prlimit")
	if err := errors.Join(err, err2); err != nil {
		log.Warn("images get no second opinion", "err", err)
		return nil
	}
	// 1 GiB of memory, 30 s of processor time, and nothing may be written.
	return []string{prlimit, "--as=1073741824", "--cpu=30", "--fsize=0", "--core=0", "--", img}
}

// said is what qemu-img info says of an image, as far as it matters.
type said struct {
	Format      string `json:"format"`
	VirtualSize int64  `json:"virtual-size"`
	Encrypted   bool   `json:"encrypted"`
	Backing     string `json:"backing-filename"`
	FullBacking string `json:"full-backing-filename"`
	Specific    struct {
		Data struct {
			DataFile string `json:"data-file"`
			Corrupt  bool   `json:"corrupt"`
		} `json:"data"`
	} `json:"format-specific"`
}

// secondOpinion lets QEMU's own code read a qcow2 file. It must agree with what was read
// before, and find the file whole; clusters that are merely lost are no harm.
func (d *Depot) secondOpinion(ctx context.Context, f *os.File, bytes, virtual int64) error {
	if len(d.tool) == 0 {
		return nil
	}
	out, exit, err := d.runTool(ctx, f, "info")
	if err != nil {
		return err
	}
	var s said
	if exit != 0 || json.Unmarshal(out, &s) != nil {
		return refuse("QEMU cannot read the image: %s", firstLine(out))
	}
	if s.Format != Qcow2 || s.VirtualSize != virtual || s.Encrypted || s.Backing != "" || s.FullBacking != "" || s.Specific.Data.DataFile != "" || s.Specific.Data.Corrupt {
		return refuse("QEMU reads the image in another way than orchd: make it anew with 'qemu-img convert -O qcow2'")
	}
	if bytes >= maxChecked {
		return nil
	}
	const leaked = 3
	out, exit, err = d.runTool(ctx, f, "check")
	if err == nil && exit != 0 && exit != leaked {
		return refuse("QEMU finds the image damaged; see 'qemu-img check': %s", firstLine(out))
	}
	return err
}

// runTool runs qemu-img VERB on f, which it can only read. Killed, by its bounds or by
// the clock, it is an error that speaks against the image.
func (d *Depot) runTool(ctx context.Context, f *os.File, verb string) (out []byte, exit int, err error) {
	limited, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	args := append(d.tool[1:len(d.tool):len(d.tool)], verb, "--output=json", "-f", Qcow2, "--", insideOfTool)
	cmd := exec.CommandContext(limited, d.tool[0], args...)
	var said limitedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Env, cmd.Dir = []string{"LC_ALL=C"}, "/"
	cmd.ExtraFiles = []*os.File{f} // number 3
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	runtime.LockOSThread() // Pdeathsig means this thread's end
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return nil, 0, broken("the image cannot be looked at: %w", err)
	}
	err = cmd.Wait()
	var exited *exec.ExitError
	switch {
	case err == nil:
		return said.Bytes(), 0, nil
	case ctx.Err() != nil:
		return nil, 0, ended(ctx)
	case errors.As(err, &exited) && exited.Exited():
		return said.Bytes(), exited.ExitCode(), nil
	}
	return nil, 0, refuse("QEMU needs too much time or memory to read the image: make it anew with 'qemu-img convert -O qcow2'")
}

// limitedBuffer keeps the first maxSaid bytes.
type limitedBuffer struct{ bytes.Buffer }

// Write says that all was taken, so that the other side never stands still.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), maxSaid-b.Len())])
	return len(p), nil
}

// firstLine is the first line of what a program said, for an error.
func firstLine(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out[:min(len(out), 512)])), "\n")
	return strings.ToValidUTF8(line, "?")
}
