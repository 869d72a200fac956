package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// When changes go to disk, unless a History says otherwise.
const (
	flushEvery = 5 * time.Second
	flushBytes = 16 << 20
)

// History keeps the changes of the replicated state: DIR/FROM-TO.parquet, each
// covering that range of log indexes, also those that changed nothing. Ranges
// never overlap. The newest changes wait in memory until they are flushed; whoever
// reads sees one row of changes over both, whatever is flushed, merged or deleted meanwhile.
//
// All methods may be called by several goroutines at once. FlushEvery and
// FlushBytes are set before the first Append, or not at all.
type History struct {
	FlushEvery time.Duration // how long a change waits in memory at most
	FlushBytes int           // how much of them waits at most, in bytes of memory

	dir       string
	log       *slog.Logger
	disk      disk
	onDurable func(index uint64)

	// importing is held by an Import, settling while files under their final names
	// come or go. They are taken in this order, and mu last.
	importing sync.Mutex
	settling  sync.Mutex
	reported  uint64 // to onDurable, under settling

	start   sync.Once // of the goroutines that flush and merge
	running sync.WaitGroup
	closing chan struct{}
	flushes chan struct{} // asks for a flush at once
	merges  chan struct{} // asks for a look at what can be merged

	mu      sync.Mutex
	closed  bool
	files   []*changeFile // oldest first; replaced, never altered
	lost    []Range       // of damaged files that were set aside; not filled yet
	waiting []*stretch    // not on disk yet, oldest first; only the last, which Append extends, may be empty
	held    int           // bytes in waiting
	failing error         // why the last flush failed; nil if it did not
	watch   chan struct{}
}

// HistoryFile is one file of a History.
type HistoryFile struct {
	Range
	Rows, Bytes  int64
	Since, Until time.Time // of its first and last change; zero when there is none
	Name         string    // in the folder
}

// OpenHistory opens the changes in dir, which it makes if need be. What a crash
// left unfinished is removed. A file that is damaged is set aside with a warning
// that names it, and its range becomes a gap. The newest files are read whole;
// the others when they are first needed.
func OpenHistory(dir string, log *slog.Logger) (*History, error) {
	return openHistory(dir, log, osDisk{})
}

func openHistory(dir string, log *slog.Logger, d disk) (*History, error) {
	h := &History{FlushEvery: flushEvery, FlushBytes: flushBytes, dir: dir, log: log, disk: d,
		closing: make(chan struct{}), flushes: make(chan struct{}, 1), merges: make(chan struct{}, 1), watch: make(chan struct{})}
	if err := h.scan(); err != nil {
		return nil, fmt.Errorf("open changes in %s: %w", dir, err)
	}
	if n := len(h.files); n > 0 {
		h.reported = h.files[n-1].To
	}
	h.waiting = []*stretch{newStretch(h.reported)}
	return h, nil
}

// OnDurable has f called after each flush with the index up to which everything
// is on disk. f must not wait for the History. It is set before the first Append.
func (h *History) OnDurable(f func(index uint64)) { h.onDurable = f }

// End is the last index covered, by files or in memory; 0: none yet.
func (h *History) End() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.endLocked()
}

func (h *History) endLocked() uint64 { return h.waiting[len(h.waiting)-1].To }

// Durable is the last index that is on disk with everything appended before it.
func (h *History) Durable() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting[0].From - 1
}

// Watch is closed when Append or Skip moves the end.
func (h *History) Watch() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watch
}

// Files lists the files, oldest first.
func (h *History) Files() []HistoryFile {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]HistoryFile, len(h.files))
	for i, f := range h.files {
		out[i] = f.HistoryFile
	}
	return out
}

// Gaps lists what is missing between the oldest index kept and End. What was
// kept and is damaged is missing, too.
func (h *History) Gaps() []Range {
	h.mu.Lock()
	defer h.mu.Unlock()
	covered := h.coveredLocked()
	oldest := h.endLocked() + 1
	if len(covered) > 0 {
		oldest = covered[0].From
	}
	for _, r := range h.lost {
		oldest = min(oldest, r.From)
	}
	return Range{oldest, h.endLocked()}.without(covered)
}

// Oldest is the first index from which on everything up to End is there; behind End when nothing is.
func (h *History) Oldest() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := h.endLocked() + 1
	for _, r := range slices.Backward(h.coveredLocked()) {
		if r.To+1 != oldest {
			break
		}
		oldest = r.From
	}
	return oldest
}

// coveredLocked lists what is there, on disk and in memory, in order.
func (h *History) coveredLocked() []Range {
	out := make([]Range, 0, len(h.files)+len(h.waiting))
	for _, f := range h.files {
		out = append(out, f.Range)
	}
	for _, s := range h.waiting {
		if !s.empty() {
			out = append(out, s.Range)
		}
	}
	return out
}

// fileLocked finds the file that covers an index, nil if none does.
func (h *History) fileLocked(index uint64) *changeFile {
	at, found := slices.BinarySearchFunc(h.files, index, func(f *changeFile, index uint64) int {
		switch {
		case f.To < index:
			return -1
		case f.From > index:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return h.files[at]
}

// replaceLocked puts a new file where old ones were, if there were any.
func (h *History) replaceLocked(old []*changeFile, new *changeFile) {
	files := slices.DeleteFunc(slices.Clone(h.files), func(f *changeFile) bool { return slices.Contains(old, f) })
	files = append(files, new)
	slices.SortFunc(files, func(a, b *changeFile) int { return cmp.Compare(a.From, b.From) })
	h.files = files
}

var errHistoryClosed = errors.New("the history of changes is closed")

// Close flushes, and ends what runs in the background. Files can still be read.
func (h *History) Close() error {
	h.mu.Lock()
	again := h.closed
	h.closed = true
	h.mu.Unlock()
	if again {
		return nil
	}
	h.start.Do(func() {}) // what never ran does not start any more
	close(h.closing)
	h.running.Wait()
	return h.Flush()
}

// ask sends to a channel of capacity 1, where one request is as good as two.
func ask(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
