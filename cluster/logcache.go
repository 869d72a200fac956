package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// Bounds of what is kept in memory for followers that are a little behind.
const (
	cachedEntries = 512
	cachedBytes   = 32 << 20
)

// logCache keeps the newest entries of a log store in memory, bounded by their
// number and by their bytes: raft's own knows numbers only, and an entry may
// have half a MiB.
type logCache struct {
	raft.LogStore

	mu     sync.RWMutex
	byPos  [cachedEntries]*raft.Log // at index modulo cachedEntries
	oldest uint64                   // entries before it are not kept
	bytes  int
}

// GetLog reads an entry, from memory if it is there.
func (c *logCache) GetLog(index uint64, l *raft.Log) error {
	c.mu.RLock()
	kept := c.byPos[index%cachedEntries]
	c.mu.RUnlock()
	if kept != nil && kept.Index == index {
		*l = *kept
		return nil
	}
	return c.LogStore.GetLog(index, l)
}

// StoreLog appends one entry.
func (c *logCache) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries, and keeps them once they are stored.
func (c *logCache) StoreLogs(logs []*raft.Log) error {
	if err := c.LogStore.StoreLogs(logs); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		c.putLocked(l)
	}
	return nil
}

// putLocked keeps an entry and lets go of the oldest until the bounds hold.
func (c *logCache) putLocked(l *raft.Log) {
	if l.Index < c.oldest || l.Index >= c.oldest+2*cachedEntries { // another stretch of the log
		c.clearLocked()
		c.oldest = l.Index
	}
	for l.Index-c.oldest >= cachedEntries {
		c.dropOldestLocked()
	}
	c.bytes += weight(l)
	if old := c.byPos[l.Index%cachedEntries]; old != nil {
		c.bytes -= weight(old)
	}
	c.byPos[l.Index%cachedEntries] = l
	for c.bytes > cachedBytes {
		c.dropOldestLocked()
	}
}

func (c *logCache) dropOldestLocked() {
	if old := c.byPos[c.oldest%cachedEntries]; old != nil {
		c.bytes -= weight(old)
		c.byPos[c.oldest%cachedEntries] = nil
	}
	c.oldest++
}

func (c *logCache) clearLocked() {
	clear(c.byPos[:])
	c.bytes = 0
}

func weight(l *raft.Log) int { return len(l.Data) + len(l.Extensions) }

// DeleteRange takes entries out of the store, and all out of memory.
func (c *logCache) DeleteRange(first, last uint64) error {
	c.mu.Lock()
	c.clearLocked()
	c.mu.Unlock()
	return c.LogStore.DeleteRange(first, last)
}
