package chaos

import (
	"context"
	"os/exec"
	"strconv"

	"github.com/orchd/orchd/test/lab"
)

// onCores binds all threads of a peer to some of the machine's cores.
func (r *run) onCores(h *lab.Host, cores string) {
	if h.Running() {
		exec.Command("taskset", "-a", "-c", "-p", cores, strconv.Itoa(h.PID())).Run() // a thread that has just ended is no failure
	}
}

// burn takes all of core 0 that it can get, until ctx ends.
func burn(ctx context.Context) {
	exec.CommandContext(ctx, "taskset", "-c", "0", "sh", "-c", "while :; do :; done").Run()
}
