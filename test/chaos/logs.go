package chaos

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/test/lab"
)

// wholeLog is the entries with commands that a cluster has committed, from the first, in their order.
type wholeLog []entry

// entry is an entry of the log.
type entry struct {
	index    uint64
	at       time.Time
	commands [][]byte
}

// keepLog keeps the log of a stopped peer that is about to lose some of it.
func (r *run) keepLog(h *lab.Host) error {
	to := filepath.Join(r.kept, fmt.Sprintf("log-%d", len(r.logs)))
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(h.DataDir(), "raft"), to).CombinedOutput(); err != nil {
		return fmt.Errorf("keep the log of %s: %w: %s", h.Name, err, out)
	}
	r.logs = append(r.logs, to)
	return nil
}

// wholeLog puts together what the stopped peers have and what was kept of them before.
func (r *run) wholeLog() (wholeLog, error) {
	for _, h := range r.members() {
		if err := r.keepLog(h); err != nil { // bolt maps its file into memory, which who serves a disk may not
			return nil, err
		}
	}
	return join(r.logs)
}

// join puts logs together, the newest last: it has the last word. What an older one has
// at its end may never have been committed, but then a newer one has something else there.
func join(oldestFirst []string) (wholeLog, error) {
	entries, covered, last := map[uint64]entry{}, map[uint64]bool{}, uint64(0)
	for _, dir := range oldestFirst {
		from, to, err := cluster.LogRange(dir)
		if err != nil {
			return nil, err
		}
		for index := from; index <= to; index++ {
			delete(entries, index) // an entry without commands replaces, too
			covered[index] = true
		}
		last = max(last, to)
		err = cluster.ReadLog(dir, func(index uint64, _ int, at time.Time, command []byte) error {
			entries[index] = entry{index, at, append(entries[index].commands, command)}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for index := uint64(1); index <= last; index++ {
		if !covered[index] {
			return nil, fmt.Errorf("no peer has entry %d of the log, which goes on to %d: it cannot be applied again", index, last)
		}
	}
	whole := slices.Collect(maps.Values(entries))
	slices.SortFunc(whole, func(a, b entry) int { return int(int64(a.index) - int64(b.index)) })
	return whole, nil
}
