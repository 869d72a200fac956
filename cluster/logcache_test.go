package cluster

import (
	"bytes"
	"testing"

	"github.com/hashicorp/raft"
)

// counted counts what is read from below the cache.
type counted struct {
	*raft.InmemStore
	reads int
}

func (c *counted) GetLog(index uint64, l *raft.Log) error {
	c.reads++
	return c.InmemStore.GetLog(index, l)
}

func (c *logCache) want(t *testing.T, index uint64, below *counted, reads int) {
	t.Helper()
	before := below.reads
	var l raft.Log
	must(t, c.GetLog(index, &l))
	if l.Index != index {
		t.Errorf("entry %d was read where %d should be", l.Index, index)
	}
	if got := below.reads - before; got != reads {
		t.Errorf("entry %d took %d reads of the store, want %d", index, got, reads)
	}
}

func TestCacheIsBoundedByBytesAndNumber(t *testing.T) {
	below := &counted{InmemStore: raft.NewInmemStore()}
	c := &logCache{LogStore: below}
	large := bytes.Repeat([]byte("x"), MaxEntry)
	last := uint64(0)
	put := func(data []byte, n int) {
		t.Helper()
		for range n {
			last++
			must(t, c.StoreLog(&raft.Log{Index: last, Data: data}))
			if c.bytes > cachedBytes {
				t.Fatalf("%d bytes are kept, at most %d may be", c.bytes, cachedBytes)
			}
		}
	}
	put(large, 200)
	fit := uint64(cachedBytes / MaxEntry)
	c.want(t, last, below, 0)
	c.want(t, last-fit+1, below, 0)
	c.want(t, last-fit, below, 1)
	c.want(t, 1, below, 1)

	put([]byte("small"), cachedEntries)
	c.want(t, last-cachedEntries+1, below, 0)
	c.want(t, last-cachedEntries, below, 1)
	if want := cachedEntries * len("small"); c.bytes != want {
		t.Errorf("it counts %d bytes, want %d", c.bytes, want)
	}

	must(t, c.DeleteRange(last-9, last))
	var l raft.Log
	if err := c.GetLog(last, &l); err != raft.ErrLogNotFound {
		t.Errorf("an entry that was taken out: %v", err)
	}
	if c.bytes != 0 {
		t.Errorf("it counts %d bytes of nothing", c.bytes)
	}
	last -= 10
	put([]byte("another"), 3)
	c.want(t, last, below, 0)
	last += 10000 // behind a snapshot that was installed
	put([]byte("far"), 2)
	c.want(t, last, below, 0)
	if want := 2 * len("far"); c.bytes != want {
		t.Errorf("it counts %d bytes, want %d", c.bytes, want)
	}
}
