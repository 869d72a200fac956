package snapshot

import (
	"fmt"
	"iter"
	"sync"
)

// partReaders is how many parts of a table are decoded at once, and aheadRows
// and aheadBatches how far one is decoded before its turn comes: a part whole.
const (
	partReaders  = 2
	aheadRows    = 512
	aheadBatches = maxPart / aheadRows
)

// Rows gives the rows of a table of a folder, over all its files in their order,
// and fails if they are not as many as the manifest says. Two files are decoded at once.
func (c *Codec[T]) Rows(f *Folder, table string) iter.Seq2[*T, error] {
	return Prepared(c, f, table, func(row *T) *T { return row })
}

// Prepared is Rows with each row passed through prepare, which is called by
// several goroutines at once. What is costly and looks at one row alone belongs
// there. No goroutine outlives the loop.
func Prepared[T, V any](c *Codec[T], f *Folder, table string, prepare func(*T) V) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		var running sync.WaitGroup
		defer running.Wait()
		stop := make(chan struct{})
		defer close(stop)

		waiting, err := c.filled(f, table)
		if err != nil {
			var none V
			yield(none, err)
			return
		}
		var open []<-chan decoded[V]
		for len(waiting)+len(open) > 0 {
			for ; len(open) < partReaders && len(waiting) > 0; waiting = waiting[1:] {
				out := make(chan decoded[V], aheadBatches)
				entry := waiting[0]
				running.Go(func() { decode(c, f, entry, prepare, out, stop) })
				open = append(open, out)
			}
			for batch := range open[0] {
				for _, v := range batch.rows {
					if !yield(v, nil) {
						return
					}
				}
				if batch.err != nil {
					var none V
					yield(none, batch.err)
					return
				}
			}
			open = open[1:]
		}
	}
}

// decoded is rows of one file, and behind them what ended it if that was an error.
type decoded[V any] struct {
	rows []V
	err  error
}

// decode sends the rows of one file, in batches, until stop is closed, and closes out.
func decode[T, V any](c *Codec[T], f *Folder, entry File, prepare func(*T) V, out chan<- decoded[V], stop <-chan struct{}) {
	defer close(out)
	var batch decoded[V]
	send := func() bool {
		select {
		case out <- batch:
			batch = decoded[V]{}
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
