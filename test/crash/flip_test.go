package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/lossy"
)

// flip is one thing altered in a data folder.
type flip struct {
	file string // below the folder
	at   int64
	mask byte // 0: cut off there
}

func (f flip) String() string {
	if f.mask == 0 {
		return fmt.Sprintf("%s cut off at %d", f.file, f.at)
	}
	return fmt.Sprintf("%s: bits %#02x at %d", f.file, f.mask, f.at)
}

func (f flip) carryOut(dir string) error {
	path := filepath.Join(dir, f.file)
	if f.mask == 0 {
		return os.Truncate(path, f.at)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[f.at] ^= f.mask
	return os.WriteFile(path, b, 0o600)
}

// flips draws some: half of them in raft.db, the others in the other files, each file as
// often as any. Of files of fixed size it takes what was ever written.
func flips(t *testing.T, r *rand.Rand, dir string, n int) (all []flip) {
	t.Helper()
	used, names := map[string]int64{}, []string{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		if size := len(strings.TrimRight(string(b), "\x00")); size > 0 {
			used[name], names = int64(size), append(names, name)
		}
		return err
	}))
	for i := range n {
		name := "raft/raft.db"
		if i%2 == 1 {
			name = names[r.IntN(len(names))]
		}
		f := flip{name, r.Int64N(used[name]), byte(1 + r.IntN(255))}
		switch r.IntN(10) {
		case 0:
			f.mask = 0
		case 1, 2, 3, 4, 5:
			f.mask = 1 << r.IntN(8)
		}
		all = append(all, f)
	}
	return all
}

// limit is how long an opening may take until it is said to hang.
const limit = 2 * time.Minute

// judgeFlip opens a folder in which something was altered. It is refused, or what it gives
// is right; how much is missing at the end of the log then is told.
func (l *Life) judgeFlip(dir string) (refused, missing bool, err error) {
	type verdict struct {
		refused, missing bool
		err              error
	}
	done := make(chan verdict, 1)
	go func() {
		refused, missing, err := l.examineFlip(dir)
		done <- verdict{refused, missing, err}
	}()
	select {
	case v := <-done:
		return v.refused, v.missing, v.err
	case <-time.After(limit):
		return false, false, errors.New("it hangs")
	}
}

// TestFlips alters bytes all over a data folder, and cuts files off: FLIPS of them.
func TestFlips(t *testing.T) {
	l, seed, n := recorded(t), number(t, "SEED", rand.Uint64()), int(number(t, "FLIPS", 120))
	t.Logf("SEED=%d FLIPS=%d", seed, n)
	began, r, dir := time.Now(), rand.New(rand.NewPCG(seed, 2)), memory(t)
	var mu sync.Mutex
	refused, missing := 0, 0
	for _, k := range []int{l.Killed, len(l.Trace)} { // entries in the write-ahead files, and not
		replay, good := lossy.NewReplay(l.Trace), filepath.Join(dir, fmt.Sprint(k))
		replay.Advance(k)
		must(t, os.Mkdir(good, 0o700))
		must(t, replay.Kept(good))
		var all sync.WaitGroup
		drawn := flips(t, r, good, n/2)
		for w, some := range slices.Collect(slices.Chunk(drawn, (len(drawn)+1)/2)) {
			all.Go(func() {
				for _, f := range some {
					into := filepath.Join(dir, fmt.Sprint("flipped-", w))
					err := errors.Join(os.RemoveAll(into), os.CopyFS(into, os.DirFS(good)), f.carryOut(into))
					no, less := false, false
					if err == nil {
						no, less, err = l.judgeFlip(into)
					}
					if err != nil {
						t.Errorf("seed %d, life of %d operations, %v: %v", seed, k, f, err)
					}
					mu.Lock()
					if no {
						refused++
					}
					if less {
						missing++
						t.Logf("%v: the end of the log is taken for one that a crash tore", f)
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
	}
	t.Logf("%d flips in %v: %d refused, %d cost the last batch, %d did no harm or were named", n, time.Since(began).Round(time.Millisecond), refused, missing, n-refused-missing)
	if refused == 0 || refused == n {
		t.Errorf("%d of %d flips were refused: both happen", refused, n)
	}
}

// TestFlippedProgram: orchd itself ends with one sentence, and not well.
func TestFlippedProgram(t *testing.T) {
	l := recorded(t)
	for _, f := range []flip{{"raft/raft.db", 16 + 20, 4}, {"raft/raft.db", 8192, 0}, {"raft/known.json", 40, 1}, {"tls/peer.key", 60, 1}} {
		t.Run(f.String(), func(t *testing.T) {
			h := lab.Start(t, 1, loopback, settings).Host(0)
			must(t, os.MkdirAll(h.DataDir(), 0o755))
			r := lossy.NewReplay(l.Trace)
			r.Advance(len(l.Trace))
			must(t, r.Kept(h.DataDir()))
			must(t, f.carryOut(h.DataDir()))
			_, err := h.Output("orchd", "serve") // which waits for two minutes at most, and then kills it
			switch {
			case err == nil || strings.Contains(err.Error(), "signal"):
				t.Errorf("it ended well, or not at all: %v", err)
			case strings.Contains(err.Error(), "goroutine ") || strings.Contains(err.Error(), "panic"):
				t.Errorf("it panicked: %v", err)
			case !strings.Contains(err.Error(), "damaged"):
				t.Errorf("it ended with: %v", err)
			}
		})
	}
}
