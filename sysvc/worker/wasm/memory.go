package wasm

import (
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// memory is the memory of one instance: address space for all that it may ever have, made
// usable as it grows. So growing copies nothing, what was used goes back to the kernel after
// the call, and the garbage collector has nothing to do with it.
type memory struct {
	space   []byte
	usable  uint64
	refused bool // the kernel did not give more
}

// Allocate implements experimental.MemoryAllocator. Modules have one memory at most.
func (m *memory) Allocate(_, most uint64) experimental.LinearMemory {
	space, err := unix.Mmap(-1, 0, int(max(most, page)), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err == nil {
		m.space = space
	}
	return m
}

// Reallocate implements experimental.LinearMemory.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.space)) {
		return nil
	}
	if size > m.usable {
		if err := unix.Mprotect(m.space[m.usable:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			m.refused = true
			return nil
		}
		m.usable = size
	}
	return m.space[:size]
}

// Free implements experimental.LinearMemory.
func (m *memory) Free() {
	if m.space != nil {
		unix.Munmap(m.space) // it cannot fail for what Mmap gave
	}
	m.space, m.usable = nil, 0
}

// exhausted tells whether the module has all that there is. Then a trap is most likely
// its way to say that it needs more.
func (m *memory) exhausted(limit int64) bool { return m.refused || int64(m.usable) >= limit }
