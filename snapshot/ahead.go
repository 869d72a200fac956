package snapshot

import (
	"fmt"
	"sync"
	"unsafe"
)

// partReaders is how many parts of a table are decoded at once, and aheadRows
// and aheadBatches how far one is decoded before its turn comes: a part whole.
const (
	partReaders  = 2
	aheadRows    = 512
	aheadBatches = maxPart / aheadRows
)

// ahead is Prepared: it calls yield for what prepare made of each row of a table, in their
// order, or for what ends them early, until yield returns false.
func (c *rowCodec) ahead(f *Folder, table string, prepare func(unsafe.Pointer) unsafe.Pointer, yield func(unsafe.Pointer, error) bool) {
	var running sync.WaitGroup
	defer running.Wait()
	stop := make(chan struct{})
	defer close(stop)

	waiting, err := c.filled(f, table)
	if err != nil {
		yield(nil, err)
		return
	}
	var open []<-chan decoded
	for len(waiting)+len(open) > 0 {
		for ; len(open) < partReaders && len(waiting) > 0; waiting = waiting[1:] {
			out := make(chan decoded, aheadBatches)
			entry := waiting[0]
			running.Go(func() { c.decode(f, entry, prepare, out, stop) })
			open = append(open, out)
		}
		for batch := range open[0] {
			for _, v := range batch.rows {
				if !yield(v, nil) {
					return
				}
			}
			if batch.err != nil {
				yield(nil, batch.err)
				return
			}
		}
		open = open[1:]
	}
}

// decoded is rows of one file, prepared, and behind them what ended it if that was an error.
type decoded struct {
	rows []unsafe.Pointer
	err  error
}

// decode sends the rows of one file, in batches, until stop is closed, and closes out.
func (c *rowCodec) decode(f *Folder, entry File, prepare func(unsafe.Pointer) unsafe.Pointer, out chan<- decoded, stop <-chan struct{}) {
	defer close(out)
	var batch decoded
	send := func() bool {
		select {
		case out <- batch:
			batch = decoded{}
			return true
		case <-stop:
			return false
		}
	}
	var n int64
	for row, err := range c.rowsOf(f, entry) {
		if err != nil {
			batch.err = err
			send()
			return
		}
		n++
		if batch.rows = append(batch.rows, prepare(row)); len(batch.rows) == aheadRows && !send() {
			return
		}
	}
	if n != entry.Rows {
		batch.err = fmt.Errorf("%s: %d rows, the manifest says %d", entry.Path, n, entry.Rows)
	}
	send()
}
