package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/orchd/orchd/test/lab"
)

// onCores binds all threads of a peer to some of the machine's cores.
func (r *run) onCores(h *lab.Host, cores string) {
	if h.Running() {
		exec.Command("taskset", "-a", "-c", "-p", cores, strconv.Itoa(h.PID())).Run() // a thread that has just ended is no failure
	}
}

// waited is how long all threads of all peers have waited for a core, so far (proc(5),
// schedstat).
func (r *run) waited() (sum time.Duration) {
	for _, h := range r.members() {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", h.PID()))
		for _, path := range threads {
			var ran, waited time.Duration
			if text, err := os.ReadFile(path); err == nil {
				fmt.Sscan(string(text), &ran, &waited)
			}
			sum += waited
		}
	}
	return sum
}

// burn takes all of core 0 that it can get, until ctx ends.
func burn(ctx context.Context) {
	exec.CommandContext(ctx, "taskset", "-c", "0", "sh", "-c", "while :; do :; done").Run()
}
