package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/test/lab"
)

// copyOf copies a stopped peer's folder beside it.
func copyOf(h *lab.Host) (string, error) {
	to := h.DataDir() + ".copy"
	if err := os.RemoveAll(to); err != nil {
		return "", err
	}
	if out, err := exec.Command("cp", "-a", h.DataDir(), to).CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy the folder of %s: %w: %s", h.Name, err, out)
	}
	return to, nil
}

// replace puts a copy in the place of a stopped peer's folder.
func replace(h *lab.Host, with string) error {
	if err := os.RemoveAll(h.DataDir()); err != nil {
		return err
	}
	return os.Rename(with, h.DataDir())
}

// settles waits until a peer that was just started is ready or has ended by itself.
func (r *run) settles(h *lab.Host, limit time.Duration) (ready bool, err error) {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if !h.Running() {
			return false, nil
		}
		if a, err := r.within(time.Second, h, "GET", "/readyz", nil); err == nil && a.Status == 200 {
			return true, nil
		}
	}
	return false, fmt.Errorf("%s is neither ready nor has it ended, %v after its start", h.Name, limit)
}

// sentence is what a peer said when it ended: it must be an error that a person can
// read, not a stack.
func (r *run) sentence(h *lab.Host) (string, error) {
	end := lastLines(h.Log(), 60)
	at := strings.LastIndex(end, "\norchd ")
	if at < 0 || panicLine.MatchString(end) {
		return "", fmt.Errorf("%s ended without a sentence: %.300s", h.Name, lastLines(h.Log(), 1))
	}
	return strings.ReplaceAll(end[at+1:], "\n", " "), nil
}

// flipped is F10: bytes of a stopped peer's raft folder are flipped. It must notice
// and refuse, or come through it with the right state: the end of the run compares.
func flipped(r *run, rng *rand.Rand) (string, error) {
	h := r.follower(rng)
	if h == nil {
		return "", nil
	}
	h.Kill()
	kept, err := copyOf(h)
	if err != nil {
		return "", err
	}
	where, err := flip(filepath.Join(h.DataDir(), "raft"), rng)
	if err != nil {
		return "", err
	}
	r.say("flipped in %s: %s", h.Name, where)
	h.Start()
	ready, err := r.settles(h, endLimit)
	if err != nil {
		h.Kill()
		return "", err
	}
	if ready {
		// What it has now it may have told others: it goes on with that.
		return where + ": it came through", os.RemoveAll(kept)
	}
	said, err := r.sentence(h)
	if err != nil {
		err = fmt.Errorf("flipped %s: %w", where, err)
	}
	if failed := replace(h, kept); failed != nil {
		return "", failed
	}
	return fmt.Sprintf("%s: refused: %.300s", where, said), err
}

// flip changes one to three bytes of a file in a folder, and tells where.
func flip(dir string, rng *rand.Rand) (string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, failed := d.Info(); failed == nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("no file to damage in %s: %w", dir, err)
	}
	slices.Sort(files)
	path := files[rng.IntN(len(files))]
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	used := len(strings.TrimRight(string(text), "\x00")) // files are made large ahead of time
	if used == 0 {
		used = len(text)
	}
	var at []int
	for range 1 + rng.IntN(3) {
		i := rng.IntN(used)
		text[i] ^= byte(1 << rng.IntN(8))
		at = append(at, i)
	}
	name, _ := filepath.Rel(dir, path)
	return fmt.Sprintf("bytes %v of %d of %s", at, used, name), os.WriteFile(path, text, 0o600)
}

// wiped is F11: a peer starts with an empty folder. It must say that it belongs to no
// cluster, and must not begin one.
func wiped(r *run, rng *rand.Rand) (string, error) {
	h := r.follower(rng)
	if h == nil {
		return "", nil
	}
	h.Kill()
	aside := h.DataDir() + ".aside"
	if err := os.Rename(h.DataDir(), aside); err != nil {
		return "", err
	}
	h.Start()
	ended := endsByItself(h, 10*time.Second)
	if !ended {
		h.Kill()
	}
	said, err := r.sentence(h)
	if failed := replace(h, aside); failed != nil {
		return "", failed
	}
	if !ended {
		return "", fmt.Errorf("%s runs with an empty folder", h.Name)
	}
	return fmt.Sprintf("%s with an empty folder: %.300s", h.Name, said), err
}

// swapped is F11: two peers start with each other's folders, and then with their own
// again. Nothing may be lost, whatever they do meanwhile.
func swapped(r *run, rng *rand.Rand) (string, error) {
	a := r.follower(rng)
	if a == nil {
		return "", nil
	}
	others := r.but(a)
	b := others[rng.IntN(len(others))]
	a.Kill()
	b.Kill()
	if err := exchange(a, b); err != nil {
		return "", err
	}
	r.forget(a)
	r.forget(b)
	a.Start()
	b.Start()
	time.Sleep(between(rng, time.Second, 4*time.Second))
	how := fmt.Sprintf("%s runs: %v, %s runs: %v", a.Name, a.Running(), b.Name, b.Running())
	a.Kill()
	b.Kill()
	r.forget(a)
	r.forget(b)
	return fmt.Sprintf("%s and %s with each other's folders: %s", a.Name, b.Name, how), exchange(a, b)
}

// exchange swaps the folders of two stopped peers.
func exchange(a, b *lab.Host) error {
	aside := a.DataDir() + ".aside"
	if err := os.Rename(a.DataDir(), aside); err != nil {
		return err
	}
	if err := os.Rename(b.DataDir(), a.DataDir()); err != nil {
		return err
	}
	return os.Rename(aside, b.DataDir())
}

// oldBackup is F11: a peer's folder is put back as it was some seconds ago, while the
// others have gone on. With all others well that loses nothing.
func oldBackup(r *run, rng *rand.Rand) (string, error) {
	h := r.follower(rng)
	if h == nil {
		return "", nil
	}
	h.Kill()
	kept, err := copyOf(h)
	if err != nil {
		return "", err
	}
	h.Start()
	if ready, err := r.settles(h, endLimit); err != nil || !ready {
		return "", fmt.Errorf("%s was killed and started, and is not ready: %w", h.Name, err)
	}
	before, err := r.status(h)
	if err != nil {
		return "", err
	}
	time.Sleep(between(rng, time.Second, 3*time.Second))
	h.Kill()
	if err := replace(h, kept); err != nil {
		return "", err
	}
	h.Start()
	if ready, err := r.settles(h, endLimit); err != nil || !ready {
		return "", fmt.Errorf("%s started with an old copy of its folder, and is not ready: %w", h.Name, err)
	}
	return fmt.Sprintf("%s went back to before index %d and caught up", h.Name, before.AppliedIndex), nil
}
